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
)

// guarded is a client with a breaker, of the simulator behind a door that
// counts and can be shut.
func guarded(t *testing.T, open time.Duration) (c *payment.Client, calls *atomic.Int32, shut *atomic.Bool) {
	t.Helper()
	p, err := paymentsim.Open(paymentsim.Options{Logger: zerolog.Nop()})
	must(t, err)
	t.Cleanup(func() { must(t, p.Close()) })
	calls, shut = new(atomic.Int32), new(atomic.Bool)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if shut.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		p.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	c = payment.New(payment.Options{URL: server.URL, Breaker: payment.Breaker{Failures: 3, Open: open}})
	t.Cleanup(c.Close)
	return c, calls, shut
}

// TestDeclinesDoNotTrip: however many bad cards come in a row, good ones are
// charged.
func TestDeclinesDoNotTrip(t *testing.T) {
	c, _, _ := guarded(t, time.Hour)
	for range 20 {
		if _, err := c.Charge(t.Context(), of("bad", "tok_declined")); !final(err) {
			t.Fatal(err)
		}
	}
	_, err := c.Charge(t.Context(), of("good", "tok_ok"))
	must(t, err)
}

// TestBreaker: a provider that is down is left alone for a while, and refunds
// are another matter than charges. A decline shows that it is up again.
func TestBreaker(t *testing.T) {
	c, calls, shut := guarded(t, 200*time.Millisecond)
	shut.Store(true)
	for range 3 {
		if _, err := c.Charge(t.Context(), of("o", "tok_ok")); err == nil || !strings.Contains(err.Error(), "provider answered 502") {
			t.Fatal(err)
		}
	}
	if _, err := c.Charge(t.Context(), of("o", "tok_ok")); err == nil || final(err) || !strings.Contains(err.Error(), "charge order o: the provider fails and is left alone") {
		t.Error(err)
	}
	if n := calls.Load(); n != 3 {
		t.Errorf("%d calls", n)
	}
	shut.Store(false)
	if _, err := c.Refund(t.Context(), payment.Entry{OrderID: "another"}); err != nil {
		t.Error(err)
	}
	for late := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, err := c.Charge(t.Context(), of("bad", "tok_declined"))
		if final(err) {
			break
		}
		if time.Now().After(late) {
			t.Fatal(err)
		}
	}
	for range 3 {
		_, err := c.Charge(t.Context(), of("o", "tok_ok"))
		must(t, err)
	}
}
