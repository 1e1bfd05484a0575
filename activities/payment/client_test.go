package payment_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/paymentsim"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// provider starts a simulator, and returns it with a client of it.
func provider(t *testing.T, timeout time.Duration) (*payment.Client, *paymentsim.Provider) {
	t.Helper()
	p, err := paymentsim.Open(paymentsim.Options{Logger: zerolog.Nop()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return client(t, p.Handler(), timeout), p
}

func client(t *testing.T, h http.Handler, timeout time.Duration) *payment.Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	c := payment.New(payment.Options{URL: server.URL, Timeout: timeout})
	t.Cleanup(c.Close)
	return c
}

func of(id, token string) payment.Charge {
	return payment.Charge{OrderID: id, Amount: 500, Currency: "EUR", Token: token}
}

// count returns the number of charges of all orders, and how many are not refunded.
func count(t *testing.T, c *payment.Client) (charges, standing int) {
	t.Helper()
	list, _, err := c.Charges(t.Context(), "", 1000)
	require.NoError(t, err)
	for _, e := range list {
		if !e.Refunded {
			standing++
		}
	}
	return len(list), standing
}

func TestChargeAndRefundOnce(t *testing.T) {
	t.Parallel()
	c, _ := provider(t, 0)
	var ids []string
	for range 3 {
		id, err := c.Charge(t.Context(), of("o", "tok_ok"))
		require.NoError(t, err)
		ids = append(ids, id)
	}
	if ids[0] == "" || ids[0] != ids[1] || ids[0] != ids[2] {
		t.Errorf("repeated charges have the ids %v, want one id", ids)
	}
	if n, standing := count(t, c); n != 1 || standing != 1 {
		t.Errorf("%d charges, %d not refunded, want 1 and 1", n, standing)
	}
	for range 2 {
		if id, err := c.Refund(t.Context(), payment.Entry{OrderID: "o"}); err != nil || id != "re_charge-o" {
			t.Errorf("Refund = %q, %v, want re_charge-o", id, err)
		}
	}
	if n, standing := count(t, c); n != 1 || standing != 0 {
		t.Errorf("%d charges, %d not refunded, want 1 and 0", n, standing)
	}
}

func TestDeclinedAndVoidedChargesAreFinal(t *testing.T) {
	t.Parallel()
	c, _ := provider(t, 0)
	for token, code := range map[string]string{
		"tok_declined": "card_declined", "tok_insufficient_funds": "insufficient_funds", "tok_nonsense": "invalid_token",
	} {
		for range 2 {
			_, err := c.Charge(t.Context(), of(token, token))
			d, ok := errors.AsType[*payment.DeclinedError](err)
			if !ok || d.Code != code || d.Message == "" || !strings.Contains(err.Error(), token) { // the order's id is the token
				t.Errorf("Charge with %s: error = %v, want a DeclinedError with %s", token, err, code)
			}
		}
	}
	if id, err := c.Refund(t.Context(), payment.Entry{OrderID: "tok_declined"}); err != nil || id != "" {
		t.Errorf("Refund after a decline = %q, %v, want no id and no error", id, err)
	}
	if id, err := c.Refund(t.Context(), payment.Entry{OrderID: "never"}); err != nil || id != "" {
		t.Errorf("Refund without a charge = %q, %v, want no id and no error", id, err)
	}
	for range 2 {
		if _, err := c.Charge(t.Context(), of("never", "tok_ok")); !errors.Is(err, payment.ErrVoided) {
			t.Errorf("Charge after its refund: error = %v, want ErrVoided", err)
		}
	}
	if n, _ := count(t, c); n != 0 {
		t.Errorf("%d charges, want 0", n)
	}
}

// final reports whether the error of a charge is final.
func final(err error) bool {
	_, declined := errors.AsType[*payment.DeclinedError](err)
	return declined || errors.Is(err, payment.ErrVoided)
}

func TestUnknownOutcomesAreNotFinal(t *testing.T) {
	t.Parallel()
	c, p := provider(t, 500*time.Millisecond)
	for token, failures := range map[string]int{"tok_flaky_2": 2, "tok_rate_limited_1": 1, "tok_down": 1} {
		for range failures {
			_, err := c.Charge(t.Context(), of("order", token))
			if err == nil || final(err) || strings.Contains(err.Error(), "tok_") {
				t.Errorf("Charge with %s: error = %v, want one that is not final and without the token", token, err)
			}
		}
		p.Heal("")
		if _, err := c.Charge(t.Context(), of("order", token)); err != nil {
			t.Errorf("Charge with %s after the recovery: %v", token, err)
		}
		_, err := c.Refund(t.Context(), payment.Entry{OrderID: "order"})
		require.NoError(t, err)
		c, p = provider(t, 500*time.Millisecond) // an empty ledger, for the same order
	}
}

func TestTimeoutIsNotFinal(t *testing.T) {
	t.Parallel()
	c, _ := provider(t, 500*time.Millisecond)
	_, err := c.Charge(t.Context(), of("o", "tok_timeout"))
	if err == nil || final(err) {
		t.Errorf("Charge without a response: error = %v, want one that is not final", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Charge(ctx, of("o", "tok_ok")); !errors.Is(err, context.Canceled) {
		t.Errorf("Charge with a cancelled context: error = %v, want context.Canceled", err)
	}
	if id, err := c.Refund(t.Context(), payment.Entry{OrderID: "o"}); err != nil || id != "" {
		t.Errorf("Refund after the timeout = %q, %v, want no id and no error", id, err)
	}
	if n, _ := count(t, c); n != 0 {
		t.Errorf("%d charges, want 0", n)
	}
}

// TestRepeatedChargeReturnsTheOneWhoseResponseWasLost also checks that a refund refunds it.
func TestRepeatedChargeReturnsTheOneWhoseResponseWasLost(t *testing.T) {
	t.Parallel()
	c, _ := provider(t, 0)
	if _, err := c.Charge(t.Context(), of("o", "tok_lost_response")); err == nil || final(err) {
		t.Errorf("Charge with a lost response: error = %v, want one that is not final", err)
	}
	if id, err := c.Charge(t.Context(), of("o", "tok_lost_response")); err != nil || id != "ch_charge-o" {
		t.Errorf("repeated Charge = %q, %v, want ch_charge-o", id, err)
	}
	for range 3 {
		if _, err := c.Charge(t.Context(), of("p", "tok_lost_always")); err == nil || final(err) {
			t.Errorf("Charge with a lost response: error = %v, want one that is not final", err)
		}
	}
	if n, standing := count(t, c); n != 2 || standing != 2 {
		t.Errorf("%d charges, %d not refunded, want 2 and 2", n, standing)
	}
	if id, err := c.Refund(t.Context(), payment.Entry{OrderID: "p"}); err != nil || id != "re_charge-p" {
		t.Errorf("Refund = %q, %v, want re_charge-p", id, err)
	}
	if n, standing := count(t, c); n != 2 || standing != 1 {
		t.Errorf("%d charges, %d not refunded, want 2 and 1", n, standing)
	}
}

// TestRefundAfterKeysExpired: a refund finds all charges in the ledger.
func TestRefundAfterKeysExpired(t *testing.T) {
	t.Parallel()
	c, p := provider(t, 0)
	for range 2 {
		_, err := c.Charge(t.Context(), of("o", "tok_ok"))
		require.NoError(t, err)
		_, err = c.Charge(t.Context(), of("p", "tok_ok"))
		require.NoError(t, err)
		require.NoError(t, p.ExpireKeys())
	}
	if list, err := c.ChargesOf(t.Context(), "o"); err != nil || len(list) != 2 || list[0].OrderID != "o" || list[0].ID == list[1].ID {
		t.Errorf("ChargesOf = %+v, %v, want two different charges", list, err)
	}
	if id, err := c.RefundCharge(t.Context(), payment.Entry{OrderID: "p", ID: "ch_charge-p", Amount: 500, Currency: "EUR"}); err != nil ||
		id != "re_charge-p" {
		t.Errorf("RefundCharge = %q, %v, want re_charge-p", id, err)
	}
	if n, standing := count(t, c); n != 4 || standing != 3 {
		t.Errorf("%d charges, %d not refunded, want 4 and 3", n, standing)
	}
	for range 2 {
		if id, err := c.Refund(t.Context(), payment.Entry{OrderID: "o"}); err != nil || id != "re_charge-o" {
			t.Errorf("Refund = %q, %v, want re_charge-o", id, err)
		}
		require.NoError(t, p.ExpireKeys())
	}
	if n, standing := count(t, c); n != 4 || standing != 1 {
		t.Errorf("%d charges, %d not refunded, want 4 and 1", n, standing)
	}
}

func TestRefundAfterRecovery(t *testing.T) {
	t.Parallel()
	c, p := provider(t, 0)
	_, err := c.Charge(t.Context(), of("o", "tok_refund_down"))
	require.NoError(t, err)
	if _, err := c.Refund(t.Context(), payment.Entry{OrderID: "o"}); err == nil ||
		!strings.Contains(err.Error(), "refund order o: provider returned 503") {
		t.Errorf("Refund while refunds are down: error = %v, want status 503", err)
	}
	p.Heal("tok_refund_down")
	if id, err := c.Refund(t.Context(), payment.Entry{OrderID: "o"}); err != nil || id == "" {
		t.Errorf("Refund after the recovery = %q, %v, want an id", id, err)
	}
}

func TestChargesReturnsAllPages(t *testing.T) {
	t.Parallel()
	c, _ := provider(t, 0)
	for n := range 25 {
		_, err := c.Charge(t.Context(), of(fmt.Sprint("o", n), "tok_ok"))
		require.NoError(t, err)
	}
	seen := map[string]int64{}
	for cursor := ""; ; {
		list, next, err := c.Charges(t.Context(), cursor, 10)
		require.NoError(t, err)
		for _, e := range list {
			seen[e.OrderID] += e.Amount
		}
		cursor = next
		if cursor == "" {
			break
		}
	}
	if len(seen) != 25 || seen["o24"] != 500 {
		t.Errorf("amounts by order = %v, want 25 orders of 500", seen)
	}
}

// TestResponsesOfProxiesAreNotFinal: a response that is not the provider's must not be final.
func TestResponsesOfProxiesAreNotFinal(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.HandlerFunc{
		"200, not JSON": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"502, not JSON": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprint(w, "<html>")
		},
		"404": http.NotFound,
		"409, other": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `{"code":"idempotency_mismatch"}`)
		},
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{"id":`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := client(t, h, 0)
			if id, err := c.Charge(t.Context(), of("o", "tok_ok")); err == nil || final(err) || id != "" || strings.Contains(err.Error(), "tok_ok") {
				t.Errorf("Charge = %q, %v, want an error that is not final and without the token", id, err)
			}
			if id, err := c.Refund(t.Context(), payment.Entry{OrderID: "o"}); err == nil || id != "" {
				t.Errorf("Refund = %q, %v, want an error", id, err)
			}
			if _, _, err := c.Charges(t.Context(), "", 1); err == nil {
				t.Error("Charges returned no error, want one")
			}
		})
	}
	if _, err := payment.New(payment.Options{URL: "http://127.0.0.1:1"}).Charge(t.Context(), of("o", "tok_ok")); err == nil || final(err) {
		t.Errorf("Charge without a server: error = %v, want one that is not final", err)
	}
	if _, err := payment.New(payment.Options{URL: ":"}).Charge(t.Context(), of("o", "tok_ok")); err == nil || final(err) {
		t.Errorf("Charge with an invalid URL: error = %v, want one that is not final", err)
	}
}

// ledger returns what it has.
type ledger struct {
	entries []payment.Entry
	err     error
}

func (l ledger) ChargesOf(context.Context, string) ([]payment.Entry, error) { return l.entries, l.err }

// TestFindCharge: a record that was lost gets the id of a charge only if it is certain.
func TestFindCharge(t *testing.T) {
	t.Parallel()
	o := order.Order{Currency: "EUR", Lines: []order.Line{{SKU: "A", Quantity: 1, UnitPrice: 100}}}
	charge := payment.Entry{ID: "ch-1", Amount: 100, Currency: "EUR"}
	refunded, other, dollars := charge, charge, charge
	refunded.ID, refunded.Refunded = "ch-0", true
	other.ID, other.Amount = "ch-2", 101
	dollars.Currency = "USD"
	for name, c := range map[string]struct {
		entries     []payment.Entry
		known, want string
	}{
		"one":                        {[]payment.Entry{charge}, "", "ch-1"},
		"one, and one was refunded":  {[]payment.Entry{refunded, charge}, "", "ch-1"},
		"none":                       {nil, "", ""},
		"it was refunded":            {[]payment.Entry{refunded}, "", ""},
		"two":                        {[]payment.Entry{charge, other}, "", ""},
		"two, and one is known":      {[]payment.Entry{charge, other}, "ch-1", "ch-1"},
		"the known one was refunded": {[]payment.Entry{refunded, charge}, "ch-0", ""},
		"over another amount":        {[]payment.Entry{other}, "", ""},
		"in another currency":        {[]payment.Entry{dollars}, "", ""},
	} {
		if id, err := payment.FindCharge(t.Context(), ledger{entries: c.entries}, o, c.known); id != c.want || err != nil {
			t.Errorf("%s: FindCharge = %q, %v, want %q", name, id, err, c.want)
		}
	}
	down := errors.New("down")
	if id, err := payment.FindCharge(t.Context(), ledger{err: down}, o, "ch-1"); id != "" || !errors.Is(err, down) {
		t.Errorf("FindCharge without an answer = %q, %v, want %v", id, err, down)
	}
}
