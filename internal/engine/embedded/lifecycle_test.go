package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// Intake deletes the message of an order whose saga is running. A start that never
// reached the disk must not be reported as running.
func TestFailedStartIsNotReportedAsRunning(t *testing.T) {
	e, err := Open(Options{Dir: t.TempDir(), Logger: zerolog.Nop()})
	require.NoError(t, err)
	require.NoError(t, e.Close())
	for range 2 {
		if err := e.Start(t.Context(), "Chain", "a", nil); !errors.Is(err, journal.ErrClosed) {
			t.Errorf("Start on a closed journal = %v, want ErrClosed", err)
		}
	}
}

func TestDurableStartIsReportedAsRunning(t *testing.T) {
	dir, w := t.TempDir(), enginetest.NewWorld()
	e, err := Open(Options{Dir: dir, Logger: zerolog.Nop()}) // no Run yet
	require.NoError(t, err)
	require.NoError(t, e.Start(t.Context(), "Chain", "a", nil))
	if err := e.Start(t.Context(), "Chain", "a", nil); !errors.Is(err, engine.ErrActive) {
		t.Errorf("second Start = %v, want ErrActive", err)
	}
	if i, err := e.Get(t.Context(), "a"); err != nil || i.Status != engine.Pending || i.Workflow != "Chain" {
		t.Errorf("Get = %+v, %v, want a pending Chain", i, err)
	}
	if err := errors.Join(e.Close(), e.Close()); err != nil {
		t.Errorf("Close twice = %v, want nil", err)
	}
	run(t, w, Options{Dir: dir}).want(t, "a", engine.Completed, "3")
}

// A charge that is queued must not be made once its saga has been terminated.
func TestTerminatedSagaStartsNoActivity(t *testing.T) {
	w := enginetest.NewWorld()
	e := run(t, w, Options{Activities: 1})
	release := w.Hold()
	e.start(t, "Chain", "a", nil)
	w.AwaitStep(t)
	e.start(t, "Chain", "b", nil)
	waitUntil(t, "b's activity to be queued", func() bool { return e.happened(t, "b", "TaskScheduled", "Step") })
	require.NoError(t, e.Terminate(t.Context(), "b", "stop"))
	e.want(t, "b", engine.Terminated, `"stop"`)
	release()
	e.want(t, "a", engine.Completed, "3")
	if n := w.Ran("b/0"); n != 0 {
		t.Errorf("the activity of the terminated saga ran %d times, want 0", n)
	}
}

func TestTerminateOfAPanickingWorkflow(t *testing.T) {
	w := enginetest.NewWorld()
	w.Broken.Store(true)
	e := run(t, w, Options{})
	e.start(t, "Panic", "p", nil)
	waitUntil(t, "a panic", func() bool { return w.Panics.Load() > 0 })
	require.NoError(t, e.Terminate(t.Context(), "p", "hopeless"))
	e.want(t, "p", engine.Terminated, `"hopeless"`)
}

// The termination of a parent reaches its children, even if one was purged.
func TestTerminateReachesChildren(t *testing.T) {
	r := workflows(t, map[string]task.Workflow{
		"Parent": func(ctx *task.WorkflowContext) (any, error) {
			if err := ctx.CallChildWorkflow("Short", task.WithChildWorkflowInstanceID("short")).Await(nil); err != nil {
				return nil, err
			}
			return nil, ctx.CallChildWorkflow("Long", task.WithChildWorkflowInstanceID("long")).Await(nil)
		},
		"Short": func(*task.WorkflowContext) (any, error) { return 1, nil },
		"Long": func(ctx *task.WorkflowContext) (any, error) {
			return nil, ctx.WaitForSingleEvent("never", -1).Await(nil)
		},
	})
	e := runEngine(t, r, Options{})
	e.start(t, "Parent", "parent", nil)
	e.becomes(t, "long", engine.Running)
	e.want(t, "short", engine.Completed, "1")
	require.NoError(t, errors.Join(e.Purge(t.Context(), "short"), e.Terminate(t.Context(), "parent", "stop")))
	e.want(t, "parent", engine.Terminated, `"stop"`)
	e.want(t, "long", engine.Terminated, `"stop"`)
}

