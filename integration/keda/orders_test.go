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
)

const (
	shelves = 20
	batch   = 10 // SQS takes no more at once
)

// stocked puts enough of everything on the shelves. Orders go to several of
// them: all on one would contend for its record.
func (w *world) stocked() {
	for i := range shelves {
		testkit.SetStock(w.t, w.store, map[string]int64{fmt.Sprint("SKU-", i): 1_000_000})
	}
}

func newOrder(id string, n int) order.Order {
	return order.Order{
		OrderID: id, CustomerID: fmt.Sprint("c-", n%100), Currency: "EUR", Payment: order.Payment{Token: "tok_ok"},
		Lines:  []order.Line{{SKU: fmt.Sprint("SKU-", n%shelves), Quantity: 1, UnitPrice: 1999}},
		ShipTo: &order.Address{Name: "Ada", Line1: "1 Lane", City: "Berlin", PostalCode: "10115", Country: "DE"},
	}
}

// place puts one order into the queue; change may be nil.
func (w *world) place(t *testing.T, id string, change func(*order.Order)) {
	t.Helper()
	w.flood(t, id, 1, func(_ int, o *order.Order) {
		o.OrderID = id
		if change != nil {
			change(o)
		}
	})
}

// flood puts n orders into the queue and gives their ids; change may be nil.
func (w *world) flood(t *testing.T, prefix string, n int, change func(int, *order.Order)) (ids []string) {
	t.Helper()
	bodies := make([]string, n)
	for i := range n {
		o := newOrder(fmt.Sprintf("%s-%04d", prefix, i), i)
		if change != nil {
			change(i, &o)
		}
		ids = append(ids, o.OrderID)
		b, err := json.Marshal(o)
		must(t, err)
		bodies[i] = string(b)
	}
	must(t, w.send(t.Context(), bodies))
	return ids
}

// poison puts messages into the queue that nobody can read.
func (w *world) poison(t *testing.T, n int) {
	t.Helper()
	bodies := make([]string, n)
	for i := range n {
		bodies[i] = fmt.Sprintf(`{"orderId": "poison-%d", "lines": [`, i)
	}
	must(t, w.send(t.Context(), bodies))
}

func (w *world) send(ctx context.Context, bodies []string) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for from := 0; from < len(bodies); from += batch {
		var entries []types.SendMessageBatchRequestEntry
		for i := from; i < min(from+batch, len(bodies)); i++ {
			entries = append(entries, types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), MessageBody: &bodies[i]})
		}
		g.Go(func() error {
			out, err := w.clients.SQS.SendMessageBatch(gctx, &sqs.SendMessageBatchInput{QueueUrl: &w.resources.OrderQueue, Entries: entries})
			if err == nil && len(out.Failed) > 0 {
				err = fmt.Errorf("%d messages were not taken", len(out.Failed))
			}
			return err
		})
	}
	return g.Wait()
}

// dead is how many dead letters there are.
func (w *world) dead(t *testing.T) int {
	t.Helper()
	const visible = types.QueueAttributeNameApproximateNumberOfMessages
	out, err := w.clients.SQS.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &w.resources.OrderDLQ, AttributeNames: []types.QueueAttributeName{visible}})
	must(t, err)
	n, err := strconv.Atoi(out.Attributes[string(visible)])
	must(t, err)
	return n
}

// ends waits until an order has ended, as it must.
func (l *timeline) ends(t *testing.T, want order.Status, id string) {
	t.Helper()
	testkit.Within(t, 3*time.Minute, "order "+id+" ends", func() error {
		rec, err := l.w.store.Get(t.Context(), id)
		if err != nil {
			return err
		}
		if !rec.Status.Terminal() {
			return errors.New("is " + string(rec.Status))
		}
		if rec.Status != want {
			t.Fatalf("order %s ended %s (%s), must be %s", id, rec.Status, rec.Reason, want)
		}
		return nil
	})
}

// check proves the invariants, and what has become of all orders so far; nil
// does not say.
func (w *world) check(t *testing.T, ids []string, want map[order.Status]int) {
	t.Helper()
	sims := devenv.Simulators{PaymentURL: w.payURL, CarrierURL: w.carrURL, PaymentKey: providerKey, HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	res, err := invariants.Run(t.Context(), invariants.Sources{Orders: w.store, Charges: w.payments(), Shipments: sims}, ids)
	must(t, err)
	for _, v := range res.Violations {
		t.Error(v)
	}
	if want != nil && !maps.Equal(res.ByStatus, want) {
		t.Errorf("outcomes %v, must be %v", res.ByStatus, want)
	}
	t.Logf("%d orders, outcomes %v", res.Orders, res.ByStatus)
}
