package embedded

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
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

const crashDir = "EMBEDDED_TEST_CRASH_DIR"

// crashChild starts workflows until it is killed, and says so on its output
// once each start is acknowledged.
func crashChild(dir string) {
	t := &fatal{}
	e, err := Open(Options{Dir: dir, Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = e.Run(context.Background(), enginetest.NewWorld().Registry(t)) }()
	prefix := os.Getenv(crashDir + "_PREFIX")
	for n := 0; ; n++ {
		id := fmt.Sprint(prefix, "-", n)
		if err := e.Start(context.Background(), []string{"Chain", "Fan", "Nap", "Again"}[n%4], id, 2); err != nil {
			t.Fatal(err)
		}
		fmt.Println(id)
	}
}

// fatal is enough of a testing.TB outside of a test.
type fatal struct{ testing.TB }

func (*fatal) Helper()        {}
func (*fatal) Fatal(v ...any) { fmt.Fprintln(os.Stderr, v...); os.Exit(1) }

// TestKilled kills an engine's process at random moments. What was
// acknowledged must be there afterwards, and finish.
func TestKilled(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	var acknowledged []string
	for round := range 10 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), crashDir+"="+dir, fmt.Sprintf("%s_PREFIX=r%d", crashDir, round))
		var out, errs strings.Builder
		child.Stdout, child.Stderr = &out, &errs
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(20*time.Millisecond+rand.N(300*time.Millisecond)*time.Duration(1+rng.IntN(2))/2, func() { _ = child.Process.Kill() })
		_ = child.Wait() // killed
		timer.Stop()
		if errs.Len() > 0 {
			t.Fatalf("round %d: %s", round, errs.String())
		}
		text := out.String()
		acknowledged = append(acknowledged, strings.Fields(text[:strings.LastIndex(text, "\n")+1])...)
	}
	t.Logf("%d workflows acknowledged", len(acknowledged))
	if len(acknowledged) == 0 {
		t.Fatal("the processes never got to work")
	}
	e := run(t, enginetest.NewWorld(), Options{Dir: dir})
	for _, id := range acknowledged {
		if i := e.wait(t, id); i.Status != engine.Completed {
			t.Errorf("%s is %s: %s", id, i.Status, i.Failure)
		}
	}
}

// BenchmarkThreeActivities is a workflow of three activities that do nothing.
// The metric to look at is sagas/s.
func BenchmarkThreeActivities(b *testing.B) {
	for _, c := range []struct {
		name     string
		onDisk   bool
		fsync    journal.Sync
		inFlight int
	}{
		{"memory/64", false, 0, 64}, {"memory/1", false, 0, 1},
		{"off/64", true, journal.SyncOff, 64}, {"group/1", true, journal.SyncGroup, 1},
		{"group/64", true, journal.SyncGroup, 64}, {"group/256", true, journal.SyncGroup, 256},
	} {
		b.Run(c.name, func(b *testing.B) {
			o := Options{Fsync: c.fsync}
			if c.onDisk {
				o.Dir = b.TempDir()
			}
			w := enginetest.NewWorld()
			e := run(b, w, o)
			work := make(chan string)
			done := make(chan error, c.inFlight)
			for range c.inFlight {
				go func() {
					var err error
					for id := range work {
						if err = e.Start(context.Background(), "Chain", id, nil); err == nil {
							_, err = e.Wait(context.Background(), id)
						}
					}
					done <- err
				}()
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				work <- fmt.Sprint("b", n)
			}
			close(work)
			for range c.inFlight {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "sagas/s")
		})
	}
}