// A workflow that continues as new restarts the numbering of tasks and timers. A
// result for the previous generation has the same number, and must not be
// delivered to the new one.
func TestResultsForAPreviousGenerationAreDropped(t *testing.T) {
	gate := map[string]chan struct{}{"0": make(chan struct{}), "1": make(chan struct{})}
	entered := make(chan string, 10)
	r := workflows(t, map[string]task.Workflow{"Leave": func(ctx *task.WorkflowContext) (any, error) {
		var generation string
		if err := ctx.GetInput(&generation); err != nil {
			return nil, err
		}
		work := ctx.CallActivity("Gated", task.WithActivityInput(generation))
		if generation == "1" {
			var got string
			err := work.Await(&got)
			return got, err
		}
		if err := ctx.WaitForSingleEvent("go", -1).Await(nil); err != nil {
			return nil, err
		}
		ctx.ContinueAsNew("1")
		return nil, nil
	}})
	if err := r.AddActivityN("Gated", func(ctx task.ActivityContext) (any, error) {
		var generation string
		if err := ctx.GetInput(&generation); err != nil {
			return nil, err
		}
		entered <- generation
		<-gate[generation]
		return generation, nil
	}); err != nil {
		t.Fatal(err)
	}
	e := runEngine(t, r, Options{Activities: 2})
	e.start(t, "Leave", "l", "0")
	<-entered
	require.NoError(t, e.Raise(t.Context(), "l", "go", nil))
	<-entered
	e.start(t, "Leave", "other", "0") // queued: its activity begins when generation 0's has finished
	close(gate["0"])
	<-entered
	close(gate["1"])
	e.want(t, "l", engine.Completed, `"1"`)
	require.NoError(t, e.Raise(t.Context(), "other", "go", nil))
	e.want(t, "other", engine.Completed, `"1"`)
}

func TestTimerOfAPreviousGenerationDoesNotFire(t *testing.T) {
	inTurn, release := make(chan struct{}), make(chan struct{})
	e := runEngine(t, workflows(t, map[string]task.Workflow{"Timers": func(ctx *task.WorkflowContext) (any, error) {
		var second bool
		if err := ctx.GetInput(&second); err != nil {
			return nil, err
		}
		if second {
			return "fired", ctx.CreateTimer(time.Hour).Await(nil)
		}
		ctx.CreateTimer(time.Second)
		if err := ctx.WaitForSingleEvent("go", -1).Await(nil); err != nil {
			return nil, err
		}
		close(inTurn)
		<-release
		ctx.ContinueAsNew(true)
		return nil, nil
	}}), Options{})
	letGo := sync.OnceFunc(func() { close(release) })
	t.Cleanup(letGo) // before the engine drains
	e.start(t, "Timers", "t", false)
	waitUntil(t, "the first timer to be set", func() bool { return e.happened(t, "t", "TimerCreated", "") })
	require.NoError(t, e.Raise(t.Context(), "t", "go", nil))
	<-inTurn
	waitUntil(t, "the first timer to come due, during the turn that continues as new", func() bool {
		e.store.mu.Lock()
		defer e.store.mu.Unlock()
		i, _ := e.store.instances.Get("t")
		return len(i.fired) > 0
	})
	letGo()
	require.NoError(t, e.Raise(t.Context(), "t", "look", nil))
	waitUntil(t, "a later turn", func() bool { return e.happened(t, "t", "EventRaised", "look") })
	if i, err := e.Get(t.Context(), "t"); err != nil || i.Status != engine.Running {
		t.Errorf("after the old timer came due: %+v (%v), want RUNNING", i, err)
	}
}

// Thousands of events are processed in turns of turnLimit. None is lost and their
// order is kept.
func TestManyEventsKeepTheirOrder(t *testing.T) {
	const many = 2*turnLimit + 500
	e, err := Open(Options{Logger: zerolog.Nop()})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	require.NoError(t, e.Start(ctx, "Gather", "g", nil))
	for n := range many {
		require.NoError(t, e.Raise(ctx, "g", "n", n))
	}
	ran := make(chan error, 1)
	registry := workflows(t, map[string]task.Workflow{"Gather": func(ctx *task.WorkflowContext) (any, error) {
		for n := range many {
			var got int
			if err := ctx.WaitForSingleEvent("n", -1).Await(&got); err != nil || got != n {
				return nil, fmt.Errorf("event %d was %d: %w", n, got, err)
			}
		}
		return many, nil
	}})
	go func() { ran <- e.Run(ctx, registry) }()
	running{Engine: e}.want(t, "g", engine.Completed, strconv.Itoa(many))
	cancel()
	require.NoError(t, <-ran, e.Close())
}

