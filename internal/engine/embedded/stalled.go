package embedded

import (
	"cmp"

	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/backend/runtimestate"

	"github.com/ordersaga/ordersaga/internal/replay"
)

// stallIfAsked changes a turn that this program cannot run, because it lacks the
// instance's version or has changed (see package replay), into one that consumes no
// event and starts nothing. The history and the status show why. Nothing runs the
// instance again in this process: the next one does, which may be another program.
// The caller holds mu.
func (t *turn) stallIfAsked() {
	var stalled *protos.HistoryEvent
	for _, m := range t.state.GetPendingMessages() {
		if m.GetHistoryEvent().GetExecutionStalled() != nil {
			stalled = m.GetHistoryEvent()
		}
	}
	if stalled == nil {
		return
	}
	i, status, why := t.inst, t.state.GetCustomStatus(), stalled.GetExecutionStalled()
	why.Description = new(cmp.Or(replay.ChangedBy(status.GetValue()), why.GetDescription()))
	t.state = i.stateForTurn()
	t.state.CustomStatus = status
	if i.rebuildState().GetStalled().GetDescription() != why.GetDescription() { // otherwise the previous process has recorded it
		_ = runtimestate.AddEvent(t.state, stalled)
	}
	i.takenEvents, i.stalled = 0, true
}
