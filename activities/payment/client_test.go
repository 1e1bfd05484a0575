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
	"github.com/ordersaga/ordersaga/internal/paymentsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// provider runs the simulator and a client of it.
func provider(t *testing.T, timeout time.Duration) (*payment.Client, *paymentsim.Provider) {
	t.Helper()
	p, err := paymentsim.Open(paymentsim.Options{Logger: zerolog.Nop()})
	must(t, err)
	t.Cleanup(func() { must(t, p.Close()) })
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

// kept counts the charges of all orders, and those that stand.
func kept(t *testing.T, c *payment.Client) (charges, standing int) {
	t.Helper()
	list, _, err := c.Charges(t.Context(), "", 1000)
	must(t, err)
	for _, e := range list {
		if !e.Refunded {
			standing++
		}
	}
	return len(list), standing
}

func TestChargeAndRefundOnce(t *testing.T) {
	c, _ := provider(t, 0)
	var ids []string
	for range 3 {
		id, err := c.Charge(t.Context(), of("o", "tok_ok"))
		must(t, err)
		ids = append(ids, id)
	}
	if ids[0] == "" || ids[0] != ids[1] || ids[0] != ids[2] {
		t.Errorf("charges %v", ids)
	}
	if n, standing := kept(t, c); n != 1 || standing != 1 {
		t.Errorf("%d charges, %d stand", n, standing)
	}
	for range 2 {
		if id, err := c.Refund(t.Context(), payment.Entry{OrderID: "o"}); err != nil || id != "re_charge-o" {
			t.Errorf("%s %v", id, err)
		}
	}
	if n, standing := kept(t, c); n != 1 || standing != 0 {
		t.Errorf("%d charges, %d stand", n, standing)
	}
}

func TestFinalAnswers(t *testing.T) {
	c, _ := provider(t, 0)
	for token, code := range map[string]string{
		"tok_declined": "card_declined", "tok_insufficient_funds": "insufficient_funds", "tok_nonsense": "invalid_token",
	} {
		for range 2 {
			_, err := c.Charge(t.Context(), of(token, token))
			if d, ok := errors.AsType[*payment.Declined](err); !ok || d.Code != code || d.Message == "" || !strings.Contains(err.Error(), token) {
				t.Errorf("%s: %v", token, err) // the order has the token's name here
			}
		}
	}
	if id, err := c.Refund(t.Context(), payment.Entry{OrderID: "tok_declined"}); err != nil || id != "" {
		t.Errorf("refund of what was declined: %q %v", id, err)
	}
	if id, err := c.Refund(t.Context(), payment.Entry{OrderID: "never"}); err != nil || id != "" {
		t.Errorf("refund of what was not charged: %q %v", id, err)
	}
	for range 2 {
		if _, err := c.Charge(t.Context(), of("never", "tok_ok")); !errors.Is(err, payment.ErrVoided) {
			t.Errorf("charge after its refund: %v", err)
		}
	}
	if n, _ := kept(t, c); n != 0 {
		t.Errorf("%d charges", n)
	}
}

// final reports whether an error ends the matter.
func final(err error) bool {
	_, declined := errors.AsType[*payment.Declined](err)
	return declined || errors.Is(err, payment.ErrVoided)
}

func TestUnknownOutcomesAreNotFinal(t *testing.T) {
	c, p := provider(t, 50*time.Millisecond)
	for token, failures := range map[string]int{"tok_flaky_2": 2, "tok_rate_limited_1": 1, "tok_down": 1} {
		for range failures {
			_, err := c.Charge(t.Context(), of("order", token))
			if err == nil || final(err) || strings.Contains(err.Error(), "tok_") {
				t.Errorf("%s: %v", token, err)
			}
		}
		p.Heal("")
		if _, err := c.Charge(t.Context(), of("order", token)); err != nil {
			t.Errorf("%s, healed: %v", token, err)
		}
		_, err := c.Refund(t.Context(), payment.Entry{OrderID: "order"})
		must(t, err)
		c, p = provider(t, 50*time.Millisecond) // a new book, for the same order
	}
}

func TestNoAnswerInTime(t *testing.T) {
	c, _ := provider(t, 50*time.Millisecond)
	_, err := c.Charge(t.Context(), of("o", "tok_timeout"))
	if err == nil || final(err) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Charge(ctx, of("o", "tok_ok")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if id, err := c.Refund(t.Context(), payment.Entry{OrderID: "o"}); err != nil || id != "" {
		t.Errorf("%q %v", id, err)
	}
	if n, _ := kept(t, c); n != 0 {
		t.Errorf("%d charges", n)
	}
}

// TestLostAnswers charges and does not say so: asking again finds the charge,
// and so does the refund when nobody can ask.
func TestLostAnswers(t *testing.T) {
	c, _ := provider(t, 0)
	if _, err := c.Charge(t.Context(), of("o", "tok_lost_response")); err == nil || final(err) {
		t.Errorf("%v", err)
	}
	if id, err := c.Charge(t.Context(), of("o", "tok_lost_response")); err != nil || id != "ch_charge-o" {
		t.Errorf("%s %v", id, err)
	}
	for range 3 {
		if _, err := c.Charge(t.Context(), of("p", "tok_lost_always")); err == nil || final(err) {
			t.Errorf("%v", err)
		}
	}
	if n, standing := kept(t, c); n != 2 || standing != 2 {
		t.Errorf("%d charges, %d stand", n, standing)
	}
	if id, err := c.Refund(t.Context(), payment.Entry{OrderID: "p"}); err != nil || id != "re_charge-p" {
		t.Errorf("%s %v", id, err)
	}
	if n, standing := kept(t, c); n != 2 || standing != 1 {
		t.Errorf("%d charges, %d stand", n, standing)
	}
}

// TestKeysThatAreForgotten: refunds find what was charged all the same, and all
// of it.
func TestKeysThatAreForgotten(t *testing.T) {
	c, p := provider(t, 0)
	for range 2 {
		_, err := c.Charge(t.Context(), of("o", "tok_ok"))
		must(t, err)
		_, err = c.Charge(t.Context(), of("p", "tok_ok"))
		must(t, err)
		must(t, p.Forget())
	}
	if list, err := c.Of(t.Context(), "o"); err != nil || len(list) != 2 || list[0].OrderID != "o" || list[0].ID == list[1].ID {
		t.Errorf("%+v %v", list, err)
	}
	if id, err := c.RefundCharge(t.Context(), payment.Entry{OrderID: "p", ID: "ch_charge-p", Amount: 500, Currency: "EUR"}); err != nil || id != "re_charge-p" {
		t.Errorf("%q %v", id, err)
	}
	if n, standing := kept(t, c); n != 4 || standing != 3 {
		t.Errorf("%d charges, %d stand", n, standing)
	}
	for range 2 {
		if id, err := c.Refund(t.Context(), payment.Entry{OrderID: "o"}); err != nil || id != "re_charge-o" {
			t.Errorf("%q %v", id, err)
		}
		must(t, p.Forget())
	}
	if n, standing := kept(t, c); n != 4 || standing != 1 {
		t.Errorf("%d charges, %d stand", n, standing)
	}
}

func TestRefundsThatAreDown(t *testing.T) {
	c, p := provider(t, 0)
	_, err := c.Charge(t.Context(), of("o", "tok_refund_down"))
	must(t, err)
	if _, err := c.Refund(t.Context(), payment.Entry{OrderID: "o"}); err == nil || !strings.Contains(err.Error(), "refund order o: provider answered 503") {
		t.Errorf("%v", err)
	}
	p.Heal("tok_refund_down")
	if id, err := c.Refund(t.Context(), payment.Entry{OrderID: "o"}); err != nil || id == "" {
		t.Errorf("%q %v", id, err)
	}
}

func TestChargesPage(t *testing.T) {
	c, _ := provider(t, 0)
	for n := range 25 {
		_, err := c.Charge(t.Context(), of(fmt.Sprint("o", n), "tok_ok"))
		must(t, err)
	}
	seen := map[string]int64{}
	for cursor := ""; ; {
		list, next, err := c.Charges(t.Context(), cursor, 10)
		must(t, err)
		for _, e := range list {
			seen[e.OrderID] += e.Amount
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	if len(seen) != 25 || seen["o24"] != 500 {
		t.Errorf("%v", seen)
	}
}

// TestAnswersOfNoProvider is what proxies and misconfiguration answer: nothing
// that is not the provider's word may end the matter.
func TestAnswersOfNoProvider(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"200, not JSON": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"502, not JSON": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502); fmt.Fprint(w, "<html>") },
		"404":           http.NotFound,
		"409, other": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(409)
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
				t.Errorf("charge: %q %v", id, err)
			}
			if id, err := c.Refund(t.Context(), payment.Entry{OrderID: "o"}); err == nil || id != "" {
				t.Errorf("refund: %q %v", id, err)
			}
			if _, _, err := c.Charges(t.Context(), "", 1); err == nil {
				t.Error("list: no error")
			}
		})
	}
	if _, err := payment.New(payment.Options{URL: "http://127.0.0.1:1"}).Charge(t.Context(), of("o", "tok_ok")); err == nil || final(err) {
		t.Errorf("nobody there: %v", err)
	}
	if _, err := payment.New(payment.Options{URL: ":"}).Charge(t.Context(), of("o", "tok_ok")); err == nil || final(err) {
		t.Errorf("no URL: %v", err)
	}
}
