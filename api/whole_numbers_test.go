package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/money"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/worker"
)

var flat = order.Address{
	Name: "Ada Example", Line1: "1 Loopback Lane", Line2: "Flat 12b", City: "Springfield", Region: "IL", PostalCode: "62704", Country: "US",
	Phone: "+1 217 555 0100",
}

// whole has all that an order can have: 1500 for the goods, 1784 in all.
func whole(o *order.Order) {
	o.Lines = []order.Line{{SKU: "A", Quantity: 3, UnitPrice: 500}}
	o.Shipping, o.Tax, o.Discount, o.Agreed = 390, 194, 300, new(int64(1784))
	o.ShipTo = &flat
}

// TestChargeAndShipmentHaveTheWholeOrder: the charge is what the customer agreed to pay, and
// the carrier receives the complete address.
func TestChargeAndShipmentHaveTheWholeOrder(t *testing.T) {
	c := start(t)
	requests := c.Listen(t, "carrier-too", c.Resources.ShipmentTopic)
	for n, path := range []string{"/v1/orders", "/v1/sagas"} {
		id := fmt.Sprint("whole-", n)
		if a := c.post(path, newOrder(id, whole)); a.status != http.StatusAccepted {
			t.Fatalf("%s: status = %d, want %d: %s", path, a.status, http.StatusAccepted, a.body)
		}
		c.until(id, "COMPLETED")
		a := c.get("/v1/sagas/" + id)
		for _, say := range []string{
			`"total":1784`, `"shipping":390`, `"tax":194`, `"discount":300`, `"line2":"Flat 12b"`,
			`"phone":"+1 217 555 0100"`,
		} {
			if !strings.Contains(a.body, say) {
				t.Errorf("%s: saga = %s, want %s in it", path, a.body, say)
			}
		}
		charges, err := payment.New(payment.Options{URL: c.Simulators.PaymentURL}).ChargesOf(t.Context(), id)
		if err != nil || len(charges) != 1 || charges[0].Amount != 1784 {
			t.Errorf("%s: charges = %+v, error = %v, want 1 charge of 1784", path, charges, err)
		}
		if got := c.asked(requests); got.OrderID != id || got.ShipTo == nil || !reflect.DeepEqual(*got.ShipTo, flat) {
			t.Errorf("%s: the carrier received %+v, want order %s for %+v", path, got, id, flat)
		}
	}
	wrong := func(o *order.Order) { whole(o); *o.Agreed = 1500 }
	c.post("/v1/orders", newOrder("wrong", wrong)).wantProblem(t, "another total", http.StatusUnprocessableEntity, "body.total",
		"is 1500 (15.00 EUR)")
	c.post("/v1/sagas", newOrder("wrong", wrong)).wantProblem(t, "another total", http.StatusUnprocessableEntity, "body.total",
		"are 1784 (17.84 EUR)")
}

// TestBinaryCloudEventOfAnotherTypeIsRejected: in CloudEvents' binary mode HTTP headers state
// the type of the event. Only OrderPlaced starts a saga.
func TestBinaryCloudEventOfAnotherTypeIsRejected(t *testing.T) {
	c := start(t)
	for n, path := range []string{"/v1/orders", "/v1/sagas"} {
		id := fmt.Sprint("binary-", n)
		body := newOrder(id, whole)
		c.do(http.MethodPost, path, body, "ce-specversion", "1.0", "ce-type", "OrderCancelled").
			wantProblem(t, path+" of another event", http.StatusUnprocessableEntity, "header.ce-type", "OrderPlaced")
		c.twice(path, body, "ce-type", "OrderPlaced", "OrderCancelled").wantProblem(t, path+" of two types",
			http.StatusUnprocessableEntity, "header.ce-type", "more than once")
		c.twice(path, body, "ce-type", "", "OrderCancelled").wantProblem(t, path+" of a type that follows an empty one",
			http.StatusUnprocessableEntity, "header.ce-type", "more than once")
		if a := c.get("/v1/sagas/" + id); a.status != http.StatusNotFound {
			t.Errorf("%s: after events of other types: status = %d, want %d: %s", path, a.status, http.StatusNotFound, a.body)
		}
		if a := c.do(http.MethodPost, path, body, "ce-specversion", "1.0", "ce-type", "OrderPlaced"); a.status != http.StatusAccepted {
			t.Errorf("%s of OrderPlaced: status = %d, want %d: %s", path, a.status, http.StatusAccepted, a.body)
		}
	}
}

