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
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// harness runs the registered activities as an engine does, against the local AWS
// endpoint and the payment simulator.
type harness struct {
	*testing.T
	testkit.AWS
	activities activities.Activities
	registry   *task.TaskRegistry
	exec       backend.Executor
	provider   *paymentsim.Provider
	payments   *payment.Client
	customers  string       // queue that receives the customers' notifications
	carrier    string       // queue that receives the shipment requests
	awsDown    *atomic.Bool // every AWS call fails
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	h := &harness{T: t, awsDown: &atomic.Bool{}}
	h.AWS = testkit.NewAWS(t, func(o *awslocal.Options) {
		o.Fault = func(string, string) error {
			if h.awsDown.Load() {
				return &awslocal.Error{
					Status: 400, Code: "AccessDeniedException", Shape: "com.amazon.coral.service#AccessDeniedException", Message: "down",
				}
			}
			return nil
		}
	})
	h.SetStock(t, map[string]int64{"A": 10})
	h.customers = h.Listen(t, "customers", h.Resources.CustomerTopic)
	h.carrier = h.Listen(t, "carrier", h.Resources.ShipmentTopic)

	var err error
	h.provider, err = paymentsim.Open(paymentsim.Options{Logger: zerolog.Nop()})
	require.NoError(h, err)
	t.Cleanup(func() { require.NoError(h, h.provider.Close()) })
	server := httptest.NewServer(h.provider.Handler())
	t.Cleanup(server.Close)
	h.payments = payment.New(payment.Options{URL: server.URL})
	t.Cleanup(h.payments.Close)

	h.activities = activities.Activities{
		Store: h.Store, Payments: h.payments,
		Shipments: shipment.New(h.Clients.SNS, h.Resources.ShipmentTopic, h.Resources.CustomerTopic),
	}
	h.register()
	return h
}

// register registers h.activities with a new executor.
func (h *harness) register() {
	h.Helper()
	h.registry = task.NewTaskRegistry()
	require.NoError(h, h.activities.Register(h.registry))
	h.exec = task.NewTaskExecutor(h.registry)
}

// withoutTopics returns the activities with a publisher whose topics do not exist.
func (h *harness) withoutTopics() activities.Activities {
	broken := h.activities
	broken.Shipments = shipment.New(h.Clients.SNS, h.Resources.ShipmentTopic+"-gone", h.Resources.CustomerTopic+"-gone")
	return broken
}

// execute runs an activity by its registered name.
func (h *harness) execute(name, input string) (result, failure string) {
	h.Helper()
	e, err := h.exec.ExecuteActivity(h.Context(), "saga-1", &protos.HistoryEvent{
		EventId:   1,
		EventType: &protos.HistoryEvent_TaskScheduled{TaskScheduled: &protos.TaskScheduledEvent{Name: name, Input: wrapperspb.String(input)}},
	}, backend.ExecuteOptions{})
	require.NoError(h, err)
	return e.GetTaskCompleted().GetResult().GetValue(), e.GetTaskFailed().GetFailureDetails().GetErrorMessage()
}

// outcome is the result of a step's activity.
type outcome struct {
	State workflows.State
	Stop  saga.Stop
}

// do runs a step and expects no technical error.
func (h *harness) do(name string, s workflows.State) outcome {
	h.Helper()
	in, err := json.Marshal(s)
	require.NoError(h, err)
	result, failure := h.execute(name, string(in))
	if failure != "" {
		h.Fatalf("%s failed, want success: %s", name, failure)
	}
	if strings.Contains(result, "tok_") {
		h.Errorf("%s: the payment token is in the result, want it left out of what goes to the history: %s", name, result)
	}
	var out outcome
	require.NoError(h, json.Unmarshal([]byte(result), &out))
	return out
}

// doFails runs a step and expects a technical error that contains want.
func (h *harness) doFails(name string, s workflows.State, want string) {
	h.Helper()
	in, err := json.Marshal(s)
	require.NoError(h, err)
	result, failure := h.execute(name, string(in))
	if result != "" || !strings.Contains(failure, want) || strings.Contains(failure, "tok_") {
		h.Errorf("%s: result = %q, failure = %q, want no result and a failure with %q and without the token", name, result, failure, want)
	}
}

// undo runs a compensation and returns its failure.
func (h *harness) undo(name string, s workflows.State, status order.Status, reason string) (failure string) {
	h.Helper()
	in, err := json.Marshal(map[string]any{"state": s, "stop": saga.Stop{Status: string(status), Reason: reason}})
	require.NoError(h, err)
	_, failure = h.execute(name, string(in))
	return failure
}

// undoFails runs a compensation and expects a failure that contains want.
func (h *harness) undoFails(name string, s workflows.State, status order.Status, reason, want string) {
	h.Helper()
	if failure := h.undo(name, s, status, reason); !strings.Contains(failure, want) {
		h.Errorf("%s of order %s: failure = %q, want one that contains %q", name, s.Order.OrderID, failure, want)
	}
}

// mustUndo runs a compensation and expects no failure.
func (h *harness) mustUndo(name string, s workflows.State, status order.Status, reason string) {
	h.Helper()
	if failure := h.undo(name, s, status, reason); failure != "" {
		h.Errorf("%s of order %s failed, want success: %s", name, s.Order.OrderID, failure)
	}
}

