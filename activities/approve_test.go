package activities_test

import (
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
)

// TestSettleApprovalFollowsTheFirstRecordedDecision: the first decision in the order's
// record counts, whatever signal the saga received and however often the step runs.
func TestSettleApprovalFollowsTheFirstRecordedDecision(t *testing.T) {
	t.Parallel()
	approved, refused := &workflows.Approval{Approved: true, By: "eve"}, &workflows.Approval{By: "eve", Note: "mine"}
	const late = "nobody approved it within 1h0m0s"
	decide := func(d orderstore.Decision, action string) func(*harness, string) error {
		return func(h *harness, id string) error {
			return h.Store.Decide(h.Context(), id, d, orderstore.Note{Actor: "ann", Action: action, Text: "why"})
		}
	}
	cancel := func(h *harness, id string) error {
		return h.Store.RequestCancel(h.Context(), id, orderstore.Note{Actor: "ann", Action: orderstore.NoteCancel, Text: "why"})
	}
	for name, c := range map[string]struct {
		before   func(*harness, string) error
		signal   *workflows.Approval // the saga received; nil: it timed out
		want     string              // reason of the stop; "": the saga continues
		recorded orderstore.Decision
	}{
		"approved":                 {nil, approved, "", orderstore.Approved},
		"refused":                  {nil, refused, "approval refused by eve: mine", orderstore.Rejected},
		"expired":                  {nil, nil, late, orderstore.Expired},
		"approved, signal lost":    {decide(orderstore.Approved, "approve"), nil, "", orderstore.Approved},
		"rejected, signal lost":    {decide(orderstore.Rejected, "reject"), nil, "approval refused by ann: why", orderstore.Rejected},
		"cancelled, signal lost":   {cancel, nil, "cancelled by ann: why", ""},
		"approved too late":        {decide(orderstore.Expired, "expire"), approved, "why", orderstore.Expired},
		"rejected, then approved":  {decide(orderstore.Rejected, "reject"), approved, "approval refused by ann: why", orderstore.Rejected},
		"approved, then refused":   {decide(orderstore.Approved, "approve"), refused, "", orderstore.Approved},
		"cancelled, then approved": {cancel, approved, "cancelled by ann: why", ""},
		"ended by the reconciler": {func(h *harness, id string) error {
			return h.Store.Release(h.Context(), id, order.StatusFailed, "by the reconciler")
		}, approved, "the order had ended before", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			s := h.accept("o", "tok_ok")
			s.Terms.ApprovalAbove, s.Terms.ApprovalTimeout = 1, time.Hour
			h.do(workflows.ReserveStock, s)
			if c.before != nil {
				require.NoError(h, c.before(h, s.Order.OrderID))
			}
			s.Approval = c.signal
			for range 2 {
				if out := h.do(workflows.SettleApproval, s); out.Stop.Reason != c.want || out.State.Approved != (c.want == "") {
					t.Errorf("stop = %+v, approved = %v, want the reason %q and approved = %v", out.Stop, out.State.Approved, c.want, c.want == "")
				}
			}
			rec, err := h.Store.Get(t.Context(), s.Order.OrderID)
			if err != nil || rec.Decision != c.recorded {
				t.Errorf("recorded decision = %q, %v, want %q", rec.Decision, err, c.recorded)
			}
			// A restarted saga does not ask for the approval again.
			again := h.do(workflows.ReserveStock, s).State
			decided, approved := c.recorded != "", c.recorded == orderstore.Approved
			if !rec.Status.Terminal() && (again.Decided != decided || again.Approved != approved) {
				t.Errorf("restarted saga: decided = %v, approved = %v, want %v, %v", again.Decided, again.Approved, decided, approved)
			}
		})
	}
}

// TestChargeIsRefusedWithoutApproval: no step charges or ships an order whose approval
// was refused or has expired, even if a saga of an older version continues. If the
// order was charged before the decision, the step fails and is retried.
func TestChargeIsRefusedWithoutApproval(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.SetStock(t, map[string]int64{"A": 100})
	for _, c := range []struct {
		decision     orderstore.Decision
		action, want string
	}{
		{orderstore.Rejected, orderstore.NoteReject, "CANCELLED: approval refused by ann: why"},
		{orderstore.Expired, orderstore.NoteExpire, "CANCELLED: why"},
	} {
		waiting := func(id string) workflows.State {
			s := h.accept(id, "tok_ok")
			s.Terms.ApprovalAbove = 1
			h.do(workflows.ReserveStock, s)
			return s
		}
		decide := func(id string) {
			require.NoError(h, h.Store.Decide(t.Context(), id, c.decision, orderstore.Note{Actor: "ann", Action: c.action, Text: "why"}))
		}
		never := waiting("never-" + c.action)
		decide(never.Order.OrderID)
		for range 2 {
			if out := h.do(workflows.ChargePayment, never); out.Stop.Error() != c.want {
				t.Errorf("charge of an order that is %s: stop = %q, want %q", c.decision, out.Stop.Error(), c.want)
			}
		}
		if charges, err := h.payments.ChargesOf(t.Context(), never.Order.OrderID); err != nil || len(charges) != 0 {
			t.Errorf("charges of an order that is %s = %+v, %v, want none", c.decision, charges, err)
		}
		h.wantStatus(never.Order.OrderID, order.StatusAwaitingApproval)

		meanwhile := waiting("meanwhile-" + c.action)
		h.chargeOutsideTheSaga(payment.Charge{OrderID: meanwhile.Order.OrderID, Amount: 200, Currency: "EUR"})
		decide(meanwhile.Order.OrderID)
		h.doFails(workflows.ChargePayment, meanwhile, ", although the response is: "+c.want)
		h.mustUndo(workflows.RefundPayment, meanwhile, order.StatusFailed, "why")
	}
}

// TestNeedForApprovalIsDecidedWhenStockIsReserved: the terms of a restarted saga do not
// change it.
func TestNeedForApprovalIsDecidedWhenStockIsReserved(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	first := func(id string, above int64) workflows.State {
		s := h.accept(id, "tok_ok")
		s.Terms.ApprovalAbove = above
		if out := h.do(workflows.ReserveStock, s); out.State.Asks || out.State.Approved || out.State.Decided {
			t.Errorf("order %s: state = %+v, want neither asked nor decided", id, out.State)
		}
		return s
	}
	s := first("waits", 1)
	s.Terms.ApprovalAbove = 0
	if out := h.do(workflows.ReserveStock, s); !out.State.NeedsApproval() {
		t.Errorf("state = %+v, want one that still needs an approval", out.State)
	}
	s = first("does-not", 0)
	s.Terms.ApprovalAbove = 1
	for range 2 {
		if out := h.do(workflows.ReserveStock, s); !out.State.Approved {
			t.Errorf("state = %+v, want one that needs no approval", out.State)
		}
		h.do(workflows.ChargePayment, s)
	}
	h.wantStatus("does-not", order.StatusPaid)
}
