package activities_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

func TestOrderThatAwaitsTheCarrierCompletesWhenConfirmed(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.paid("o")
	s.Terms.AwaitCarrier = true
	for range 2 {
		h.do(workflows.RequestShipment, s)
		if rec := h.wantStatus("o", order.StatusPaid); rec.ShipmentID != "shp-o" {
			t.Errorf("ShipmentID = %q, want %q", rec.ShipmentID, "shp-o")
		}
		h.wantStock(8, 2, 0)
	}
	h.wantNotified()
	s.TrackingID = "trk-1"
	for range 2 {
		h.do(workflows.ConfirmShipment, s)
		if rec := h.wantStatus("o", order.StatusCompleted); rec.TrackingID != "trk-1" {
			t.Errorf("TrackingID = %q, want %q", rec.TrackingID, "trk-1")
		}
		h.wantStock(8, 0, 2)
	}
	h.wantNotified("confirmed")
}

// TestOrderRefusedByTheCarrierDoesNotComplete: the carrier refuses just before the order
// completes, because the saga does not wait for the answer, or an operator let it go on.
func TestOrderRefusedByTheCarrierDoesNotComplete(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for _, step := range []string{workflows.RequestShipment, workflows.ConfirmShipment} {
		s := h.paid(step)
		require.NoError(h, h.Store.MarkShipmentRequested(t.Context(), step, shipment.ID(step)))
		h.recordAnswer(step, orderstore.CarrierAnswer{Answer: orderstore.Refused, Reason: "island"})
		for range 2 {
			h.wantStop(step, s, saga.Stop{Status: "FAILED", Reason: "refused by the carrier: island"})
		}
		h.wantStatus(step, order.StatusPaid)
	}
	h.wantStock(6, 4, 0)
}

// TestRefusalAfterCompletionCompensatesTheOrder: an order that did not wait for the
// carrier is compensated like one that did, without a second shipment request.
func TestRefusalAfterCompletionCompensatesTheOrder(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.paid("o")
	h.do(workflows.RequestShipment, s)
	h.wantStatus("o", order.StatusCompleted)
	h.wantNotified("confirmed")
	refusal := orderstore.CarrierAnswer{ShipmentID: shipment.ID("o"), Answer: orderstore.Refused, Reason: "island"}
	if _, reopened, err := h.Store.RecordCarrierAnswer(t.Context(), "o", refusal); err != nil || !reopened {
		t.Fatalf("RecordCarrierAnswer: reopened = %v, %v, want true", reopened, err)
	}
	for range 2 {
		h.wantStop(workflows.RequestShipment, s, saga.Stop{Status: "FAILED", Reason: "refused by the carrier: island"})
	}
	if got := h.drain(h.carrier, 1); len(got) != 1 {
		t.Errorf("shipment requests = %v, want 1", got)
	}
	h.undo(workflows.RefundPayment, s, order.StatusFailed, "")
	h.undo(workflows.ReleaseStock, s, order.StatusFailed, "")
	if rec := h.wantStatus("o", order.StatusFailed); rec.RefundID == "" || len(rec.Notes) != 1 {
		t.Errorf("RefundID = %q, notes = %+v, want a refund and 1 note", rec.RefundID, rec.Notes)
	}
	h.wantStock(10, 0, 0)
	h.wantNotified("refunded", "failed")
}

// TestCompleteByHand: an order that an operator has shipped completes, even if the
// notification of the customer fails, unless it is being compensated.
func TestCompleteByHand(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.paid("o")
	h.resolve("o", workflows.StepShip, "resolve")
	broken := h.withoutTopics()
	_, err := broken.CompleteByHand(t.Context(), s)
	require.NoError(h, err)
	rec := h.wantStatus("o", order.StatusCompleted)
	if last := rec.Notes[len(rec.Notes)-1]; last.Action != "customer not notified" {
		t.Errorf("last note = %+v, want \"customer not notified\"", last)
	}
	h.wantStop(workflows.CompleteByHand, s, saga.Stop{})
	h.wantNotified("confirmed")
	h.wantStock(8, 0, 2)

	sent := h.paid("sent")
	sent.Terms.AwaitCarrier = true
	h.do(workflows.RequestShipment, sent)
	h.recordAnswer("sent", orderstore.CarrierAnswer{Answer: orderstore.Refused, Reason: "island"})
	h.wantFailed(workflows.CompleteByHand, sent, "refused by the carrier: island")
	h.undo(workflows.RefundPayment, h.paid("undone"), order.StatusFailed, "why")
	h.wantNotified("refunded")
	h.wantFailed(workflows.CompleteByHand, newState("undone"), "order is PAID and is being compensated by another saga")
	unheld := h.paid("unheld")
	h.resolve("unheld", workflows.StepShip, "resolve")
	_, err = h.Clients.DynamoDB.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{
		TableName: aws.String("reservations"), Key: map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: "unheld"}},
	})
	require.NoError(h, err)
	h.doFails(workflows.CompleteByHand, unheld, "nothing was reserved") // which is an error and no reason for a refund
	h.wantNotified()
}

// TestConfirmShipmentOfAnOrderShippedByHand: no shipment was requested from the carrier.
func TestConfirmShipmentOfAnOrderShippedByHand(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.paid("o")
	s.Terms.AwaitCarrier = true
	h.resolve("o", workflows.StepShip, "resolve")
	h.wantStop(workflows.ConfirmShipment, s, saga.Stop{})
	h.wantStatus("o", order.StatusCompleted)
	h.wantNotified("confirmed")
}
