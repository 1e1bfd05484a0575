package dapr

import (
	"strings"
	"testing"

	"github.com/dapr/durabletask-go/api/protos"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ordersaga/ordersaga/internal/engine"
)

func scheduled(number int32, call string) *protos.HistoryEvent {
	return &protos.HistoryEvent{EventId: number, EventType: &protos.HistoryEvent_TaskScheduled{
		TaskScheduled: &protos.TaskScheduledEvent{TaskExecutionId: call},
	}}
}

func completed(number int32, call string) *protos.HistoryEvent {
	return &protos.HistoryEvent{EventType: &protos.HistoryEvent_TaskCompleted{
		TaskCompleted: &protos.TaskCompletedEvent{TaskScheduledId: number, TaskExecutionId: call, Result: wrapperspb.String("1")},
	}}
}

func failed(number int32, call string) *protos.HistoryEvent {
	return &protos.HistoryEvent{EventType: &protos.HistoryEvent_TaskFailed{
		TaskFailed: &protos.TaskFailedEvent{TaskScheduledId: number, TaskExecutionId: call, FailureDetails: &protos.TaskFailureDetails{}},
	}}
}

// TestAnswersToAnEarlierActivityBecomeFailures: only those, and also if the call is in
// the history and the answer is new. Calls without an id are from older SDKs.
func TestAnswersToAnEarlierActivityBecomeFailures(t *testing.T) {
	t.Parallel()
	past := []*protos.HistoryEvent{scheduled(0, "a"), scheduled(1, "b"), scheduled(2, "c"), scheduled(3, ""), completed(0, "old")}
	turn := []*protos.HistoryEvent{completed(1, "b"), failed(2, "old"), completed(3, "x"), completed(4, "x")}
	repairAnswers(past, turn)
	for name, c := range map[string]struct {
		event *protos.HistoryEvent
		lost  bool
	}{
		"another's result in the history": {past[4], true},
		"its own result":                  {turn[0], false},
		"another's failure":               {turn[1], true},
		"a call without an id":            {turn[2], false},
		"no call":                         {turn[3], false},
	} {
		lost := c.event.GetTaskFailed().GetFailureDetails().GetErrorMessage() == engine.AnswerLost().GetErrorMessage()
		if lost != c.lost {
			t.Errorf("%s became a failure: %v, want %v (%v)", name, lost, c.lost, c.event)
		}
	}
	if got := turn[1].GetTaskFailed(); got.GetTaskScheduledId() != 2 || got.GetTaskExecutionId() != "c" {
		t.Errorf("the failure is that of activity %d, call %s; want 2, c", got.GetTaskScheduledId(), got.GetTaskExecutionId())
	}
}

func TestFailureOfAChildWithoutDetailsGetsSome(t *testing.T) {
	t.Parallel()
	created := &protos.HistoryEvent{EventId: 7, EventType: &protos.HistoryEvent_ChildWorkflowInstanceCreated{
		ChildWorkflowInstanceCreated: &protos.ChildWorkflowInstanceCreatedEvent{InstanceId: "kid"},
	}}
	ended := &protos.ChildWorkflowInstanceFailedEvent{TaskScheduledId: 7}
	repairAnswers([]*protos.HistoryEvent{created}, []*protos.HistoryEvent{{
		EventType: &protos.HistoryEvent_ChildWorkflowInstanceFailed{ChildWorkflowInstanceFailed: ended},
	}})
	if got, want := ended.GetFailureDetails().GetErrorMessage(), "child saga kid was terminated"; got != want {
		t.Errorf("the child's failure is %q, want %q", got, want)
	}
}

// TestChildrenWithInvalidIDsAreReplaced: by an instance that fails with the reason.
func TestChildrenWithInvalidIDsAreReplaced(t *testing.T) {
	t.Parallel()
	child := func(number int32, id string) *protos.WorkflowAction {
		return &protos.WorkflowAction{Id: number, WorkflowActionType: &protos.WorkflowAction_CreateChildWorkflow{
			CreateChildWorkflow: &protos.CreateChildWorkflowAction{Name: "Kid", InstanceId: id},
		}}
	}
	for parent, c := range map[string]struct {
		id      string
		replace bool
	}{
		"p":                                     {"kid", false},
		"q":                                     {"", false},
		"r":                                     {"a||b", true},
		"s":                                     {"caf\xe9", true},
		strings.Repeat("x", engine.MaxIDLength): {"", true}, // the id that Dapr would derive is longer
	} {
		res := &protos.WorkflowResponse{InstanceId: parent, Actions: []*protos.WorkflowAction{{Id: 0}, child(1, c.id)}}
		replaceInvalidChildren(res)
		got := res.GetActions()[1].GetCreateChildWorkflow()
		if replaced := got.GetName() == notStarted; replaced != c.replace {
			t.Errorf("child %q of %.5s… was replaced: %v, want %v", c.id, parent, replaced, c.replace)
		}
		if want := engine.ErrInvalidID.Error(); c.replace && (!strings.Contains(got.GetInput().GetValue(), want) || got.GetInstanceId() == "") {
			t.Errorf("in place of child %q runs %v, want an instance with the input %q", c.id, got, want)
		}
	}
}
