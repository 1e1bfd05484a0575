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
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// shop is the customers of one scenario. It has its own SKU, so scenarios can run
// concurrently.
type shop struct {
	*testing.T

	sku     string
	stocked int64 // units
}

// newShop returns a shop whose SKU has that many units.
func newShop(t *testing.T, units int64) shop {
	t.Helper()
	// The name includes that of the emulator, because Dapr keeps the ids of ended sagas.
	_, name, _ := strings.Cut(t.Name(), "/")
	name = regexp.MustCompile(`[^A-Za-z0-9]+`).ReplaceAllString(strings.Replace(name, "side_by_side/", "", 1), "-")
	s := shop{T: t, sku: name[:min(len(name), 40)], stocked: units}
	testkit.SetStock(t, system.store, map[string]int64{s.sku: units})
	return s
}

// order returns an order that completes, with changes. Its id begins with the scenario's name.
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

// paidWith sets the payment token, which selects the behaviour of the payment simulator.
func paidWith(token string) func(*order.Order) {
	return func(o *order.Order) { o.Payment.Token = token }
}

// shippedTo sets the recipient, which selects the behaviour of the carrier simulator.
func shippedTo(name string) func(*order.Order) { return func(o *order.Order) { o.ShipTo.Name = name } }

// expensive makes an order need approval.
func expensive(o *order.Order) { o.Lines[0].UnitPrice = 100_000 }

// place publishes an order to SNS and returns its id.
func (s shop) place(o order.Order) (id string) {
	s.Helper()
	require.NoError(s, s.publish(s.Context(), o))
	return o.OrderID
}

func (s shop) publish(ctx context.Context, o order.Order) error {
	system.moved.RLock()
	p := intake.Publisher{Topic: snspublisher.New(system.clients.SNS, system.resources.OrderTopic)}
	system.moved.RUnlock()
	return p.PublishOrder(ctx, o)
}

// send sends messages to the order queue without checking them.
func (s shop) send(bodies ...string) {
	s.Helper()
	for len(bodies) > 0 {
		n := min(10, len(bodies))
		entries := make([]types.SendMessageBatchRequestEntry, n)
		for i := range entries {
			id := strconv.Itoa(i)
			entries[i] = types.SendMessageBatchRequestEntry{Id: &id, MessageBody: &bodies[i]}
		}
		out, err := system.clients.SQS.SendMessageBatch(s.Context(), &sqs.SendMessageBatchInput{
			QueueUrl: &system.resources.OrderQueue, Entries: entries,
		})
		require.NoError(s, err)
		if len(out.Failed) > 0 {
			s.Fatalf("SQS rejected %d of %d messages, want 0: %+v", len(out.Failed), n, out.Failed)
		}
		bodies = bodies[n:]
	}
}

// jsonOf encodes a value as JSON.
func jsonOf(v any) string {
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

// act takes an operator's action on a saga.
func (s shop) act(id, action, note string) {
	s.Helper()
	require.NoError(s, s.call(http.MethodPost, "/v1/sagas/"+id+"/"+action, map[string]string{"by": "test", "note": note}, nil))
}

// waitForStatus waits until an order has a status.
func (s shop) waitForStatus(id string, want order.Status) (got api.Saga) {
	s.Helper()
	s.waitFor(id+" is "+string(want), func() error {
		err := s.call(http.MethodGet, "/v1/sagas/"+id, nil, &got)
		if err == nil && got.Status != want {
			err = fmt.Errorf("status = %s (reason %q), want %s", got.Status, got.Reason, want)
		}
		return err
	})
	return got
}

// waitFor polls f every 100 ms until it returns nil, and stops the test after 3 minutes.
func (s shop) waitFor(what string, f func() error) {
	s.Helper()
	var err error
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	s.Fatalf("timed out waiting for: %s: %v", what, err)
}

// wantSold waits until that many units of the scenario's SKU are sold and none are reserved.
func (s shop) wantSold(want int64) {
	s.Helper()
	s.waitFor(fmt.Sprint(want, " units are sold"), func() error {
		l, err := system.store.GetLevel(s.Context(), s.sku)
		if err == nil && (l.Sold != want || l.Reserved != 0 || l.Available != s.stocked-want) {
			err = fmt.Errorf("level = %+v, want %d sold, 0 reserved, %d available", l, want, s.stocked-want)
		}
		return err
	})
}

// wantCharged checks an order's charges in the payment provider's ledger.
func (s shop) wantCharged(id string, charges int, refunded bool) {
	s.Helper()
	n, back := 0, false
	for cursor := ""; ; {
		p := payment.New(payment.Options{URL: system.sims.PaymentURL, Key: paymentKey})
		entries, next, err := p.Charges(s.Context(), cursor, 1000)
		p.Close()
		require.NoError(s, err)
		for _, e := range entries {
			if e.OrderID == id && e.Amount > 0 {
				n++
				back = back || e.Refunded
			}
		}
		if next == "" {
			break
		}
		cursor = next
	}
	if n != charges || back != refunded {
		s.Errorf("order %s: charges = %d, refunded = %v; want %d, %v", id, n, back, charges, refunded)
	}
}

// wantInvariants waits until the system is idle, and checks all invariants.
func wantInvariants(t *testing.T) {
	t.Helper()
	s := shop{T: t}
	s.waitFor("the queues are empty and all sagas have ended", func() error {
		var o api.Overview
		if err := s.call(http.MethodGet, "/v1/overview", nil, &o); err != nil {
			return err
		}
		for st, n := range o.Live {
			if n > 0 && st != order.StatusNeedsAttention {
				return fmt.Errorf("orders with status %s = %d, want 0", st, n)
			}
		}
		for _, q := range o.Queues {
			if q.Visible+q.InFlight > 0 {
				return fmt.Errorf("queue %+v has messages, want none", q)
			}
		}
		return nil
	})
	p := payment.New(payment.Options{URL: system.sims.PaymentURL, Key: paymentKey})
	defer p.Close()
	s.waitFor("all invariants hold", func() error {
		res, err := invariants.Run(t.Context(), invariants.Sources{
			Orders: system.store, Charges: p, Shipments: system.sims, Settled: time.Hour,
		}, nil)
		if err == nil && len(res.Violations) > 0 {
			err = errors.New(strings.Join(res.Violations, "; "))
		}
		return err
	})
}
