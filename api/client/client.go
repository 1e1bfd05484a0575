// Package client calls the HTTP API.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/ordersaga/ordersaga/internal/httpcall"
)

// Client is one user of the API.
type Client struct {
	Base   string // such as http://127.0.0.1:8080
	HTTP   *http.Client
	Header http.Header // sent with every request
}

// Problem is the API's refusal, an RFC 9457 problem document.
type Problem struct {
	Status        int
	Title, Detail string
	Errors        []struct{ Message, Location string }
}

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

// IsNotFound reports whether err says that what was asked for is not there.
func IsNotFound(err error) bool {
	p, ok := errors.AsType[*Problem](err)
	return ok && p.Status == http.StatusNotFound
}

// maxAnswer bounds an answer; a page of 1,000 sagas with all that they can have
// is smaller.
const maxAnswer = 64 << 20

// On returns a client whose requests are carried out only on what has this
// version, or, if it is "", on what does not exist yet.
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

// Call sends in, if not nil, as JSON and decodes the answer into out, if not
// nil. A refusal is a *Problem. No redirect is followed: it is an error that says
// where it points.
func (c Client) Call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader = http.NoBody
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode request for %s: %w", path, err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.Base, "/")+path, body)
	if err != nil {
		return fmt.Errorf("make request for %s: %w", path, err)
	}
	for name, values := range c.Header {
		req.Header[name] = values
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := httpcall.Do(c.HTTP, req)
	if r, ok := errors.AsType[*httpcall.Redirected](err); ok {
		return fmt.Errorf("this is not the API: %w", r)
	}
	if err != nil {
		return fmt.Errorf("the API does not answer: %w", err)
	}
	defer func() { _ = res.Body.Close() }() // it was read
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the API's answer to %s %s: %w", method, path, err)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		p := &Problem{Title: http.StatusText(res.StatusCode)}
		_ = json.Unmarshal(answer, p) // what is no problem document has its status at least
		if p.Status = res.StatusCode; p.Detail == "" {
			p.Detail = fmt.Sprintf("%s %s: %s", method, path, res.Status)
		}
		return p
	}
	if out == nil {
		if len(answer) == 0 {
			return nil
		}
		out = &json.RawMessage{} // a page of somebody else is no answer, also where nobody wants to know what it says
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("decode the API's answer to %s %s: %w", method, path, err)
	}
	return nil
}
