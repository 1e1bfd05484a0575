package payment_test

import (
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/paymentsim"
)

// BenchmarkCharge is one charge over loopback, the simulator's work included.
func BenchmarkCharge(b *testing.B) {
	p, err := paymentsim.Open(paymentsim.Options{Logger: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = p.Close() }() // it keeps nothing
	server := httptest.NewServer(p.Handler())
	defer server.Close()
	c := payment.New(payment.Options{URL: server.URL, Timeout: 10 * time.Second})
	defer c.Close()
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if _, err := c.Charge(b.Context(), of("o-"+strconv.Itoa(n), "tok_ok")); err != nil {
			b.Fatal(err)
		}
	}
}
