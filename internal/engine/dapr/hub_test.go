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

// moving is a sidecar that answers with an error so often, and then as it
// should.
type moving struct {
	grpc.ClientConnInterface

	err    error
	errors int
	calls  int
	id     string // that the last call was about
}

func (m *moving) Invoke(_ context.Context, _ string, req, reply any, _ ...grpc.CallOption) error {
	if r, ok := req.(interface{ GetInstanceId() string }); ok {
		m.id = r.GetInstanceId()
	}
	if m.calls++; m.calls <= m.errors {
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

func hubOn(m *moving) hub {
	return hub{taskhub.NewTaskHubGrpcClient(m, engine.Logger(zerolog.Nop()))}
}

// TestCallsWhileActorsMove: what Dapr answers before placement has told every
// sidecar who hosts what is no answer, but anything else is.
func TestCallsWhileActorsMove(t *testing.T) { synctest.Test(t, callsWhileActorsMove) }

func callsWhileActorsMove(t *testing.T) {
	calls := map[string]func(context.Context, hub) error{
		"start": func(ctx context.Context, h hub) error {
			_, err := h.ScheduleNewWorkflow(ctx, "W", api.WithInstanceID("a"))
			return err
		},
		"raise":     func(ctx context.Context, h hub) error { return h.RaiseEvent(ctx, "a", "go") },
		"suspend":   func(ctx context.Context, h hub) error { return h.SuspendWorkflow(ctx, "a", "") },
		"resume":    func(ctx context.Context, h hub) error { return h.ResumeWorkflow(ctx, "a", "") },
		"terminate": func(ctx context.Context, h hub) error { return h.TerminateWorkflow(ctx, "a") },
		"purge":     func(ctx context.Context, h hub) error { return h.PurgeWorkflowState(ctx, "a") },
		"fetch": func(ctx context.Context, h hub) error {
			_, err := h.FetchWorkflowMetadata(ctx, "a")
			return err
		},
		"history": func(ctx context.Context, h hub) error {
			_, err := h.GetInstanceHistory(ctx, "a")
			return err
		},
	}
	for name, call := range calls {
		prefix := ""
		if name == "start" {
			prefix = "failed to create workflow instance: "
		}
		for _, said := range []string{
			"error invoke actor method: failed to create actor: actor type dapr.internal.default.ordersaga.workflow not registered",
			"failed to lookup actor: did not find address for actor 'dapr.internal.default.ordersaga.workflow||a'",
			"failed to invoke target 127.0.0.1:1 after 5 retries. Error: rpc error: code = Internal desc = error invoke actor method: remote actor moved",
			"failed to invoke method for workflow 'a': actor is closed, cannot handle lock",
			"error invoke actor method: operations on actor reminders are only possible on hosted actor types",
		} {
			m := &moving{err: status.Error(codes.Internal, prefix+said), errors: 2}
			if err := call(t.Context(), hubOn(m)); err != nil || m.calls != 3 {
				t.Errorf("%s, %s: %d calls, %v", name, said, m.calls, err)
			}
		}
		m := &moving{err: status.Error(codes.Unavailable, "connection reset by peer"), errors: 9} // after it did what it was to do?
		if err := call(t.Context(), hubOn(m)); err == nil || m.calls != 1 {
			t.Errorf("%s: %d calls, %v", name, m.calls, err)
		}
	}
}

// TestStartedAndNotAwaited: Dapr fails a start also when the saga was created
// and only waiting for its first step failed. Such a start is not repeated.
func TestStartedAndNotAwaited(t *testing.T) {
	m := &moving{err: status.Error(codes.Internal, "failed to create actor: actor type w not registered"), errors: 9}
	if _, err := hubOn(m).ScheduleNewWorkflow(t.Context(), "W", api.WithInstanceID("a")); err == nil || m.calls != 1 {
		t.Errorf("%d calls, %v", m.calls, err)
	}
}

// TestActorsThatDoNotCome: the caller's time is kept, and 20 s at most. The
// error is one that the API answers with 503.
func TestActorsThatDoNotCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &moving{err: status.Error(codes.Internal, "failed to create actor: actor type w not registered"), errors: 1000}
		for _, own := range []time.Duration{time.Second, time.Hour} {
			ctx, cancel := context.WithTimeout(t.Context(), own)
			defer cancel()
			began := time.Now()
			err := hubOn(m).RaiseEvent(ctx, "a", "go")
			if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != min(own, callTime) {
				t.Errorf("after %s of %s: %v", took, own, err)
			}
		}
	})
}

// TestDamageOfTheMoment: what Dapr says of a workflow that changes under its
// hands is no reason to begin another life beside it.
func TestDamageOfTheMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said := status.Error(codes.Unknown, "inbox key declared in metadata but missing from state store: transient store read failure or partial save?")
		for errors, want := range map[int]string{0: "a", 2: "a", 4: "a", 5: "a~2"} {
			m := &moving{err: said, errors: errors}
			if _, err := hubOn(m).ScheduleNewWorkflow(t.Context(), "W", api.WithInstanceID("a")); err != nil || m.id != want {
				t.Errorf("after %d errors: %q, want %q (%v)", errors, m.id, want, err)
			}
		}
	})
}
