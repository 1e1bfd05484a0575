package hostile

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// answer is what a server says, kept before it is sent.
type answer struct {
	status int
	header http.Header
	body   bytes.Buffer
	gone   bool // it closes the connection instead
}

func (a *answer) Header() http.Header { return a.header }
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// ask lets the one who has the true book answer a request with this body.
func ask(truth http.Handler, r *http.Request, body []byte) (a *answer) {
	a = &answer{header: http.Header{}}
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			a.gone = true
		default:
			panic(p)
		}
		a.WriteHeader(http.StatusOK)
	}()
	r = r.Clone(r.Context())
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	truth.ServeHTTP(a, r)
	return a
}

// send passes an answer on.
func (a *answer) send(w http.ResponseWriter) {
	if a.gone {
		panic(http.ErrAbortHandler)
	}
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body.Bytes()) // the client may be gone
}

// say makes an answer.
func say(status int, contentType, body string) *answer {
	a := &answer{status: status, header: http.Header{"Content-Type": {contentType}}}
	a.body.WriteString(body)
	return a
}

// cutOff sends the first bytes of an answer and closes the connection.
func (a *answer) cutOff(w http.ResponseWriter, dice *rand.Rand) {
	if n := a.body.Len(); n > 0 && !a.gone {
		w.Header().Set("Content-Length", strconv.Itoa(n))
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body.Bytes()[:dice.IntN(n)])
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
	}
	panic(http.ErrAbortHandler)
}

// hang waits until the client has given up, or for a while.
func hang(r *http.Request, most time.Duration) {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-r.Context().Done():
	case <-t.C:
	}
}

// long is a text as long as a counterpart may send to do harm, in letters that
// take more than a byte.
func long(dice *rand.Rand) string {
	return strings.Repeat("žluťoučký kůň ", (100<<10+dice.IntN(300<<10))/20)
}

const html = "<!DOCTYPE html><html><head><title>503 Service Unavailable</title></head><body><h1>It works!</h1></body></html>"
