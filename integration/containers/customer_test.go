package containers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/invariants"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/snspublisher"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// shop is one scenario, with a SKU of its own.
type shop struct {
	*testing.T

	sku     string
	stocked int64
}

func open(t *testing.T, pieces int64) shop {
	t.Helper()
	_, name, _ := strings.Cut(t.Name(), "/") // also the emulator's, for Dapr remembers ids
	name = regexp.MustCompile(`[^A-Za-z0-9]+`).ReplaceAllString(strings.Replace(name, "side_by_side/", "", 1), "-")
	s := shop{t, name[:min(len(name), 40)], pieces}
	testkit.SetStock(t, system.store, map[string]int64{s.sku: pieces})
	return s
}

// order is a good one; its id begins with the scenario's name.
func (s shop) order(id string, change ...func(*order.Order)) order.Order {
	o := order.Order{
		OrderID: s.sku + "-" + id, CustomerID: "c-1", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"},
		Lines: []order.Line{{SKU: s.sku, Quantity: 2, UnitPrice: 100}}, ShipTo: &order.Address{Name: "Ann", Country: "DE"},
	}
	for _, c := range change {
		c(&o)
	}
	return o
}

func paidWith(token string) func(*order.Order) {
	return func(o *order.Order) { o.Payment.Token = token }
}
func shippedTo(name string) func(*order.Order) { return func(o *order.Order) { o.ShipTo.Name = name } }
func dear(o *order.Order)                      { o.Lines[0].UnitPrice = 100_000 }

// place publishes to SNS, as a shop does.
func (s shop) place(o order.Order) string {
	s.Helper()
	if err := s.publish(s.Context(), o); err != nil {
		s.Fatal(err)
	}
	return o.OrderID
}

func (s shop) publish(ctx context.Context, o order.Order) error {
	system.moved.RLock()
	p := intake.Publisher{Topic: snspublisher.New(system.clients.SNS, system.resources.OrderTopic)}
	system.moved.RUnlock()
	return p.PublishOrder(ctx, o)
}

// send puts messages into the queue as they are.
func (s shop) send(bodies ...string) {
	s.Helper()
	for len(bodies) > 0 {
		n := min(10, len(bodies))
		entries := make([]types.SendMessageBatchRequestEntry, n)
		for i := range entries {
			id := strconv.Itoa(i)
			entries[i] = types.SendMessageBatchRequestEntry{Id: &id, MessageBody: &bodies[i]}
		}
		out, err := system.clients.SQS.SendMessageBatch(s.Context(), &sqs.SendMessageBatchInput{QueueUrl: &system.resources.OrderQueue, Entries: entries})
		if err != nil || len(out.Failed) > 0 {
			s.Fatal(out, err)
		}
		bodies = bodies[n:]
	}
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (s shop) call(method, path string, in, out any) error {
	s.Helper()
	return system.api.Call(s.Context(), method, path, in, out)
}

func (s shop) act(id, action, note string) {
	s.Helper()
	if err := s.call(http.MethodPost, "/v1/sagas/"+id+"/"+action, map[string]string{"by": "test", "note": note}, nil); err != nil {
		s.Fatal(err)
	}
}

// until waits until an order has a status.
func (s shop) until(id string, want order.Status) (got api.Saga) {
	s.Helper()
	s.eventually(id+" is "+string(want), func() error {
		err := s.call(http.MethodGet, "/v1/sagas/"+id, nil, &got)
		if err == nil && got.Status != want {
			err = fmt.Errorf("it is %s %s", got.Status, got.Reason)
		}
		return err
	})
	return got
}

func (s shop) eventually(what string, f func() error) {
	s.Helper()
	var err error
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	s.Fatalf("never: %s: %v", what, err)
}

// sold checks the scenario's stock: so many pieces sold, none reserved.
func (s shop) sold(want int64) {
	s.Helper()
	s.eventually(fmt.Sprint(want, " pieces are sold"), func() error {
		l, err := system.store.GetLevel(s.Context(), s.sku)
		if err == nil && (l.Sold != want || l.Reserved != 0 || l.Available != s.stocked-want) {
			err = fmt.Errorf("%+v", l)
		}
		return err
	})
}

// charged checks the payment provider's book.
func (s shop) charged(id string, charges int, refunded bool) {
	s.Helper()
	n, back := 0, false
	for cursor := ""; ; {
		p := payment.New(payment.Options{URL: system.sims.PaymentURL, Key: paymentKey})
		entries, next, err := p.Charges(s.Context(), cursor, 1000)
		p.Close()
		if err != nil {
			s.Fatal(err)
		}
		for _, e := range entries {
			if e.OrderID == id && e.Amount > 0 {
				n++
				back = back || e.Refunded
			}
		}
		if cursor = next; next == "" {
			break
		}
	}
	if n != charges || back != refunded {
		s.Errorf("%s was charged %d times, refunded %v; want %d, %v", id, n, back, charges, refunded)
	}
}

// allHolds checks all invariants of a system at rest.
func allHolds(t *testing.T) {
	t.Helper()
	s := shop{T: t}
	s.eventually("the queues are empty and all sagas have ended", func() error {
		var o api.Overview
		if err := s.call(http.MethodGet, "/v1/overview", nil, &o); err != nil {
			return err
		}
		for st, n := range o.Live {
			if n > 0 && st != order.StatusNeedsAttention {
				return fmt.Errorf("%d are %s", n, st)
			}
		}
		for _, q := range o.Queues {
			if q.Visible+q.InFlight > 0 {
				return fmt.Errorf("%+v", q)
			}
		}
		return nil
	})
	p := payment.New(payment.Options{URL: system.sims.PaymentURL, Key: paymentKey})
	defer p.Close()
	s.eventually("all invariants hold", func() error {
		res, err := invariants.Run(t.Context(), invariants.Sources{Orders: system.store, Charges: p, Shipments: system.sims, Settled: time.Hour}, nil)
		if err == nil && len(res.Violations) > 0 {
			err = errors.New(strings.Join(res.Violations, "; "))
		}
		return err
	})
}
