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

// inProcess is an HTTP transport that calls a handler in this process.
type inProcess struct {
	handler    http.Handler
	remoteAddr string // of the browser
}

// RoundTrip implements http.RoundTripper.
func (t inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	// chi would continue with the route of the console's request, which is in the
	// context.
	req = req.WithContext(context.WithValue(req.Context(), chi.RouteCtxKey, (*chi.Context)(nil)))
	req.RequestURI, req.RemoteAddr = req.URL.RequestURI(), t.remoteAddr
	w := bufferedResponse{header: http.Header{}, status: http.StatusOK}
	t.handler.ServeHTTP(&w, req)
	return &http.Response{
		StatusCode: w.status, Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), Header: w.header,
		Body: io.NopCloser(&w.body), Request: req, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

// bufferedResponse is an http.ResponseWriter that keeps what is written.
type bufferedResponse struct {
	header http.Header
	status int
	wrote  bool
	body   bytes.Buffer
}

func (w *bufferedResponse) Header() http.Header { return w.header }

func (w *bufferedResponse) WriteHeader(status int) {
	if !w.wrote {
		w.status, w.wrote = status, true
	}
}

func (w *bufferedResponse) Write(b []byte) (int, error) {
	w.wrote = true
	return w.body.Write(b)
}

// client returns a client of the API with the credentials of r.
func (c console) client(r *http.Request) client.Client {
	header := http.Header{}
	for _, name := range []string{"Authorization", "Cookie", "X-Request-Id"} {
		if v := r.Header.Get(name); v != "" {
			header.Set(name, v)
		}
	}
	return client.Client{Base: "http://" + r.Host, HTTP: &http.Client{Transport: inProcess{handler: c.api, remoteAddr: r.RemoteAddr}}, Header: header}
}

func (c console) call(r *http.Request, method, path string, in, out any) error {
	return c.client(r).Call(r.Context(), method, path, in, out)
}

func (c console) get(r *http.Request, path string, out any) error {
	return c.call(r, http.MethodGet, path, nil, out)
}

// statusOf returns the HTTP status of the page that shows err.
func statusOf(err error) int {
	if p, ok := errors.AsType[*client.Problem](err); ok {
		return p.Status
	}
	return http.StatusBadGateway
}
