package activities_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

func TestChargePaymentChargesOnce(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.accept("o", "tok_flaky_1")
	h.do(workflows.ReserveStock, s)
	h.doFails(workflows.ChargePayment, s, "provider returned 503")
	h.wantStatus("o", order.StatusReserved)
	for range 2 {
		if out := h.do(workflows.ChargePayment, s); out.Stop != (saga.Stop{}) || out.State.ChargeID != "ch_charge-o" {
			t.Errorf("stop = %+v, charge = %q, want none and ch_charge-o", out.Stop, out.State.ChargeID)
		}
		if rec := h.wantStatus("o", order.StatusPaid); rec.ChargeID != "ch_charge-o" {
			t.Errorf("ChargeID = %q, want %q", rec.ChargeID, "ch_charge-o")
		}
	}
	list, _, err := h.payments.Charges(t.Context(), "", 10)
	if err != nil || len(list) != 1 || list[0].Amount != 200 {
		t.Errorf("charges = %+v, %v, want one over 200", list, err)
	}
}

// TestChargePaymentReadsTheTotalFromTheOrder: during a rolling update, a worker of the
// previous release may pass on an order with its lines only. The charge includes the
// shipping, tax and discount of the order's record.
func TestChargePaymentReadsTheTotalFromTheOrder(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := newState("o")
	o := s.Order
	o.Payment.Token, o.Shipping, o.Tax, o.Discount = "tok_ok", 490, 38, 100
	_, _, err := h.Store.Accept(t.Context(), o)
	require.NoError(h, err)
	h.do(workflows.ReserveStock, s)
	h.do(workflows.ChargePayment, s)
	list, _, err := h.payments.Charges(t.Context(), "", 10)
	if err != nil || len(list) != 1 || list[0].Amount != o.Total() {
		t.Errorf("charges = %+v, %v, want one over %d", list, err, o.Total())
	}
}

// TestChargePaymentAfterIdempotencyKeysExpire runs the step of sagas that are restarted
// days later: after a charge, after a charge whose response was lost, and after a refund.
func TestChargePaymentAfterIdempotencyKeysExpire(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.activities.KeyTTL = time.Nanosecond
	h.register()
	charged := h.paid("charged")
	lost := h.accept("lost", "tok_lost_always")
	h.do(workflows.ReserveStock, lost)
	h.doFails(workflows.ChargePayment, lost, "charge order lost")
	refunded := h.paid("refunded")
	external := h.accept("external", "tok_ok") // refunded in the provider's console
	h.do(workflows.ReserveStock, external)
	_, err := h.payments.Charge(t.Context(), payment.Charge{OrderID: "external", Amount: 200, Currency: "EUR", Token: "tok_ok"})
	require.NoError(h, err)
	_, err = h.payments.RefundCharge(t.Context(), payment.Entry{OrderID: "external", ID: "ch_charge-external", Amount: 200, Currency: "EUR"})
	require.NoError(h, err)
	undone := h.accept("undone", "tok_ok") // refunded before it was charged
	h.do(workflows.ReserveStock, undone)
	for range 2 {
		require.NoError(h, h.provider.ExpireKeys())
		for _, s := range []workflows.State{charged, lost} {
			if out := h.do(workflows.ChargePayment, s); out.Stop != (saga.Stop{}) || out.State.ChargeID != "ch_charge-"+s.Order.OrderID {
				t.Errorf("order %s: stop = %+v, charge = %q, want none and the first charge", s.Order.OrderID, out.Stop, out.State.ChargeID)
			}
		}
		for _, s := range []workflows.State{refunded, undone} {
			h.mustUndo(workflows.RefundPayment, s, order.StatusFailed, "why")
		}
		for _, s := range []workflows.State{external, undone} {
			h.wantFailed(workflows.ChargePayment, s, "voided")
		}
	}
	list, _, err := h.payments.Charges(t.Context(), "", 10)
	if err != nil || len(list) != 4 {
		t.Errorf("charges = %+v, %v, want 4", list, err)
	}
	for _, c := range list {
		want := c.OrderID == "refunded" || c.OrderID == "external"
		if c.Refunded != want {
			t.Errorf("charge of order %s: refunded = %v, want %v", c.OrderID, c.Refunded, want)
		}
	}
}

// TestOrderOfZeroIsNeitherChargedNorRefunded: providers may refuse a charge of 0.
func TestOrderOfZeroIsNeitherChargedNorRefunded(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := newState("o")
	s.Order.Lines[0].UnitPrice = 0
	o := s.Order
	o.Payment.Token = "tok_down"
	_, _, err := h.Store.Accept(t.Context(), o)
	require.NoError(h, err)
	h.do(workflows.ReserveStock, s)
	for range 2 {
		if out := h.do(workflows.ChargePayment, s); out.Stop != (saga.Stop{}) || out.State.ChargeID != "" {
			t.Errorf("stop = %+v, charge = %q, want none", out.Stop, out.State.ChargeID)
		}
	}
	h.wantStatus("o", order.StatusPaid)
	h.activities.Payments = nil
	require.NoError(h, h.activities.RefundPayment(t.Context(), s, saga.Stop{Status: "FAILED"}))
	if rec := h.wantStatus("o", order.StatusPaid); !rec.Refunding {
		t.Error("Refunding = false, want true: the order could still ship")
	}
}

