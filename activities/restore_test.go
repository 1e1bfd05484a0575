package activities_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// loseRecord deletes an order's record.
func (h *harness) loseRecord(id string) {
	h.Helper()
	_, err := h.Clients.DynamoDB.DeleteItem(h.Context(), &dynamodb.DeleteItemInput{
		TableName: aws.String("orders"), Key: map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: id}},
	})
	require.NoError(h, err)
}

// sentAndLost deletes the record of an order whose shipment was requested, and returns its
// saga's state. Unless the saga awaits the carrier, the order was completed.
func (h *harness) sentAndLost(id string, awaits bool) workflows.State {
	h.Helper()
	s := h.paid(id)
	s.Accepted, s.Terms.AwaitCarrier, s.ChargeID = time.Now().UnixMilli(), awaits, h.wantStatus(id, order.StatusPaid).ChargeID
	h.do(workflows.RequestShipment, s)
	h.loseRecord(id)
	return s
}

// TestStepsRestoreTheRecordOfALostOrder checks every step of a saga whose order's record is
// gone: the order is there again and needs attention, and the saga does not go on. Its
// compensations succeed.
func TestStepsRestoreTheRecordOfALostOrder(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	accepted := time.Now().Add(-time.Hour)
	for step, shipped := range map[string]bool{
		workflows.ReserveStock: false, workflows.SettleApproval: false, workflows.ChargePayment: false, workflows.RequestShipment: true,
		workflows.VerifyRefusal: true, workflows.ConfirmShipment: true,
	} {
		id := "lost-" + step
		s := h.paid(id)
		s.Accepted, s.ChargeID = accepted.UnixMilli(), "ch_charge-"+id
		h.loseRecord(id)
		h.doFails(step, s, "not found")
		rec := h.wantStatus(id, order.StatusNeedsAttention)
		if !rec.Restored || rec.Total != 200 || rec.ChargeID != s.ChargeID || (rec.ShipmentID != "") != shipped ||
			rec.CustomerID != "" || !rec.Forgotten || rec.CreatedAt.UnixMilli() != s.Accepted || !rec.Listed() {
			t.Errorf("%s: record = %+v, want the order of the saga's state, charged, and shipped: %v", step, rec, shipped)
		}
		switch step {
		case workflows.ReserveStock: // finds what the order holds
		case workflows.SettleApproval, workflows.VerifyRefusal: // decide nothing; they are tried without a limit
			h.do(step, s)
		default:
			h.doFails(step, s, "an operator must decide")
		}
		h.wantStatus(id, order.StatusNeedsAttention)
		h.mustUndo(workflows.RefundPayment, s, order.StatusFailed, "lost")
		h.mustUndo(workflows.ReleaseStock, s, order.StatusFailed, "lost")
		if rec := h.wantStatus(id, order.StatusFailed); rec.RefundID == "" {
			t.Errorf("%s: record = %+v, want its charge refunded", step, rec)
		}
	}
}

// TestRecordLostDuringTheCompensationIsRestored: compensations and the marking of a stuck
// saga have the order's id only.
func TestRecordLostDuringTheCompensationIsRestored(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	inputs := map[string]workflows.State{}
	h.activities.Input = func(_ context.Context, id string) (workflows.State, error) { return inputs[id], nil }
	h.register()
	for _, id := range []string{"released", "parked"} {
		inputs[id] = h.paid(id)
		h.loseRecord(id)
	}
	brief := workflows.State{OrderID: "released", Accepted: time.Now().UnixMilli()}
	h.undoFails(workflows.ReleaseStock, brief, order.StatusFailed, "why", "not found")
	h.wantStatus("released", order.StatusNeedsAttention)
	h.mustUndo(workflows.ReleaseStock, brief, order.StatusFailed, "why")
	h.wantStatus("released", order.StatusFailed)

	const in = `{"state":{"orderId":"parked","accepted":1},"stop":{},"Step":"ship","Error":"no topic"}`
	if _, failure := h.execute(workflows.ParkSaga, in); failure == "" {
		t.Error("ParkSaga succeeded without the order's record, want it to restore that and to be repeated")
	}
	if _, failure := h.execute(workflows.ParkSaga, in); failure != "" {
		t.Errorf("ParkSaga failed with %q, want success", failure)
	}
	if rec := h.wantStatus("parked", order.StatusNeedsAttention); rec.Reason != "ship: no topic" || rec.ChargeID == "" {
		t.Errorf("record = %+v, want the reason %q, and the charge that the provider's ledger has", rec, "ship: no topic")
	}
}

// TestLostRecordOfASaleIsRestoredAsCompleted: the reservation shows that the order was
// completed, so there is nothing to decide.
func TestLostRecordOfASaleIsRestoredAsCompleted(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.paid("sold")
	s.Accepted = time.Now().UnixMilli()
	h.do(workflows.RequestShipment, s)
	h.do(workflows.ConfirmShipment, s)
	h.loseRecord("sold")
	h.doFails(workflows.ConfirmShipment, s, "not found")
	if rec := h.wantStatus("sold", order.StatusCompleted); rec.IdleUntil != "" || rec.ShipmentID == "" || rec.ChargeID == "" {
		t.Errorf("record = %+v, want its shipment and its charge", rec)
	}
	h.do(workflows.ConfirmShipment, s)
}

