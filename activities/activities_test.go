package activities_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/backend"
	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ordersaga/ordersaga/activities"
	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/paymentsim"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is the registered activities, run as an engine runs them, and all
// that they work with.
type bench struct {
	*testing.T
	testkit.AWS
	parts    activities.Activities
	registry *task.TaskRegistry
	exec     backend.Executor
	provider *paymentsim.Provider
	payments *payment.Client
	told     string // queue of what customers are told
	asked    string // queue of what the carrier is asked
	away     *atomic.Bool
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, away: &atomic.Bool{}}
	b.AWS = testkit.NewAWS(t, func(o *awslocal.Options) {
		o.Fault = func(string, string) error {
			if b.away.Load() {
				return &awslocal.Error{Status: 400, Code: "AccessDeniedException", Shape: "com.amazon.coral.service#AccessDeniedException", Message: "away"}
			}
			return nil
		}
	})
	b.SetStock(t, map[string]int64{"A": 10})
	b.told = b.Listen(t, "told", b.Resources.CustomerTopic)
	b.asked = b.Listen(t, "asked", b.Resources.ShipmentTopic)

	var err error
	b.provider, err = paymentsim.Open(paymentsim.Options{Logger: zerolog.Nop()})
	b.must(err)
	t.Cleanup(func() { b.must(b.provider.Close()) })
	server := httptest.NewServer(b.provider.Handler())
	t.Cleanup(server.Close)
	b.payments = payment.New(payment.Options{URL: server.URL})
	t.Cleanup(b.payments.Close)

	b.parts = activities.Activities{
		Store: b.Store, Payments: b.payments,
		Shipments: shipment.New(b.Clients.SNS, b.Resources.ShipmentTopic, b.Resources.CustomerTopic),
	}
	b.registry = task.NewTaskRegistry()
	b.must(b.parts.Register(b.registry))
	b.exec = task.NewTaskExecutor(b.registry)
	return b
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// run executes an activity by its registered name.
func (b *bench) run(name, input string) (result, failure string) {
	b.Helper()
	e, err := b.exec.ExecuteActivity(b.Context(), "saga-1", &protos.HistoryEvent{
		EventId:   1,
		EventType: &protos.HistoryEvent_TaskScheduled{TaskScheduled: &protos.TaskScheduledEvent{Name: name, Input: wrapperspb.String(input)}},
	}, backend.ExecuteOptions{})
	b.must(err)
	return e.GetTaskCompleted().GetResult().GetValue(), e.GetTaskFailed().GetFailureDetails().GetErrorMessage()
}

// outcome is what an activity of the forward way gives back.
type outcome struct {
	State workflows.State
	Stop  saga.Stop
}

// do runs a step and expects no technical error.
func (b *bench) do(name string, s workflows.State) outcome {
	b.Helper()
	in, err := json.Marshal(s)
	b.must(err)
	result, failure := b.run(name, string(in))
	if failure != "" {
		b.Fatalf("%s: %s", name, failure)
	}
	if strings.Contains(result, "tok_") {
		b.Errorf("%s: the token goes to the history: %s", name, result)
	}
	var out outcome
	b.must(json.Unmarshal([]byte(result), &out))
	return out
}

// fails runs a step and expects a technical error, which is tried again.
func (b *bench) fails(name string, s workflows.State, want string) {
	b.Helper()
	in, err := json.Marshal(s)
	b.must(err)
	if result, failure := b.run(name, string(in)); result != "" || !strings.Contains(failure, want) || strings.Contains(failure, "tok_") {
		b.Errorf("%s: %s %s, want a failure: %s", name, result, failure, want)
	}
}

// undo runs a compensation and gives back its failure.
func (b *bench) undo(name string, s workflows.State, status order.Status, reason string) (failure string) {
	b.Helper()
	in, err := json.Marshal(map[string]any{"state": s, "stop": saga.Stop{Status: string(status), Reason: reason}})
	b.must(err)
	_, failure = b.run(name, string(in))
	return failure
}

func newState(id string) workflows.State {
	return workflows.State{Order: order.Order{
		OrderID: id, CustomerID: "c-1", Currency: "EUR", Lines: []order.Line{{SKU: "A", Quantity: 2, UnitPrice: 100}},
	}}
}

// accept records the order, with its token, and gives the saga's state.
func (b *bench) accept(id, token string) workflows.State {
	b.Helper()
	s := newState(id)
	o := s.Order
	o.Payment.Token = token
	_, _, err := b.Store.Accept(b.Context(), o)
	b.must(err)
	return s
}

// paid takes an order up to the shipment.
func (b *bench) paid(id string) workflows.State {
	b.Helper()
	s := b.accept(id, "tok_ok")
	b.do(workflows.ReserveStock, s)
	b.do(workflows.ChargePayment, s)
	return s
}

// drain takes all messages out of a queue, n or more, and gives their types.
func (b *bench) drain(url string, n int) (types []string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
	defer cancel()
	for {
		in := &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"}}
		if len(types) < n {
			in.WaitTimeSeconds = 5 // else there is nothing to wait for: SNS delivers before it answers
		}
		out, err := b.Clients.SQS.ReceiveMessage(ctx, in)
		b.must(err)
		if len(out.Messages) == 0 && len(types) >= n {
			return types
		}
		for _, m := range out.Messages {
			types = append(types, *m.MessageAttributes["type"].StringValue)
			_, err := b.Clients.SQS.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle})
			b.must(err)
		}
	}
}

// heard expects what customers were told since it was asked last.
func (b *bench) heard(want ...string) {
	b.Helper()
	if got := b.drain(b.told, len(want)); strings.Join(got, " ") != strings.Join(want, " ") {
		b.Errorf("customers were told %v, want %v", got, want)
	}
}

func (b *bench) is(id string, want order.Status) orderstore.Record {
	b.Helper()
	rec, err := b.Store.Get(b.Context(), id)
	if err != nil || rec.Status != want {
		b.Errorf("%s is %s (%v), want %s", id, rec.Status, err, want)
	}
	return rec
}

func (b *bench) level(available, reserved, sold int64) {
	b.Helper()
	l, err := b.Store.GetLevel(b.Context(), "A")
	if err != nil || l.Available != available || l.Reserved != reserved || l.Sold != sold {
		b.Errorf("%+v %v, want %d %d %d", l, err, available, reserved, sold)
	}
}
