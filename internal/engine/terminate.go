package engine

import (
	"github.com/dapr/durabletask-go/api/protos"
)

// OnlyTermination returns a turn's new events without all but the termination,
// if there is one in the history or among them; else nil. Run without the
// history, it ends the instance, and nothing else: the SDK (durabletask-go
// v0.12.1) never ends one that is suspended, and lets the workflow code go on
// beside the end with what arrived in the same turn.
func OnlyTermination(history, added []*protos.HistoryEvent) []*protos.HistoryEvent {
	for _, events := range [][]*protos.HistoryEvent{added, history} {
		for i, e := range events {
			if e.GetExecutionTerminated() != nil {
				return events[i : i+1]
			}
		}
	}
	return nil
}
