package intake_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/snspublisher"
	"github.com/ordersaga/ordersaga/internal/sqsconsumer"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
)

func quoted(t testing.TB, s string) string {
	t.Helper()
	b, err := json.Marshal(s)
	require.NoError(t, err)
	return string(b)
}

// TestInvalidOrdersAreDeadLettered: the reason names the fault, and no other message is
// blocked.
func TestInvalidOrdersAreDeadLettered(t *testing.T) {
	t.Parallel()
	w := newEnv(t, workflows.Terms{})
	taken := order.Order{OrderID: "taken", CustomerID: "c-2", Currency: "EUR", Lines: []order.Line{{SKU: "A", Quantity: 1}}}
	_, _, err := w.Store.Accept(t.Context(), taken)
	require.NoError(t, err)
	bad := map[string]string{ // by body: part of the reason
		`{`:                          "body: is not an OrderPlaced event in JSON",
		`[1]`:                        "body: is not an OrderPlaced event in JSON",
		event(t, "trailing") + "{}":  "body: has data after the JSON value",
		strings.Repeat("x", 300<<10): "body: must have at most 262144 bytes, got 307200",
		`{"orderId":"only"}`:         "customerId: must be",
		`{"lines":"none"}`:           "lines: must not be a JSON string",
		event(t, "taken"):            "already used by a different order",
		strings.Replace(event(t, "v2"), `"specVersion":1`, `"specVersion":2`, 1): "specVersion: must be 1, got 2",
		`{"specversion":"1.0","type":"OrderPlaced","source":"s","id":"1","data_base64":"%"}`: "data_base64: is not base64: " +
			"illegal",
		`{"specversion":"1.0","type":"OrderCancelled","source":"s","id":"1","data":` + event(t, "x1") +
			`}`: `type: the CloudEvent's is "OrderCancelled", only OrderPlaced`,
		strings.Replace(event(t, "x2"), `{`, `{"type":"OrderCancelled",`,
			1): `type: the body's is "OrderCancelled", only OrderPlaced`,
		strings.Replace(event(t, "x3"), `{`, `{"orderId":"x4",`, 1): "orderId: appears more than once",
		strings.Replace(event(t, "x5"), `{`, `{"ORDERID":"x6",`,
			1): `orderId: appears more than once: as "ORDERID" and as "orderId"`,
	}
	ids := map[string]string{}
	n := 0
	for body := range bad {
		ids[body] = w.Send(t, body, nil)
		n++
		w.Send(t, event(t, "good-"+string(rune('a'+n))), nil)
	}
	outcomes, stop := w.Consume(t, sqsconsumer.Options{Handle: w.starter.HandleOrder})
	count := map[string]int{}
	for range 2 * len(bad) {
		count[<-outcomes]++
	}
	stop()
	if count["done"] != len(bad) || count["poison"] != len(bad) {
		t.Errorf("outcomes = %v, want %d done and as many poison", count, len(bad))
	}
	for i := 1; i <= n; i++ {
		w.ended(t, "good-"+string(rune('a'+i)))
	}
	for _, m := range w.Receive(t, w.Resources.OrderDLQ, len(bad)) {
		want, ok := bad[*m.Body]
		reason, original := testkit.Attribute(m, sqsconsumer.AttributeReason), testkit.Attribute(m, sqsconsumer.AttributeOriginal)
		if !ok || !strings.Contains(reason, want) || original != ids[*m.Body] {
			t.Errorf("%.60s: reason = %q of %s, want %q of %s", *m.Body, reason, original, want, ids[*m.Body])
		}
	}
	if rec, err := w.Store.Get(t.Context(), "taken"); err != nil || rec.CustomerID != "c-2" {
		t.Errorf("first order with the id = %+v (%v), want customer c-2", rec, err)
	}
}

