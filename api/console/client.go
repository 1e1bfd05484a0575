package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/ordersaga/ordersaga/api/client"
)

// here is a transport to the API in this process.
type here struct {
	handler http.Handler
	from    string // address of whoever asks
}

// RoundTrip implements http.RoundTripper.
func (h here) RoundTrip(req *http.Request) (*http.Response, error) {
	// chi keeps where the console's request has gone in its context.
	req = req.WithContext(context.WithValue(req.Context(), chi.RouteCtxKey, (*chi.Context)(nil)))
	req.RequestURI, req.RemoteAddr = req.URL.RequestURI(), h.from
	w := answer{header: http.Header{}, status: http.StatusOK}
	h.handler.ServeHTTP(&w, req)
	return &http.Response{
		StatusCode: w.status, Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), Header: w.header,
		Body: io.NopCloser(&w.body), Request: req, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
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

// client asks the API on behalf of whoever has sent r.
func (c console) client(r *http.Request) client.Client {
	header := http.Header{}
	for _, name := range []string{"Authorization", "Cookie", "X-Request-Id"} {
		if v := r.Header.Get(name); v != "" {
			header.Set(name, v)
		}
	}
	return client.Client{Base: "http://" + r.Host, HTTP: &http.Client{Transport: here{c.api, r.RemoteAddr}}, Header: header}
}

func (c console) call(r *http.Request, method, path string, in, out any) error {
	return c.client(r).Call(r.Context(), method, path, in, out)
}

func (c console) get(r *http.Request, path string, out any) error {
	return c.call(r, http.MethodGet, path, nil, out)
}

// statusOf is the status of a page that says err.
func statusOf(err error) int {
	if p, ok := errors.AsType[*client.Problem](err); ok {
		return p.Status
	}
	return http.StatusBadGateway
}
