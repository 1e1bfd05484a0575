package interop

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/microsoft/durabletask-go/api"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// engines holds the flags that select each engine.
var engines = map[string][]string{
	"embedded": {"--engine-listen=127.0.0.1:0"},
	"dapr":     {"--engine=dapr"},
}

// TestClientManagesOrderSagas starts, waits for, reads, suspends, resumes, signals, terminates and purges
// order sagas.
func TestClientManagesOrderSagas(t *testing.T) {
	for engine, flags := range engines {
		t.Run(engine, func(t *testing.T) {
			s := dev(t, flags...)
			t.Run("start and wait", s.startAndWait)
			t.Run("declined payment", s.declined)
			t.Run("read a saga that the API started", s.read)
			t.Run("suspend, approve, resume", s.suspend)
			t.Run("terminate and purge", s.terminate)
			t.Run("invalid order", s.invalid)
			t.Run("invalid calls", func(t *testing.T) { s.invalidCalls(t, engine) })
		})
	}
}

func (s system) startAndWait(t *testing.T) {
	ctx := timeout(t)
	s.start(t, order("i-ok", 1999, "tok_ok"))
	m, err := s.hub.WaitForOrchestrationCompletion(ctx, "i-ok")
	noError(t, err)
	s.want(t, m, api.RUNTIME_STATUS_COMPLETED, "COMPLETED")
	if m.Name != "OrderSaga" || !strings.Contains(m.SerializedInput, `"i-ok"`) || m.CreatedAt.IsZero() || m.LastUpdatedAt.Before(m.CreatedAt) {
		t.Errorf("metadata = %+v, want the name OrderSaga, the order as input, and the times of creation and update", m)
	}
	s.waitForStatus(t, "i-ok", "COMPLETED")
}

func (s system) declined(t *testing.T) {
	s.start(t, order("i-declined", 1999, "tok_declined"))
	m, err := s.hub.WaitForOrchestrationCompletion(timeout(t), "i-declined")
	noError(t, err)
	s.want(t, m, api.RUNTIME_STATUS_COMPLETED, "DECLINED")
	s.waitForStatus(t, "i-declined", "DECLINED")
}

func (s system) read(t *testing.T) {
	ctx := timeout(t)
	s.place(t, order("i-placed", 1999, "tok_ok"))
	poll(t, 30*time.Second, "i-placed has started", func() error {
		_, err := s.hub.FetchOrchestrationMetadata(ctx, "i-placed")
		return err
	})
	m, err := s.hub.WaitForOrchestrationCompletion(ctx, "i-placed")
	noError(t, err)
	s.want(t, m, api.RUNTIME_STATUS_COMPLETED, "COMPLETED")
	if strings.Contains(m.SerializedInput, "tok_ok") {
		t.Errorf("the payment token is in the input, want it left out: %s", m.SerializedInput)
	}
}

func (s system) suspend(t *testing.T) {
	ctx := timeout(t)
	s.start(t, order("i-suspend", expensive, "tok_ok"))
	s.waitForStatus(t, "i-suspend", "AWAITING_APPROVAL")
	noError(t, s.hub.SuspendOrchestration(ctx, "i-suspend", "wait"))
	s.waitForRuntimeStatus(t, "i-suspend", api.RUNTIME_STATUS_SUSPENDED)
	approval := map[string]any{"kind": "approval", "data": map[string]any{"approved": true}}
	noError(t, s.hub.RaiseEvent(ctx, "i-suspend", "signal", api.WithEventPayload(approval)))
	m, err := s.hub.FetchOrchestrationMetadata(ctx, "i-suspend")
	noError(t, err)
	if m.RuntimeStatus != api.RUNTIME_STATUS_SUSPENDED {
		t.Errorf("runtime status after the signal = %v, want SUSPENDED", m.RuntimeStatus)
	}
	noError(t, s.hub.ResumeOrchestration(ctx, "i-suspend", "go on"))
	m, err = s.hub.WaitForOrchestrationCompletion(ctx, "i-suspend")
	noError(t, err)
	s.want(t, m, api.RUNTIME_STATUS_COMPLETED, "COMPLETED")
}