// TestOrderAcceptedAgainAfterItsSale: the record of a completed order is lost, and the
// order's message arrives once more. It is neither charged, shipped nor refunded again.
func TestOrderAcceptedAgainAfterItsSale(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.paid("o")
	h.do(workflows.RequestShipment, s)
	h.wantStatus("o", order.StatusCompleted)
	h.loseRecord("o")
	again := h.accept("o", "tok_ok")
	for range 2 {
		h.wantStop(workflows.ReserveStock, again, saga.Stop{Status: string(order.StatusCompleted), Reason: "the order had ended before"})
	}
	if rec := h.wantStatus("o", order.StatusCompleted); rec.ChargeID == "" || rec.ShipmentID == "" || rec.CustomerID == "" {
		t.Errorf("record = %+v, want its customer, charge and shipment", rec)
	}
	h.wantStock(8, 0, 2)
}

// TestOrderAcceptedAgainWhileItIsUnderWay: the record is lost while the saga waits for the
// carrier, and the order's message arrives once more. An operator decides; the charge stays.
func TestOrderAcceptedAgainWhileItIsUnderWay(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.sentAndLost("o", true)
	h.accept("o", "tok_ok")
	h.doFails(workflows.ConfirmShipment, s, "its record does not have it")
	rec := h.wantStatus("o", order.StatusNeedsAttention)
	if !rec.AwaitsDecision() || rec.ChargeID == "" || rec.ShipmentID == "" || rec.CustomerID == "" {
		t.Errorf("record = %+v, want its customer, charge and shipment, and that it awaits a decision", rec)
	}
	h.doFails(workflows.ConfirmShipment, s, "an operator must decide")
	require.NoError(h, h.Store.Resolve(t.Context(), "o", workflows.StepCarrier, "resolve", orderstore.Note{Actor: "ann", Action: "resolve"}))
	h.do(workflows.ConfirmShipment, s)
	h.wantStatus("o", order.StatusCompleted)
	h.wantStock(8, 0, 2)
}

// TestOrderAcceptedAgainAndDecided: the saga has waited for the carrier in vain, and an
// operator has resolved that, before it is noticed that the record is another one.
func TestOrderAcceptedAgainAndDecided(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.sentAndLost("o", true)
	h.accept("o", "tok_ok")
	h.resolve("o", workflows.StepCarrier, "resolve")
	h.doFails(workflows.ConfirmShipment, s, "its record does not have it")
	if rec := h.wantStatus("o", order.StatusNeedsAttention); !rec.AwaitsDecision() || rec.ChargeID == "" {
		t.Errorf("record = %+v, want its charge, and that it awaits a decision", rec)
	}
	require.NoError(h, h.Store.Resolve(t.Context(), "o", workflows.StepCarrier, "resolve", orderstore.Note{Actor: "ann", Action: "resolve"}))
	h.do(workflows.ConfirmShipment, s)
	h.wantStatus("o", order.StatusCompleted)
}

// TestOrderAcceptedAgainBetweenAttempts: an earlier attempt may have sent the shipment
// request, or completed the order.
func TestOrderAcceptedAgainBetweenAttempts(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for id, await := range map[string]bool{"sent": true, "sold": false} {
		s := h.sentAndLost(id, await)
		h.accept(id, "tok_ok")
		h.doFails(workflows.RequestShipment, s, "its record does not have its charge")
		want := order.StatusCompleted
		if await {
			want = order.StatusNeedsAttention
		}
		if rec := h.wantStatus(id, want); rec.ChargeID == "" || rec.ShipmentID == "" {
			t.Errorf("%s: record = %+v, want its charge and its shipment", id, rec)
		}
	}
}

// TestShippedOrderWithoutItsStockIsNotRefunded: an operator has resolved its shipment, and
// its stock has been released all the same. The step stays stuck.
func TestShippedOrderWithoutItsStockIsNotRefunded(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.sentAndLost("o", true)
	h.doFails(workflows.ConfirmShipment, s, "not found")
	_, err := h.Clients.DynamoDB.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
		TableName: aws.String("reservations"), Key: map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: "o"}},
		UpdateExpression: aws.String("SET #s = :released"), ExpressionAttributeNames: map[string]string{"#s": "state"},
		ExpressionAttributeValues: map[string]types.AttributeValue{":released": &types.AttributeValueMemberS{Value: "RELEASED"}},
	})
	require.NoError(h, err)
	require.NoError(h, h.Store.Resolve(t.Context(), "o", workflows.StepCarrier, "resolve", orderstore.Note{Actor: "ann", Action: "resolve"}))
	h.doFails(workflows.ConfirmShipment, s, "its reservation was released")
}
