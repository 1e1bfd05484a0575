package payment_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/paymentsim"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestInstallationsWithOneAccount: installations with the same order ids neither list nor refund
// each other's charges.
func TestInstallationsWithOneAccount(t *testing.T) {
	t.Parallel()
	p, err := paymentsim.Open(paymentsim.Options{Logger: zerolog.Nop()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	server := httptest.NewServer(p.Handler())
	t.Cleanup(server.Close)
	names := []payment.Installation{"", "staging", "staging-2", "production"}
	clients := map[payment.Installation]*payment.Client{}
	made := map[payment.Installation]payment.Entry{}
	for i, name := range names {
		require.NoError(t, name.Validate())
		c := payment.New(payment.Options{URL: server.URL, Installation: name})
		t.Cleanup(c.Close)
		clients[name] = c
		charge := payment.Charge{OrderID: "o-1", Amount: int64(100 + i), Currency: "EUR", Token: "tok_ok"}
		e := payment.Entry{OrderID: "o-1", Amount: charge.Amount, Currency: "EUR"}
		for range 2 { // the second returns the first
			e.ID, err = c.Charge(t.Context(), charge)
			require.NoError(t, err)
		}
		made[name] = e
	}
	standing := func(name payment.Installation) (all []payment.Entry) {
		t.Helper()
		one, err := clients[name].ChargesOf(t.Context(), "o-1")
		require.NoError(t, err)
		every, _, err := clients[name].Charges(t.Context(), "", 1000)
		require.NoError(t, err)
		var since []payment.Entry
		for page, err := range clients[name].ChargesSince(t.Context(), time.Time{}) {
			require.NoError(t, err)
			since = append(since, page...)
		}
		if !slices.Equal(one, every) || !slices.Equal(one, since) {
			t.Errorf("%q: ChargesOf = %+v, Charges = %+v, ChargesSince = %+v, want the same", name, one, every, since)
		}
		return slices.DeleteFunc(one, func(e payment.Entry) bool { return e.Refunded })
	}
	for _, name := range names {
		got := standing(name)
		if len(got) != 1 || got[0].ID != made[name].ID || got[0].Amount != made[name].Amount || got[0].OrderID != "o-1" {
			t.Errorf("installation %q has the charges %+v, want %+v", name, got, made[name])
		}
	}
	_, err = clients["staging"].Refund(t.Context(), made["staging"])
	require.NoError(t, err)
	_, err = clients["staging-2"].RefundCharge(t.Context(), made["staging-2"])
	require.NoError(t, err)
	for name, want := range map[payment.Installation]int{"": 1, "staging": 0, "staging-2": 0, "production": 1} {
		if got := standing(name); len(got) != want {
			t.Errorf("installation %q has the charges %+v, want %d that are not refunded", name, got, want)
		}
	}
}

// TestRequestsWithoutInstallation: requests are byte for byte those of releases without
// installations, so that the charges of these are found.
func TestRequestsWithoutInstallation(t *testing.T) {
	t.Parallel()
	p, err := paymentsim.Open(paymentsim.Options{Logger: zerolog.Nop()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	var sent []string
	c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		sent = append(sent, fmt.Sprintf("%s %s %s %s", r.Method, r.URL, r.Header.Get("Idempotency-Key"), body))
		p.Handler().ServeHTTP(w, r)
	}), 0)
	_, err = c.Charge(t.Context(), of("o-1", "tok_ok"))
	require.NoError(t, err)
	_, err = c.Refund(t.Context(), payment.Entry{OrderID: "o-1"})
	require.NoError(t, err)
	_, err = c.RefundCharge(t.Context(), payment.Entry{ID: "ch_charge-o-1", OrderID: "o-1", Amount: 500, Currency: "EUR"})
	require.NoError(t, err)
	want := []string{
		`POST /v1/charges charge-o-1 {"orderId":"o-1","amount":500,"currency":"EUR","token":"tok_ok"}`,
		`POST /v1/refunds refund-o-1 {"orderId":"o-1","chargeKey":"charge-o-1"}`,
		`GET /v1/charges?limit=1000&orderId=o-1  `,
		`POST /v1/refunds refund-ch_charge-o-1 {"orderId":"o-1","chargeId":"ch_charge-o-1"}`,
	}
	if !slices.Equal(sent, want) {
		t.Errorf("requests = %s, want %s", strings.Join(sent, "\n"), strings.Join(want, "\n"))
	}
}

func TestValidateAcceptsShortLowerCaseInstallations(t *testing.T) {
	t.Parallel()
	for name, ok := range map[payment.Installation]bool{
		"": true, "staging": true, "eu-1": true, payment.Installation(strings.Repeat("a", 32)): true,
		payment.Installation(strings.Repeat("a", 33)): false, "Staging": false, "a:b": false, "a.b": false, "a b": false, "ä": false,
		"a\n": false,
	} {
		if err := name.Validate(); (err == nil) != ok {
			t.Errorf("Validate of %q = %v, want valid = %v", name, err, ok)
		}
	}
}
