package activities_test

import (
	"testing"

	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

func TestRequestShipmentCompletesTheOrder(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.paid("o")
	for range 2 {
		h.wantStop(workflows.RequestShipment, s, saga.Stop{})
		if rec := h.wantStatus("o", order.StatusCompleted); rec.ShipmentID != "shp-o" || rec.Token != "" {
			t.Errorf("ShipmentID = %q, Token = %q, want shp-o and no token", rec.ShipmentID, rec.Token)
		}
		h.wantStock(8, 0, 2)
	}
	h.wantNotified("confirmed")
	if got := h.drain(h.carrier, 1); len(got) != 1 {
		t.Errorf("shipment requests = %v, want 1", got)
	}
}

// TestShipmentIsRefusedUnlessPaidAndReserved: the saga stops and does not retry.
func TestShipmentIsRefusedUnlessPaidAndReserved(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	pending, held, released := h.accept("pending", "tok_ok"), h.accept("held", "tok_ok"), h.paid("released")
	h.do(workflows.ReserveStock, held)
	h.undo(workflows.ReleaseStock, released, order.StatusCancelled, "")
	h.wantNotified("cancelled")
	for _, c := range []struct {
		state workflows.State
		want  string
	}{
		{pending, "order is PENDING and its shipment was not requested"},
		{held, "order is RESERVED and its shipment was not requested"},
		{released, "order is already CANCELLED"},
	} {
		s := c.state
		for _, await := range []bool{false, true} {
			s.Terms.AwaitCarrier = await
			if out := h.do(workflows.RequestShipment, s); out.Stop.Status != "FAILED" || out.Stop.Reason == "" {
				t.Errorf("order %s, await carrier %v: stop = %+v, want FAILED with a reason", s.Order.OrderID, await, out.Stop)
			}
		}
		h.wantFailed(workflows.ConfirmShipment, s, c.want)
	}
	h.wantNotified()
	if got := h.drain(h.carrier, 0); len(got) != 0 {
		t.Errorf("shipment requests = %v, want none", got)
	}
}

// TestShipmentIsRefusedAfterACancellation: the orders table has a cancellation that the
// saga has not received.
func TestShipmentIsRefusedAfterACancellation(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.paid("o")
	require.NoError(h, h.Store.RequestCancel(t.Context(), "o", orderstore.Note{Actor: "ann", Action: "cancel", Text: "too slow"}))
	h.wantStop(workflows.RequestShipment, s, saga.Stop{Status: "CANCELLED", Reason: "cancelled by ann: too slow"})
	h.wantStatus("o", order.StatusPaid)
	h.wantNotified()
}

// TestVerifyRefusalStopsOnlyOnARecordedRefusal: a refusal ends the saga only if the
// order's record has it.
func TestVerifyRefusalStopsOnlyOnARecordedRefusal(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for answer, want := range map[orderstore.Carrier]string{
		"": "", orderstore.Dispatched: "", orderstore.Refused: "refused by the carrier: island",
	} {
		id := "o" + string(answer)
		s := h.paid(id)
		require.NoError(h, h.Store.MarkShipmentRequested(t.Context(), id, shipment.ID(id)))
		if answer != "" {
			h.recordAnswer(id, orderstore.CarrierAnswer{Answer: answer, Reason: "island"})
		}
		for range 2 {
			if out := h.do(workflows.VerifyRefusal, s); out.Stop.Reason != want {
				t.Errorf("answer %q: stop = %+v, want the reason %q", answer, out.Stop, want)
			}
		}
		h.wantStatus(id, order.StatusPaid)
	}
}

// TestRestartedSagaStopsWithTheCarriersRefusal: the refusal is why the order fails, even
// if its refund has begun.
func TestRestartedSagaStopsWithTheCarriersRefusal(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.paid("o")
	require.NoError(h, h.Store.MarkShipmentRequested(t.Context(), "o", shipment.ID("o")))
	h.recordAnswer("o", orderstore.CarrierAnswer{Answer: orderstore.Refused, Reason: "island"})
	_, err := h.Store.MarkRefunding(t.Context(), "o")
	require.NoError(h, err)
	h.wantStop(workflows.RequestShipment, s, saga.Stop{Status: "FAILED", Reason: "refused by the carrier: island"})
}
