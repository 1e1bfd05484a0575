package payment_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/paymentsim"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// clientWithBreaker returns a client with a circuit breaker, of a simulator behind a proxy. The
// proxy counts requests, and fails them while down is set.
func clientWithBreaker(t *testing.T, open time.Duration) (c *payment.Client, calls *atomic.Int32, down *atomic.Bool) {
	t.Helper()
	p, err := paymentsim.Open(paymentsim.Options{Logger: zerolog.Nop()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	calls, down = new(atomic.Int32), new(atomic.Bool)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		p.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	c = payment.New(payment.Options{URL: server.URL, Breaker: payment.Breaker{Failures: 3, Open: open}})
	t.Cleanup(c.Close)
	return c, calls, down
}

// TestDeclinesDoNotOpenTheBreaker: good cards are charged after any number of declines.
func TestDeclinesDoNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	c, _, _ := clientWithBreaker(t, time.Hour)
	for range 20 {
		if _, err := c.Charge(t.Context(), of("bad", "tok_declined")); !final(err) {
			t.Fatalf("Charge with a bad card: error = %v, want a final one", err)
		}
	}
	_, err := c.Charge(t.Context(), of("good", "tok_ok"))
	require.NoError(t, err)
}

// TestBreakerOpensAndCloses: an open breaker rejects charges without a request, and does not
// affect refunds. A decline closes it.
func TestBreakerOpensAndCloses(t *testing.T) {
	t.Parallel()
	c, calls, down := clientWithBreaker(t, 200*time.Millisecond)
	down.Store(true)
	for range 3 {
		if _, err := c.Charge(t.Context(), of("o", "tok_ok")); err == nil || !strings.Contains(err.Error(), "provider returned 502") {
			t.Fatalf("Charge while the provider is down: error = %v, want status 502", err)
		}
	}
	if _, err := c.Charge(t.Context(), of("o", "tok_ok")); err == nil || final(err) ||
		!strings.Contains(err.Error(), "charge order o: the provider keeps failing") {
		t.Errorf("Charge with an open breaker: error = %v, want the breaker's", err)
	}
	if n := calls.Load(); n != 3 {
		t.Errorf("the provider received %d requests, want 3", n)
	}
	down.Store(false)
	if _, err := c.Refund(t.Context(), payment.Entry{OrderID: "another"}); err != nil {
		t.Errorf("Refund while the breaker of charges is open: %v", err)
	}
	for late := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, err := c.Charge(t.Context(), of("bad", "tok_declined"))
		if final(err) {
			break
		}
		if time.Now().After(late) {
			t.Fatalf("Charge 10 s after the recovery: error = %v, want a decline", err)
		}
	}
	for range 3 {
		_, err := c.Charge(t.Context(), of("o", "tok_ok"))
		require.NoError(t, err)
	}
}
