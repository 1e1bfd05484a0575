package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/engine"
)

func TestWorkflowsRun(t *testing.T) {
	w := newWorld()
	e := run(t, w, Options{})
	for _, c := range []struct {
		workflow string
		input    any
		status   engine.RuntimeStatus
		output   string
	}{
		{"Chain", nil, engine.Completed, "3"},
		{"Fan", nil, engine.Completed, "10"},
		{"Nap", 5, engine.Completed, ""},
		{"Child", nil, engine.Completed, "3"},
		{"Again", 5, engine.Completed, `"done"`},
		{"Fail", nil, engine.Failed, ""},
	} {
		t.Run(c.workflow, func(t *testing.T) {
			id := "run-" + c.workflow
			e.start(t, c.workflow, id, c.input)
			e.want(t, id, c.status, c.output)
		})
	}
	e.want(t, "run-Child-child", engine.Completed, "3")
	for in, n := range w.seen {
		if n != 1 {
			t.Errorf("activity %s ran %d times", in, n)
		}
	}
	if st, err := e.Stats(t.Context()); err != nil || st != (engine.Stats{}) {
		t.Errorf("after the end: %+v %v", st, err)
	}
}

func TestUnknownWorkflowFailsItsInstanceOnly(t *testing.T) {
	e := run(t, newWorld(), Options{})
	e.start(t, "Nobody", "x", nil)
	if i := e.wait(t, "x"); i.Status != engine.Failed || !strings.Contains(i.Failure, "Nobody") {
		t.Errorf("%+v", i)
	}
}

// A bug in workflow code must cost neither the process nor the saga.
func TestPanickingWorkflowWaitsForAMendedProgram(t *testing.T) {
	dir, w := t.TempDir(), newWorld()
	e := run(t, w, Options{Dir: dir})
	w.broken.Store(true)
	e.start(t, "Panic", "p", nil)
	e.start(t, "Chain", "c", nil)
	e.want(t, "c", engine.Completed, "3")
	eventually(t, "it has panicked twice", func() bool { return w.panics.Load() > 1 })
	if i, err := e.Get(t.Context(), "p"); err != nil || i.Status.Ended() {
		t.Errorf("%+v %v", i, err)
	}
	e.stop()
	w.broken.Store(false)
	e = run(t, w, Options{Dir: dir})
	e.want(t, "p", engine.Completed, `"mended"`)
}

func TestIDs(t *testing.T) {
	e := run(t, newWorld(), Options{})
	ctx := t.Context()
	e.start(t, "Listen", "a", nil)
	if err := e.Start(ctx, "Listen", "a", nil); !errors.Is(err, engine.ErrActive) {
		t.Errorf("starting a running id: %v", err)
	}
	for name, call := range map[string]func() error{
		"Get":       func() error { _, err := e.Get(ctx, "nope"); return err },
		"Wait":      func() error { _, err := e.Wait(ctx, "nope"); return err },
		"History":   func() error { _, err := e.History(ctx, "nope"); return err },
		"Raise":     func() error { return e.Raise(ctx, "nope", "go", 1) },
		"Suspend":   func() error { return e.Suspend(ctx, "nope", "") },
		"Resume":    func() error { return e.Resume(ctx, "nope", "") },
		"Terminate": func() error { return e.Terminate(ctx, "nope", "") },
		"Purge":     func() error { return e.Purge(ctx, "nope") },
		"Rerun":     func() error { _, err := e.Rerun(ctx, "nope", 0); return err },
	} {
		if err := call(); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("%s of an unknown id: %v", name, err)
		}
	}
	if err := e.Purge(ctx, "a"); !errors.Is(err, engine.ErrNotCompleted) {
		t.Errorf("purging a running id: %v", err)
	}
	if err := e.Raise(ctx, "a", "go", "x"); err != nil {
		t.Fatal(err)
	}
	e.want(t, "a", engine.Completed, `"x"`)
	if err := e.Raise(ctx, "a", "go", "x"); !errors.Is(err, engine.ErrEnded) {
		t.Errorf("raising to an ended id: %v", err)
	}
	if err := e.Purge(ctx, "a"); err != nil {
		t.Error(err)
	}
	if _, err := e.Get(ctx, "a"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("after purge: %v", err)
	}
	e.start(t, "Chain", "a", nil) // the id is free again
	e.want(t, "a", engine.Completed, "3")
	e.start(t, "Chain", "a", nil) // as Dapr: an ended id starts anew
	e.want(t, "a", engine.Completed, "3")
}

