package keda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/internal/devenv"
	"github.com/ordersaga/ordersaga/internal/invariants"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

const (
	skus     = 20
	maxBatch = 10 // the most entries that SQS accepts in SendMessageBatch
)

// setStock sets enough stock of every SKU. There are several SKUs, because orders of one SKU contend
// for its item in DynamoDB.
func (e *env) setStock() {
	for i := range skus {
		testkit.SetStock(e.t, e.store, map[string]int64{fmt.Sprint("SKU-", i): 1_000_000})
	}
}

// newOrder returns an order that completes, of the n-th SKU and customer.
func newOrder(id string, n int) order.Order {
	return order.Order{
		OrderID: id, CustomerID: fmt.Sprint("c-", n%100), Currency: "EUR", Payment: order.Payment{Token: "tok_ok"},
		Lines:  []order.Line{{SKU: fmt.Sprint("SKU-", n%skus), Quantity: 1, UnitPrice: 1999}},
		ShipTo: &order.Address{Name: "Ada", Line1: "1 Lane", City: "Berlin", PostalCode: "10115", Country: "DE"},
	}
}

// place sends one order to the queue. change may be nil.
func (e *env) place(t *testing.T, id string, change func(*order.Order)) {
	t.Helper()
	e.placeMany(t, id, 1, func(_ int, o *order.Order) {
		o.OrderID = id
		if change != nil {
			change(o)
		}
	})
}

// placeMany sends n orders to the queue and returns their ids. change may be nil.
func (e *env) placeMany(t *testing.T, prefix string, n int, change func(int, *order.Order)) (ids []string) {
	t.Helper()
	bodies := make([]string, n)
	for i := range n {
		o := newOrder(fmt.Sprintf("%s-%04d", prefix, i), i)
		if change != nil {
			change(i, &o)
		}
		ids = append(ids, o.OrderID)
		b, err := json.Marshal(o)
		require.NoError(t, err)
		bodies[i] = string(b)
	}
	require.NoError(t, e.send(t.Context(), bodies))
	return ids
}

// poison sends n poison messages to the queue.
func (e *env) poison(t *testing.T, n int) {
	t.Helper()
	bodies := make([]string, n)
	for i := range n {
		bodies[i] = fmt.Sprintf(`{"orderId": "poison-%d", "lines": [`, i)
	}
	require.NoError(t, e.send(t.Context(), bodies))
}

// send sends messages to the order queue, in concurrent batches.
func (e *env) send(ctx context.Context, bodies []string) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for from := 0; from < len(bodies); from += maxBatch {
		var entries []types.SendMessageBatchRequestEntry
		for i := from; i < min(from+maxBatch, len(bodies)); i++ {
			entries = append(entries, types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), MessageBody: &bodies[i]})
		}
		g.Go(func() error {
			out, err := e.clients.SQS.SendMessageBatch(gctx, &sqs.SendMessageBatchInput{
				QueueUrl: &e.resources.OrderQueue, Entries: entries,
			})
			if err == nil && len(out.Failed) > 0 {
				err = fmt.Errorf("SQS rejected %d of %d messages", len(out.Failed), len(entries))
			}
			return err
		})
	}
	return g.Wait()
}

// deadLetters returns the number of visible dead letters.
func (e *env) deadLetters(t *testing.T) int {
	t.Helper()
	const visible = types.QueueAttributeNameApproximateNumberOfMessages
	out, err := e.clients.SQS.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: &e.resources.OrderDLQ, AttributeNames: []types.QueueAttributeName{visible},
	})
	require.NoError(t, err)
	n, err := strconv.Atoi(out.Attributes[string(visible)])
	require.NoError(t, err)
	return n
}

// waitForStatus waits until an order has ended, and fails unless its status is want.
func (l *timeline) waitForStatus(t *testing.T, want order.Status, id string) {
	t.Helper()
	testkit.Within(t, 3*time.Minute, "order "+id+" ends", func() error {
		rec, err := l.e.store.Get(t.Context(), id)
		if err != nil {
			return err
		}
		if !rec.Status.Terminal() {
			return errors.New("status = " + string(rec.Status))
		}
		if rec.Status != want {
			t.Fatalf("status of order %s = %s (reason %q), want %s", id, rec.Status, rec.Reason, want)
		}
		return nil
	})
}

// check checks the invariants, and the number of orders by status. A nil want skips the latter.
func (e *env) check(t *testing.T, ids []string, want map[order.Status]int) {
	t.Helper()
	sims := devenv.Simulators{
		PaymentURL: e.payURL, CarrierURL: e.carrURL, PaymentKey: providerKey,
		HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
	res, err := invariants.Run(t.Context(), invariants.Sources{Orders: e.store, Charges: e.payments(), Shipments: sims}, ids)
	require.NoError(t, err)
	for _, v := range res.Violations {
		t.Errorf("violated invariant: %s, want none", v)
	}
	if want != nil && !maps.Equal(res.ByStatus, want) {
		t.Errorf("orders by status = %v, want %v", res.ByStatus, want)
	}
	t.Logf("%d orders, by status: %v", res.Orders, res.ByStatus)
}
