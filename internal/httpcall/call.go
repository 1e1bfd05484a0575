// Package httpcall sends HTTP requests to other services without following redirects.
// After a 301, 302 or 303 net/http turns a POST into a GET without a body, whose response
// is not the answer to the request. After a 307 or 308 it would send the body, and any
// secret in it, to an address that is not configured.
package httpcall

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// RedirectedError is the error of a request whose response is a redirect.
type RedirectedError struct {
	Method, URL string // of the request; the URL without user, password and query
	Status      int    // 300 to 399
	To          string // the Location header, cut to 300 bytes; "" if there is none
}

// Error names the request and where the redirect points.
func (e *RedirectedError) Error() string {
	s := e.Method + " " + e.URL + " returned " + strconv.Itoa(e.Status)
	if e.To != "" {
		s += ", a redirect to " + strconv.Quote(e.To)
	}
	return s + "; redirects are not followed: configure the final address"
}

// maxLocation is the maximum number of bytes of a Location header in an error.
const maxLocation = 300

// Refuse closes the body of a response that is a redirect and returns a *RedirectedError. For
// any other response it returns nil and leaves the body open.
func Refuse(res *http.Response) error {
	if res.StatusCode < 300 || res.StatusCode > 399 {
		return nil
	}
	_ = res.Body.Close() // its content does not matter
	e := &RedirectedError{Status: res.StatusCode, To: res.Header.Get("Location")}
	if len(e.To) > maxLocation {
		e.To = e.To[:maxLocation] + "..."
	}
	e.To = strings.ToValidUTF8(e.To, "\uFFFD")
	if req := res.Request; req != nil {
		e.Method, e.URL = req.Method, req.URL.Scheme+"://"+req.URL.Host+req.URL.EscapedPath()
	}
	return e
}

// Do sends a request with a client; nil means http.DefaultClient. If the response is a
// redirect it returns a *RedirectedError, whatever the client's CheckRedirect is. It does not
// change the client, and is safe for concurrent use. The caller closes the body.
func Do(client *http.Client, req *http.Request) (*http.Response, error) {
	if client == nil {
		client = http.DefaultClient
	}
	c := *client
	c.Transport = transport{next: c.Transport}
	res, err := c.Do(req) //nolint:gosec // the address is the caller's, from the configuration
	if r, ok := errors.AsType[*RedirectedError](err); ok {
		return nil, r // without net/http's text, which contains the URL's query
	}
	return res, err
}

// transport turns redirects into errors before the client sees them: the client's error
// would contain an address that it cannot parse in full length.
type transport struct{ next http.RoundTripper } // nil means http.DefaultTransport

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	next := t.next
	if next == nil {
		next = http.DefaultTransport
	}
	res, err := next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if err := Refuse(res); err != nil {
		return nil, err
	}
	return res, nil
}