// TestContradictingEnvelopeTypeIsDeadLettered: an order whose envelope has the type
// OrderCancelled is neither charged nor shipped.
func TestContradictingEnvelopeTypeIsDeadLettered(t *testing.T) {
	t.Parallel()
	w := newEnv(t, workflows.Terms{})
	reasons := map[string]string{}
	for i, name := range []string{"type", "ce-type", "ce_type", "cloudEvents_type"} {
		id := fmt.Sprint("o-", i)
		reasons[id] = `type: the message attribute ` + name + `'s is "OrderCancelled", only OrderPlaced is handled here`
		w.Send(t, event(t, id), map[string]types.MessageAttributeValue{name: testkit.StringAttribute("OrderCancelled")})
	}
	reasons["binary"] = reasons["o-0"]
	w.Send(
		t,
		event(t, "binary"),
		map[string]types.MessageAttributeValue{"type": {DataType: aws.String("Binary"), BinaryValue: []byte("OrderCancelled")}},
	)
	reasons["sns"] = `type: the SNS attribute type's is "OrderCancelled", only OrderPlaced is handled here`
	w.Send(t, `{"Type":"Notification","TopicArn":"a","MessageAttributes":{"type":{"Type":"String","Value":"OrderCancelled"}},`+
		`"Message":`+quoted(t, event(t, "sns"))+`}`, nil)
	reasons["bridge"] = `type: the EventBridge event's is "OrderCancelled", only OrderPlaced is handled here`
	w.Send(t, `{"version":"0","id":"1","detail-type":"OrderCancelled","source":"shop","detail":`+event(t, "bridge")+`}`, nil)
	reasons["two"] = `type: the message attribute type's is "OrderCancelled", the CloudEvent's is "OrderPlaced": they must agree`
	w.Send(t, `{"specversion":"1.0","type":"OrderPlaced","source":"s","id":"1","data":`+event(t, "two")+`}`,
		map[string]types.MessageAttributeValue{"type": testkit.StringAttribute("OrderCancelled")})

	outcomes, _ := w.Consume(t, sqsconsumer.Options{Handle: w.starter.HandleOrder})
	testkit.WantOutcomes(t, outcomes, "poison", len(reasons))
	for _, m := range w.Receive(t, w.Resources.OrderDLQ, len(reasons)) {
		found := ""
		for id := range reasons {
			if strings.Contains(*m.Body, `"`+id+`"`) || strings.Contains(*m.Body, `\"`+id+`\"`) {
				found = id
			}
		}
		if reason := testkit.Attribute(m, sqsconsumer.AttributeReason); found == "" || reason != reasons[found] {
			t.Errorf("%s: reason = %q, want %q", *m.Body, reason, reasons[found])
		}
	}
	for id := range reasons {
		if rec, err := w.Store.Get(t.Context(), id); !errors.Is(err, orderstore.ErrNotFound) {
			t.Errorf("order %s = %+v (%v), want none", id, rec, err)
		}
	}
	if charges, _, err := w.payments.Charges(t.Context(), "", 10); err != nil || len(charges) > 0 {
		t.Errorf("charges = %+v (%v), want none", charges, err)
	}
}

