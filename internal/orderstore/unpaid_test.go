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

// TestUnpaidOrdersAreNotShippedOrSold: an order that costs something and has no charge is not
// marked paid, not sent and not sold, whatever its status is. An order that costs nothing
// needs no charge.
func TestUnpaidOrdersAreNotShippedOrSold(t *testing.T) {
	t.Parallel()
	s := testkit.NewAWS(t, nil)
	s.SetStock(t, map[string]int64{"A": 100})
	reserve := func(id string, price int64) order.Order {
		t.Helper()
		o := accept(t, s.Store, newOrder(id, order.Line{SKU: "A", Quantity: 2, UnitPrice: price}))
		if _, err := s.Store.Reserve(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, orderstore.ErrFinished) || !strings.Contains(err.Error(), "it costs 2.00 EUR and has no charge") {
			t.Errorf("%s: error = %v, want %v: it costs 2.00 EUR and has no charge", what, err, orderstore.ErrFinished)
		}
	}

	o := reserve("o", 100)
	refused("mark paid", s.Store.MarkPaid(t.Context(), "o", ""))
	wantStatus(t, s.Store, "o", order.StatusReserved)
	// As an older version may have left it.
	if err := s.Store.MarkPaid(t.Context(), "o", "ch"); err != nil {
		t.Fatal(err)
	}
	if err := s.Store.MarkPaid(t.Context(), "o", ""); err != nil { // it has a charge
		t.Error(err)
	}
	for _, status := range []order.Status{order.StatusPaid, order.StatusNeedsAttention} {
		if status == order.StatusNeedsAttention {
			if err := s.Store.MarkNeedsAttention(t.Context(), "o", "why"); err != nil {
				t.Fatal(err)
			}
		}
		_, err := s.Clients.DynamoDB.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
			TableName: aws.String(
				orderstore.TablesWithPrefix("").Orders,
			), Key: map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: "o"}},
			UpdateExpression: aws.String("REMOVE chargeId"),
		})
		if err != nil {
			t.Fatal(err)
		}
		refused("request shipment", s.Store.MarkShipmentRequested(t.Context(), "o", "sh"))
		refused("sell", s.Store.CompleteHolding(t.Context(), "o", "sh", "", o.Demand()))
		refused("sell, without knowing what", s.Store.Complete(t.Context(), "o", "sh", ""))
		wantStatus(t, s.Store, "o", status)
	}
	wantLevel(t, s.Store, "A", 98, 2, 0)

	free := reserve("free", 0)
	for what, err := range map[string]error{
		"1 mark paid": s.Store.MarkPaid(t.Context(), "free", ""), "2 request shipment": s.Store.MarkShipmentRequested(t.Context(), "free", "sh"),
		"3 sell": s.Store.CompleteHolding(t.Context(), "free", "sh", "", free.Demand()),
	} {
		if err != nil {
			t.Errorf("free: %s: %v", what, err)
		}
	}
	wantStatus(t, s.Store, "free", order.StatusCompleted)
	wantLevel(t, s.Store, "A", 96, 2, 2)
}
