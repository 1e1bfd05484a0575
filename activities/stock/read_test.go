package stock_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/activities/stock"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// busy holds the first read until it is let, and may leave a key of a batch for
// later.
type busy struct {
	*dynamodb.Client
	in, out chan struct{}
	held    atomic.Bool
	leave   string
}

func (b *busy) GetItem(ctx context.Context, in *dynamodb.GetItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	if b.held.CompareAndSwap(false, true) {
		close(b.in)
		<-b.out
	}
	return b.Client.GetItem(ctx, in, opts...)
}

func (b *busy) BatchGetItem(ctx context.Context, in *dynamodb.BatchGetItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
	orders := in.RequestItems["orders"]
	left := types.KeysAndAttributes{ConsistentRead: orders.ConsistentRead}
	orders.Keys = slices.DeleteFunc(orders.Keys, func(key map[string]types.AttributeValue) bool {
		is := b.leave != "" && key["orderId"].(*types.AttributeValueMemberS).Value == b.leave
		if is {
			left.Keys = append(left.Keys, key)
		}
		return is
	})
	in.RequestItems["orders"] = orders
	b.leave = ""
	out, err := b.Client.BatchGetItem(ctx, in, opts...)
	if err == nil && len(left.Keys) > 0 {
		out.UnprocessedKeys = map[string]types.KeysAndAttributes{"orders": left}
	}
	return out, err
}

// TestReadsTogether what is asked for while DynamoDB has not answered, also the
// same order more than once, and what is not there.
func TestReadsTogether(t *testing.T) {
	for _, tt := range []struct {
		what  string
		leave string
	}{{"forty at a time", ""}, {"what is left over is asked for again", "o-7"}} {
		t.Run(tt.what, func(t *testing.T) {
			a := testkit.NewAWS(t, nil)
			a.SetStock(t, map[string]int64{"A": 100})
			for n := range 10 {
				o := accept(t, a.Store, newOrder(fmt.Sprintf("o-%d", n)))
				if _, err := a.Store.Reserve(t.Context(), o, order.StatusReserved); err != nil {
					t.Fatal(err)
				}
			}
			client := &busy{Client: a.Clients.DynamoDB, in: make(chan struct{}), out: make(chan struct{}), leave: tt.leave}
			s := stock.New(client, stock.TablesWithPrefix(""), nil)
			before := a.Clients.Calls()
			get := func(id string) {
				if rec, err := s.Get(t.Context(), id); err != nil || rec.OrderID != id || rec.Status != order.StatusReserved {
					t.Errorf("order %s: %+v %v", id, rec, err)
				}
			}
			var first, rest sync.WaitGroup
			first.Go(func() { get("o-0") })
			<-client.in
			for n := range 10 { // four reads each are a full batch
				id, none := fmt.Sprintf("o-%d", n), fmt.Sprintf("none-%d", n)
				rest.Go(func() { get(id) })
				rest.Go(func() { get(fmt.Sprintf("o-%d", (n+1)%10)) })
				rest.Go(func() { get(id) })
				rest.Go(func() {
					if rec, err := s.Get(t.Context(), none); !errors.Is(err, stock.ErrNotFound) {
						t.Errorf("order %s: %+v %v", none, rec, err)
					}
				})
			}
			rest.Wait() // for a full batch does not wait for the first
			close(client.out)
			first.Wait()
			want := int64(2)
			if tt.leave != "" {
				want++
			}
			if got := a.Clients.Calls() - before; got != want {
				t.Errorf("%d requests, want %d", got, want)
			}
		})
	}
}
