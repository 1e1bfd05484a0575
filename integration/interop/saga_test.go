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

// engines are the flags that choose one.
var engines = map[string][]string{
	"embedded": {"--engine-listen=127.0.0.1:0"},
	"dapr":     {"--engine=dapr"},
}

// TestOrderSagas starts, awaits, reads, suspends, resumes, signals, terminates
// and purges order sagas.
func TestOrderSagas(t *testing.T) {
	for engine, flags := range engines {
		t.Run(engine, func(t *testing.T) {
			s := dev(t, flags...)
			t.Run("started and awaited", s.startAndAwait)
			t.Run("a declined payment", s.declined)
			t.Run("placed elsewhere, read", s.read)
			t.Run("suspended, approved, resumed", s.suspend)
			t.Run("terminated and purged", s.terminate)
			t.Run("an order that is not valid", s.invalid)
			t.Run("mistakes", func(t *testing.T) { s.mistakes(t, engine) })
		})
	}
}

func (s system) startAndAwait(t *testing.T) {
	ctx := within(t)
	s.start(t, order("i-ok", 1999, "tok_ok"))
	m, err := s.hub.WaitForOrchestrationCompletion(ctx, "i-ok")
	must(t, err)
	s.want(t, m, api.RUNTIME_STATUS_COMPLETED, "COMPLETED")
	if m.Name != "OrderSaga" || !strings.Contains(m.SerializedInput, `"i-ok"`) || m.CreatedAt.IsZero() || m.LastUpdatedAt.Before(m.CreatedAt) {
		t.Errorf("metadata: %+v", m)
	}
	s.becomes(t, "i-ok", "COMPLETED")
}

func (s system) declined(t *testing.T) {
	s.start(t, order("i-declined", 1999, "tok_declined"))
	m, err := s.hub.WaitForOrchestrationCompletion(within(t), "i-declined")
	must(t, err)
	s.want(t, m, api.RUNTIME_STATUS_COMPLETED, "DECLINED")
	s.becomes(t, "i-declined", "DECLINED")
}

func (s system) read(t *testing.T) {
	ctx := within(t)
	s.place(t, order("i-placed", 1999, "tok_ok"))
	eventually(t, 30*time.Second, "i-placed can be read", func() error {
		_, err := s.hub.FetchOrchestrationMetadata(ctx, "i-placed")
		return err
	})
	m, err := s.hub.WaitForOrchestrationCompletion(ctx, "i-placed")
	must(t, err)
	s.want(t, m, api.RUNTIME_STATUS_COMPLETED, "COMPLETED")
	if strings.Contains(m.SerializedInput, "tok_ok") {
		t.Errorf("the payment token is in the input: %s", m.SerializedInput)
	}
}

func (s system) suspend(t *testing.T) {
	ctx := within(t)
	s.start(t, order("i-suspend", dear, "tok_ok"))
	s.becomes(t, "i-suspend", "AWAITING_APPROVAL")
	must(t, s.hub.SuspendOrchestration(ctx, "i-suspend", "wait"))
	s.isNow(t, "i-suspend", api.RUNTIME_STATUS_SUSPENDED)
	must(t, s.hub.RaiseEvent(ctx, "i-suspend", "signal", api.WithEventPayload(map[string]any{"kind": "approval", "data": map[string]any{"approved": true}})))
	m, err := s.hub.FetchOrchestrationMetadata(ctx, "i-suspend")
	must(t, err)
	if m.RuntimeStatus != api.RUNTIME_STATUS_SUSPENDED {
		t.Errorf("went on while suspended: %v", m.RuntimeStatus)
	}
	must(t, s.hub.ResumeOrchestration(ctx, "i-suspend", "go on"))
	m, err = s.hub.WaitForOrchestrationCompletion(ctx, "i-suspend")
	must(t, err)
	s.want(t, m, api.RUNTIME_STATUS_COMPLETED, "COMPLETED")
}

