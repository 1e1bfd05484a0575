package intake_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/activities"
	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/embedded"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/paymentsim"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/workflows"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// consume runs a consumer of the order queue, and returns its outcomes as they
// come and a way to stop it before the test ends.
func consume(t testing.TB, a testkit.AWS, o intake.Options) (outcomes <-chan string, stop func()) {
	t.Helper()
	seen := make(chan string, 1000)
	if o.SQS == nil {
		o.SQS = a.Clients.SQS
	}
	o.QueueURL, o.DLQURL, o.Logger = a.Resources.OrderQueue, a.Resources.OrderDLQ, zerolog.Nop()
	o.Observe = func(outcome string) { seen <- outcome }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- intake.New(o).Run(ctx) }()
	stopped := false
	stop = func() {
		cancel()
		if !stopped {
			stopped = true
			if err := <-done; err != nil {
				t.Errorf("consumer: %v", err)
			}
		}
	}
	t.Cleanup(stop)
	return seen, stop
}

// wants reads n outcomes and expects each to be want.
func wants(t testing.TB, outcomes <-chan string, want string, n int) {
	t.Helper()
	for i := range n {
		select {
		case got := <-outcomes:
			if got != want {
				t.Fatalf("outcome %d is %s, want %s", i, got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%d of %d outcomes in 20 s", i, n)
		}
	}
}

func send(t testing.TB, a testkit.AWS, body string, attrs map[string]types.MessageAttributeValue) (id string) {
	t.Helper()
	out, err := a.Clients.SQS.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &a.Resources.OrderQueue, MessageBody: &body, MessageAttributes: attrs})
	check(t, err)
	return *out.MessageId
}

// receive waits for n messages of a queue.
func receive(t testing.TB, a testkit.AWS, url string, n int) (out []types.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for len(out) < n {
		res, err := a.Clients.SQS.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &url, MaxNumberOfMessages: 10, WaitTimeSeconds: 5, MessageAttributeNames: []string{"All"},
		})
		check(t, err)
		out = append(out, res.Messages...)
	}
	return out
}

// depth counts the messages of a queue, those that are hidden apart.
func depth(t testing.TB, a testkit.AWS, url string) (visible, hidden string) {
	t.Helper()
	out, err := a.Clients.SQS.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	check(t, err)
	return out.Attributes["ApproximateNumberOfMessages"], out.Attributes["ApproximateNumberOfMessagesNotVisible"]
}

func event(t testing.TB, id string) string {
	t.Helper()
	b, err := json.Marshal(order.Order{
		SpecVersion: 1, OrderID: id, CustomerID: "c-1", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"},
		Lines: []order.Line{{SKU: "A", Quantity: 1, UnitPrice: 500}},
	})
	check(t, err)
	return string(b)
}

// world is a worker's inside: a running engine with the order saga.
type world struct {
	testkit.AWS
	engine   *embedded.Engine
	payments *payment.Client
	starter  intake.Starter
}

func newWorld(t testing.TB, terms workflows.Terms) world {
	t.Helper()
	w := world{AWS: testkit.NewAWS(t, nil)}
	w.SetStock(t, map[string]int64{"A": 100})

	provider, err := paymentsim.Open(paymentsim.Options{Logger: zerolog.Nop()})
	check(t, err)
	t.Cleanup(func() { check(t, provider.Close()) })
	server := httptest.NewServer(provider.Handler())
	t.Cleanup(server.Close)
	w.payments = payment.New(payment.Options{URL: server.URL})
	t.Cleanup(w.payments.Close)

	w.engine, err = embedded.Open(embedded.Options{Logger: zerolog.Nop()})
	check(t, err)
	t.Cleanup(func() { check(t, w.engine.Close()) })
	registry := task.NewTaskRegistry()
	check(t, activities.Activities{
		Stock: w.Store, Payments: w.payments,
		Shipments: shipment.New(w.Clients.SNS, w.Resources.ShipmentTopic, w.Resources.CustomerTopic),
	}.Register(registry))
	check(t, registry.AddWorkflowN("lingers", lingers))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.engine.Run(ctx, registry) }()
	t.Cleanup(func() {
		cancel()
		check(t, <-done)
	})
	w.starter = intake.Starter{Orders: w.Store, Sagas: w.engine, Terms: terms}
	return w
}

// ended waits for a saga's end.
func (w world) ended(t testing.TB, id string) engine.Instance {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	i, err := w.engine.Wait(ctx, id)
	check(t, err)
	return i
}

// lingers is a workflow that takes whatever it is sent, and ends at the event
// "end".
func lingers(ctx *task.WorkflowContext) (any, error) {
	return nil, ctx.WaitForSingleEvent("end", -1).Await(nil)
}

// message is a body without attributes.
func message(body string) events.Message { return events.Message{Body: []byte(body)} }
