package dapr

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/api/protos"
	taskhub "github.com/dapr/durabletask-go/client"
	"github.com/rs/zerolog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ordersaga/ordersaga/internal/engine"
)

// failingConn is a connection to a sidecar whose first calls fail.
type failingConn struct {
	grpc.ClientConnInterface

	err    error
	errors int    // how many calls fail
	calls  int    // so far
	id     string // instance of the last call
}

func (m *failingConn) Invoke(_ context.Context, _ string, req, reply any, _ ...grpc.CallOption) error {
	if r, ok := req.(interface{ GetInstanceId() string }); ok {
		m.id = r.GetInstanceId()
	}
	m.calls++
	if m.calls <= m.errors {
		return m.err
	}
	switch r := reply.(type) {
	case *protos.GetInstanceResponse:
		r.Exists, r.WorkflowState = true, &protos.WorkflowState{InstanceId: "a"}
	case *protos.PurgeInstancesResponse:
		r.DeletedInstanceCount = 1
	}
	return nil
}

func hubOn(m *failingConn) taskHub {
	return taskHub{TaskHubGrpcClient: taskhub.NewTaskHubGrpcClient(m, engine.Logger(zerolog.Nop()))}
}

// TestCallsAreRetriedWhileActorsMove: errors that Dapr returns before placement
// has informed every sidecar are retried, and no others.
func TestCallsAreRetriedWhileActorsMove(t *testing.T) { synctest.Test(t, callsWhileActorsMove) }

func callsWhileActorsMove(t *testing.T) {
	calls := map[string]func(context.Context, taskHub) error{
		"start": func(ctx context.Context, h taskHub) error {
			_, err := h.ScheduleNewWorkflow(ctx, "W", api.WithInstanceID("a"))
			return err
		},
		"raise":     func(ctx context.Context, h taskHub) error { return h.RaiseEvent(ctx, "a", "go") },
		"suspend":   func(ctx context.Context, h taskHub) error { return h.SuspendWorkflow(ctx, "a", "") },
		"resume":    func(ctx context.Context, h taskHub) error { return h.ResumeWorkflow(ctx, "a", "") },
		"terminate": func(ctx context.Context, h taskHub) error { return h.TerminateWorkflow(ctx, "a") },
		"purge":     func(ctx context.Context, h taskHub) error { return h.PurgeWorkflowState(ctx, "a") },
		"fetch": func(ctx context.Context, h taskHub) error {
			_, err := h.FetchWorkflowMetadata(ctx, "a")
			return err
		},
		"history": func(ctx context.Context, h taskHub) error {
			_, err := h.GetInstanceHistory(ctx, "a")
			return err
		},
	}
	for name, call := range calls {
		prefix := ""
		if name == "start" {
			prefix = "failed to create workflow instance: "
		}
		for _, text := range []string{
			"error invoke actor method: failed to create actor: actor type dapr.internal.default.ordersaga.workflow not registered",
			"failed to lookup actor: did not find address for actor 'dapr.internal.default.ordersaga.workflow||a'",
			"failed to invoke target 127.0.0.1:1 after 5 retries. Error: rpc error: code = Internal desc = " +
				"error invoke actor method: remote actor moved",
			"failed to invoke method for workflow 'a': actor is closed, cannot handle lock",
			"error invoke actor method: operations on actor reminders are only possible on hosted actor types",
		} {
			m := &failingConn{err: status.Error(codes.Internal, prefix+text), errors: 2}
			if err := call(t.Context(), hubOn(m)); err != nil || m.calls != 3 {
				t.Errorf("%s with %s: %d calls, %v, want success at the third", name, text, m.calls, err)
			}
		}
		m := &failingConn{err: status.Error(codes.Unavailable, "connection reset by peer"), errors: 9} // the call may have had its effect
		if err := call(t.Context(), hubOn(m)); err == nil || m.calls != 1 {
			t.Errorf("%s with a broken connection: %d calls, %v, want an error and 1 call", name, m.calls, err)
		}
	}
}

// TestCreatedStartIsNotRepeated: Dapr also fails a start if the saga was created,
// and only waiting for its first step failed.
func TestCreatedStartIsNotRepeated(t *testing.T) {
	m := &failingConn{err: status.Error(codes.Internal, "failed to create actor: actor type w not registered"), errors: 9}
	if _, err := hubOn(m).ScheduleNewWorkflow(t.Context(), "W", api.WithInstanceID("a")); err == nil || m.calls != 1 {
		t.Errorf("%d calls, %v, want an error and 1 call", m.calls, err)
	}
}

// TestRetriesAreBounded: retries end with the caller's context, and after 20 s.
// The error is one for which the API responds with 503.
func TestRetriesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &failingConn{err: status.Error(codes.Internal, "failed to create actor: actor type w not registered"), errors: 1000}
		for _, own := range []time.Duration{time.Second, time.Hour} {
			ctx, cancel := context.WithTimeout(t.Context(), own)
			defer cancel()
			began := time.Now()
			err := hubOn(m).RaiseEvent(ctx, "a", "go")
			if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != min(own, callTimeout) {
				t.Errorf("RaiseEvent with %s time = %v after %s, want DeadlineExceeded after %s", own, err, took, min(own, callTimeout))
			}
		}
	})
}

// TestMomentaryCorruptionStartsNoGeneration: Dapr may report a workflow as corrupt
// because it changes while it is read.
func TestMomentaryCorruptionStartsNoGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		corruption := status.Error(codes.Unknown,
			"inbox key declared in metadata but missing from state store: transient store read failure or partial save?")
		for errors, want := range map[int]string{0: "a", 2: "a", 4: "a", 5: "a~2"} {
			m := &failingConn{err: corruption, errors: errors}
			if _, err := hubOn(m).ScheduleNewWorkflow(t.Context(), "W", api.WithInstanceID("a")); err != nil || m.id != want {
				t.Errorf("after %d errors the instance started is %q (%v), want %q", errors, m.id, err, want)
			}
		}
	})
}
