package embedded

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

func TestRestartContinuesSagasInEveryState(t *testing.T) {
	dir, w := t.TempDir(), enginetest.NewWorld()
	e := run(t, w, Options{Dir: dir, DrainTimeout: time.Millisecond})
	release := w.Hold()
	e.start(t, "Chain", "activity in progress", nil)
	w.AwaitStep(t)
	e.start(t, "Listen", "waiting", nil)
	e.start(t, "Listen", "signaled and suspended", nil)
	e.start(t, "Nap", "napping", 50)
	e.start(t, "Nap", "napping long", 3_600_000)
	ctx := context.Background()
	require.NoError(t, errors.Join(e.Suspend(ctx, "signaled and suspended", ""), e.Raise(ctx, "signaled and suspended", "go", "x")))
	e.stop()
	release()

	e = run(t, w, Options{Dir: dir})
	if st, err := e.Stats(ctx); err != nil || st.Live < 4 {
		t.Errorf("Stats after the restart = %+v, %v, want at least 4 live", st, err)
	}
	require.NoError(t, errors.Join(e.Raise(ctx, "waiting", "go", "y"), e.Resume(ctx, "signaled and suspended", "")))
	e.want(t, "activity in progress", engine.Completed, "3")
	e.want(t, "waiting", engine.Completed, `"y"`)
	e.want(t, "signaled and suspended", engine.Completed, `"x"`)
	e.want(t, "napping", engine.Completed, "")
	if n := w.Ran("activity in progress/0"); n != 2 {
		t.Errorf("the activity that the shutdown canceled ran %d times, want 2", n)
	}
	if i, err := e.Get(ctx, "napping long"); err != nil || i.Status.Ended() {
		t.Errorf("the saga with a timer of an hour is %+v (%v), want it to wait", i, err)
	}

	e.stop()
	e = run(t, w, Options{Dir: dir})
	e.want(t, "activity in progress", engine.Completed, "3") // ended sagas are kept, too
	if st, err := e.Stats(ctx); err != nil || st != (engine.Stats{Live: 1, Waiting: 1}) {
		t.Errorf("Stats after the second restart = %+v, %v, want one live and waiting", st, err)
	}
}

func TestDrainFinishesActivitiesInProgress(t *testing.T) {
	dir, w := t.TempDir(), enginetest.NewWorld()
	e := run(t, w, Options{Dir: dir, DrainTimeout: time.Minute})
	release := w.Hold()
	e.start(t, "Chain", "a", nil)
	w.AwaitStep(t)
	stopped := make(chan struct{})
	go func() { e.stop(); close(stopped) }()
	select {
	case <-stopped:
		t.Fatal("stopped with an activity in progress, want stop to wait for it")
	case <-time.After(50 * time.Millisecond):
	}
	release()
	<-stopped
	e = run(t, w, Options{Dir: dir})
	e.want(t, "a", engine.Completed, "3")
	if n := w.Ran("a/0"); n != 1 {
		t.Errorf("the drained activity ran %d times, want 1", n)
	}
}

func TestOneProcessPerDirectory(t *testing.T) {
	dir := t.TempDir()
	run(t, enginetest.NewWorld(), Options{Dir: dir})
	_, err := Open(Options{Dir: dir, Logger: zerolog.Nop()})
	if _, ok := errors.AsType[*journal.LockedError](err); !ok {
		t.Errorf("second Open = %v, want a LockedError", err)
	}
}

func TestCompactionKeepsTheState(t *testing.T) {
	dir, w := t.TempDir(), enginetest.NewWorld()
	e := run(t, w, Options{Dir: dir, Fsync: journal.SyncOff})
	e.start(t, "Listen", "waiting", nil)
	e.start(t, "Nap", "napping", 3_600_000)
	for n := range 40 {
		e.start(t, "Chain", fmt.Sprint("c", n), nil)
		if n%10 == 0 { // compacts while sagas run
			require.NoError(t, e.store.journal.Compact(e.store.snapshot))
		}
	}
	for n := range 40 {
		e.wait(t, fmt.Sprint("c", n))
	}
	require.NoError(t, e.store.journal.Compact(e.store.snapshot))
	e.stop()
	e = run(t, w, Options{Dir: dir})
	for n := range 40 {
		e.want(t, fmt.Sprint("c", n), engine.Completed, "3")
	}
	require.NoError(t, e.Raise(t.Context(), "waiting", "go", "x"))
	e.want(t, "waiting", engine.Completed, `"x"`)
	if st, err := e.Stats(t.Context()); err != nil || st.Live != 1 {
		t.Errorf("Stats = %+v, %v, want one live", st, err)
	}
	if n := w.Calls.Load(); n != 120 {
		t.Errorf("%d activity calls, want 120", n)
	}
}

// TestRerunSurvivesARestart: activities of the copy that are in progress are in
// the journal.
func TestRerunSurvivesARestart(t *testing.T) {
	dir, w := t.TempDir(), enginetest.NewWorld()
	e := run(t, w, Options{Dir: dir, DrainTimeout: time.Millisecond})
	e.start(t, "Fan", "fan", nil)
	e.want(t, "fan", engine.Completed, "10")
	if _, err := e.Rerun(t.Context(), "fan", 99); err == nil {
		t.Error("Rerun from an unknown event succeeded, want an error")
	}
	release := w.Hold()
	e.start(t, "Listen", "live", nil)
	if _, err := e.Rerun(t.Context(), "live", 0); !errors.Is(err, engine.ErrNotCompleted) {
		t.Errorf("Rerun of a running saga = %v, want ErrNotCompleted", err)
	}
	for range 10 {
		w.AwaitStep(t) // the activities of the first run
	}
	again, err := e.Rerun(t.Context(), "fan", 5)
	require.NoError(t, err)
	w.AwaitStep(t)
	e.stop()
	release()
	before := w.Calls.Load()
	e = run(t, w, Options{Dir: dir})
	e.want(t, again, engine.Completed, "10")
	// The source started ten in one turn. The copy ends after the sixth, so it has
	// no result of any of them.
	if n := w.Calls.Load() - before; n != 10 {
		t.Errorf("%d activities ran after the restart, want 10", n)
	}
	e.want(t, "fan", engine.Completed, "10")
}
