package embedded

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/task"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestSmallSagasDoNotStarve: small sagas make progress while ten thousand timers
// come due at the same moment, and while a saga with a huge history is replayed
// again and again. They may take ten times as long, and a second.
func TestSmallSagasDoNotStarve(t *testing.T) {
	due := time.Now().Add(3 * time.Second)
	r := workflows(t, map[string]task.Workflow{
		"Small": func(ctx *task.WorkflowContext) (any, error) { return nil, ctx.CallActivity("Nothing").Await(nil) },
		"Timer": func(ctx *task.WorkflowContext) (any, error) {
			return nil, ctx.CreateTimer(due.Sub(ctx.CurrentTimeUtc)).Await(nil)
		},
		"Huge": func(ctx *task.WorkflowContext) (any, error) {
			for { // each activity replays all before it
				if err := ctx.CallActivity("Nothing").Await(nil); err != nil {
					return nil, err
				}
			}
		},
	})
	require.NoError(t, r.AddActivityN("Nothing", func(task.ActivityContext) (any, error) { return nil, nil }))
	e := runEngine(t, r, Options{})
	const timers = 10_000
	for n := range timers {
		e.start(t, "Timer", fmt.Sprint("timer", n), nil)
	}
	small := func(until func() bool) time.Duration {
		var took []time.Duration
		for len(took) < 20 || !until() {
			began := time.Now()
			id := fmt.Sprint("small", began.UnixNano())
			e.start(t, "Small", id, nil)
			e.wait(t, id)
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		return took[len(took)*9/10]
	}
	alone := small(func() bool { return true })
	time.Sleep(time.Until(due))
	crowd := small(func() bool {
		st, err := e.Stats(context.Background())
		return err == nil && st.Live == 0
	})
	e.start(t, "Huge", "huge", nil)
	events := 0
	giant := small(func() bool {
		h, err := e.History(context.Background(), "huge")
		events = len(h)
		return err != nil || events > 2000
	})
	t.Logf("90th percentile of small sagas: %v alone, %v beside %d due timers, %v beside a history of %d events",
		alone, crowd, timers, giant, events)
	for _, took := range []time.Duration{crowd, giant} {
		if took > 10*alone+time.Second {
			t.Errorf("small sagas take %v, alone %v, want at most %v", took, alone, 10*alone+time.Second)
		}
	}
	require.NoError(t, e.Terminate(t.Context(), "huge", "enough"))
	if i := e.wait(t, "huge"); i.Status != engine.Terminated {
		t.Errorf("the huge saga is %s, want TERMINATED", i.Status)
	}
}
