package dapr

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/api/protos"
	daprclient "github.com/dapr/go-sdk/client"
	"github.com/rs/zerolog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ordersaga/ordersaga/internal/engine"
)

// sidecar is a fake one, as far as a canary sees it.
type sidecar struct {
	daprclient.Client
	engine.TaskHub

	mu                     sync.Mutex
	dead, stuck, storeless bool
	unscheduled            bool
	keeps                  bool // what is to be purged
	told                   int  // to end
}

func (s *sidecar) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *sidecar) is(what *bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *what
}

func (s *sidecar) ends() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told
}

func (s *sidecar) GetMetadata(context.Context) (*daprclient.GetMetadataResponse, error) {
	if s.is(&s.dead) {
		return nil, status.Error(codes.Unavailable, "connection refused")
	}
	return &daprclient.GetMetadataResponse{
		ActiveActorsCount: []*daprclient.MetadataActiveActorsCount{{Type: "dapr.internal.default.ordersaga.workflow"}},
		RegisteredComponents: []*daprclient.MetadataRegisteredComponents{
			{Name: "orderpubsub", Type: "pubsub.aws.snssqs"}, {Name: "statestore", Type: "state.redis", Capabilities: []string{"ACTOR"}},
		},
	}, nil
}

func (s *sidecar) GetState(ctx context.Context, store, _ string, _ map[string]string) (*daprclient.StateItem, error) {
	if store == "statestore" && s.is(&s.storeless) {
		<-ctx.Done() // Dapr tries for long
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	return &daprclient.StateItem{}, nil
}

func (s *sidecar) GetJob(ctx context.Context, _ string) (*daprclient.Job, error) {
	if s.is(&s.unscheduled) {
		<-ctx.Done() // Dapr waits for it
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	return nil, status.Error(codes.Internal, "job not found")
}

func (s *sidecar) Shutdown(context.Context) error {
	s.set(func() { s.told++ })
	return nil
}

func (s *sidecar) ScheduleNewWorkflow(ctx context.Context, _ any, _ ...api.NewWorkflowOptions) (api.InstanceID, error) {
	switch {
	case s.is(&s.dead):
		return "", status.Error(codes.Unavailable, "connection refused")
	case s.is(&s.stuck), s.is(&s.storeless), s.is(&s.unscheduled):
		<-ctx.Done()
		return "", status.FromContextError(ctx.Err()).Err()
	}
	return "", nil
}

func (s *sidecar) FetchWorkflowMetadata(context.Context, api.InstanceID) (*protos.WorkflowMetadata, error) {
	return &protos.WorkflowMetadata{RuntimeStatus: protos.OrchestrationStatus_ORCHESTRATION_STATUS_COMPLETED}, nil
}

func (s *sidecar) WaitForWorkflowCompletion(context.Context, api.InstanceID) (*protos.WorkflowMetadata, error) {
	return &protos.WorkflowMetadata{RuntimeStatus: protos.OrchestrationStatus_ORCHESTRATION_STATUS_COMPLETED}, nil
}

func (s *sidecar) PurgeWorkflowState(ctx context.Context, _ api.InstanceID, _ ...api.PurgeOptions) error {
	if s.is(&s.keeps) {
		<-ctx.Done()
	}
	return nil
}

// flying is an engine beside a fake sidecar, with canaries that may take
// most of a second. It is ready.
func flying(t *testing.T) (*sidecar, *Engine) {
	t.Helper()
	s := &sidecar{}
	e := &Engine{Client: engine.Client{Hub: s}, client: s, opt: Options{Logger: zerolog.Nop(), CanaryTimeout: 600 * time.Millisecond}}
	e.canary = canary{engine: e, restart: true, why: errNoCanary}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { e.canary.run(ctx, 10*time.Millisecond); close(done) }()
	t.Cleanup(func() { stop(); <-done })
	within(t, 5*time.Second, e, "")
	return s, e
}

// within waits until the engine is not ready for a reason, or ready for "".
func within(t *testing.T, d time.Duration, e *Engine, reason string) {
	t.Helper()
	late := time.Now().Add(d)
	for {
		err := e.Ready()
		if reason == "" && err == nil || err != nil && reason != "" && strings.Contains(err.Error(), reason) {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("not within %s: %q; it is %v", d, reason, err)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestStoreAway: the state store's absence is no fault of the sidecar, and is
// said before the canary's time is over.
func TestStoreAway(t *testing.T) {
	s, e := flying(t)
	s.set(func() { s.storeless = true })
	within(t, 580*time.Millisecond, e, "state store statestore does not answer")
	time.Sleep((patience + 2) * e.opt.CanaryTimeout)
	within(t, 0, e, "state store statestore does not answer")
	s.set(func() { s.storeless = false })
	within(t, 5*time.Second, e, "")
	if s.ends() > 0 {
		t.Error("the sidecar was told to end")
	}
}

// TestSchedulerAway: readiness says so, and the sidecar is ended only after a
// time in which a scheduler is back.
func TestSchedulerAway(t *testing.T) {
	s, e := flying(t)
	s.set(func() { s.unscheduled = true })
	within(t, 580*time.Millisecond, e, "the scheduler does not answer")
	time.Sleep((patience + 2) * e.opt.CanaryTimeout)
	within(t, 0, e, "the scheduler does not answer")
	if s.ends() > 0 {
		t.Error("the sidecar was told to end")
	}
}

// TestStuckSidecar: it is told to end, and not ready before the canary's time
// is over.
func TestStuckSidecar(t *testing.T) {
	s, e := flying(t)
	s.set(func() { s.stuck = true })
	within(t, 580*time.Millisecond, e, "under way")
	within(t, 5*time.Second, e, "canary")
	time.Sleep((patience + 2) * e.opt.CanaryTimeout)
	if s.ends() == 0 {
		t.Error("the sidecar was not told to end")
	}
}

// TestStuckAfterCanary: what gets stuck once the canary is back, and is to be
// forgotten, is noticed as well.
func TestStuckAfterCanary(t *testing.T) {
	s, e := flying(t)
	s.set(func() { s.keeps = true })
	within(t, 580*time.Millisecond, e, "under way")
	s.set(func() { s.keeps, s.storeless = false, true })
	within(t, 5*time.Second, e, "state store")
	s.set(func() { s.storeless = false })
	within(t, 5*time.Second, e, "")
}

// TestDeadSidecar: readiness does not wait for a canary.
func TestDeadSidecar(t *testing.T) {
	s, e := flying(t)
	s.set(func() { s.dead = true })
	if err := e.Ready(); err == nil {
		t.Error("it is ready")
	}
	s.set(func() { s.dead = false })
	within(t, 5*time.Second, e, "")
	if s.ends() > 0 {
		t.Error("the sidecar was told to end")
	}
}
