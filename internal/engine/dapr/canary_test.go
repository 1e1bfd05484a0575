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

// sidecar is a fake sidecar with the calls that a canary makes.
type sidecar struct {
	daprclient.Client
	engine.TaskHub

	mu            sync.Mutex
	down          bool // does not accept connections
	stuck         bool // runs nothing
	noStore       bool // its state store does not respond
	noScheduler   bool // its scheduler does not respond
	purgeBlocks   bool
	shutdownCalls int
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

func (s *sidecar) shutdowns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shutdownCalls
}

func (s *sidecar) GetMetadata(context.Context) (*daprclient.GetMetadataResponse, error) {
	if s.is(&s.down) {
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
	if store == "statestore" && s.is(&s.noStore) {
		<-ctx.Done() // Dapr retries for a long time
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	return &daprclient.StateItem{}, nil
}

func (s *sidecar) GetJob(ctx context.Context, _ string) (*daprclient.Job, error) {
	if s.is(&s.noScheduler) {
		<-ctx.Done() // Dapr waits for the scheduler
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	return nil, status.Error(codes.Internal, "job not found")
}

func (s *sidecar) Shutdown(context.Context) error {
	s.set(func() { s.shutdownCalls++ })
	return nil
}

func (s *sidecar) ScheduleNewWorkflow(ctx context.Context, _ any, _ ...api.NewWorkflowOptions) (api.InstanceID, error) {
	switch {
	case s.is(&s.down):
		return "", status.Error(codes.Unavailable, "connection refused")
	case s.is(&s.stuck), s.is(&s.noStore), s.is(&s.noScheduler):
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
	if s.is(&s.purgeBlocks) {
		<-ctx.Done()
	}
	return nil
}

// withCanary returns a fake sidecar and an engine that is ready. Its canaries may
// take 600 ms.
func withCanary(t *testing.T) (*sidecar, *Engine) {
	t.Helper()
	s := &sidecar{}
	e := &Engine{Client: engine.Client{Hub: s}, client: s, opt: Options{Logger: zerolog.Nop(), CanaryTimeout: 600 * time.Millisecond}}
	e.canary = canary{engine: e, restart: true, failure: errNoCanary}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { e.canary.run(ctx, 10*time.Millisecond); close(done) }()
	t.Cleanup(func() { stop(); <-done })
	readyWithin(t, 5*time.Second, e, "")
	return s, e
}

// readyWithin waits until Ready returns an error with the given reason, or nil for
// the reason "".
func readyWithin(t *testing.T, d time.Duration, e *Engine, reason string) {
	t.Helper()
	deadline := time.Now().Add(d)
	for {
		err := e.Ready()
		if reason == "" && err == nil || err != nil && reason != "" && strings.Contains(err.Error(), reason) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s Ready = %v, want reason %q", d, err, reason)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestUnavailableStoreIsReported: the sidecar is not at fault for its state store,
// and readiness reports the store before the canary times out.
func TestUnavailableStoreIsReported(t *testing.T) {
	s, e := withCanary(t)
	s.set(func() { s.noStore = true })
	readyWithin(t, 580*time.Millisecond, e, "state store statestore does not respond")
	time.Sleep((stuckAfter + 2) * e.opt.CanaryTimeout)
	readyWithin(t, 0, e, "state store statestore does not respond")
	s.set(func() { s.noStore = false })
	readyWithin(t, 5*time.Second, e, "")
	if n := s.shutdowns(); n > 0 {
		t.Errorf("the sidecar was shut down %d times, want 0", n)
	}
}

// TestUnavailableSchedulerIsReported: the sidecar is shut down only after a time
// in which a scheduler should have restarted.
func TestUnavailableSchedulerIsReported(t *testing.T) {
	s, e := withCanary(t)
	s.set(func() { s.noScheduler = true })
	readyWithin(t, 580*time.Millisecond, e, "the scheduler does not respond")
	time.Sleep((stuckAfter + 2) * e.opt.CanaryTimeout)
	readyWithin(t, 0, e, "the scheduler does not respond")
	if n := s.shutdowns(); n > 0 {
		t.Errorf("the sidecar was shut down %d times, want 0", n)
	}
}

// TestStuckSidecarIsShutDown: readiness reports it before the canary times out.
func TestStuckSidecarIsShutDown(t *testing.T) {
	s, e := withCanary(t)
	s.set(func() { s.stuck = true })
	readyWithin(t, 580*time.Millisecond, e, "in progress")
	readyWithin(t, 5*time.Second, e, "canary")
	time.Sleep((stuckAfter + 2) * e.opt.CanaryTimeout)
	if s.shutdowns() == 0 {
		t.Error("the sidecar was not shut down, want at least one shutdown")
	}
}

// TestStuckPurgeIsReported: a sidecar that gets stuck while a completed canary is
// purged is detected as well.
func TestStuckPurgeIsReported(t *testing.T) {
	s, e := withCanary(t)
	s.set(func() { s.purgeBlocks = true })
	readyWithin(t, 580*time.Millisecond, e, "in progress")
	s.set(func() { s.purgeBlocks, s.noStore = false, true })
	readyWithin(t, 5*time.Second, e, "state store")
	s.set(func() { s.noStore = false })
	readyWithin(t, 5*time.Second, e, "")
}

// TestUnreachableSidecarIsReportedAtOnce: readiness does not wait for a canary.
func TestUnreachableSidecarIsReportedAtOnce(t *testing.T) {
	s, e := withCanary(t)
	s.set(func() { s.down = true })
	if err := e.Ready(); err == nil {
		t.Error("Ready with an unreachable sidecar = nil, want an error")
	}
	s.set(func() { s.down = false })
	readyWithin(t, 5*time.Second, e, "")
	if n := s.shutdowns(); n > 0 {
		t.Errorf("the sidecar was shut down %d times, want 0", n)
	}
}
