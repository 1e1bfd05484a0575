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
)

func TestRestartInTheMiddle(t *testing.T) {
	dir, w := t.TempDir(), enginetest.NewWorld()
	e := run(t, w, Options{Dir: dir, DrainTimeout: time.Millisecond})
	release := w.Hold()
	e.start(t, "Chain", "activity in progress", nil)
	w.AwaitStep(t)
	e.start(t, "Listen", "waiting", nil)
	e.start(t, "Listen", "told and suspended", nil)
	e.start(t, "Nap", "napping", 50)
	e.start(t, "Nap", "napping long", 3_600_000)
	ctx := context.Background()
	if err := errors.Join(e.Suspend(ctx, "told and suspended", ""), e.Raise(ctx, "told and suspended", "go", "x")); err != nil {
		t.Fatal(err)
	}
	e.stop()
	release()

	e = run(t, w, Options{Dir: dir})
	if st, err := e.Stats(ctx); err != nil || st.Live < 4 {
		t.Errorf("after the restart: %+v %v", st, err)
	}
	if err := errors.Join(e.Raise(ctx, "waiting", "go", "y"), e.Resume(ctx, "told and suspended", "")); err != nil {
		t.Fatal(err)
	}
	e.want(t, "activity in progress", engine.Completed, "3")
	e.want(t, "waiting", engine.Completed, `"y"`)
	e.want(t, "told and suspended", engine.Completed, `"x"`)
	e.want(t, "napping", engine.Completed, "")
	if n := w.Ran("activity in progress/0"); n != 2 {
		t.Errorf("the activity that was cut off ran %d times", n)
	}
	if i, err := e.Get(ctx, "napping long"); err != nil || i.Status.Ended() {
		t.Errorf("%+v %v", i, err)
	}

	e.stop()
	e = run(t, w, Options{Dir: dir})
	e.want(t, "activity in progress", engine.Completed, "3") // the ended are known, too
	if st, err := e.Stats(ctx); err != nil || st != (engine.Stats{Live: 1, Waiting: 1}) {
		t.Errorf("%+v %v", st, err)
	}
}

func TestDrainFinishesWhatIsInProgress(t *testing.T) {
	dir, w := t.TempDir(), enginetest.NewWorld()
	e := run(t, w, Options{Dir: dir, DrainTimeout: time.Minute})
	release := w.Hold()
	e.start(t, "Chain", "a", nil)
	w.AwaitStep(t)
	stopped := make(chan struct{})
	go func() { e.stop(); close(stopped) }()
	select {
	case <-stopped:
		t.Fatal("stopped with an activity in progress")
	case <-time.After(50 * time.Millisecond):
	}
	release()
	<-stopped
	e = run(t, w, Options{Dir: dir})
	e.want(t, "a", engine.Completed, "3")
	if n := w.Ran("a/0"); n != 1 {
		t.Errorf("the drained activity ran %d times", n)
	}
}

func TestOneProcessPerDirectory(t *testing.T) {
	dir := t.TempDir()
	run(t, enginetest.NewWorld(), Options{Dir: dir})
	_, err := Open(Options{Dir: dir, Logger: zerolog.Nop()})
	if _, ok := errors.AsType[*journal.LockedError](err); !ok {
		t.Errorf("%v", err)
	}
}

func TestCompactionKeepsTheState(t *testing.T) {
	dir, w := t.TempDir(), enginetest.NewWorld()
	e := run(t, w, Options{Dir: dir, Fsync: journal.SyncOff})
	e.start(t, "Listen", "waiting", nil)
	e.start(t, "Nap", "napping", 3_600_000)
	for n := range 40 {
		e.start(t, "Chain", fmt.Sprint("c", n), nil)
		if n%10 == 0 { // compacts beside the work
			if err := e.store.journal.Compact(e.store.snapshot); err != nil {
				t.Fatal(err)
			}
		}
	}
	for n := range 40 {
		e.wait(t, fmt.Sprint("c", n))
	}
	if err := e.store.journal.Compact(e.store.snapshot); err != nil {
		t.Fatal(err)
	}
	e.stop()
	e = run(t, w, Options{Dir: dir})
	for n := range 40 {
		e.want(t, fmt.Sprint("c", n), engine.Completed, "3")
	}
	if err := e.Raise(t.Context(), "waiting", "go", "x"); err != nil {
		t.Fatal(err)
	}
	e.want(t, "waiting", engine.Completed, `"x"`)
	if st, err := e.Stats(t.Context()); err != nil || st.Live != 1 {
		t.Errorf("%+v %v", st, err)
	}
	if n := w.Calls.Load(); n != 120 {
		t.Errorf("%d activity calls", n)
	}
}

// TestRerunSurvivesARestart: what the copy has under way is in the journal.
func TestRerunSurvivesARestart(t *testing.T) {
	dir, w := t.TempDir(), enginetest.NewWorld()
	e := run(t, w, Options{Dir: dir, DrainTimeout: time.Millisecond})
	e.start(t, "Fan", "fan", nil)
	e.want(t, "fan", engine.Completed, "10")
	if _, err := e.Rerun(t.Context(), "fan", 99); err == nil {
		t.Error("rerun from an event that is none")
	}
	release := w.Hold()
	e.start(t, "Listen", "live", nil)
	if _, err := e.Rerun(t.Context(), "live", 0); !errors.Is(err, engine.ErrNotCompleted) {
		t.Errorf("rerun of a running saga: %v", err)
	}
	for range 10 {
		w.AwaitStep(t) // those of the first run
	}
	again, err := e.Rerun(t.Context(), "fan", 5)
	if err != nil {
		t.Fatal(err)
	}
	w.AwaitStep(t)
	e.stop()
	release()
	before := w.Calls.Load()
	e = run(t, w, Options{Dir: dir})
	e.want(t, again, engine.Completed, "10")
	// In one turn the source began ten; the copy was cut after the sixth, so
	// none of them has an answer in it.
	if n := w.Calls.Load() - before; n != 10 {
		t.Errorf("%d activities after the restart", n)
	}
	e.want(t, "fan", engine.Completed, "10")
}
