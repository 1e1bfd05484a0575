package embedded

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/api/helpers"
	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/backend"
	"github.com/dapr/durabletask-go/backend/runtimestate"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/replay"
)

// loop runs turns and activities on standing goroutines. It takes the place of
// durabletask-go's worker loop, over the same executor and runtime state: that one
// starts a goroutine for each item, rebuilds the state twice a turn, builds
// log lines that are thrown away, and stops a workflow that continues as new more than 20
// times in a turn.
type loop struct {
	store      *store
	exec       backend.Executor
	applier    *runtimestate.Applier
	terminated engine.OnTerminated // may be nil
	stalled    engine.OnStalled    // may be nil
	hard       context.Context     //nolint:containedctx // turns and activities in progress end with it, after draining has timed out
}

// start starts the goroutines. They return when ctx has ended, the queues are
// released, and the work in progress is done.
func (l *loop) start(ctx context.Context, workers *sync.WaitGroup, turns, activities int) {
	for range turns {
		workers.Go(func() {
			own := make(chan *instance, 1)
			for i, ok := l.store.workflows.pop(ctx, own); ok; i, ok = l.store.workflows.pop(ctx, own) {
				if t, ok := l.store.takeTurn(i); ok {
					l.runTurn(t)
				}
			}
		})
	}
	for range activities {
		workers.Go(func() {
			own := make(chan activity, 1)
			for a, ok := l.store.activities.pop(ctx, own); ok; a, ok = l.store.activities.pop(ctx, own) {
				if l.store.stillWanted(a) { // the instance may have been terminated while the activity was queued
					l.runActivity(a)
				}
			}
		})
	}
}

func (l *loop) runTurn(t turn) {
	isTermination := func(e *protos.HistoryEvent) bool { return e.GetExecutionTerminated() != nil }
	if l.terminated != nil && slices.ContainsFunc(t.added, isTermination) && t.seen.Wait() != nil {
		return // terminated acts outside, on what must be durable; the journal has failed, and Run ends
	}
	err := l.advance(t)
	if err == nil {
		err = l.store.finishTurn(t)
	}
	if err != nil {
		l.store.log.Error().Err(err).Str("saga", t.inst.id).Msg("the workflow code could not run; it runs again after a pause")
		l.store.abandonTurn(t)
	}
}

// maxIdleGenerations bounds how often a workflow continues as new in one turn
// without consuming an event.
const maxIdleGenerations = 20

// advance runs the workflow code on the turn's events, and applies what it
// returns to the turn's state. A workflow that continues as new continues in the
// same turn, as long as it consumes the turn's events.
func (l *loop) advance(t turn) error {
	id, s := t.inst.id, t.state
	_ = runtimestate.AddEvent(s, &protos.HistoryEvent{ // the workflow's current time
		EventId: -1, Timestamp: timestamppb.Now(),
		EventType: &protos.HistoryEvent_WorkflowStarted{WorkflowStarted: &protos.WorkflowStartedEvent{}},
	})
	l.addEvents(t)
	if s.StartEvent == nil {
		return errors.New("the history has no start event")
	}
	ctx, span := beginTurnSpan(l.hard, s)
	defer func() { endTurnSpan(s, span, false) }()
	timerSpans(ctx, id, t.added)
	idle, left := 0, len(s.NewEvents)
	for {
		res, err := l.execute(ctx, api.InstanceID(id), s)
		if err != nil {
			return err
		}
		recordVersion(s, span, res.GetVersion())
		applied, err := l.applier.Actions(s, res.GetCustomStatus(), res.GetActions(), helpers.TraceContextFromSpan(span), nil)
		if err != nil {
			return fmt.Errorf("apply what the workflow code returned: %w", err)
		}
		if !applied.ContinuedAsNew {
			break
		}
		idle++
		if len(s.NewEvents) < left {
			idle, left = 0, len(s.NewEvents)
		}
		if idle > maxIdleGenerations {
			return fmt.Errorf("the workflow has continued as new %d times and consumed no event", idle)
		}
		endTurnSpan(s, span, true)
		ctx, span = beginTurnSpan(l.hard, s) //nolint:fatcontext // it is derived from l.hard, not from the last one
	}
	if s.CompletedEvent != nil {
		l.store.log.Debug().Str("saga", id).Str("workflow", s.StartEvent.GetName()).Msg("saga ended")
	}
	return nil
}

