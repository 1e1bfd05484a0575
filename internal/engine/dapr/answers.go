package dapr

import (
	"encoding/json"
	"errors"

	"github.com/dapr/durabletask-go/api/helpers"
	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/task"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ordersaga/ordersaga/internal/engine"
)

// repairAnswers changes answers in a saga's history and in a turn's new events that
// the SDK would take for something else. It changes the events in place.
//
// Dapr 1.18.2 distinguishes answers by their number only. It delivers the answer to an
// activity of an earlier generation, or of an earlier execution, to the one that has
// its number now, and drops the right answer when that comes. The wrong answer
// becomes a failure: the activity's outcome is not known, and its saga may call it
// again.
//
// The failure of a terminated child has no details, which the SDK takes for a
// success; see engine.ChildTerminated.
func repairAnswers(events ...[]*protos.HistoryEvent) {
	calls, children := map[int32]string{}, map[int32]string{} // by number
	for _, part := range events {
		for _, e := range part {
			if s := e.GetTaskScheduled(); s != nil {
				calls[e.GetEventId()] = s.GetTaskExecutionId()
			} else if c := e.GetChildWorkflowInstanceCreated(); c != nil {
				children[e.GetEventId()] = c.GetInstanceId()
			} else if f := e.GetChildWorkflowInstanceFailed(); f != nil && f.GetFailureDetails() == nil {
				f.FailureDetails = engine.ChildTerminated(children[f.GetTaskScheduledId()])
			} else if number, call, ok := answerOf(e); ok && call != "" && calls[number] != "" && calls[number] != call {
				e.EventType = &protos.HistoryEvent_TaskFailed{TaskFailed: &protos.TaskFailedEvent{
					TaskScheduledId: number, TaskExecutionId: calls[number], FailureDetails: engine.AnswerLost(),
				}}
			}
		}
	}
}

// answerOf returns which activity an event answers: its number, and the id of the
// call.
func answerOf(e *protos.HistoryEvent) (number int32, call string, ok bool) {
	if c := e.GetTaskCompleted(); c != nil {
		return c.GetTaskScheduledId(), c.GetTaskExecutionId(), true
	}
	f := e.GetTaskFailed()
	return f.GetTaskScheduledId(), f.GetTaskExecutionId(), f != nil
}

// notStarted is a workflow that fails with its input. It is run in place of a child
// whose id is not valid: Dapr would retry to start that indefinitely.
const notStarted = "OrdersagaChildNotStarted"

func registerNotStarted(r *task.TaskRegistry) error {
	return r.AddWorkflowN(notStarted, func(ctx *task.WorkflowContext) (any, error) {
		var reason string
		return nil, errors.Join(ctx.GetInput(&reason), errors.New(reason))
	})
}

// replaceInvalidChildren replaces the children whose ids are not valid in the
// response to a turn; see notStarted.
func replaceInvalidChildren(res *protos.WorkflowResponse) {
	for _, a := range res.GetActions() {
		c := a.GetCreateChildWorkflow()
		if c == nil {
			continue
		}
		id := c.GetInstanceId()
		if id == "" { // Dapr derives one
			id = helpers.GenerateChildWorkflowInstanceID(res.GetInstanceId(), a.GetId())
		}
		if err := engine.CheckID(id); err != nil {
			reason, _ := json.Marshal("start child saga: " + err.Error()) // a string always encodes
			c.Name, c.InstanceId, c.Version, c.Input = notStarted, uuid.NewString(), nil, wrapperspb.String(string(reason))
		}
	}
}
