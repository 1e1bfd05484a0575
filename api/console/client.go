package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// client calls the API in this process.
type client struct{ handler http.Handler }

// problem is the API's refusal.
type problem struct {
	Status        int
	Title, Detail string
	Errors        []struct{ Message, Location string }
}

func (p *problem) Error() string {
	text := p.Detail
	for _, e := range p.Errors {
		if e.Message != p.Detail {
			text += "; " + e.Location + ": " + e.Message
		}
	}
	return text
}

func asProblem(err error) (*problem, bool) { return errors.AsType[*problem](err) }

func isNotFound(err error) bool {
	p, ok := asProblem(err)
	return ok && p.Status == http.StatusNotFound
}

func (c client) get(r *http.Request, path string, out any) error {
	return c.call(r, http.MethodGet, path, nil, out)
}

// call passes on who asks: the caller's headers, but for those of the body.
func (c client) call(from *http.Request, method, path string, in, out any) error {
	var body io.Reader = http.NoBody
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode request for %s: %w", path, err)
		}
		body = bytes.NewReader(b)
	}
	ctx, cancel := context.WithCancel(context.Background()) // the caller's has chi's idea of the console's own route
	defer cancel()
	defer context.AfterFunc(from.Context(), cancel)()
	req, err := http.NewRequestWithContext(ctx, method, path, body) //nolint:gosec // it goes no further than this process
	if err != nil {
		return fmt.Errorf("make request for %s: %w", path, err)
	}
	req.Host, req.RemoteAddr, req.RequestURI = from.Host, from.RemoteAddr, path
	for _, name := range []string{"Authorization", "Cookie", "X-Request-Id"} {
		if v := from.Header.Get(name); v != "" {
			req.Header.Set(name, v)
		}
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	w := answer{header: http.Header{}, status: http.StatusOK}
	c.handler.ServeHTTP(&w, req)
	if w.status >= http.StatusBadRequest {
		p := &problem{Status: w.status, Title: http.StatusText(w.status)}
		_ = json.Unmarshal(w.body.Bytes(), p) // what is no problem document keeps its status
		return p
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(w.body.Bytes(), out); err != nil {
		return fmt.Errorf("decode the API's answer to %s %s: %w", method, path, err)
	}
	return nil
}

// answer is an http.ResponseWriter that keeps what is written.
type answer struct {
	header http.Header
	status int
	wrote  bool
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if !a.wrote {
		a.status, a.wrote = status, true
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.wrote = true
	return a.body.Write(b)
}
