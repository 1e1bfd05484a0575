package reconcile_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
)

// loseRecord deletes an order's record, and its reservation, as a table that is restored
// from a backup of yesterday has lost both.
func (l leaky) loseRecord(id string) {
	l.Helper()
	for _, table := range []string{"orders", "reservations"} {
		_, err := l.Clients.DynamoDB.DeleteItem(l.Context(), &dynamodb.DeleteItemInput{
			TableName: aws.String(table), Key: map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: id}},
		})
		require.NoError(l, err)
	}
}

// TestRecordOfAChargedSagaIsRestored: an order whose saga has charged, and whose record is
// gone, is there again and needs attention, whether its saga runs or has ended.
func TestRecordOfAChargedSagaIsRestored(t *testing.T) {
	l := newLeaky(t, nil)
	l.silent("waits") // for the carrier
	done := l.accepted("done", "tok_ok")
	input := workflows.State{Order: done.WithoutToken(), Terms: l.Terms}
	require.NoError(l, l.Parts.Engine.Start(t.Context(), workflows.OrderSaga, "done", input))
	_, err := l.Parts.Engine.Wait(t.Context(), "done")
	require.NoError(l, err)
	l.loseRecord("waits")
	l.loseRecord("done")

	restored := map[string]string{}
	for _, f := range l.once() {
		if f.Action == "record restored" {
			restored[f.OrderID] = f.What
		}
	}
	for id, status := range map[string]string{"waits": "RUNNING", "done": "COMPLETED"} {
		if !strings.Contains(restored[id], "charge ch_charge-"+id+" belongs to no order, but its saga is "+status) {
			t.Errorf("finding of order %s = %q, want its charge, and its saga %s", id, restored[id], status)
		}
		if rec := l.is(id, order.StatusNeedsAttention); rec.Total != 200 || rec.ChargeID != "ch_charge-"+id || rec.ShipmentID == "" {
			t.Errorf("record of order %s = %+v, want the order, its charge and its shipment", id, rec)
		}
	}
	found := map[string]bool{}
	for _, f := range l.once() {
		if f.Action == "flagged" && strings.Contains(f.What, "order's record was gone") && strings.Contains(f.What, "ask the carrier") {
			found[f.OrderID] = true
		}
	}
	if !found["waits"] || !found["done"] {
		t.Errorf("the next run flags orders %v, want waits and done", found)
	}
	l.kept("waits")
	l.kept("done")
}
