package engine

import (
	"encoding/json"
	"slices"

	"github.com/dapr/durabletask-go/api/protos"
)

// ForSDK is what the SDK (durabletask-go v0.12.1) is given of an instance's
// history and of a turn's new events. Each engine runs all workflow code behind
// it, so it holds whichever client has sent an event, and at a replay. The
// arguments are not changed; what is left out stays in the history.
//
// terminated: there is a termination, and only that is given. Run without the
// history it ends the instance and nothing else: the SDK never ends one that is
// suspended, and lets the workflow code go on beside the end with what arrived
// in the same turn.
//
// To suspend what is suspended, and to resume what is not, changes nothing. The
// SDK would keep the second suspension back until the instance is resumed, then
// suspend it again, and lose all that it kept back behind it: answers of
// activities, events, timers.
//
// A suspension that is over is left out, with its resumption, if the SDK would
// lose an event by it: see overtaken.
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
	return past, turn, false
}

// EndsTerminated is why the answer to a turn ends an instance as terminated, as the
// client wrote it, and whether it does.
func EndsTerminated(answer *protos.WorkflowResponse) (reason string, ok bool) {
	for _, a := range answer.GetActions() {
		if end := a.GetCompleteWorkflow(); end.GetWorkflowStatus() == protos.OrchestrationStatus_ORCHESTRATION_STATUS_TERMINATED {
			reason = end.GetResult().GetValue()
			if err := json.Unmarshal([]byte(reason), &reason); err != nil { // not every client quotes it
				return end.GetResult().GetValue(), true
			}
			return reason, true
		}
	}
	return "", false
}

// overtaken are the indexes, counted through both, of suspensions and their
// resumptions between which an event was raised and a timer fired after it. The
// SDK gives all that it kept back to the workflow's tasks before the workflow
// goes on: if the timer is that of the wait for the event, the wait ends as timed
// out, and the event is lost. Without the two, the workflow sees one after the
// other. All other suspensions stay, so that what was recorded with them replays
// as it was.
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

// without copies events less those at the indexes; the first event has index first.
func without(events []*protos.HistoryEvent, places []int, first int) []*protos.HistoryEvent {
	kept := make([]*protos.HistoryEvent, 0, len(events))
	for i, e := range events {
		if !slices.Contains(places, first+i) {
			kept = append(kept, e)
		}
	}
	return kept
}

// withoutRepeats leaves out what suspends a suspended instance or resumes one
// that is not. Without any it returns events as they are.
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
