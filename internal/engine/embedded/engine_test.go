package embedded

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
)

func TestEngineConformsToTheContract(t *testing.T) {
	w := enginetest.NewWorld()
	e := run(t, w, Options{Dir: t.TempDir(), Terminated: w.Terminated})
	enginetest.Conformance(t, e, w, "c", enginetest.Deviations{})
	e.start(t, "FailByPanic", "p", nil)
	if i := e.wait(t, "p"); i.Status != engine.Failed || !strings.Contains(i.Failure, "activity bug") {
		t.Errorf("after a panic of an activity: %+v, want FAILED with the panic's text", i)
	}
}

// A bug in workflow code must cost neither the process nor the saga.
func TestPanickingWorkflowContinuesWithAFixedProgram(t *testing.T) {
	dir, w := t.TempDir(), enginetest.NewWorld()
	e := run(t, w, Options{Dir: dir})
	w.Broken.Store(true)
	e.start(t, "Panic", "p", nil)
	e.start(t, "Chain", "c", nil)
	e.want(t, "c", engine.Completed, "3")
	waitUntil(t, "two panics", func() bool { return w.Panics.Load() > 1 })
	if i, err := e.Get(t.Context(), "p"); err != nil || i.Status.Ended() {
		t.Errorf("after panics: %+v (%v), want a saga that has not ended", i, err)
	}
	e.stop()
	w.Broken.Store(false)
	e = run(t, w, Options{Dir: dir})
	e.want(t, "p", engine.Completed, `"fixed"`)
}

func TestManySagasConcurrently(t *testing.T) {
	w := enginetest.NewWorld()
	e := run(t, w, Options{Dir: t.TempDir()})
	var g sync.WaitGroup
	for n := range 300 {
		g.Go(func() {
			workflow := []string{"Chain", "Fan", "Again"}[n%3]
			id := fmt.Sprint("m", n)
			if err := e.Start(context.Background(), workflow, id, 3); err != nil {
				t.Errorf("Start %s: %v", id, err)
				return
			}
			if i := e.wait(t, id); i.Status != engine.Completed {
				t.Errorf("%s is %s (%s), want COMPLETED", id, i.Status, i.Failure)
			}
		})
	}
	g.Wait()
	if got := w.Calls.Load(); got != 100*(3+10+3) {
		t.Errorf("%d activity calls, want %d", got, 100*(3+10+3))
	}
}

func TestRetentionPurgesOnlyEndedSagas(t *testing.T) {
	e := run(t, enginetest.NewWorld(), Options{})
	e.start(t, "Chain", "old", nil)
	e.start(t, "Listen", "live", nil)
	e.wait(t, "old")
	if n, err := e.store.purgeExpired(t.Context(), time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("before the retention ends: purged %d (%v), want 0", n, err)
	}
	if n, err := e.store.purgeExpired(t.Context(), time.Now().Add(time.Hour)); n != 1 || err != nil {
		t.Errorf("after the retention: purged %d (%v), want 1", n, err)
	}
	if _, err := e.Get(t.Context(), "live"); err != nil {
		t.Errorf("the running saga: %v, want it to be kept", err)
	}
}
