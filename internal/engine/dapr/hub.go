package dapr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/api/protos"
	taskhub "github.com/dapr/durabletask-go/client"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ordersaga/ordersaga/internal/engine"
)

// hub gives the SDK's gRPC client the shape of its in-process one.
//
// It also goes round damaged instances: Dapr 1.18.2 can leave a workflow's
// state so that it can be neither read nor purged, when two sidecars take each
// other for gone and both write it. Such an instance is taken for none, and
// its id's next life is an instance of a name derived from it.
type hub struct{ *taskhub.TaskHubGrpcClient }

// lives is how often an id may be damaged.
const lives = 5

func lifeSuffix(n int) string { return "~" + strconv.Itoa(n+1) }

// withoutLife is the id whose life an instance is.
func withoutLife(id string) string {
	for n := 1; n < lives; n++ {
		if of, is := strings.CutSuffix(id, lifeSuffix(n)); is {
			return of
		}
	}
	return id
}

// inLife calls f with the instance id of the first life that is not damaged,
// and again while that instance's actor cannot be reached.
func inLife(ctx context.Context, id api.InstanceID, f func(api.InstanceID) error) (err error) {
	for n := range lives {
		life := id
		if n > 0 {
			life += api.InstanceID(lifeSuffix(n))
		}
		if err = settled(ctx, func() error { return reach(ctx, func() error { return f(life) }) }); err == nil || !damaged(err) {
			return err
		}
	}
	return err
}

// settled calls f again while it finds damage, which may be of the moment: Dapr
// reads a workflow's parts one after the other while it changes, and a second
// life beside a good first one would be worse.
func settled(ctx context.Context, f func() error) (err error) {
	for attempt := range 5 {
		if err = f(); err == nil || !damaged(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond << attempt):
		}
	}
	return err
}

// reach calls f again while actors move, as long as one call may take.
func reach(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := f()
		if err == nil || !unreached(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(pause):
		}
	}
}

// unreached reports whether Dapr could not get a call to the workflow's actor:
// when a sidecar comes or goes it takes a moment until all of them know who
// hosts what. Dapr 1.18.2 says all but the last before the actor does anything.
// The last means for a start that nothing is kept yet; an event is kept, but
// wakes the saga only with the next one, so that it has to be sent again.
//
// So an event may arrive twice, as it may when a connection breaks under a call
// and Dapr itself repeats it. Sagas bear that: a signal that nobody waits for
// any more is dropped, and a decision about an earlier park is forgotten at the
// next (workflows/saga/inbox.go). Suspending, resuming, terminating and purging
// twice is as good as once. A start is also the wait for the first step: if that
// is what fails it is not repeated, for the saga may have ended meanwhile, and
// would begin anew.
func unreached(err error) bool {
	said := err.Error()
	if strings.Contains(said, "failed to start workflow") && !strings.Contains(said, "failed to create workflow instance") {
		return false
	}
	return slices.ContainsFunc([]string{
		"failed to create actor: actor type",  // pkg/actors/table/table.go: the sidecar has no worker any more, or not yet
		"failed to lookup actor",              // pkg/actors/router/router.go: no sidecar has, as far as placement has told
		"did not find address for actor",      // pkg/messages/predefined.go: the same, where the router says it bare
		"remote actor moved",                  // pkg/actors/router/router.go: two sidecars know different owners
		"actor is closed, cannot handle lock", // pkg/actors/targets/workflow/common/lock/stallable.go: it is on its way to another
		"only possible on hosted actor types", // pkg/actors/reminders/reminders.go: the worker went while the actor worked
	}, func(s string) bool { return strings.Contains(said, s) })
}

func damaged(err error) bool {
	return strings.Contains(err.Error(), "declared in metadata") && strings.Contains(err.Error(), "missing from state store")
}

var _ engine.TaskHub = hub{}

func (h hub) ScheduleNewWorkflow(ctx context.Context, workflow any, opts ...api.NewWorkflowOptions) (api.InstanceID, error) {
	name, ok := workflow.(string)
	if !ok {
		return "", engine.ErrUnsupported
	}
	var req protos.CreateInstanceRequest
	for _, o := range opts {
		if err := o(&req); err != nil {
			return "", fmt.Errorf("start workflow %s: %w", name, err)
		}
	}
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() && !sc.IsSampled() {
		// The SDK would tell Dapr that it is. What Dapr samples by itself is a
		// trace of its own then; activities do not join it.
		ctx = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	}
	id := api.InstanceID(req.GetInstanceId())
	return id, inLife(ctx, id, func(life api.InstanceID) error {
		start := func() error {
			_, err := h.TaskHubGrpcClient.ScheduleNewWorkflow(ctx, name, append(slices.Clone(opts), api.WithInstanceID(life))...)
			return err
		}
		err := start()
		for pause := 10 * time.Millisecond; pause < time.Second && status.Code(err) == codes.AlreadyExists && h.forgets(ctx, life); pause *= 2 {
			select { // the sidecar drops it a moment after its answer
			case <-ctx.Done():
				return err
			case <-time.After(pause):
			}
			err = start()
		}
		// A stalled one takes no purge in, so nothing makes its sidecar forget it.
		if err != nil && strings.Contains(err.Error(), engine.StalledActor) && h.unknown(ctx, life) {
			return engine.ErrInMemory
		}
		return err
	})
}