func TestChargePaymentStopsWhenDeclinedOrVoided(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	declined := h.accept("declined", "tok_insufficient_funds")
	h.do(workflows.ReserveStock, declined)
	voided := h.accept("voided", "tok_ok")
	h.do(workflows.ReserveStock, voided)
	h.mustUndo(workflows.RefundPayment, voided, order.StatusFailed, "why")
	for range 2 {
		out := h.do(workflows.ChargePayment, declined)
		if out.Stop.Status != "DECLINED" || !strings.HasPrefix(out.Stop.Reason, "insufficient_funds: ") {
			t.Errorf("stop = %+v, want DECLINED for insufficient_funds", out.Stop)
		}
		h.wantFailed(workflows.ChargePayment, voided, "voided")
	}
	h.wantStatus("declined", order.StatusReserved) // ReleaseStock ends it
	h.wantStatus("voided", order.StatusReserved)
	h.wantNotified()
}

// TestChargePaymentFailsOnALedgerChargeOfAnotherAmount: a charge in the provider's
// ledger counts as the order's only if its amount is the order's total.
func TestChargePaymentFailsOnALedgerChargeOfAnotherAmount(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.activities.KeyTTL = time.Nanosecond
	h.register()
	for id, c := range map[string]payment.Charge{
		"less":  {OrderID: "less", Amount: 199, Currency: "EUR"},
		"other": {OrderID: "other", Amount: 200, Currency: "USD"},
	} {
		s := h.accept(id, "tok_ok")
		h.do(workflows.ReserveStock, s)
		h.chargeOutsideTheSaga(c)
		h.doFails(workflows.ChargePayment, s, ", want 2.00 EUR")
		h.wantStatus(id, order.StatusReserved)
	}
}

// TestDeclineIsNotFinalWhileTheLedgerHasACharge: otherwise the order would end as
// DECLINED and keep the customer's money.
func TestDeclineIsNotFinalWhileTheLedgerHasACharge(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.accept("o", "tok_declined")
	h.do(workflows.ReserveStock, s)
	h.chargeOutsideTheSaga(payment.Charge{OrderID: "o", Amount: 200, Currency: "EUR"})
	h.doFails(workflows.ChargePayment, s,
		"the provider's ledger has charge ch_charge-o, although the response is: charge order o: payment declined")
	h.wantStatus("o", order.StatusReserved)
	_, err := h.payments.Refund(t.Context(), payment.Entry{OrderID: "o"})
	require.NoError(h, err)
	if out := h.do(workflows.ChargePayment, s); out.Stop.Status != string(order.StatusDeclined) {
		t.Errorf("stop = %+v, want DECLINED", out.Stop)
	}
	// The refund was made outside the saga, so only this step can record it.
	rec, err := h.Store.Get(t.Context(), "o")
	require.NoError(h, err)
	if rec.RefundID != "re_charge-o" {
		t.Errorf("RefundID = %q, want re_charge-o", rec.RefundID)
	}
}

// TestChargePaymentRedactsTheTokenInResponses: a token that the provider's response
// quotes is neither in the result nor in the failure.
func TestChargePaymentRedactsTheTokenInResponses(t *testing.T) {
	t.Parallel()
	const token = "tok_4711secret"
	for what, answer := range map[string]struct {
		status int
		body   string
	}{
		"declined": {402, `{"code":"no_` + token + `","message":"` + strings.Repeat("x", 995) + ` ` + token + `"}`},
		"failed": {200, `{"id":"ch_1","status":"failed","orderId":"failed","amount":200,"currency":"EUR",` +
			`"code":"` + token + `","message":"of ` + token + `"}`},
		"broken": {500, `{"code":"x","message":"` + strings.Repeat("y", 495) + token + `"}`},
		"odd":    {200, `{"id":"ch_1","status":"` + token + `"}`},
		"twice":  {200, `{"id":"ch_1","id":"` + token + `"}`},
		"key":    {200, `{"id":"ch_1","` + token + `":1,"` + token + `":2}`},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				_, _ = w.Write([]byte(`{"charges":[]}`))
				return
			}
			w.WriteHeader(answer.status)
			_, _ = w.Write([]byte(answer.body))
		}))
		t.Cleanup(server.Close)
		h := newHarness(t)
		client := payment.New(payment.Options{URL: server.URL})
		t.Cleanup(client.Close)
		h.activities.Payments = client
		h.register()

		s := h.accept(what, token)
		h.do(workflows.ReserveStock, s)
		in, err := json.Marshal(s)
		require.NoError(h, err)
		result, failure := h.execute(workflows.ChargePayment, string(in))
		if result+failure == "" || strings.Contains(result+failure, token[:9]) {
			t.Errorf("response %q: result = %s, failure = %s, want one of them, without the token", what, result, failure)
		}
	}
}

// TestRetryAfterComesFirstInTheFailure: the failure of a charge or a refund begins with
// the provider's Retry-After, which the saga reads from it.
func TestRetryAfterComesFirstInTheFailure(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.accept("o", "tok_rate_limited_1")
	h.do(workflows.ReserveStock, s)
	in, err := json.Marshal(s)
	require.NoError(h, err)
	if _, failure := h.execute(workflows.ChargePayment, string(in)); !strings.HasPrefix(failure, "retry after 1s: ") {
		t.Errorf("charge: failure = %q, want the prefix \"retry after 1s: \"", failure)
	}
	h.do(workflows.ChargePayment, s)

	limited := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(limited.Close)
	payments := payment.New(payment.Options{URL: limited.URL})
	t.Cleanup(payments.Close)
	h.activities.Payments = payments
	h.register()
	if failure := h.undo(workflows.RefundPayment, s, order.StatusFailed, ""); !strings.HasPrefix(failure, "retry after 7s: ") {
		t.Errorf("refund: failure = %q, want the prefix \"retry after 7s: \"", failure)
	}
}