func TestScheduledStartSurvivesARestart(t *testing.T) {
	dir, w := t.TempDir(), enginetest.NewWorld()
	e := run(t, w, Options{Dir: dir})
	soon := time.Now().Add(300 * time.Millisecond)
	for id, at := range map[string]time.Time{"soon": soon, "late": soon.Add(time.Hour)} {
		if _, err := e.Hub.ScheduleNewWorkflow(t.Context(), "Chain", api.WithInstanceID(api.InstanceID(id)), api.WithStartTime(at)); err != nil {
			t.Fatal(err)
		}
	}
	e.stop()
	e = run(t, w, Options{Dir: dir})
	e.want(t, "soon", engine.Completed, "3")
	if now := time.Now(); now.Before(soon) {
		t.Errorf("completed %s before the scheduled start, want no earlier", soon.Sub(now))
	}
	if i, err := e.Get(t.Context(), "late"); err != nil || i.Status != engine.Pending {
		t.Errorf("the saga scheduled in an hour: %+v (%v), want PENDING", i, err)
	}
}

func TestStatsCountLiveAndWaitingSagas(t *testing.T) {
	w := enginetest.NewWorld()
	e := run(t, w, Options{})
	expect := func(when string, want engine.Stats) {
		t.Helper()
		var got engine.Stats
		waitUntil(t, fmt.Sprintf("%s: %+v", when, want), func() bool {
			var err error
			got, err = e.Stats(t.Context())
			require.NoError(t, err)
			return got == want
		})
	}
	expect("empty", engine.Stats{})
	release := w.Hold()
	e.start(t, "Chain", "works", nil)
	w.AwaitStep(t)
	expect("an activity is in progress", engine.Stats{Live: 1})
	e.start(t, "Listen", "listens", nil)
	e.start(t, "Nap", "naps", 3_600_000)
	expect("two wait", engine.Stats{Live: 3, Waiting: 2})
	release()
	e.want(t, "works", engine.Completed, "3")
	expect("one has ended", engine.Stats{Live: 2, Waiting: 2})
	require.NoError(t, errors.Join(e.Raise(t.Context(), "listens", "go", ""), e.Terminate(t.Context(), "naps", "")))
	e.wait(t, "listens")
	e.wait(t, "naps")
	expect("all have ended", engine.Stats{})
	require.NoError(t, e.Purge(t.Context(), "works"))
	if _, err := e.Rerun(t.Context(), "works", 0); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("Rerun of a purged saga = %v, want ErrNotFound", err)
	}
	expect("one is purged", engine.Stats{})
}

func TestListReturnsEverySagaInPages(t *testing.T) {
	e := run(t, enginetest.NewWorld(), Options{})
	var all []string
	for n := range 6 {
		id := fmt.Sprint("i", n)
		all = append(all, id)
		e.start(t, "Listen", id, nil)
	}
	for limit, sizes := range map[int][]int{1: {1, 1, 1, 1, 1, 1}, 3: {3, 3}, 4: {4, 2}, 6: {6}, 7: {6}} {
		var got []string
		var pages []int
		for cursor := ""; ; {
			ids, next, err := e.List(t.Context(), cursor, limit)
			require.NoError(t, err)
			got, pages = append(got, ids...), append(pages, len(ids))
			cursor = next
			if cursor == "" {
				break
			}
		}
		if !slices.Equal(got, all) || !slices.Equal(pages, sizes) {
			t.Errorf("limit %d: page sizes %v of %v, want %v of %v", limit, pages, got, sizes, all)
		}
	}
	// The next page starts after the cursor even if that id was purged.
	require.NoError(t, e.Terminate(t.Context(), "i2", ""))
	e.wait(t, "i2")
	_, cursor, err := e.List(t.Context(), "", 3)
	require.NoError(t, err, e.Purge(t.Context(), "i2"))
	if ids, _, err := e.List(t.Context(), cursor, 1); err != nil || !slices.Equal(ids, []string{"i3"}) {
		t.Errorf("List after a purged cursor = %v, %v, want i3", ids, err)
	}
	if ids, next, err := e.List(t.Context(), "zzz", 3); err != nil || len(ids) > 0 || next != "" {
		t.Errorf("List after the last id = %v, %q, %v, want nothing", ids, next, err)
	}
}
