package replay_test

import (
	"testing"

	"github.com/dapr/durabletask-go/api/protos"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ordersaga/ordersaga/internal/replay"
)

// TestTextOfOthersIsNotTheProtocol: a custom status or a timer's name that looks like
// what operators are shown stalls nothing.
func TestTextOfOthersIsNotTheProtocol(t *testing.T) {
	t.Parallel()
	res := &protos.WorkflowResponse{CustomStatus: wrapperspb.String("code changed: main.go")}
	if why := replay.Answer(res); why != "" || res.GetCustomStatus().GetValue() != "code changed: main.go" {
		t.Errorf("Answer = %q with custom status %q, want the workflow's own status and no stall", why, res.GetCustomStatus().GetValue())
	}
	name := "first line\nsecond line"
	history := []*protos.HistoryEvent{{EventType: &protos.HistoryEvent_TimerCreated{TimerCreated: &protos.TimerCreatedEvent{Name: &name}}}}
	if got := replay.Inform(history); len(got) != 1 {
		t.Errorf("Inform added %d events to a history without a table, want none", len(got)-1)
	}
	if got := replay.TimerName(name); got != name {
		t.Errorf("TimerName(%q) = %q, want it unchanged", name, got)
	}
}

// TestChangedIsShownToOperators: the status that workflow code sets becomes a readable
// one, and stalls the instance.
func TestChangedIsShownToOperators(t *testing.T) {
	t.Parallel()
	res := &protos.WorkflowResponse{CustomStatus: wrapperspb.String(replay.Changed("step 2 is b, was c"))}
	why := replay.Answer(res)
	status := res.GetCustomStatus().GetValue()
	if why != "step 2 is b, was c" || status != "code changed: "+why || replay.ChangedBy(status) != why {
		t.Errorf("Answer = %q with custom status %q, want the difference in both", why, status)
	}
	if len(res.GetActions()) != 1 || res.GetActions()[0].GetWorkflowVersionNotAvailable() == nil {
		t.Errorf("actions = %v, want the one that stalls", res.GetActions())
	}
}

// TestActivitiesAreInTheOrderOfTheirCalls: after a crash, one turn may call several
// activities, and the history has them in any order.
func TestActivitiesAreInTheOrderOfTheirCalls(t *testing.T) {
	t.Parallel()
	called := func(id int32, name string) *protos.HistoryEvent {
		return &protos.HistoryEvent{EventId: id, EventType: &protos.HistoryEvent_TaskScheduled{
			TaskScheduled: &protos.TaskScheduledEvent{Name: name, Version: wrapperspb.String("table")},
		}}
	}
	got := replay.Inform([]*protos.HistoryEvent{called(0, "a"), called(2, "c"), called(1, "b")})[0].GetEventRaised().GetInput().GetValue()
	if want := `{"table":"table","activities":["a","b","c"]}`; got != want {
		t.Errorf("the saga is informed of %s, want %s", got, want)
	}
}
