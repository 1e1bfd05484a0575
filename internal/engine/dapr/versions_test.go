package dapr_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestRollingDeploy runs workers of two versions: each instance ends with the
// version it began with, wherever it runs.
func TestRollingDeploy(t *testing.T) {
	c := startCluster(t)
	old, both := enginetest.NewWorld(), enginetest.NewWorld()
	old.Versions, both.Versions = []string{"v1"}, []string{"v1", "v2"}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	e, stopOld := start(t, c, old, "old")
	startAll := func(e engine.Engine, prefix string, n int) (ids []string) {
		for i := range n {
			id := fmt.Sprint(prefix, i)
			require.NoError(t, e.Start(ctx, "Deploy", id, nil))
			testkit.Eventually(t, id+" waits", func() error {
				h, err := e.History(ctx, id)
				if err == nil && len(h) < 2 {
					err = errors.New("it has not started")
				}
				return err
			})
			ids = append(ids, id)
		}
		return ids
	}
	end := func(e engine.Engine, want string, ids []string) {
		for _, id := range ids {
			require.NoError(t, e.Raise(ctx, id, "go", nil))
		}
		for _, id := range ids {
			i, err := e.Wait(ctx, id)
			if err != nil || want != "" && string(i.Output) != want || i.Status != engine.Completed {
				t.Errorf("%s is %s with output %s (%v), want COMPLETED with %s", id, i.Status, i.Output, err, want)
			}
		}
	}
	before := startAll(e, "before-", 8)
	e2, _ := start(t, c, both, "new")
	during := startAll(e2, "during-", 8) // each by the worker that gets it first
	end(e2, `"v1"`, before[:4])
	end(e2, "", during) // those of v2 that reach the old worker wait for the new one
	stopOld()
	end(e2, `"v1"`, before[4:])
	end(e2, `"v2"`, startAll(e2, "after-", 4))
}

// TestSagaOfAnotherTableContinues: the worker whose program has another table stops, and
// one with the saga's starts. The saga needs nothing else.
func TestSagaOfAnotherTableContinues(t *testing.T) {
	c := startCluster(t)
	w := enginetest.NewWorld()
	e, stop := start(t, c, w, "other")
	enginetest.ChangeTable(t, e, w, "t")
	stop()
	w.OtherTable.Store(false)
	e, _ = start(t, c, w, "same")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	i, err := e.Wait(ctx, "t")
	if err != nil || i.Status != engine.Completed || string(i.Output) != `{"status":"DONE"}` {
		t.Errorf("saga is %s with output %s (%v), want COMPLETED with DONE", i.Status, i.Output, err)
	}
	if n := w.Ran("t"); n != 2 {
		t.Errorf("activities called = %d, want each of the two once", n)
	}
}
