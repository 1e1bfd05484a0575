package orderstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestReservationsExpireAfterTheOrderEnds: a reservation that holds nothing expires. Later
// steps are still refused.
func TestReservationsExpireAfterTheOrderEnds(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.SetStock(t, map[string]int64{"A": 10})
	now := time.Now()
	s := orderstore.New(a.Clients.DynamoDB, orderstore.TablesWithPrefix(""), func() time.Time { return now })
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.CreateTables(t.Context())) // again changes nothing
	for _, table := range []string{"reservations", "orders"} {
		ttl, err := a.Clients.DynamoDB.DescribeTimeToLive(t.Context(), &dynamodb.DescribeTimeToLiveInput{TableName: &table})
		if err != nil || ttl.TimeToLiveDescription.TimeToLiveStatus != types.TimeToLiveStatusEnabled ||
			*ttl.TimeToLiveDescription.AttributeName != "expiresAt" {
			t.Errorf("table %s: time to live = %+v, error = %v, want it enabled, by expiresAt", table, ttl, err)
		}
	}
	expires := func(id string, want time.Time) {
		t.Helper()
		res, err := s.GetReservation(t.Context(), id)
		if at := want.Unix(); err != nil || res.ExpiresAt != at && !(want.IsZero() && res.ExpiresAt == 0) {
			t.Errorf("%s: %+v %v, want %d", id, res, err, at)
		}
	}
	orders := map[string]order.Order{}
	for _, id := range []string{"sold", "released"} {
		orders[id] = accept(t, s, newOrder(id))
		_, err := s.Reserve(t.Context(), orders[id])
		must(err)
		must(s.MarkPaid(t.Context(), id, "ch"))
		expires(id, time.Time{})
	}
	now = now.Add(time.Hour)
	must(s.Complete(t.Context(), "sold", "shp", ""))
	must(s.Release(t.Context(), "released", order.StatusFailed, "why"))
	accept(t, s, newOrder("early"))
	must(s.Release(t.Context(), "early", order.StatusCancelled, "why"))
	for _, id := range []string{"sold", "released", "early"} {
		expires(id, now.Add(90*24*time.Hour))
		_, err := a.Clients.DynamoDB.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{
			TableName: aws.String("reservations"), Key: map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: id}},
		})
		must(err)
	}
	for id, o := range orders {
		if res, err := s.Reserve(t.Context(), o); err != nil || res.Held || !res.Status.Terminal() {
			t.Errorf("%s, reserved again: reservation = %+v, error = %v, want nothing held and a terminal status", id, res, err)
		}
		if err := s.CompleteHolding(t.Context(), id, "shp", "", o.Demand()); !errors.Is(err, orderstore.ErrFinished) {
			t.Errorf("%s: sold again: error = %v, want %v", id, err, orderstore.ErrFinished)
		}
	}
	if err := s.Release(t.Context(), "sold", order.StatusFailed, "why"); !errors.Is(err, orderstore.ErrFinished) {
		t.Errorf("released what was sold: error = %v, want %v", err, orderstore.ErrFinished)
	}
	must(s.Release(t.Context(), "released", order.StatusFailed, "why"))
	wantLevel(t, s, "A", 8, 0, 2)
}

// TestConcurrentTableCreationSucceeds: the second process finds that the time to live was
// enabled after its check and before its own attempt, and continues.
func TestConcurrentTableCreationSucceeds(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	tables := orderstore.TablesWithPrefix("raced-")
	first := orderstore.New(a.Clients.DynamoDB, tables, nil)
	second := orderstore.New(overtaken{a.Clients.DynamoDB, func() {
		if err := first.CreateTables(t.Context()); err != nil {
			t.Error(err)
		}
	}}, tables, nil)
	if err := second.CreateTables(t.Context()); err != nil {
		t.Error(err)
	}
}

// overtaken lets another setup go first, after it has read the time to live.
type overtaken struct {
	*dynamodb.Client
	other func()
}

func (o overtaken) DescribeTimeToLive(
	ctx context.Context,
	in *dynamodb.DescribeTimeToLiveInput,
	opts ...func(*dynamodb.Options),
) (*dynamodb.DescribeTimeToLiveOutput, error) {
	out, err := o.Client.DescribeTimeToLive(ctx, in, opts...)
	o.other()
	return out, err
}
