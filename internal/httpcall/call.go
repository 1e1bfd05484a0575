// Package httpcall is how the product calls others over HTTP: no redirect is
// followed. After a 301, 302 or 303 net/http turns a POST into a GET without a
// body, and the answer to that says nothing of what was asked for; after a 307
// or 308 it would give the same body, and whatever secret it has, to an address
// that nobody configured.
package httpcall

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// Redirected is the error of a call that was answered with a redirect.
type Redirected struct {
	Method, URL string // of the call; the URL without user, password and query
	Status      int    // 300 to 399
	To          string // where it points, cut; "" if it does not say
}

func (e *Redirected) Error() string {
	s := e.Method + " " + e.URL + " was answered with " + strconv.Itoa(e.Status)
	if e.To != "" {
		s += ", a redirect to " + strconv.Quote(e.To)
	}
	return s + "; redirects are not followed: set the address that answers itself"
}

// longest is how much is repeated of an address that somebody else wrote, in
// bytes.
const longest = 300

// Refuse closes an answer that is a redirect and makes an error of it. Any other
// answer it leaves alone, and returns nil.
func Refuse(res *http.Response) error {
	if res.StatusCode < 300 || res.StatusCode > 399 {
		return nil
	}
	_ = res.Body.Close() // nothing in it counts
	e := &Redirected{Status: res.StatusCode, To: res.Header.Get("Location")}
	if len(e.To) > longest {
		e.To = e.To[:longest] + "..."
	}
	e.To = strings.ToValidUTF8(e.To, "\uFFFD")
	if req := res.Request; req != nil {
		e.Method, e.URL = req.Method, req.URL.Scheme+"://"+req.URL.Host+req.URL.EscapedPath()
	}
	return e
}

// Do sends a request with a client; nil means http.DefaultClient. A redirect is
// a *Redirected, whatever the client says of them. The client is not changed,
// and may be used by many at a time.
func Do(client *http.Client, req *http.Request) (*http.Response, error) {
	if client == nil {
		client = http.DefaultClient
	}
	c := *client
	c.Transport = transport{c.Transport}
	res, err := c.Do(req) //nolint:gosec // the caller's address, from the configuration
	if r, ok := errors.AsType[*Redirected](err); ok {
		return nil, r // without the library's text, which has the URL's query
	}
	return res, err
}

// transport refuses redirects before the client sees them: it would repeat an
// address that it cannot read, however long it is.
type transport struct{ next http.RoundTripper } // nil means http.DefaultTransport

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
