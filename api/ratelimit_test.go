package api_test

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// asks sends requests until one is refused for there being too many.
func (c client) asks(path string, most int, header ...string) (passed int, refused answer) {
	c.t.Helper()
	for n := range most {
		if a := c.do("GET", path, "", header...); a.status == http.StatusTooManyRequests {
			return n, a
		}
	}
	c.t.Fatalf("%d requests in a row passed, want one rejected with status %d", most, http.StatusTooManyRequests)
	return 0, answer{}
}

func TestRateLimitRejectsRequestsAboveTheLimit(t *testing.T) {
	c := newClient(t, testkit.NewSystem(t, func(w *worker.Worker) { w.RateLimit = 2 }, nil))
	n, a := c.asks("/v1/whoami", 100)
	a.wantProblem(t, "too many", 429, "", "2 requests per second")
	if wait, err := strconv.Atoi(a.header.Get("Retry-After")); n != 20 || err != nil || wait < 1 {
		t.Errorf("%d requests passed, then Retry-After = %q, want 20, then at least 1 second", n, a.header.Get("Retry-After"))
	}
	c.get("/v1/sagas/unknown").wantProblem(t, "another operation", 429, "", "")
	for range 50 { // probes and Prometheus always get their answer
		if a := c.get("/readyz"); a.status != http.StatusOK {
			t.Fatalf("/readyz: status = %d, want %d: %s", a.status, http.StatusOK, a.body)
		}
	}
	if a := c.get("/openapi.json"); a.status != http.StatusOK {
		t.Errorf("/openapi.json: status = %d, want %d", a.status, http.StatusOK)
	}
}

// TestRateLimitIsPerClient: callers behind one address have separate limits, and guessed
// tokens do not use up the limit of a signed-in caller.
func TestRateLimitIsPerClient(t *testing.T) {
	c, issuer, _ := startClosed(t, func(w *worker.Worker) { w.RateLimit = 2 })
	bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
	if n, _ := c.asks("/v1/whoami", 100, bearer("guess")...); n != 20 {
		t.Errorf("%d requests with a guessed token passed, want 20", n)
	}
	c.get("/v1/whoami").wantProblem(t, "no token", 429, "", "")
	ann, bob := bearer(issuer.Token("viewer")), bearer(issuer.Token("operator"))
	if n, _ := c.asks("/v1/whoami", 100, ann...); n != 20 {
		t.Errorf("%d of ann's requests passed, want 20", n)
	}
	if a := c.do("GET", "/v1/whoami", "", bob...); a.status != http.StatusOK {
		t.Errorf("bob: status = %d, want %d: %s", a.status, http.StatusOK, a.body)
	}
}
