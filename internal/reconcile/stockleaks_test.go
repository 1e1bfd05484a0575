package reconcile_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// leak moves units of A from available to reserved, without an order.
func (l leaky) leak(n int) {
	l.Helper()
	_, err := l.Clients.DynamoDB.UpdateItem(l.Context(), &dynamodb.UpdateItemInput{
		TableName: aws.String("stock"), Key: map[string]types.AttributeValue{"sku": &types.AttributeValueMemberS{Value: "A"}},
		UpdateExpression:          aws.String("SET reserved = reserved + :n, available = available - :n"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":n": &types.AttributeValueMemberN{Value: strconv.Itoa(n)}},
	})
	require.NoError(l, err)
}

// TestLeakedUnitsAreFlagged: the units are reserved, and no order holds them.
func TestLeakedUnitsAreFlagged(t *testing.T) {
	l := newLeaky(t, nil)
	l.awaiting("o") // holds 2
	l.nothing()
	l.leak(5)
	for range 2 {
		l.found("7 units are reserved, and orders hold 2", "flagged")
	}
	if f := l.once(); len(f) != 1 || f[0].SKU != "A" || f[0].OrderID != "" {
		t.Errorf("findings = %+v, want one, of SKU A and no order", f)
	}
	l.leak(-6)
	l.found("1 units are reserved, and orders hold 2", "flagged")
	l.leak(-1)
	l.found("0 units are reserved, and orders hold 2", "flagged")
	l.leak(2)
	l.nothing()
}

// selling reserves something just before the reservations are listed.
type selling struct {
	*orderstore.Store
	sell func()
}

func (s selling) ListReservations(ctx context.Context, cursor string, limit int) ([]orderstore.Reservation, string, error) {
	s.sell()
	return s.Store.ListReservations(ctx, cursor, limit)
}

// TestUnitsReservedMeanwhileAreNoLeak: the lists were read at different moments.
func TestUnitsReservedMeanwhileAreNoLeak(t *testing.T) {
	l := newLeaky(t, nil)
	l.Sagas = busy{l.Parts.Engine}
	n := 0
	l.Orders = selling{l.Store, func() {
		n++
		l.reserved("o"+strconv.Itoa(n), "tok_ok")
	}}
	for range 3 {
		l.nothing()
	}
}