func (s system) terminate(t *testing.T) {
	ctx := timeout(t)
	s.start(t, order("i-end", expensive, "tok_ok"))
	s.waitForStatus(t, "i-end", "AWAITING_APPROVAL")
	noError(t, s.hub.TerminateOrchestration(ctx, "i-end", api.WithOutput("enough")))
	m, err := s.hub.WaitForOrchestrationCompletion(ctx, "i-end")
	noError(t, err)
	if m.RuntimeStatus != api.RUNTIME_STATUS_TERMINATED || m.SerializedOutput != `"enough"` {
		t.Errorf("terminated saga is %v with output %s, want TERMINATED with the reason", m.RuntimeStatus, m.SerializedOutput)
	}
	noError(t, s.hub.PurgeOrchestrationState(ctx, "i-end"))
	if _, err := s.hub.FetchOrchestrationMetadata(ctx, "i-end"); !errors.Is(err, api.ErrInstanceNotFound) {
		t.Errorf("reading the purged saga: %v, want %v", err, api.ErrInstanceNotFound)
	}
}

// invalid starts a saga with an invalid order: the embedded engine rejects it, on Dapr the saga
// ends FAILED.
func (s system) invalid(t *testing.T) {
	ctx := timeout(t)
	o := order("i-invalid", 1999, "tok_ok")
	o["currency"] = "XXL"
	_, err := s.hub.ScheduleNewOrchestration(ctx, "OrderSaga", api.WithInstanceID("i-invalid"), api.WithInput(input(o)))
	if err != nil {
		if codeOf(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "currency") {
			t.Errorf("start of an invalid order: %v, want InvalidArgument naming the currency", err)
		}
		return
	}
	m, err := s.hub.WaitForOrchestrationCompletion(ctx, "i-invalid")
	noError(t, err)
	s.want(t, m, api.RUNTIME_STATUS_COMPLETED, "FAILED")
}

// expensive is a price, in cents, above which dev requires an approval.
const expensive = 150_000

func order(id string, price int, token string) map[string]any {
	return map[string]any{
		"orderId": id, "customerId": "c-7", "currency": "EUR", "payment": map[string]any{"token": token},
		"lines": []any{map[string]any{"sku": "SKU-1", "quantity": 1, "unitPrice": price}},
	}
}

// input returns a saga's input. The embedded engine replaces the terms by its worker's, which
// are the same.
func input(o map[string]any) map[string]any {
	return map[string]any{"order": o, "terms": map[string]any{
		"approvalAbove": 100_000, "approvalTimeout": time.Hour, "awaitCarrier": true, "carrierTimeout": time.Minute,
		"patience": 3 * time.Second, "pace": 0.02,
	}}
}

func (s system) start(t *testing.T, o map[string]any) {
	t.Helper()
	id, _ := o["orderId"].(string)
	got, err := s.hub.ScheduleNewOrchestration(timeout(t), "OrderSaga", api.WithInstanceID(api.InstanceID(id)), api.WithInput(input(o)))
	noError(t, err)
	if string(got) != id {
		t.Fatalf("id of the started saga = %s, want %s", got, id)
	}
}

// want checks the runtime status of an ended saga, and the status of its order.
func (s system) want(t *testing.T, m *api.OrchestrationMetadata, runtime api.OrchestrationStatus, outcome string) {
	t.Helper()
	var report struct{ Status string }
	if err := json.Unmarshal([]byte(m.SerializedOutput), &report); err != nil || m.RuntimeStatus != runtime || report.Status != outcome {
		t.Errorf("%s is %v with output %s, want %v and %s", m.InstanceID, m.RuntimeStatus, m.SerializedOutput, runtime, outcome)
	}
}

// waitForRuntimeStatus waits until the engine reports a runtime status of a saga.
func (s system) waitForRuntimeStatus(t *testing.T, id api.InstanceID, want api.OrchestrationStatus) {
	t.Helper()
	poll(t, 10*time.Second, string(id)+" is "+want.String(), func() error {
		m, err := s.hub.FetchOrchestrationMetadata(t.Context(), id)
		if err == nil && m.RuntimeStatus != want {
			err = errors.New("runtime status is " + m.RuntimeStatus.String())
		}
		return err
	})
}