func (s system) terminate(t *testing.T) {
	ctx := within(t)
	s.start(t, order("i-end", dear, "tok_ok"))
	s.becomes(t, "i-end", "AWAITING_APPROVAL")
	must(t, s.hub.TerminateOrchestration(ctx, "i-end", api.WithOutput("enough")))
	m, err := s.hub.WaitForOrchestrationCompletion(ctx, "i-end")
	must(t, err)
	if m.RuntimeStatus != api.RUNTIME_STATUS_TERMINATED || m.SerializedOutput != `"enough"` {
		t.Errorf("terminated: %v, output %s", m.RuntimeStatus, m.SerializedOutput)
	}
	must(t, s.hub.PurgeOrchestrationState(ctx, "i-end"))
	if _, err := s.hub.FetchOrchestrationMetadata(ctx, "i-end"); !errors.Is(err, api.ErrInstanceNotFound) {
		t.Errorf("purged, and yet: %v", err)
	}
}

// invalid: the embedded engine refuses it, on Dapr the saga ends FAILED.
func (s system) invalid(t *testing.T) {
	ctx := within(t)
	o := order("i-invalid", 1999, "tok_ok")
	o["currency"] = "XXL"
	_, err := s.hub.ScheduleNewOrchestration(ctx, "OrderSaga", api.WithInstanceID("i-invalid"), api.WithInput(input(o)))
	if err != nil {
		if codeOf(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "currency") {
			t.Errorf("refused with %v", err)
		}
		return
	}
	m, err := s.hub.WaitForOrchestrationCompletion(ctx, "i-invalid")
	must(t, err)
	s.want(t, m, api.RUNTIME_STATUS_COMPLETED, "FAILED")
}

// dear is a price above the limit from which dev wants an approval.
const dear = 150_000

func order(id string, price int, token string) map[string]any {
	return map[string]any{
		"orderId": id, "customerId": "c-7", "currency": "EUR", "payment": map[string]any{"token": token},
		"lines": []any{map[string]any{"sku": "SKU-1", "quantity": 1, "unitPrice": price}},
	}
}

// input is a saga's. The embedded engine puts its worker's terms in place of
// these, which are the same.
func input(o map[string]any) map[string]any {
	return map[string]any{"order": o, "terms": map[string]any{
		"approvalAbove": 100_000, "approvalTimeout": time.Hour, "awaitCarrier": true, "carrierTimeout": time.Minute,
		"patience": 3 * time.Second, "pace": 0.02,
	}}
}

func (s system) start(t *testing.T, o map[string]any) {
	t.Helper()
	id, _ := o["orderId"].(string)
	got, err := s.hub.ScheduleNewOrchestration(within(t), "OrderSaga", api.WithInstanceID(api.InstanceID(id)), api.WithInput(input(o)))
	must(t, err)
	if string(got) != id {
		t.Fatalf("started %s as %s", id, got)
	}
}

func (s system) want(t *testing.T, m *api.OrchestrationMetadata, runtime api.OrchestrationStatus, outcome string) {
	t.Helper()
	var report struct{ Status string }
	if err := json.Unmarshal([]byte(m.SerializedOutput), &report); err != nil || m.RuntimeStatus != runtime || report.Status != outcome {
		t.Errorf("%s is %v with output %s, want %v and %s", m.InstanceID, m.RuntimeStatus, m.SerializedOutput, runtime, outcome)
	}
}

func (s system) isNow(t *testing.T, id api.InstanceID, want api.OrchestrationStatus) {
	t.Helper()
	eventually(t, 10*time.Second, string(id)+" is "+want.String(), func() error {
		m, err := s.hub.FetchOrchestrationMetadata(t.Context(), id)
		if err == nil && m.RuntimeStatus != want {
			err = errors.New("it is " + m.RuntimeStatus.String())
		}
		return err
	})
}

