package enginetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/task"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/replay"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// tableState is the state of workflow Table.
type tableState struct {
	ID string `json:"id,omitempty"`
}

// addTable registers workflow Table. Its activity is called as Step is.
func (w *World) addTable(r *task.TaskRegistry) error {
	return errors.Join(
		r.AddWorkflowN("Table", func(ctx *task.WorkflowContext) (any, error) {
			policy := saga.Policy{First: time.Second, Max: time.Second, Factor: 1}
			steps := []saga.Step[tableState]{{Name: "one", Do: "Row", Retry: policy}, {Name: "two", Do: "Row", Retry: policy}}
			if w.OtherTable.Load() {
				steps[1].Name = "zwei"
			}
			return saga.Saga[tableState]{Done: "DONE", Steps: steps}.Run(ctx, tableState{ID: string(ctx.ID)})
		}),
		r.AddActivityN("Row", saga.Do(func(ctx context.Context, s tableState) (tableState, error) {
			return tableState{}, w.record(ctx, s.ID)
		})),
	)
}

// otherTable checks that a saga is left as it is by a program with another table.
func otherTable(t *testing.T, e client, w *World, p string) {
	id := p + "t"
	ChangeTable(t, e, w, id)
	if i, err := e.Get(t.Context(), id); err != nil || replay.ChangedBy(i.CustomStatus) != "step 2 is zwei, was two" {
		t.Errorf("custom status = %q (%v), want the step that differs", i.CustomStatus, err)
	}
	if err := e.Raise(t.Context(), id, saga.SignalEvent, saga.Signal{Kind: saga.Nudge}); !errors.Is(err, engine.ErrStalled) {
		t.Errorf("Raise to a stalled saga = %v, want ErrStalled", err)
	}
	if n := w.Ran(id); n != 1 {
		t.Errorf("activities called = %d, want only the first", n)
	}
}

// ChangeTable starts workflow Table, changes its table while the first activity is in
// progress, and waits until the instance is stalled. The table is restored when the
// test ends.
func ChangeTable(t testing.TB, e engine.Engine, w *World, id string) {
	t.Helper()
	release := w.Hold()
	defer release()
	require.NoError(t, e.Start(t.Context(), "Table", id, nil))
	for w.AwaitStep(t) != id {
	}
	w.OtherTable.Store(true)
	t.Cleanup(func() { w.OtherTable.Store(false) })
	release()
	waitUntil(t, id+" to be stalled", func() bool { i, _ := e.Get(t.Context(), id); return i.Status == engine.Stalled })
}
