package orderstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// busy holds the first read until a batch has come, and leaves a key of that
// for later.
type busy struct {
	*dynamodb.Client
	in, out chan struct{}
	held    atomic.Bool
	batches atomic.Int32
}

func (b *busy) GetItem(ctx context.Context, in *dynamodb.GetItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	if b.held.CompareAndSwap(false, true) {
		close(b.in)
		<-b.out
	}
	return b.Client.GetItem(ctx, in, opts...)
}

func (b *busy) BatchGetItem(
	ctx context.Context,
	in *dynamodb.BatchGetItemInput,
	opts ...func(*dynamodb.Options),
) (*dynamodb.BatchGetItemOutput, error) {
	if b.batches.Add(1) > 1 {
		return b.Client.BatchGetItem(ctx, in, opts...)
	}
	close(b.out)
	orders := in.RequestItems["orders"]
	left := types.KeysAndAttributes{ConsistentRead: orders.ConsistentRead, Keys: orders.Keys[:1]}
	orders.Keys = orders.Keys[1:]
	in.RequestItems["orders"] = orders
	out, err := b.Client.BatchGetItem(ctx, in, opts...)
	if err == nil {
		out.UnprocessedKeys = map[string]types.KeysAndAttributes{"orders": left}
	}
	return out, err
}

// TestConcurrentReadsShareABatch: reads that arrive while DynamoDB is busy go into one
// request. Among them are repeated orders, unknown orders and keys that DynamoDB leaves
// unprocessed.
func TestConcurrentReadsShareABatch(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.SetStock(t, map[string]int64{"A": 100})
	for n := range 10 {
		o := accept(t, a.Store, newOrder(fmt.Sprintf("o-%d", n)))
		if _, err := a.Store.Reserve(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	client := &busy{Client: a.Clients.DynamoDB, in: make(chan struct{}), out: make(chan struct{})}
	s := orderstore.New(client, orderstore.TablesWithPrefix(""), nil)
	before := a.Clients.Calls()
	get := func(id string) {
		if rec, err := s.Get(t.Context(), id); err != nil || rec.OrderID != id || rec.Status != order.StatusReserved {
			t.Errorf("order %s: record = %+v, error = %v, want its own, RESERVED", id, rec, err)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { get("o-0") })
	<-client.in
	for n := range 100 {
		id, none := fmt.Sprintf("o-%d", n%10), fmt.Sprintf("none-%d", n)
		wg.Go(func() { get(id) })
		wg.Go(func() {
			if rec, err := s.Get(t.Context(), none); !errors.Is(err, orderstore.ErrNotFound) {
				t.Errorf("order %s: record = %+v, error = %v, want %v", none, rec, err, orderstore.ErrNotFound)
			}
		})
	}
	wg.Wait()
	if got := a.Clients.Calls() - before; got > 100 {
		t.Errorf("requests for 201 reads = %d, want at most 100", got)
	}
}
