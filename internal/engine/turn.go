package engine

import (
	"encoding/json"
	"slices"

	"github.com/dapr/durabletask-go/api/protos"

	"github.com/ordersaga/ordersaga/internal/replay"
)

// ForSDK filters an instance's history and a turn's new events for the SDK
// (durabletask-go v0.12.1), to work around three of its defects. Each engine runs
// all workflow code behind it, so that it applies to events of every client, and
// to replays. It does not change its arguments; what it leaves out stays in the
// history.
//
// If there is a termination, terminated is true and the result has only that
// event. Run without the history, it ends the instance and has no other effect.
// Otherwise the SDK would never end a suspended instance, and would run workflow
// code with the events that arrived in the same turn.
//
// A suspension of a suspended instance, and a resumption of another, is left out.
// Otherwise the SDK would hold the second suspension back until the instance is
// resumed, suspend it again, and lose what it had held back behind it: results of
// activities, events, timers.
//
// A finished suspension is left out, with its resumption, if the SDK would lose
// an event because of it: see overtaken.
//
// The past begins with the event of replay.Inform.
func ForSDK(history, added []*protos.HistoryEvent) (past, turn []*protos.HistoryEvent, terminated bool) {
	for _, events := range [][]*protos.HistoryEvent{added, history} {
		for i, e := range events {
			if e.GetExecutionTerminated() != nil {
				return nil, events[i : i+1], true
			}
		}
	}
	suspended := false
	past, turn = withoutRepeats(history, &suspended), withoutRepeats(added, &suspended)
	if over := overtaken(past, turn); len(over) > 0 {
		turn = without(turn, over, len(past))
		past = without(past, over, 0)
	}
	return replay.Inform(past), turn, false
}

// EndsTerminated reports whether the response to a turn ends an instance as
// terminated, and returns the reason as the client wrote it.
func EndsTerminated(answer *protos.WorkflowResponse) (reason string, ok bool) {
	for _, a := range answer.GetActions() {
		if end := a.GetCompleteWorkflow(); end.GetWorkflowStatus() == protos.OrchestrationStatus_ORCHESTRATION_STATUS_TERMINATED {
			reason = end.GetResult().GetValue()
			if err := json.Unmarshal([]byte(reason), &reason); err != nil { // some clients do not quote it
				return end.GetResult().GetValue(), true
			}
			return reason, true
		}
	}
	return "", false
}

// overtaken returns the indexes, counted through both slices, of suspensions and
// their resumptions between which an event was raised and a timer fired after it.
// The SDK delivers everything it held back to the workflow's tasks before the
// workflow continues. If the timer is the time-out of the wait for the event, the
// wait times out and the event is lost. Without the suspension and the resumption,
// the workflow receives one after the other. All other suspensions stay, so that
// histories recorded with them replay unchanged.
func overtaken(past, turn []*protos.HistoryEvent) (places []int) {
	begun, raised, lost := -1, false, false
	for i := range len(past) + len(turn) {
		e := at(past, turn, i)
		switch {
		case e.GetExecutionSuspended() != nil:
			begun, raised, lost = i, false, false
		case e.GetEventRaised() != nil:
			raised = true
		case e.GetTimerFired() != nil:
			lost = lost || raised
		case e.GetExecutionResumed() != nil && begun >= 0:
			if lost {
				places = append(places, begun, i)
			}
			begun = -1
		}
	}
	return places
}

func at(past, turn []*protos.HistoryEvent, i int) *protos.HistoryEvent {
	if i < len(past) {
		return past[i]
	}
	return turn[i-len(past)]
}

// without returns a copy of events without those at the given indexes; the first
// event has index first.
func without(events []*protos.HistoryEvent, places []int, first int) []*protos.HistoryEvent {
	kept := make([]*protos.HistoryEvent, 0, len(events))
	for i, e := range events {
		if !slices.Contains(places, first+i) {
			kept = append(kept, e)
		}
	}
	return kept
}

// withoutRepeats leaves out events that suspend a suspended instance, or resume
// one that is not suspended. Without such events it returns events itself.
func withoutRepeats(events []*protos.HistoryEvent, suspended *bool) []*protos.HistoryEvent {
	repeats := func(e *protos.HistoryEvent) bool {
		suspends, resumes := e.GetExecutionSuspended() != nil, e.GetExecutionResumed() != nil
		if !suspends && !resumes {
			return false
		}
		repeated := suspends == *suspended
		*suspended = suspends
		return repeated
	}
	was := *suspended
	if !slices.ContainsFunc(events, repeats) {
		return events
	}
	*suspended = was
	return slices.DeleteFunc(slices.Clone(events), repeats)
}