func TestEveryEnvelopeStartsASaga(t *testing.T) {
	t.Parallel()
	w := newEnv(t, workflows.Terms{})
	w.Send(t, event(t, "raw"), nil)
	w.Send(t, `{"Type":"Notification","MessageId":"m","TopicArn":"arn:aws:sns:x","Message":`+quoted(t, event(t, "sns"))+`}`, nil)
	w.Send(t, `{"specversion":"1.0","type":"OrderPlaced","source":"shop","id":"1","data":`+event(t, "cloudevent")+`}`, nil)
	w.Send(t, `{"data":`+event(t, "dapr")+`,"datacontenttype":"application/json","id":"5b8a","pubsubname":"orderpubsub",`+
		`"source":"shop","specversion":"1.0","time":"2026-11-23T10:00:00Z","topic":"OrderEvents","traceid":"00-0-0-00",`+
		`"traceparent":"00-0-0-00","tracestate":"","type":"com.dapr.event.sent"}`, nil)
	w.Send(t, strings.Replace(event(t, "typed"), `{`, `{"type":"OrderPlaced",`, 1), nil)
	w.Send(
		t,
		event(t, "attribute"),
		map[string]types.MessageAttributeValue{"type": testkit.StringAttribute("OrderPlaced"), "shop": testkit.StringAttribute("OrderCancelled")},
	)
	w.Send(t, event(t, "binary"), map[string]types.MessageAttributeValue{
		"ce-type":        testkit.StringAttribute("OrderPlaced"),
		"ce-specversion": testkit.StringAttribute("1.0"), "ce-id": testkit.StringAttribute("1"), "ce-source": testkit.StringAttribute("shop"),
	})
	w.Send(t, `{"version":"0","id":"1","detail-type":"OrderPlaced","source":"shop","account":"111122223333",`+
		`"time":"2026-11-23T10:00:00Z","region":"us-east-1","resources":[],"detail":`+event(t, "eventbridge")+`}`, nil)
	o, err := order.Parse([]byte(event(t, "published")))
	require.NoError(t, err)
	require.NoError(t, intake.Publisher{Topic: snspublisher.New(w.Clients.SNS, w.Resources.OrderTopic)}.PublishOrder(t.Context(), o))
	outcomes, _ := w.Consume(t, sqsconsumer.Options{Handle: w.starter.HandleOrder})
	testkit.WantOutcomes(t, outcomes, "done", 9)
	for _, id := range []string{"raw", "sns", "cloudevent", "dapr", "typed", "published", "attribute", "binary", "eventbridge"} {
		i := w.ended(t, id)
		if rec, err := w.Store.Get(t.Context(), id); err != nil || rec.Status != order.StatusCompleted {
			t.Errorf("%s: status = %s (%v), want COMPLETED", id, rec.Status, err)
		}
		if strings.Contains(string(i.Input), "tok_ok") {
			t.Errorf("%s: the saga's input contains the payment token, want it left out: %s", id, i.Input)
		}
	}
}

// TestDuplicatesStartNothing delivers an order again at once, after its saga has ended, and
// after the saga was purged (I6).
func TestDuplicatesStartNothing(t *testing.T) {
	t.Parallel()
	w := newEnv(t, workflows.Terms{})
	for range 5 {
		w.Send(t, event(t, "o"), nil)
	}
	outcomes, _ := w.Consume(t, sqsconsumer.Options{Handle: w.starter.HandleOrder})
	testkit.WantOutcomes(t, outcomes, "done", 5)
	w.ended(t, "o")
	before, err := w.Store.Get(t.Context(), "o")
	require.NoError(t, err)

	w.Send(t, event(t, "o"), nil)
	testkit.WantOutcomes(t, outcomes, "done", 1)
	require.NoError(t, w.engine.Purge(t.Context(), "o"))
	w.Send(t, event(t, "o"), nil)
	testkit.WantOutcomes(t, outcomes, "done", 1)
	if _, err := w.engine.Get(t.Context(), "o"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("second saga: error = %v, want %v", err, engine.ErrNotFound)
	}

	after, err := w.Store.Get(t.Context(), "o")
	if err != nil || after.Status != order.StatusCompleted || !after.UpdatedAt.Equal(before.UpdatedAt) {
		t.Errorf("order = %+v (%v), want it unchanged since %s", after, err, before.UpdatedAt)
	}
	charges, _, err := w.payments.Charges(t.Context(), "", 100)
	if err != nil || len(charges) != 1 {
		t.Errorf("charges = %v (%v), want 1", charges, err)
	}
	if m := w.Receive(t, w.Resources.CarrierRequests, 1); len(m) != 1 {
		t.Errorf("%d shipment requests, want 1", len(m))
	}
	if v, _ := w.Depth(t, w.Resources.CarrierRequests); v != "0" {
		t.Errorf("%s more shipment requests, want none", v)
	}
	if l, err := w.Store.GetLevel(t.Context(), "A"); err != nil || l.Sold != 1 {
		t.Errorf("stock level = %+v (%v), want 1 sold", l, err)
	}
}

