package api_test

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/testkit"
)

// follow opens a stream and reads its first event; stop closes it.
func (c client) follow(ctx context.Context, path string, header ...string) (status int, first string, head http.Header, stop func()) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.API+path, http.NoBody)
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	first, err = bufio.NewReader(res.Body).ReadString('\n')
	if err != nil {
		c.t.Fatal(err)
	}
	return res.StatusCode, first, res.Header, func() { cancel(); _ = res.Body.Close() }
}

// TestTooManyStreamsAreRejected: the number of streams of one client is limited, and other
// clients are not affected.
func TestTooManyStreamsAreRejected(t *testing.T) {
	c, issuer, _ := startClosed(t)
	ctx, cancel := context.WithTimeout(t.Context(), 80*time.Second)
	defer cancel()
	ann, bob := []string{"Authorization", "Bearer " + issuer.Token("viewer")}, []string{"Authorization", "Bearer " + issuer.Token("operator")}
	path := func(i int) string { return []string{"/v1/sagas/o/events", "/v1/overview/events"}[i%2] }
	var stops []func()
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()
	for i := range 50 {
		status, first, _, stop := c.follow(ctx, path(i), ann...)
		stops = append(stops, stop)
		if status != http.StatusOK || !strings.HasPrefix(first, "event: ") {
			t.Fatalf("stream %d: status = %d, first line = %q, want %d and an event", i, status, first, http.StatusOK)
		}
	}
	for i := range 2 {
		status, first, head, stop := c.follow(ctx, path(i), ann...)
		stop()
		if status != http.StatusTooManyRequests || head.Get("Retry-After") == "" || head.Get("Content-Type") != "application/problem+json" {
			t.Errorf("one too many: status = %d, headers = %v, body = %s, want a problem with status %d and Retry-After",
				status, head, first, http.StatusTooManyRequests)
		}
	}
	if a := c.do("GET", "/v1/overview", "", ann...); a.status != http.StatusOK {
		t.Errorf("what is no stream: status = %d, want %d: %s", a.status, http.StatusOK, a.body)
	}
	status, _, _, stop := c.follow(ctx, path(0), bob...)
	stop()
	if status != http.StatusOK {
		t.Errorf("bob: status = %d, want %d", status, http.StatusOK)
	}
	stops[0]()
	testkit.Eventually(t, "one that was closed makes room", func() error {
		status, first, _, stop := c.follow(ctx, path(0), ann...)
		defer stop()
		if status != http.StatusOK {
			return errors.New(first)
		}
		return nil
	})
	var doc openAPI
	c.get("/openapi.json").json(t, &doc)
	for i := range 2 {
		if at := strings.Replace(path(i), "/o/", "/{id}/", 1); doc.Paths[at]["get"].Responses["429"] == nil {
			t.Errorf("the document has no response 429 for %s, want one", at)
		}
	}
}

// TestHeadOfAStreamReturnsAtOnce: HEAD sends no events, so there is nothing to wait for.
func TestHeadOfAStreamReturnsAtOnce(t *testing.T) {
	b := newBench(t)
	b.http.Timeout = 30 * time.Second // a stream is longer
	for _, path := range []string{"/v1/sagas/o/events", "/v1/overview/events"} {
		if a := b.do("HEAD", path, ""); a.status != http.StatusOK || a.header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("%s: status = %d, headers = %v, want %d and text/event-stream", path, a.status, a.header, http.StatusOK)
		}
	}
	if a := b.do("HEAD", "/v1/sagas/a%20b/events", ""); a.status != http.StatusUnprocessableEntity {
		t.Errorf("an invalid id: status = %d, want %d", a.status, http.StatusUnprocessableEntity)
	}
}
