// Package replay is the protocol between workflow code and the engines by which a
// saga is not continued by another program than the one that began it. The SDK
// (durabletask-go v0.12.1) compares a replay with the history by numbers only, and
// shows workflow code nothing of the history.
//
// A saga declares its table in its first turn. The engine records it with the
// saga's first action. From then on it informs the saga, at the beginning of each
// turn, of the table and of the activities that the history has. A saga that
// differs reports it as its custom status. The engine then drops the turn, and
// stalls the instance until another program runs it. See
// docs/adr/0028-record-a-sagas-table-with-its-first-action.md.
//
// All functions are safe for concurrent use.
package replay

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/task"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ordersaga/ordersaga/internal/text"
)

const (
	informs   = "ordersaga.replay"    // name of the event that carries a Record
	changed   = "code changed: "      // prefix of a custom status
	differs   = "\n" + informs + ": " // the same, as workflow code sets it: no other code does
	separator = "\nordersaga.table\n" // between a version or a timer's name, and a table
)

// Record is what a saga's history has about the program that ran the saga.
type Record struct {
	Table string `json:"table"`
	// Activities are the names of the activities in the order of their calls.
	Activities []string `json:"activities,omitempty"`
}

// Recorded returns the record in the history of a workflow. Workflow code must call
// it before its first action. ok is false if there is none: in the first turn, and
// in sagas that an older release began.
func Recorded(ctx *task.WorkflowContext) (r Record, ok bool) {
	err := ctx.WaitForSingleEvent(informs, 0).Await(&r)
	return r, err == nil
}

// Declare gives the engine the table of a saga without a record. The engine takes it
// from the version that the SDK reports, which it then restores.
func Declare(ctx *task.WorkflowContext, table string) {
	version := ""
	if ctx.VersionName != nil {
		version = *ctx.VersionName
	}
	version += separator + table
	ctx.VersionName = &version
}

// Changed returns the custom status by which workflow code reports that it
// is not the code that began the saga. why is a sentence without a full stop.
func Changed(why string) string { return differs + why }

// ChangedBy returns, by its custom status, in what the program differs that ran a
// saga last; "" if it does not differ.
func ChangedBy(customStatus string) string {
	if why, is := strings.CutPrefix(customStatus, changed); is {
		return why
	}
	return ""
}

// Inform returns a history with an event in front that Recorded reads. Without a
// record it returns the history itself.
func Inform(history []*protos.HistoryEvent) []*protos.HistoryEvent {
	table := tableIn(history)
	if table == "" {
		return history
	}
	r := Record{Table: table}
	var calls []*protos.HistoryEvent // those of one turn are in the history in any order
	for _, e := range history {
		if e.GetTaskScheduled() != nil {
			calls = append(calls, e)
		}
	}
	slices.SortFunc(calls, func(a, b *protos.HistoryEvent) int { return cmp.Compare(a.GetEventId(), b.GetEventId()) })
	for _, e := range calls {
		r.Activities = append(r.Activities, e.GetTaskScheduled().GetName())
	}
	data, err := json.Marshal(r)
	if err != nil { // strings always encode
		return history
	}
	return slices.Insert(slices.Clip(history), 0, &protos.HistoryEvent{EventId: -1, EventType: &protos.HistoryEvent_EventRaised{
		EventRaised: &protos.EventRaisedEvent{Name: informs, Input: wrapperspb.String(string(data))},
	}})
}

// tableIn returns the table that a history has recorded with its first action.
func tableIn(history []*protos.HistoryEvent) (table string) {
	for _, e := range history {
		if e.GetEventId() != 0 {
			continue
		}
		if t := e.GetTaskScheduled(); t != nil {
			return t.GetVersion().GetValue()
		}
		if t := e.GetTimerCreated(); t != nil {
			_, table, _ = strings.Cut(t.GetName(), separator)
			return table
		}
	}
	return ""
}

// TimerName returns a timer's name without a table.
func TimerName(name string) string {
	name, _, _ = strings.Cut(name, separator)
	return name
}

// Answer completes a response to a turn. It moves a table that the workflow code has
// declared to the saga's first action. If the code is not the code that began the
// instance, Answer returns in what it differs, sets that as the custom status, and
// replaces all actions by the one that stalls the instance.
func Answer(res *protos.WorkflowResponse) (why string) {
	version, table, declared := strings.Cut(res.GetVersion().GetName(), separator)
	if declared {
		res.Version.Name = &version
		if version == "" {
			res.Version.Name = nil
		}
	}
	why = difference(res)
	if why != "" {
		res.CustomStatus = wrapperspb.String(text.Cut(changed+why, text.Max))
		res.Actions = []*protos.WorkflowAction{{WorkflowActionType: &protos.WorkflowAction_WorkflowVersionNotAvailable{
			WorkflowVersionNotAvailable: &protos.WorkflowVersionNotAvailableAction{},
		}}}
		return why
	}
	if !declared || !begins(res.GetActions()) {
		return ""
	}
	if t := res.GetActions()[0].GetScheduleTask(); t != nil {
		t.Version = wrapperspb.String(table)
	} else if t := res.GetActions()[0].GetCreateTimer(); t != nil {
		name := t.GetName() + separator + table
		t.Name = &name
	}
	return ""
}

// begins reports whether actions are those of a saga's first turn: one, after the timers
// of waits that are over already. Others are not the saga's own, and would not agree with
// Record.Activities.
func begins(actions []*protos.WorkflowAction) bool {
	last := len(actions) - 1
	return last >= 0 && actions[0].GetId() == 0 &&
		!slices.ContainsFunc(actions[:last], func(a *protos.WorkflowAction) bool { return a.GetCreateTimer() == nil })
}

// difference returns in what the code that gave a response differs from the code that
// began the instance, or "".
func difference(res *protos.WorkflowResponse) string {
	if why, is := strings.CutPrefix(res.GetCustomStatus().GetValue(), differs); is {
		return why
	}
	for _, a := range res.GetActions() {
		if a.GetWorkflowVersionNotAvailable() != nil {
			return "this program does not have its version " + res.GetVersion().GetName()
		}
		if end := a.GetCompleteWorkflow(); end.GetWorkflowStatus() == protos.OrchestrationStatus_ORCHESTRATION_STATUS_FAILED {
			if why := end.GetFailureDetails().GetErrorMessage(); isMismatch(why) {
				return why
			}
		}
	}
	return ""
}

// isMismatch reports whether the text of an error is, or quotes, the SDK's finding
// that a replay differs from the history. The texts of activities' errors are not.
func isMismatch(err string) bool {
	return strings.Contains(err, "a previous execution called ") && !strings.Contains(err, taskFailed)
}

const taskFailed = "task failed with an error: " // the SDK's prefix of the error of an activity or a child
