// Package client implements a client of the HTTP API.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"

	"github.com/ordersaga/ordersaga/internal/httpcall"
)

// Client sends requests to the API. It is safe for concurrent use.
type Client struct {
	// Base is the API's address, such as http://127.0.0.1:8080.
	Base string
	HTTP *http.Client
	// Header is sent with every request.
	Header http.Header
}

// Problem is an error response of the API: an RFC 9457 problem document. It is an error.
type Problem struct {
	Status        int
	Title, Detail string
	Errors        []struct{ Message, Location string }
}

// Error returns the detail and the faulty fields.
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Detail)
	for _, e := range p.Errors {
		if e.Message != p.Detail {
			b.WriteString("; " + e.Location + ": " + e.Message)
		}
	}
	return b.String()
}

// IsNotFound reports whether err is a Problem with status 404.
func IsNotFound(err error) bool {
	p, ok := errors.AsType[*Problem](err)
	return ok && p.Status == http.StatusNotFound
}

// maxResponse is the maximum size of a response in bytes. A page of 1,000 sagas of the
// largest size is smaller.
const maxResponse = 64 << 20

// On returns a client whose requests change a resource only if it has this version. With ""
// they only create it.
func (c Client) On(version string) Client {
	c.Header = c.Header.Clone()
	if c.Header == nil {
		c.Header = http.Header{}
	}
	if version == "" {
		c.Header.Set("If-None-Match", "*")
	} else {
		c.Header.Set("If-Match", `"`+version+`"`)
	}
	return c
}

// Call sends in as JSON unless it is nil, and decodes the response into out unless it is
// nil. An error response is a *Problem. Call follows no redirect: its error names the target.
func (c Client) Call(ctx context.Context, method, path string, in, out any) error {
	what := method + " " + path
	req, err := c.request(ctx, method, path, in)
	if err != nil {
		return fmt.Errorf("%s: create the request: %w", what, err)
	}
	res, err := httpcall.Do(c.HTTP, req)
	if r, ok := errors.AsType[*httpcall.RedirectedError](err); ok {
		return fmt.Errorf("%s: the server is not the API: %w", what, r)
	}
	if err != nil {
		return fmt.Errorf("%s: the API does not respond: %w", what, err)
	}
	defer func() { _ = res.Body.Close() }() // it has been read
	body, err := io.ReadAll(io.LimitReader(res.Body, maxResponse))
	if err != nil {
		return fmt.Errorf("%s: read the response: %w", what, err)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return newProblem(what, res, body)
	}
	if out == nil {
		if len(body) == 0 {
			return nil
		}
		out = &json.RawMessage{} // another server's page is an error also where the response is not used
	}
	err = json.Unmarshal(body, out)
	if err != nil {
		return fmt.Errorf("%s: decode the response: %w", what, err)
	}
	return nil
}

func (c Client) request(ctx context.Context, method, path string, in any) (*http.Request, error) {
	var body io.Reader = http.NoBody
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode the body: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.Base, "/")+path, body)
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, c.Header)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// newProblem returns the problem document of an error response. If the body is none, it has
// only the status.
func newProblem(what string, res *http.Response, body []byte) *Problem {
	p := &Problem{Title: http.StatusText(res.StatusCode)}
	_ = json.Unmarshal(body, p) // p keeps what could be decoded
	p.Status = res.StatusCode
	if p.Detail == "" {
		p.Detail = what + ": " + res.Status
	}
	return p
}
