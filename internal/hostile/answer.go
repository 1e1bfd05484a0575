package hostile

import (
	"bytes"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// answer is a response that has not been sent. It is an http.ResponseWriter.
type answer struct {
	status int
	header http.Header
	body   bytes.Buffer
	gone   bool // the connection is closed without a response
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// ask forwards a request with this body to the simulator, and returns its response.
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

// send sends the response to the client.
func (a *answer) send(w http.ResponseWriter) {
	if a.gone {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body.Bytes()) // fails only if the client has disconnected
}

// respond returns a response.
func respond(status int, contentType, body string) *answer {
	a := &answer{status: status, header: http.Header{"Content-Type": {contentType}}}
	a.body.WriteString(body)
	return a
}

// cutOff sends the first bytes of the response and closes the connection.
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

// hang waits until the client has disconnected, at most for most.
func hang(r *http.Request, most time.Duration) {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-r.Context().Done():
	case <-t.C:
	}
}

// long returns a text of 100 to 400 KiB, with characters of more than one byte, as a malicious
// counterpart may send.
func long(dice *rand.Rand) string {
	return strings.Repeat("žluťoučký kůň ", (100<<10+dice.IntN(300<<10))/20)
}

const html = "<!DOCTYPE html><html><head><title>503 Service Unavailable</title></head><body><h1>It works!</h1></body></html>"