func TestEventBeforeAndDuringTheWait(t *testing.T) {
	e := run(t, newWorld(), Options{})
	for n := range 50 { // the event races with the start
		id := fmt.Sprint("l", n)
		e.start(t, "Listen", id, nil)
		if err := e.Raise(t.Context(), id, "other", "x"); err != nil {
			t.Fatal(err)
		}
		if n%2 == 0 {
			eventually(t, "it waits", func() bool { st, _ := e.Stats(t.Context()); return st.Waiting == 1 })
		}
		if err := e.Raise(t.Context(), id, "go", id); err != nil {
			t.Fatal(err)
		}
		e.want(t, id, engine.Completed, `"`+id+`"`)
	}
}

func TestSuspendResumeTerminate(t *testing.T) {
	w := newWorld()
	e := run(t, w, Options{})
	ctx := t.Context()
	e.start(t, "Listen", "s", nil)
	if err := e.Suspend(ctx, "s", "look at it"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "suspended", func() bool { i, _ := e.Get(ctx, "s"); return i.Status == engine.Suspended })
	if err := e.Raise(ctx, "s", "go", "late"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the event is taken in", func() bool {
		h, _ := e.History(ctx, "s")
		return slices.ContainsFunc(h, func(ev engine.Event) bool { return ev.Type == "EventRaised" })
	})
	if i, err := e.Get(ctx, "s"); err != nil || i.Status != engine.Suspended {
		t.Errorf("an event ended the suspension: %+v %v", i, err)
	}
	if err := e.Resume(ctx, "s", ""); err != nil {
		t.Fatal(err)
	}
	e.want(t, "s", engine.Completed, `"late"`)

	w.hold = make(chan struct{})
	defer close(w.hold)
	e.start(t, "Chain", "t", nil)
	entered(t, w)
	if err := e.Terminate(ctx, "t", "enough"); err != nil {
		t.Fatal(err)
	}
	e.want(t, "t", engine.Terminated, `"enough"`)
}

func TestHistoryListAndRerun(t *testing.T) {
	w := newWorld()
	e := run(t, w, Options{})
	ctx := t.Context()
	var want []string
	for n := range 25 {
		id := fmt.Sprintf("c%02d", n)
		want = append(want, id)
		e.start(t, "Chain", id, nil)
		e.wait(t, id)
	}
	var got []string
	for cursor := ""; ; {
		ids, next, err := e.List(ctx, cursor, 10)
		if err != nil || len(ids) > 10 {
			t.Fatal(len(ids), err)
		}
		got = append(got, ids...)
		if cursor = next; cursor == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("list: %v", got)
	}
	h, err := e.History(ctx, "c00")
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	last := -1
	for _, ev := range h {
		if ev.Type != "WorkflowStarted" {
			types = append(types, ev.Type)
		}
		if ev.Type == "TaskScheduled" {
			last = ev.ID
		}
	}
	if s := strings.Join(types, " "); s != "ExecutionStarted TaskScheduled TaskCompleted TaskScheduled TaskCompleted TaskScheduled TaskCompleted ExecutionCompleted" {
		t.Errorf("history: %s", s)
	}
	before := w.calls.Load()
	id, err := e.Rerun(ctx, "c00", last)
	if err != nil {
		t.Fatal(err)
	}
	e.want(t, id, engine.Completed, "3")
	if ran := w.calls.Load() - before; ran != 1 {
		t.Errorf("rerun from the last activity ran %d", ran)
	}
	if _, err := e.Rerun(ctx, "c00", 77); err == nil {
		t.Error("rerun from an event that is none")
	}
}

func TestManyAtOnce(t *testing.T) {
	w := newWorld()
	e := run(t, w, Options{Dir: t.TempDir()})
	var g sync.WaitGroup
	for n := range 300 {
		g.Go(func() {
			workflow := []string{"Chain", "Fan", "Again"}[n%3]
			id := fmt.Sprint("m", n)
			if err := e.Start(context.Background(), workflow, id, 3); err != nil {
				t.Error(err)
				return
			}
			if i := e.wait(t, id); i.Status != engine.Completed {
				t.Errorf("%s: %s %s", id, i.Status, i.Failure)
			}
		})
	}
	g.Wait()
	if got := w.calls.Load(); got != 100*(3+10+3) {
		t.Errorf("%d activity calls", got)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	e := run(t, newWorld(), Options{})
	e.start(t, "Listen", "w", nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := e.Wait(ctx, "w"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestRetentionForgetsTheEnded(t *testing.T) {
	e := run(t, newWorld(), Options{})
	e.start(t, "Chain", "old", nil)
	e.start(t, "Listen", "live", nil)
	e.wait(t, "old")
	if n, err := e.store.purgeEnded(time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("purged %d %v", n, err)
	}
	if n, err := e.store.purgeEnded(time.Now().Add(time.Hour)); n != 1 || err != nil {
		t.Errorf("purged %d %v", n, err)
	}
	if _, err := e.Get(t.Context(), "live"); err != nil {
		t.Error(err)
	}
}
