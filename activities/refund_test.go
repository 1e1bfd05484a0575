package activities_test

import (
	"testing"

	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
)

func TestRefundPaymentRefundsOnceAndNoShippedOrder(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.paid("o")
	for range 2 {
		h.mustUndo(workflows.RefundPayment, s, order.StatusCancelled, "changed my mind")
		if rec := h.wantStatus("o", order.StatusPaid); rec.RefundID != "re_charge-o" {
			t.Errorf("RefundID = %q, want %q", rec.RefundID, "re_charge-o")
		}
	}
	h.wantNotified("refunded", "refunded")

	// A late step of an old saga must not ship the order.
	h.wantFailed(workflows.RequestShipment, s, "")
	h.wantStatus("o", order.StatusPaid)

	sent := h.paid("sent")
	h.do(workflows.RequestShipment, sent)
	h.wantNotified("confirmed")
	h.mustUndo(workflows.RefundPayment, sent, order.StatusFailed, "the order had ended before")
	if rec := h.wantStatus("sent", order.StatusCompleted); rec.RefundID != "" {
		t.Errorf("RefundID of a shipped order = %q, want none", rec.RefundID)
	}
	h.wantNotified()

	never := h.accept("never", "tok_ok")
	for range 2 {
		h.mustUndo(workflows.RefundPayment, never, order.StatusCancelled, "")
	}
	h.wantNotified() // there was nothing to refund

	// A recorded charge that the provider's ledger lacks is an error.
	lost := h.accept("lost", "tok_ok")
	h.do(workflows.ReserveStock, lost)
	require.NoError(h, h.Store.MarkPaid(t.Context(), "lost", "ch_1"))
	h.undoFails(workflows.RefundPayment, lost, order.StatusFailed, "", "charge ch_1 over 2.00 EUR was made, and it is not in the ledger")
	h.wantNotified()

	stuck := h.accept("stuck", "tok_refund_down")
	h.do(workflows.ReserveStock, stuck)
	h.do(workflows.ChargePayment, stuck)
	h.undoFails(workflows.RefundPayment, stuck, order.StatusCancelled, "", "refunds are down")
	h.provider.Heal("")
	h.mustUndo(workflows.RefundPayment, stuck, order.StatusCancelled, "")
	h.wantNotified("refunded")
}

// TestRefundOfADispatchedOrderIsFlagged: an operator has to look for the parcel.
func TestRefundOfADispatchedOrderIsFlagged(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.paid("o")
	require.NoError(h, h.Store.MarkShipmentRequested(t.Context(), "o", shipment.ID("o")))
	h.recordAnswer("o", orderstore.CarrierAnswer{Answer: orderstore.Dispatched, TrackingID: "trk"})
	for range 2 {
		h.undo(workflows.RefundPayment, s, order.StatusFailed, "")
		rec := h.wantStatus("o", order.StatusPaid)
		if rec.RefundID == "" {
			t.Error("the order's record has no refund, want its ID")
		}
		if n := rec.Notes; len(n) != 1 || n[0].Action != "flagged" || n[0].Text != orderstore.RefundedThoughDispatched {
			t.Errorf("notes = %+v, want one flag", n)
		}
	}
}

// TestRefundSettledByAnOperatorIsNotRepeated: no step that runs again refunds the money
// a second time.
func TestRefundSettledByAnOperatorIsNotRepeated(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"resolve", "skip"} {
		h := newHarness(t)
		s := h.paid("o")
		h.resolve("o", workflows.StepCharge, action)
		h.mustUndo(workflows.RefundPayment, s, order.StatusFailed, "why")
		if list, err := h.payments.ChargesOf(t.Context(), "o"); err != nil || len(list) != 1 || list[0].Refunded {
			t.Errorf("action %s: charges = %+v, %v, want one that is not refunded", action, list, err)
		}
		h.wantFailed(workflows.RequestShipment, s, "")
		h.undo(workflows.ReleaseStock, s, order.StatusFailed, "why")
		h.wantStatus("o", order.StatusFailed)
		h.wantStock(10, 0, 0)
	}
}
