package engine

import (
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
func ForSDK(history, added []*protos.HistoryEvent) (past, turn []*protos.HistoryEvent, terminated bool) {
	for _, events := range [][]*protos.HistoryEvent{added, history} {
		for i, e := range events {
			if e.GetExecutionTerminated() != nil {
				return nil, events[i : i+1], true
			}
		}
	}
	suspended := false
	return withoutRepeats(history, &suspended), withoutRepeats(added, &suspended), false
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
