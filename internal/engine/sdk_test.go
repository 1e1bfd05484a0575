package engine_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/backend"
	"github.com/dapr/durabletask-go/backend/runtimestate"
	"github.com/dapr/durabletask-go/task"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestSDKBehavesAsDocumented shows the SDK's behaviour of docs/dapr.md, "What a good
// guess gets wrong". If it fails after an upgrade, that table and the code that works
// around the behaviour are out of date.
func TestSDKBehavesAsDocumented(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(*testing.T){
		"second Await of a retried activity runs it again":           secondAwait,
		"replay compares numbers and kinds, not names":               replayByNumber,
		"a step that the history lacks is an error of Await":         missingStep,
		"a child that failed without details succeeds":               childWithoutDetails,
		"terminate does not end a suspended instance":                terminateSuspended,
		"an error's type is lost":                                    errorType,
		"a panic's result has no execution id":                       panicWithoutID,
		"a late time-out takes the next wait's event":                staleTimer,
		"continue-as-new drops what the turn has called":             continueDropsCalls,
		"continue-as-new takes the latest version":                   continueTakesLatest,
		"a patch is off if an event arrives with the start":          patchOff,
		"the custom status is empty in a turn without workflow code": statusWithoutCode,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

// sdkRun runs one workflow instance on the SDK's executor, turn by turn.
type sdkRun struct {
	executor backend.Executor
	state    *protos.WorkflowRuntimeState
	response *protos.WorkflowResponse // to the last turn
}

func newSDKRun(t *testing.T, workflow task.Workflow) *sdkRun {
	t.Helper()
	r := task.NewTaskRegistry()
	require.NoError(t, r.AddWorkflowN("W", workflow))
	return &sdkRun{executor: task.NewTaskExecutor(r), state: runtimestate.NewWorkflowRuntimeState("w", nil, nil)}
}

// turn runs the workflow code with new events, and applies what it did.
func (r *sdkRun) turn(t *testing.T, events ...*protos.HistoryEvent) {
	t.Helper()
	started := &protos.HistoryEvent{EventType: &protos.HistoryEvent_WorkflowStarted{WorkflowStarted: &protos.WorkflowStartedEvent{}}}
	for _, e := range append([]*protos.HistoryEvent{started}, events...) {
		e.Timestamp = timestamppb.Now()
		require.NoError(t, runtimestate.AddEvent(r.state, e))
	}
	for {
		var err error
		r.response, err = r.executor.ExecuteWorkflow(t.Context(), "w", r.state.OldEvents, r.state.NewEvents, backend.ExecuteOptions{})
		require.NoError(t, err)
		done, err := runtimestate.NewApplier("", "").Actions(r.state, r.response.CustomStatus, r.response.Actions, nil, nil)
		require.NoError(t, err)
		if !done.ContinuedAsNew {
			break
		}
	}
	r.state.OldEvents, r.state.NewEvents = append(r.state.OldEvents, r.state.NewEvents...), nil
}

// scheduled returns the names of the activities in the history.
func (r *sdkRun) scheduled() (names []string) {
	for _, e := range r.state.OldEvents {
		if s := e.GetTaskScheduled(); s != nil {
			names = append(names, s.GetName())
		}
	}
	return names
}

func (r *sdkRun) want(t *testing.T, status protos.OrchestrationStatus, output string) {
	t.Helper()
	got, gotOutput := runtimestate.RuntimeStatus(r.state), r.state.GetCompletedEvent().GetResult().GetValue()
	if got != status || gotOutput != output {
		t.Errorf("status is %v with output %s (%v), want %v with %s",
			got, gotOutput, r.state.GetCompletedEvent().GetFailureDetails(), status, output)
	}
}

const (
	running   = protos.OrchestrationStatus_ORCHESTRATION_STATUS_RUNNING
	suspended = protos.OrchestrationStatus_ORCHESTRATION_STATUS_SUSPENDED
	completed = protos.OrchestrationStatus_ORCHESTRATION_STATUS_COMPLETED
)

func start() *protos.HistoryEvent {
	return &protos.HistoryEvent{EventId: -1, EventType: &protos.HistoryEvent_ExecutionStarted{
		ExecutionStarted: &protos.ExecutionStartedEvent{Name: "W", WorkflowInstance: &protos.WorkflowInstance{InstanceId: "w"}},
	}}
}

func succeeded(number int32, result string) *protos.HistoryEvent {
	return &protos.HistoryEvent{EventId: -1, EventType: &protos.HistoryEvent_TaskCompleted{
		TaskCompleted: &protos.TaskCompletedEvent{TaskScheduledId: number, Result: wrapperspb.String(result)},
	}}
}

func failed(number int32) *protos.HistoryEvent {
	return &protos.HistoryEvent{EventId: -1, EventType: &protos.HistoryEvent_TaskFailed{
		TaskFailed: &protos.TaskFailedEvent{TaskScheduledId: number, FailureDetails: &protos.TaskFailureDetails{ErrorMessage: "down"}},
	}}
}

func fired(number int32) *protos.HistoryEvent {
	return &protos.HistoryEvent{EventId: -1, EventType: &protos.HistoryEvent_TimerFired{
		TimerFired: &protos.TimerFiredEvent{TimerId: number, FireAt: timestamppb.Now()},
	}}
}

func raised(name string) *protos.HistoryEvent {
	return &protos.HistoryEvent{EventId: -1, EventType: &protos.HistoryEvent_EventRaised{
		EventRaised: &protos.EventRaisedEvent{Name: name, Input: wrapperspb.String(`"` + name + `"`)},
	}}
}

func secondAwait(t *testing.T) {
	r := newSDKRun(t, func(ctx *task.WorkflowContext) (any, error) {
		again := &task.RetryPolicy{MaxAttempts: 2, InitialRetryInterval: time.Second}
		charge := ctx.CallActivity("Charge", task.WithActivityRetryPolicy(again))
		if err := charge.Await(nil); err != nil {
			return "paid later", charge.Await(nil)
		}
		return "paid", nil
	})
	r.turn(t, start())
	r.turn(t, failed(0)) // sets a timer, number 1
	r.turn(t, fired(1))  // the second and last attempt, number 2
	r.turn(t, failed(2)) // the second Await sets another timer, number 3
	r.turn(t, fired(3))
	if got, want := r.scheduled(), []string{"Charge", "Charge", "Charge"}; !slices.Equal(got, want) {
		t.Errorf("with at most 2 attempts, a second Await has called %v, want %v", got, want)
	}
}

func replayByNumber(t *testing.T) {
	name := "Weigh"
	r := newSDKRun(t, func(ctx *task.WorkflowContext) (any, error) {
		var got string
		err := ctx.CallActivity(name).Await(&got)
		return name + ": " + got, err
	})
	r.turn(t, start())
	name = "Price"
	r.turn(t, succeeded(0, `"3 kg"`))
	r.want(t, completed, `"Price: 3 kg"`)
}

func missingStep(t *testing.T) {
	inserted := false
	r := newSDKRun(t, func(ctx *task.WorkflowContext) (any, error) {
		if inserted {
			return "await failed", ctx.WaitForSingleEvent("approval", time.Hour).Await(nil)
		}
		return "charged", ctx.CallActivity("Charge").Await(nil)
	})
	r.turn(t, start())
	inserted = true
	r.turn(t, succeeded(0, ""))
	failure := r.state.GetCompletedEvent().GetFailureDetails().GetErrorMessage()
	if !strings.Contains(failure, "a previous execution called CallActivity for 'Charge'") {
		t.Errorf("failure of the changed workflow = %q, want the SDK's report of the difference, as the error of Await", failure)
	}
}

func childWithoutDetails(t *testing.T) {
	r := newSDKRun(t, func(ctx *task.WorkflowContext) (any, error) {
		return "child succeeded", ctx.CallChildWorkflow("Child").Await(nil)
	})
	r.turn(t, start())
	r.turn(t, &protos.HistoryEvent{EventId: -1, EventType: &protos.HistoryEvent_ChildWorkflowInstanceFailed{
		ChildWorkflowInstanceFailed: &protos.ChildWorkflowInstanceFailedEvent{TaskScheduledId: 0},
	}})
	r.want(t, completed, `"child succeeded"`)
}

func terminateSuspended(t *testing.T) {
	r := newSDKRun(t, func(ctx *task.WorkflowContext) (any, error) {
		return nil, ctx.WaitForSingleEvent("go", -1).Await(nil)
	})
	r.turn(t, start())
	r.turn(t, &protos.HistoryEvent{EventType: &protos.HistoryEvent_ExecutionSuspended{ExecutionSuspended: &protos.ExecutionSuspendedEvent{}}})
	r.turn(t, &protos.HistoryEvent{EventType: &protos.HistoryEvent_ExecutionTerminated{
		ExecutionTerminated: &protos.ExecutionTerminatedEvent{},
	}})
	r.want(t, suspended, "")
}

type refusal struct{}

func (refusal) Error() string { return "refused" }

// ran returns the result of activity number 0, with execution id x.
func ran(t *testing.T, activity task.Activity) *protos.HistoryEvent {
	t.Helper()
	r := task.NewTaskRegistry()
	require.NoError(t, r.AddActivityN("A", activity))
	res, err := task.NewTaskExecutor(r).ExecuteActivity(t.Context(), "w", &protos.HistoryEvent{
		EventType: &protos.HistoryEvent_TaskScheduled{TaskScheduled: &protos.TaskScheduledEvent{Name: "A", TaskExecutionId: "x"}},
	}, backend.ExecuteOptions{})
	require.NoError(t, err)
	return res
}

func errorType(t *testing.T) {
	r := newSDKRun(t, func(ctx *task.WorkflowContext) (any, error) {
		err := ctx.CallActivity("Charge").Await(nil)
		return errors.As(err, new(refusal)), nil
	})
	r.turn(t, start())
	r.turn(t, ran(t, func(task.ActivityContext) (any, error) { return nil, refusal{} }))
	r.want(t, completed, "false")
}

func panicWithoutID(t *testing.T) {
	failure := ran(t, func(task.ActivityContext) (any, error) { return nil, refusal{} }).GetTaskFailed().GetTaskExecutionId()
	bug := ran(t, func(task.ActivityContext) (any, error) { panic("bug") }).GetTaskFailed().GetTaskExecutionId()
	if failure != "x" || bug != "" {
		t.Errorf("execution ids are %q after an error and %q after a panic, want x and none", failure, bug)
	}
}

func staleTimer(t *testing.T) {
	r := newSDKRun(t, func(ctx *task.WorkflowContext) (any, error) {
		if err := ctx.WaitForSingleEvent("go", time.Hour).Await(nil); err != nil { // its timer has number 0
			return nil, err
		}
		return "both", ctx.WaitForSingleEvent("go", 2*time.Hour).Await(nil)
	})
	r.turn(t, start())
	r.turn(t, raised("go"))
	r.turn(t, fired(0))
	r.turn(t, raised("go"))
	r.want(t, running, "")
}

func continueDropsCalls(t *testing.T) {
	generation := 0
	r := newSDKRun(t, func(ctx *task.WorkflowContext) (any, error) {
		generation++
		if generation == 1 {
			ctx.CallActivity("Notify")
			ctx.ContinueAsNew(nil)
			return nil, nil
		}
		return nil, ctx.WaitForSingleEvent("go", -1).Await(nil)
	})
	r.turn(t, start())
	if got := r.scheduled(); len(got) > 0 || len(r.state.PendingTasks) > 0 {
		t.Errorf("after continue-as-new, %v and %d more activities are scheduled, want none", got, len(r.state.PendingTasks))
	}
}

func continueTakesLatest(t *testing.T) {
	registry := func(latest string) *task.TaskRegistry {
		r := task.NewTaskRegistry()
		for _, v := range []string{"v1", "v2"} {
			require.NoError(t, r.AddVersionedWorkflowN("W", v, v == latest, func(ctx *task.WorkflowContext) (any, error) {
				var last bool
				err := errors.Join(ctx.GetInput(&last), ctx.WaitForSingleEvent("go", -1).Await(nil))
				if !last {
					ctx.ContinueAsNew(true)
				}
				return v, err
			}))
		}
		return r
	}
	r := &sdkRun{executor: task.NewTaskExecutor(registry("v1")), state: runtimestate.NewWorkflowRuntimeState("w", nil, nil)}
	r.turn(t, start())
	r.executor = task.NewTaskExecutor(registry("v2"))
	r.turn(t, raised("go"))
	r.turn(t, raised("go"))
	r.want(t, completed, `"v2"`)
}

func patchOff(t *testing.T) {
	for with, want := range map[string]string{"": "true", "go": "false"} {
		r := newSDKRun(t, func(ctx *task.WorkflowContext) (any, error) { return ctx.IsPatched("p"), nil })
		events := []*protos.HistoryEvent{start()}
		if with != "" {
			events = append(events, raised(with))
		}
		r.turn(t, events...)
		r.want(t, completed, want)
	}
}

func statusWithoutCode(t *testing.T) {
	r := newSDKRun(t, func(*task.WorkflowContext) (any, error) { return nil, nil })
	res, err := r.executor.ExecuteWorkflow(t.Context(), "w", nil, []*protos.HistoryEvent{{
		EventType: &protos.HistoryEvent_ExecutionTerminated{ExecutionTerminated: &protos.ExecutionTerminatedEvent{}},
	}}, backend.ExecuteOptions{})
	require.NoError(t, err)
	if res.CustomStatus == nil || res.CustomStatus.GetValue() != "" {
		t.Errorf("custom status of a turn that runs no workflow code = %v, want an empty one, which replaces the former", res.CustomStatus)
	}
}