// manyEvents is the number of events from which AddEvents costs less than a
// search of the history for each.
const manyEvents = 16

// addEvents adds the turn's events to its state.
func (l *loop) addEvents(t turn) {
	for n, e := range t.added {
		// The code below writes the span's id into it; ours is shared with snapshots.
		if e.GetExecutionStarted().GetParentTraceContext() != nil {
			t.added[n], _ = proto.Clone(e).(*protos.HistoryEvent)
		}
	}
	var errs []error
	if len(t.added) >= manyEvents {
		errs = runtimestate.AddEvents(t.state, t.added)
	} else {
		for _, e := range t.added {
			errs = append(errs, runtimestate.AddEvent(t.state, e))
		}
	}
	if err := errors.Join(errs...); err != nil {
		l.store.log.Warn().Err(err).Str("saga", t.inst.id).Msg("events of the saga were dropped")
	}
}

// execute runs the workflow code. It turns a panic into an error: the turn is
// repeated with growing pauses, so that a fixed program continues it. Failing the
// instance instead would leave its steps done and never compensated.
func (l *loop) execute(
	ctx context.Context, id api.InstanceID, s *protos.WorkflowRuntimeState,
) (res *protos.WorkflowResponse, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("workflow code of %s panicked: %v\n%s", id, v, debug.Stack())
		}
	}()
	past, added, terminated := engine.ForSDK(s.OldEvents, s.NewEvents)
	res, err = l.exec.ExecuteWorkflow(ctx, id, past, added, backend.ExecuteOptions{})
	if err != nil {
		return nil, err
	}
	withValidChildIDs(res)
	if why := replay.Answer(res); why != "" && l.stalled != nil {
		l.stalled(string(id), why)
	}
	if terminated {
		res.CustomStatus = nil // the workflow code did not run, so it has set none
		if reason, _ := engine.EndsTerminated(res); l.terminated != nil {
			err = l.terminated(ctx, string(id), reason)
		}
	}
	return res, err
}

// recordVersion keeps the version and the patches that the code has run with, for
// its next turns.
func recordVersion(s *protos.WorkflowRuntimeState, span trace.Span, v *protos.WorkflowVersion) {
	if v == nil || v.Patches == nil && v.Name == nil {
		return
	}
	for _, e := range s.NewEvents {
		if started := e.GetWorkflowStarted(); started != nil {
			started.Version = v
			if len(v.GetPatches()) > 0 {
				span.SetAttributes(attribute.StringSlice("applied_patches", v.GetPatches()))
			}
			return
		}
	}
}

// runActivity runs an activity and records its result. An error of the executor
// is the activity's failure: its saga has the policy for that.
func (l *loop) runActivity(a activity) {
	ctx, task, span := beginActivitySpan(l.hard, a)
	res, err := l.exec.ExecuteActivity(ctx, api.InstanceID(a.inst.id), task, backend.ExecuteOptions{})
	span.End()
	if err != nil {
		res = taskFailed(a.task, fmt.Sprintf("%T", err), err.Error())
	}
	if l.hard.Err() != nil && res.GetTaskFailed() != nil {
		// The shutdown canceled it, it did not fail: it runs again after the
		// restart, without costing the saga one of its attempts.
		l.store.activities.push(a)
		return
	}
	l.store.finishActivity(a, res)
}

func taskFailed(task *protos.HistoryEvent, kind, message string) *protos.HistoryEvent {
	return &protos.HistoryEvent{
		EventId: -1, Timestamp: timestamppb.Now(),
		EventType: &protos.HistoryEvent_TaskFailed{TaskFailed: &protos.TaskFailedEvent{
			TaskScheduledId: task.GetEventId(), TaskExecutionId: task.GetTaskScheduled().GetTaskExecutionId(),
			FailureDetails: &protos.TaskFailureDetails{ErrorType: kind, ErrorMessage: message},
		}},
	}
}