// mistakes holds down what each engine answers to what cannot be done.
func (s system) mistakes(t *testing.T, engine string) {
	s.start(t, order("m-live", dear, "tok_ok"))
	s.becomes(t, "m-live", "AWAITING_APPROVAL")
	again := func(id string, opts ...api.NewOrchestrationOptions) func(context.Context) error {
		return func(ctx context.Context) error {
			o := order(id, dear, "tok_ok")
			_, err := s.hub.ScheduleNewOrchestration(ctx, "OrderSaga", append(opts, api.WithInstanceID(api.InstanceID(id)), api.WithInput(input(o)))...)
			return err
		}
	}
	for _, c := range []struct {
		name           string
		do             func(context.Context) error
		embedded, dapr codes.Code
	}{
		{"start one that runs", again("m-live"), codes.AlreadyExists, codes.AlreadyExists},
		{"start one that has ended", again("i-suspend"), codes.AlreadyExists, codes.OK},
		{"start one later", again("m-later", api.WithStartTime(time.Now().Add(time.Hour))), codes.Unimplemented, codes.OK},
		{"read an unknown one", func(ctx context.Context) error {
			_, err := s.hub.FetchOrchestrationMetadata(ctx, "m-none")
			return err
		}, codes.NotFound, codes.NotFound},
		{"await an unknown one", func(ctx context.Context) error {
			_, err := s.hub.WaitForOrchestrationCompletion(ctx, "m-none")
			return err
		}, codes.NotFound, codes.DeadlineExceeded},
		{"signal an unknown one", func(ctx context.Context) error { return s.hub.RaiseEvent(ctx, "m-none", "signal") }, codes.NotFound, codes.Unknown},
		{"signal one that has ended", func(ctx context.Context) error { return s.hub.RaiseEvent(ctx, "i-ok", "signal") }, codes.FailedPrecondition, codes.OK},
		{"suspend an unknown one", func(ctx context.Context) error { return s.hub.SuspendOrchestration(ctx, "m-none", "") }, codes.NotFound, codes.Unknown},
		{"terminate an unknown one", func(ctx context.Context) error { return s.hub.TerminateOrchestration(ctx, "m-none") }, codes.NotFound, codes.Unknown},
		{"terminate one that has ended", func(ctx context.Context) error { return s.hub.TerminateOrchestration(ctx, "i-ok") }, codes.FailedPrecondition, codes.OK},
		{"purge an unknown one", func(ctx context.Context) error { return s.hub.PurgeOrchestrationState(ctx, "m-none") }, codes.NotFound, codes.Unknown},
		{"purge one that runs", func(ctx context.Context) error { return s.hub.PurgeOrchestrationState(ctx, "m-live") }, codes.FailedPrecondition, codes.Unknown},
		{"rewind, which only Microsoft's has", func(ctx context.Context) error {
			return s.conn.Invoke(ctx, "/TaskHubSidecarService/RewindInstance", &emptypb.Empty{}, &emptypb.Empty{})
		}, codes.Unimplemented, codes.Unknown},
		{"query, which only Microsoft's has", func(ctx context.Context) error {
			return s.conn.Invoke(ctx, "/TaskHubSidecarService/QueryInstances", &emptypb.Empty{}, &emptypb.Empty{})
		}, codes.Unimplemented, codes.Unknown},
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
				t.Errorf("answer %v (%v), want %v", got, err, want)
			}
		})
	}
	// Where an ended one was run again, that had no effect.
	m, err := s.hub.WaitForOrchestrationCompletion(within(t), "i-suspend")
	must(t, err)
	s.want(t, m, api.RUNTIME_STATUS_COMPLETED, "COMPLETED")
	s.becomes(t, "i-suspend", "COMPLETED")
}

// codeOf also knows the client's own errors.
func codeOf(err error) codes.Code {
	switch {
	case errors.Is(err, api.ErrInstanceNotFound):
		return codes.NotFound
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	}
	return status.Code(err)
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}