// forgets makes a sidecar drop an instance that is only in its memory, and reports
// whether there was one. That happens when the state is deleted in the store:
// until the sidecar ends, reads find no instance and starts find a running one.
// On Redis the sidecar may have written a part of the state again, which counts
// as damage. A purge reaches the sidecar in question and is refused, but makes it
// read the state again (1.18.2: deferred in orchestrator/state.go). It does no
// harm to an instance that runs.
func (h hub) forgets(ctx context.Context, id api.InstanceID) bool {
	if !h.unknown(ctx, id) {
		return false
	}
	_ = h.TaskHubGrpcClient.PurgeWorkflowState(ctx, id) // refused: it has not ended
	return ctx.Err() == nil
}

// unknown reports whether the store has no instance of that id that can be read.
func (h hub) unknown(ctx context.Context, id api.InstanceID) bool {
	err := settled(ctx, func() error { _, err := h.fetch(ctx, id); return err })
	return err != nil && (errors.Is(err, api.ErrInstanceNotFound) || damaged(err))
}

func (h hub) FetchWorkflowMetadata(ctx context.Context, id api.InstanceID) (m *protos.WorkflowMetadata, err error) {
	err = inLife(ctx, id, func(life api.InstanceID) error {
		m, err = h.fetch(ctx, life)
		return err
	})
	if m != nil {
		m.InstanceId = string(id)
	}
	return m, err
}

// fetch asks again a few times: Dapr reads a workflow's parts one after the
// other, and says that one is missing when it changes meanwhile ("transient
// store read failure or partial save?").
func (h hub) fetch(ctx context.Context, id api.InstanceID) (m *protos.WorkflowMetadata, err error) {
	for attempt := range 6 {
		m, err = h.TaskHubGrpcClient.FetchWorkflowMetadata(ctx, id, api.WithFetchPayloads(true))
		if status.Code(err) != codes.Unknown || errors.Is(err, api.ErrInstanceNotFound) {
			return m, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Millisecond << attempt * 5):
		}
	}
	return m, err
}

func (h hub) WaitForWorkflowStart(ctx context.Context, id api.InstanceID) (*protos.WorkflowMetadata, error) {
	return h.TaskHubGrpcClient.WaitForWorkflowStart(ctx, id)
}

func (h hub) WaitForWorkflowCompletion(ctx context.Context, id api.InstanceID) (m *protos.WorkflowMetadata, err error) {
	err = inLife(ctx, id, func(life api.InstanceID) error {
		if _, err = h.fetch(ctx, life); err != nil { // for a damaged one it waits for ever
			return err
		}
		m, err = h.TaskHubGrpcClient.WaitForWorkflowCompletion(ctx, life, api.WithFetchPayloads(true))
		return err
	})
	if m != nil {
		m.InstanceId = string(id)
	}
	return m, err
}

func (h hub) RaiseEvent(ctx context.Context, id api.InstanceID, event string, opts ...api.RaiseEventOptions) error {
	return inLife(ctx, id, func(life api.InstanceID) error { return h.TaskHubGrpcClient.RaiseEvent(ctx, life, event, opts...) })
}

func (h hub) SuspendWorkflow(ctx context.Context, id api.InstanceID, reason string) error {
	return inLife(ctx, id, func(life api.InstanceID) error { return h.TaskHubGrpcClient.SuspendWorkflow(ctx, life, reason) })
}

func (h hub) ResumeWorkflow(ctx context.Context, id api.InstanceID, reason string) error {
	return inLife(ctx, id, func(life api.InstanceID) error { return h.TaskHubGrpcClient.ResumeWorkflow(ctx, life, reason) })
}

func (h hub) TerminateWorkflow(ctx context.Context, id api.InstanceID, opts ...api.TerminateOptions) error {
	return inLife(ctx, id, func(life api.InstanceID) error { return h.TaskHubGrpcClient.TerminateWorkflow(ctx, life, opts...) })
}

func (h hub) PurgeWorkflowState(ctx context.Context, id api.InstanceID, opts ...api.PurgeOptions) error {
	return inLife(ctx, id, func(life api.InstanceID) error { return h.TaskHubGrpcClient.PurgeWorkflowState(ctx, life, opts...) })
}

func (h hub) ListInstanceIDs(ctx context.Context, opts ...api.ListInstanceIDsOptions) (*protos.ListInstanceIDsResponse, error) {
	return h.TaskHubGrpcClient.ListInstanceIDs(ctx, opts...)
}

func (h hub) GetInstanceHistory(ctx context.Context, id api.InstanceID) (res *protos.GetInstanceHistoryResponse, err error) {
	err = inLife(ctx, id, func(life api.InstanceID) error {
		res, err = h.TaskHubGrpcClient.GetInstanceHistory(ctx, life)
		return err
	})
	return res, err
}