// twice posts a body with a header that is there twice.
func (c client) twice(path, body, name, first, second string) answer {
	c.t.Helper()
	req, err := http.NewRequest(http.MethodPost, c.API+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Add(name, first)
	req.Header.Add(name, second)
	return c.carryOut(req)
}

// asked takes the next shipment request out of a queue.
func (c client) asked(queue string) (r events.ShipmentRequest) {
	c.t.Helper()
	testkit.Eventually(c.t, "a shipment is requested", func() error {
		out, err := c.Clients.SQS.ReceiveMessage(c.t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &queue, WaitTimeSeconds: 5})
		if err == nil && len(out.Messages) == 0 {
			err = context.DeadlineExceeded
		}
		if err != nil {
			return err
		}
		_, err = c.Clients.SQS.DeleteMessage(c.t.Context(), &sqs.DeleteMessageInput{
			QueueUrl:      &queue,
			ReceiptHandle: out.Messages[0].ReceiptHandle,
		})
		if err != nil {
			return err
		}
		return json.Unmarshal([]byte(*out.Messages[0].Body), &r)
	})
	return r
}

// TestRepeatedOrderIsAcceptedOnlyIfUnchanged: producers set a new placedAt when they repeat an
// order. A real difference is named, even after the order has ended and its token is erased.
func TestRepeatedOrderIsAcceptedOnlyIfUnchanged(t *testing.T) {
	c := start(t)
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	first := func(o *order.Order) { whole(o); o.PlacedAt = at }
	later := func(o *order.Order) { whole(o); o.PlacedAt, o.Agreed, o.SpecVersion = at.Add(time.Minute), nil, 1 }
	differs := map[string]func(*order.Order){
		"body.shipTo.line2": func(o *order.Order) { whole(o); to := flat; to.Line2 = "Flat 13"; o.ShipTo = &to },
		"body.lines[0].quantity": func(o *order.Order) {
			whole(o)
			o.Agreed, o.Lines = nil, []order.Line{{SKU: "A", Quantity: 4, UnitPrice: 500}}
		},
		"body.payment.token": func(o *order.Order) { whole(o); o.Payment.Token = "tok_other" },
		"body.tax":           func(o *order.Order) { whole(o); o.Tax, o.Agreed = 0, nil },
	}
	for _, path := range []string{"/v1/orders", "/v1/sagas"} {
		id := "again" + strings.ReplaceAll(path, "/", "-")
		for n, change := range []func(*order.Order){first, first, later, whole} {
			if a := c.post(path, newOrder(id, change)); a.status != http.StatusAccepted {
				t.Errorf("%s, repetition %d: status = %d, want %d: %s", path, n, a.status, http.StatusAccepted, a.body)
			}
		}
		for field, change := range differs {
			c.post(path, newOrder(id, change)).wantProblem(t, path+" "+field, http.StatusConflict, field, "different order")
		}
		c.until(id, "COMPLETED")
		if a := c.post(path, newOrder(id, later)); a.status != http.StatusAccepted {
			t.Errorf("%s, repetition of what has ended: status = %d, want %d: %s", path, a.status, http.StatusAccepted, a.body)
		}
		for field, change := range differs {
			c.post(path, newOrder(id, change)).wantProblem(t, path+" "+field+", ended", http.StatusConflict, field, "different order")
		}
	}
}

// TestApprovalLimitDependsOnTheCurrency: each currency has its own limit, and an order in a
// currency without one waits for approval.
func TestApprovalLimitDependsOnTheCurrency(t *testing.T) {
	s := testkit.NewSystem(t, func(w *worker.Worker) {
		w.Terms.ApprovalAbove, w.Terms.ApprovalLimits = 0, money.MustLimits("EUR=1000.00,JPY=150000,KWD=300")
	}, nil)
	s.SetStock(t, map[string]int64{"A": 1_000_000})
	c := newClient(t, s)
	for _, o := range []struct {
		currency string
		total    int64
		want     string
	}{
		{"EUR", 100_000, "COMPLETED"},
		{"EUR", 100_001, "AWAITING_APPROVAL"},
		{"JPY", 150_000, "COMPLETED"},
		{"JPY", 150_001, "AWAITING_APPROVAL"},
		{"KWD", 300_000, "COMPLETED"},
		{"KWD", 300_001, "AWAITING_APPROVAL"},
		{"USD", 1, "AWAITING_APPROVAL"},
	} {
		id := fmt.Sprint(o.currency, "-", o.total)
		if a := c.post("/v1/orders", newOrder(id, func(n *order.Order) {
			n.Currency, n.Lines = o.currency, []order.Line{{SKU: "A", Quantity: 1, UnitPrice: o.total}}
		})); a.status != http.StatusAccepted {
			t.Fatalf("%s: status = %d, want %d: %s", id, a.status, http.StatusAccepted, a.body)
		}
		c.until(id, o.want)
	}
}
