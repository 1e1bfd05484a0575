package activities_test

import (
	"testing"

	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

func TestReserveStockReservesOnceAndAwaitsApproval(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.accept("o", "tok_ok")
	for range 2 {
		h.wantStop(workflows.ReserveStock, s, saga.Stop{})
		h.wantStatus("o", order.StatusReserved)
		h.wantStock(8, 2, 0)
	}

	big := h.accept("big", "tok_ok")
	big.Terms.ApprovalAbove = 199
	h.do(workflows.ReserveStock, big)
	h.wantStatus("big", order.StatusAwaitingApproval)
	h.wantNotified()
}

// TestReserveStockAcceptsAnOrderThatIntakeHasNotSeen: a durable-task client can start
// a saga on Dapr without intake.
func TestReserveStockAcceptsAnOrderThatIntakeHasNotSeen(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := newState("o")
	s.Order.Payment.Token = "tok_ok"
	for range 2 {
		h.wantStop(workflows.ReserveStock, s, saga.Stop{})
		h.wantStatus("o", order.StatusReserved)
		h.wantStock(8, 2, 0)
	}
	h.do(workflows.ChargePayment, s)
	h.do(workflows.RequestShipment, s)
	h.wantStatus("o", order.StatusCompleted)
	h.wantNotified("confirmed")

	s.Order.OrderID, s.Order.Currency = "bad", "XXL"
	h.wantFailed(workflows.ReserveStock, s, "currency")
}

func TestReserveStockRejectsAnOrderThatIsOutOfStock(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.accept("o", "tok_ok")
	h.SetStock(t, map[string]int64{"A": 1})
	for range 2 {
		h.wantStop(workflows.ReserveStock, s, saga.Stop{Status: "REJECTED", Reason: "out of stock: [A]"})
		h.wantStatus("o", order.StatusRejected)
	}
	h.wantNotified("rejected", "rejected")
	// If the notification fails, the saga may still compensate the step.
	for range 2 {
		h.mustUndo(workflows.ReleaseStock, s, order.StatusFailed, "why")
	}
	h.wantStatus("o", order.StatusRejected)
	h.wantStock(1, 0, 0)
}

func TestReserveStockStopsASecondSagaOfAnEndedOrder(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	done := h.paid("done")
	h.do(workflows.RequestShipment, done)
	failed := h.accept("failed", "tok_ok")
	h.do(workflows.ReserveStock, failed)
	h.undo(workflows.ReleaseStock, failed, order.StatusFailed, "why")
	early := h.accept("early", "tok_ok") // compensated before its stock was reserved
	h.undo(workflows.ReleaseStock, early, order.StatusCancelled, "why")
	h.wantNotified("confirmed", "failed", "cancelled")
	for _, c := range []struct {
		state workflows.State
		want  order.Status
	}{{done, order.StatusCompleted}, {failed, order.StatusFailed}, {early, order.StatusCancelled}} {
		h.wantStop(workflows.ReserveStock, c.state, saga.Stop{Status: string(c.want), Reason: "the order had ended before"})
		h.wantStatus(c.state.Order.OrderID, c.want)
	}
	h.wantStock(8, 0, 2)
	h.wantNotified()
}

func TestReleaseStockReleasesAndEndsTheOrder(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for _, c := range []struct {
		status order.Status
		kind   events.NotificationKind
	}{
		{order.StatusDeclined, events.NotifyDeclined},
		{order.StatusCancelled, events.NotifyCancelled},
		{order.StatusFailed, events.NotifyFailed},
	} {
		s := h.accept(string(c.status), "tok_ok")
		h.do(workflows.ReserveStock, s)
		h.wantStock(8, 2, 0)
		for range 2 {
			h.mustUndo(workflows.ReleaseStock, s, c.status, "because")
			if rec := h.wantStatus(string(c.status), c.status); rec.Reason != "because" {
				t.Errorf("Reason = %q, want %q", rec.Reason, "because")
			}
			h.wantStock(10, 0, 0)
		}
		h.wantNotified(string(c.kind), string(c.kind))
	}
	sold := h.paid("sold")
	h.do(workflows.RequestShipment, sold)
	h.undoFails(workflows.ReleaseStock, sold, order.StatusFailed, "", "it is sold")
	h.wantNotified("confirmed")
}
