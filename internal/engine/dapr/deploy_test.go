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
)

// TestRollingDeploy has workers of two versions at once: each instance ends by
// the version it began with, wherever it runs.
func TestRollingDeploy(t *testing.T) {
	c := cluster(t)
	old, both := enginetest.NewWorld(), enginetest.NewWorld()
	old.Versions, both.Versions = []string{"v1"}, []string{"v1", "v2"}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	e, stopOld := start(t, c, old, "old")
	begin := func(e engine.Engine, prefix string, n int) (ids []string) {
		for i := range n {
			id := fmt.Sprint(prefix, i)
			if err := e.Start(ctx, "Deploy", id, nil); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, id+" waits", func() error {
				h, err := e.History(ctx, id)
				if err == nil && len(h) < 2 {
					err = errors.New("it has not begun")
				}
				return err
			})
			ids = append(ids, id)
		}
		return ids
	}
	end := func(e engine.Engine, want string, ids []string) {
		for _, id := range ids {
			if err := e.Raise(ctx, id, "go", nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, id := range ids {
			i, err := e.Wait(ctx, id)
			if err != nil || want != "" && string(i.Output) != want || i.Status != engine.Completed {
				t.Errorf("%s: %s %s %v, want %s", id, i.Status, i.Output, err, want)
			}
		}
	}
	before := begin(e, "before-", 8)
	e2, _ := start(t, c, both, "new")
	during := begin(e2, "during-", 8) // by whichever worker gets it first
	end(e2, `"v1"`, before[:4])
	end(e2, "", during) // what comes to the old worker waits for the new one
	stopOld()
	end(e2, `"v1"`, before[4:])
	end(e2, `"v2"`, begin(e2, "after-", 4))
}
