package orderstore_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestUnapprovedOrdersAreNotPaidShippedOrSold: an order whose approval was refused or has
// expired is not marked paid, not sent and not sold, whatever its saga does. An approved order
// is, and so is an order without a decision.
func TestUnapprovedOrdersAreNotPaidShippedOrSold(t *testing.T) {
	t.Parallel()
	s := testkit.NewAWS(t, nil)
	s.SetStock(t, map[string]int64{"A": 100})
	for _, d := range []orderstore.Decision{orderstore.Rejected, orderstore.Expired, orderstore.Approved, ""} {
		id := "order-" + string(d)
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("order %s: error = %v, want none", id, err)
			}
		}
		want := func(what string, err error) {
			t.Helper()
			refused := errors.Is(err, orderstore.ErrFinished) && strings.Contains(err.Error(), "its approval is "+string(d))
			if no := d == orderstore.Rejected || d == orderstore.Expired; no && !refused || !no && err != nil {
				t.Errorf("%s %s: error = %v, want refused for its approval = %t", what, id, err, no)
			}
		}
		o := accept(t, s.Store, newOrder(id, order.Line{SKU: "A", Quantity: 2, UnitPrice: 100}))
		_, err := s.Store.ReserveForApproval(t.Context(), o, 0)
		must(err)
		if d != "" {
			must(s.Store.Decide(t.Context(), id, d, orderstore.Note{Actor: "ann"}))
		}
		want("mark paid", s.Store.MarkPaid(t.Context(), id, "ch"))
		// As an older version may have left it.
		_, err = s.Clients.DynamoDB.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
			TableName: aws.String(
				orderstore.TablesWithPrefix("").Orders,
			), Key: map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: id}},
			UpdateExpression: aws.String("SET #s = :paid, chargeId = :ch"), ExpressionAttributeNames: map[string]string{"#s": "status"},
			ExpressionAttributeValues: map[string]types.AttributeValue{
				":paid": &types.AttributeValueMemberS{Value: string(order.StatusPaid)}, ":ch": &types.AttributeValueMemberS{Value: "ch"},
			},
		})
		must(err)
		want("request shipment", s.Store.MarkShipmentRequested(t.Context(), id, "sh"))
		want("sell", s.Store.CompleteHolding(t.Context(), id, "sh", "", o.Demand()))
	}
	wantLevel(t, s.Store, "A", 92, 4, 4)
}