// wantStop runs a step and expects how it stops the saga; the zero Stop means that
// the saga continues.
func (h *harness) wantStop(name string, s workflows.State, want saga.Stop) {
	h.Helper()
	if got := h.do(name, s).Stop; got != want {
		h.Errorf("%s of order %s: stop = %+v, want %+v", name, s.Order.OrderID, got, want)
	}
}

// wantFailed runs a step and expects it to stop the saga as FAILED, for a reason that
// contains the text.
func (h *harness) wantFailed(name string, s workflows.State, reason string) {
	h.Helper()
	if got := h.do(name, s).Stop; got.Status != "FAILED" || !strings.Contains(got.Reason, reason) {
		h.Errorf("%s of order %s: stop = %+v, want FAILED with a reason that contains %q", name, s.Order.OrderID, got, reason)
	}
}

func newState(id string) workflows.State {
	return workflows.State{Order: order.Order{
		OrderID: id, CustomerID: "c-1", Currency: "EUR", Lines: []order.Line{{SKU: "A", Quantity: 2, UnitPrice: 100}},
	}}
}

// accept records an order with its token and returns the saga's state.
func (h *harness) accept(id, token string) workflows.State {
	h.Helper()
	s := newState(id)
	o := s.Order
	o.Payment.Token = token
	_, _, err := h.Store.Accept(h.Context(), o)
	require.NoError(h, err)
	return s
}

// paid accepts an order, reserves its stock and charges it.
func (h *harness) paid(id string) workflows.State {
	h.Helper()
	s := h.accept(id, "tok_ok")
	h.do(workflows.ReserveStock, s)
	h.do(workflows.ChargePayment, s)
	return s
}

// resolve marks an order as stuck at a step and records an operator's action.
func (h *harness) resolve(id, step, action string) {
	h.Helper()
	require.NoError(h, h.Store.MarkNeedsAttention(h.Context(), id, step+": stuck"))
	require.NoError(h, h.Store.Resolve(h.Context(), id, step, action, orderstore.Note{Actor: "ann", Action: action}))
}

// recordAnswer records the carrier's answer to the order's shipment request.
func (h *harness) recordAnswer(id string, a orderstore.CarrierAnswer) {
	h.Helper()
	a.ShipmentID = shipment.ID(id)
	_, _, err := h.Store.RecordCarrierAnswer(h.Context(), id, a)
	require.NoError(h, err)
}

// chargeOutsideTheSaga makes a charge that no step has made, and lets its idempotency
// key expire.
func (h *harness) chargeOutsideTheSaga(c payment.Charge) {
	h.Helper()
	c.Token = "tok_ok"
	_, err := h.payments.Charge(h.Context(), c)
	require.NoError(h, err)
	require.NoError(h, h.provider.ExpireKeys())
}

// drain receives all messages of a queue, at least n, and returns their types.
func (h *harness) drain(url string, n int) (types []string) {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), 20*time.Second)
	defer cancel()
	for {
		in := &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"}}
		if len(types) < n {
			in.WaitTimeSeconds = 5 // else do not wait: the local SNS delivers before it responds
		}
		out, err := h.Clients.SQS.ReceiveMessage(ctx, in)
		require.NoError(h, err)
		if len(out.Messages) == 0 && len(types) >= n {
			return types
		}
		for _, m := range out.Messages {
			types = append(types, *m.MessageAttributes["type"].StringValue)
			_, err := h.Clients.SQS.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle})
			require.NoError(h, err)
		}
	}
}

// receive decodes the next message of a queue into v and returns its text.
func (h *harness) receive(url string, v any) string {
	h.Helper()
	out, err := h.Clients.SQS.ReceiveMessage(h.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, WaitTimeSeconds: 5})
	require.NoError(h, err)
	if len(out.Messages) != 1 {
		h.Fatalf("received %d messages, want 1", len(out.Messages))
	}
	require.NoError(h, json.Unmarshal([]byte(*out.Messages[0].Body), v))
	_, err = h.Clients.SQS.DeleteMessage(h.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: out.Messages[0].ReceiptHandle})
	require.NoError(h, err)
	return *out.Messages[0].Body
}

// wantNotified expects the notifications of customers since the last call.
func (h *harness) wantNotified(want ...string) {
	h.Helper()
	if got := h.drain(h.customers, len(want)); strings.Join(got, " ") != strings.Join(want, " ") {
		h.Errorf("customers got the notifications %v, want %v", got, want)
	}
}

// wantStatus expects the status of an order and returns its record.
func (h *harness) wantStatus(id string, want order.Status) orderstore.Record {
	h.Helper()
	rec, err := h.Store.Get(h.Context(), id)
	if err != nil || rec.Status != want {
		h.Errorf("order %s: status = %q, %v, want %q", id, rec.Status, err, want)
	}
	return rec
}

// wantStock expects the stock level of SKU A, in units.
func (h *harness) wantStock(available, reserved, sold int64) {
	h.Helper()
	l, err := h.Store.GetLevel(h.Context(), "A")
	if err != nil || l.Available != available || l.Reserved != reserved || l.Sold != sold {
		h.Errorf("stock of A = %+v, %v, want %d available, %d reserved, %d sold", l, err, available, reserved, sold)
	}
}