// invalidCalls checks which error each engine returns for calls that it cannot serve.
func (s system) invalidCalls(t *testing.T, engine string) {
	s.start(t, order("m-running", expensive, "tok_ok"))
	s.waitForStatus(t, "m-running", "AWAITING_APPROVAL")
	start := func(id string, opts ...api.NewOrchestrationOptions) func(context.Context) error {
		return func(ctx context.Context) error {
			opts = append(opts, api.WithInstanceID(api.InstanceID(id)), api.WithInput(input(order(id, expensive, "tok_ok"))))
			_, err := s.hub.ScheduleNewOrchestration(ctx, "OrderSaga", opts...)
			return err
		}
	}
	signal := func(id api.InstanceID) func(context.Context) error {
		return func(ctx context.Context) error { return s.hub.RaiseEvent(ctx, id, "signal") }
	}
	terminate := func(id api.InstanceID) func(context.Context) error {
		return func(ctx context.Context) error { return s.hub.TerminateOrchestration(ctx, id) }
	}
	purge := func(id api.InstanceID) func(context.Context) error {
		return func(ctx context.Context) error { return s.hub.PurgeOrchestrationState(ctx, id) }
	}
	invoke := func(method string) func(context.Context) error {
		return func(ctx context.Context) error {
			return s.conn.Invoke(ctx, "/TaskHubSidecarService/"+method, &emptypb.Empty{}, &emptypb.Empty{})
		}
	}
	for _, c := range []struct {
		name           string
		do             func(context.Context) error
		embedded, dapr codes.Code
	}{
		{"start a running saga", start("m-running"), codes.AlreadyExists, codes.AlreadyExists},
		{"start an ended saga", start("i-suspend"), codes.AlreadyExists, codes.OK},
		{"start a saga later", start("m-later", api.WithStartTime(time.Now().Add(time.Hour))), codes.Unimplemented, codes.OK},
		{"read an unknown saga", func(ctx context.Context) error {
			_, err := s.hub.FetchOrchestrationMetadata(ctx, "m-none")
			return err
		}, codes.NotFound, codes.NotFound},
		{"wait for an unknown saga", func(ctx context.Context) error {
			_, err := s.hub.WaitForOrchestrationCompletion(ctx, "m-none")
			return err
		}, codes.NotFound, codes.DeadlineExceeded},
		{"signal an unknown saga", signal("m-none"), codes.NotFound, codes.Unknown},
		{"signal an ended saga", signal("i-ok"), codes.FailedPrecondition, codes.OK},
		{"suspend an unknown saga", func(ctx context.Context) error {
			return s.hub.SuspendOrchestration(ctx, "m-none", "")
		}, codes.NotFound, codes.Unknown},
		{"terminate an unknown saga", terminate("m-none"), codes.NotFound, codes.Unknown},
		{"terminate an ended saga", terminate("i-ok"), codes.FailedPrecondition, codes.OK},
		{"purge an unknown saga", purge("m-none"), codes.NotFound, codes.Unknown},
		{"purge a running saga", purge("m-running"), codes.FailedPrecondition, codes.Unknown},
		{"rewind, which only Microsoft's version has", invoke("RewindInstance"), codes.Unimplemented, codes.Unknown},
		{"query, which only Microsoft's version has", invoke("QueryInstances"), codes.Unimplemented, codes.Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			want := c.dapr
			if engine == "embedded" {
				want = c.embedded
			}
			err := c.do(ctx)
			if got := codeOf(err); got != want {
				t.Errorf("code = %v (error %v), want %v", got, err, want)
			}
		})
	}
	// If the ended saga was started a second time, that had no effect on its order.
	m, err := s.hub.WaitForOrchestrationCompletion(timeout(t), "i-suspend")
	noError(t, err)
	s.want(t, m, api.RUNTIME_STATUS_COMPLETED, "COMPLETED")
	s.waitForStatus(t, "i-suspend", "COMPLETED")
}

// codeOf returns the gRPC code of an error. It maps the client's own errors, too.
func codeOf(err error) codes.Code {
	switch {
	case errors.Is(err, api.ErrInstanceNotFound):
		return codes.NotFound
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	}
	return status.Code(err)
}

// timeout returns a context that ends after 30 seconds.
func timeout(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}