// TestRecordedOrderGetsASagaAfterACrash: the worker crashed after it recorded the order and
// before it started the saga.
func TestRecordedOrderGetsASagaAfterACrash(t *testing.T) {
	t.Parallel()
	w := newEnv(t, workflows.Terms{})
	o, err := order.Parse([]byte(event(t, "o")))
	require.NoError(t, err)
	_, _, err = w.Store.Accept(t.Context(), o)
	require.NoError(t, err)
	rec, created, err := w.starter.Start(t.Context(), o)
	if err != nil || created || rec.Status != order.StatusPending {
		t.Errorf("Start = %+v, created %t (%v), want PENDING and not created", rec, created, err)
	}
	w.ended(t, "o")
	if rec, err := w.Store.Get(t.Context(), "o"); err != nil || rec.Status != order.StatusCompleted {
		t.Errorf("status = %s (%v), want COMPLETED", rec.Status, err)
	}
}

// TestTerminatedSagaIsNotRestarted: a redelivered message does not restart it, even if the
// saga was purged.
func TestTerminatedSagaIsNotRestarted(t *testing.T) {
	t.Parallel()
	w := newEnv(t, workflows.Terms{})
	o, err := order.Parse([]byte(event(t, "o")))
	require.NoError(t, err)
	_, _, err = w.Store.Accept(t.Context(), o)
	require.NoError(t, err)
	require.NoError(t, w.Store.MarkTerminated(t.Context(), "o", "enough"))
	if _, created, err := w.starter.Start(t.Context(), o); err != nil || created {
		t.Errorf("created = %t (%v), want false", created, err)
	}
	if i, err := w.engine.Get(t.Context(), "o"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("saga = %+v (%v), want none", i, err)
	}
}

func TestStartWhileTheSagaRunsKeepsTheFirstOrder(t *testing.T) {
	t.Parallel()
	w := newEnv(t, workflows.Terms{AwaitCarrier: true, CarrierTimeout: 1 << 40})
	o, err := order.Parse([]byte(event(t, "o")))
	require.NoError(t, err)
	// The engine has it and the record has PENDING: a redelivery in between.
	require.NoError(t, w.engine.Start(t.Context(), workflows.OrderSaga, "o", workflows.State{Order: o.WithoutToken(), Terms: w.starter.Terms}))
	if _, created, err := w.starter.Start(t.Context(), o); err != nil || !created {
		t.Errorf("created = %t (%v), want true", created, err)
	}
	o.CustomerID = "another"
	if rec, _, err := w.starter.Start(t.Context(), o); !errors.Is(err, orderstore.ErrConflict) || rec.CustomerID != "c-1" {
		t.Errorf("Start of a different order = %+v (%v), want %v", rec, err, orderstore.ErrConflict)
	}
	require.NoError(t, w.engine.Terminate(t.Context(), "o", "end of test"))
}

// FuzzHandleOrder: whatever the body, it starts a saga or is poison. Anything else would be
// retried permanently.
func FuzzHandleOrder(f *testing.F) {
	w := newEnv(f, workflows.Terms{})
	for _, body := range []string{
		event(f, "o"), "", "null", "{", `{"specVersion":2}`, `{"orderId":"` + strings.Repeat("x", 65) + `"}`,
		strings.Replace(event(f, "p"), `"quantity":1`, `"quantity":1e30`, 1),
		strings.Replace(event(f, "q"), `"c-1"`, `"c-1","placedAt":"9999-12-31T23:59:59-23:59"`, 1),
		`{"Type":"Notification","TopicArn":"a","Message":` + quoted(f, event(f, "s")) + `}`,
		`{"specversion":"1.0","type":"OrderPlaced","source":"s","id":"1","data":` + event(f, "c") + `}`,
		`{"specversion":"1.0","type":"OrderPlaced","source":"s","id":"1","data_base64":"eyJ9"}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for range 2 { // a redelivery has the same outcome
			err := w.starter.HandleOrder(t.Context(), events.Message{Body: body})
			if p, ok := errors.AsType[*sqsconsumer.PermanentError](err); err != nil && (!ok || p.Error() == "") {
				t.Errorf("%q: error = %v, want nil or a PermanentError with a text", body, err)
			}
		}
	})
}
