package enginetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// Conformance tests every method of engine.Engine on a running engine. Both
// engines must return the same results. The engine must run w.Registry, and
// w.Terminated must be its option. id is the prefix of all instance ids. What the
// engine does otherwise is in d, and is checked too.
func Conformance(t *testing.T, e engine.Engine, w *World, id string, d Deviations) {
	t.Helper()
	c := client{Engine: e}
	tests := identityTests(d)
	maps.Copy(tests, map[string]func(*testing.T, client, *World, string){
		"run": workflowsRun, "unknown": unknownWorkflow, "ids": ids, "events": events,
		"suspend": suspend, "suspended-twice": suspendedTwice, "history": history, "list": list, "wait": waitEnds,
		"other-table": otherTable,
	})
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(t, c, w, id+"-"+name+"-") })
	}
}

type client struct{ engine.Engine }

func (c client) start(t testing.TB, workflow, id string, input any) {
	t.Helper()
	require.NoError(t, c.Start(t.Context(), workflow, id, input))
}

func (c client) wait(t testing.TB, id string) engine.Instance {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	i, err := c.Wait(ctx, id)
	if err != nil {
		t.Fatalf("wait for %s: %v", id, err)
	}
	return i
}

func (c client) want(t testing.TB, id string, status engine.RuntimeStatus, output string) {
	t.Helper()
	if i := c.wait(t, id); i.Status != status || string(i.Output) != output {
		t.Errorf("%s is %s with output %s (%s), want %s with %s", id, i.Status, i.Output, i.Failure, status, output)
	}
}

// waitUntil fails the test unless cond becomes true within 30 s.
func waitUntil(t testing.TB, what string, cond func() bool) {
	t.Helper()
	require.Eventually(t, what, 30*time.Second, cond)
}

func workflowsRun(t *testing.T, e client, w *World, p string) {
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
			id := p + c.workflow
			e.start(t, c.workflow, id, c.input)
			e.want(t, id, c.status, c.output)
		})
	}
	e.want(t, p+"Child-child", engine.Completed, "3")
	if r := w.Repeated(p); len(r) > 0 {
		t.Errorf("activities that ran more than once: %v, want none", r)
	}
}

func unknownWorkflow(t *testing.T, e client, _ *World, p string) {
	e.start(t, "Unknown", p+"x", nil)
	if i := e.wait(t, p+"x"); i.Status != engine.Failed || !strings.Contains(i.Failure, "Unknown") {
		t.Errorf("an unknown workflow ended as %+v, want FAILED with its name", i)
	}
}

func ids(t *testing.T, e client, _ *World, p string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e.start(t, "Listen", p+"a", nil)
	if err := e.Start(ctx, "Listen", p+"a", nil); !errors.Is(err, engine.ErrActive) {
		t.Errorf("Start of a running id = %v, want ErrActive", err)
	}
	for name, call := range map[string]func() error{
		"Get":       func() error { _, err := e.Get(ctx, p+"nope"); return err },
		"Wait":      func() error { _, err := e.Wait(ctx, p+"nope"); return err },
		"History":   func() error { _, err := e.History(ctx, p+"nope"); return err },
		"Raise":     func() error { return e.Raise(ctx, p+"nope", "go", 1) },
		"Suspend":   func() error { return e.Suspend(ctx, p+"nope", "") },
		"Resume":    func() error { return e.Resume(ctx, p+"nope", "") },
		"Terminate": func() error { return e.Terminate(ctx, p+"nope", "") },
		"Purge":     func() error { return e.Purge(ctx, p+"nope") },
		"Rerun":     func() error { _, err := e.Rerun(ctx, p+"nope", 0); return err },
	} {
		if err := call(); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("%s of an unknown id = %v, want ErrNotFound", name, err)
		}
	}
	if err := e.Purge(ctx, p+"a"); !errors.Is(err, engine.ErrNotCompleted) {
		t.Errorf("Purge of a running id = %v, want ErrNotCompleted", err)
	}
	require.NoError(t, e.Raise(ctx, p+"a", "go", "x"))
	e.want(t, p+"a", engine.Completed, `"x"`)
	if err := e.Raise(ctx, p+"a", "go", "x"); !errors.Is(err, engine.ErrEnded) {
		t.Errorf("Raise to an ended id = %v, want ErrEnded", err)
	}
	if err := e.Purge(ctx, p+"a"); err != nil {
		t.Errorf("Purge of an ended id: %v", err)
	}
	if _, err := e.Get(ctx, p+"a"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("Get of a purged id = %v, want ErrNotFound", err)
	}
	e.start(t, "Chain", p+"a", nil) // a purged id can be started
	e.want(t, p+"a", engine.Completed, "3")
	e.start(t, "Chain", p+"a", nil) // so can an ended one
	e.want(t, p+"a", engine.Completed, "3")
}

func events(t *testing.T, e client, _ *World, p string) {
	for n := range 10 { // the event races with the start
		id := fmt.Sprint(p, n)
		e.start(t, "Listen", id, nil)
		require.NoError(t, e.Raise(t.Context(), id, "other", "x"))
		if n%2 == 0 {
			waitUntil(t, id+" to wait for the event", func() bool {
				h, _ := e.History(t.Context(), id)
				return len(h) > 2
			})
		}
		require.NoError(t, e.Raise(t.Context(), id, "go", id))
		e.want(t, id, engine.Completed, `"`+id+`"`)
	}
}

func suspend(t *testing.T, e client, w *World, p string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e.start(t, "Listen", p+"s", nil)
	require.NoError(t, e.Suspend(ctx, p+"s", "look at it"))
	waitUntil(t, "status SUSPENDED", func() bool { i, _ := e.Get(ctx, p+"s"); return i.Status == engine.Suspended })
	require.NoError(t, e.Raise(ctx, p+"s", "go", "late"))
	waitUntil(t, "the event to be in the history", func() bool {
		h, _ := e.History(ctx, p+"s")
		return slices.ContainsFunc(h, func(ev engine.Event) bool { return ev.Type == "EventRaised" })
	})
	if i, err := e.Get(ctx, p+"s"); err != nil || i.Status != engine.Suspended {
		t.Errorf("after an event the suspended instance is %+v (%v), want SUSPENDED", i, err)
	}
	require.NoError(t, e.Resume(ctx, p+"s", ""))
	e.want(t, p+"s", engine.Completed, `"late"`)

	// The event arrives in time; the time-out passes before the resumption.
	e.start(t, "Expect", p+"in-time", 3000)
	waitUntil(t, "the instance to wait", func() bool {
		h, _ := e.History(ctx, p+"in-time")
		return slices.ContainsFunc(h, func(ev engine.Event) bool { return ev.Type == "TimerCreated" })
	})
	over := time.After(3300 * time.Millisecond)
	require.NoError(t, e.Suspend(ctx, p+"in-time", ""))
	waitUntil(t, "status SUSPENDED", func() bool { i, _ := e.Get(ctx, p+"in-time"); return i.Status == engine.Suspended })
	require.NoError(t, e.Raise(ctx, p+"in-time", "go", "in time"))
	<-over // on Dapr, a timer of a suspended instance fires at the resumption
	require.NoError(t, e.Resume(ctx, p+"in-time", ""))
	e.want(t, p+"in-time", engine.Completed, `"in time"`)

	e.start(t, "Listen", p+"u", nil)
	require.NoError(t, e.Suspend(ctx, p+"u", ""))
	waitUntil(t, "status SUSPENDED", func() bool { i, _ := e.Get(ctx, p+"u"); return i.Status == engine.Suspended })
	require.NoError(t, errors.Join(e.Raise(ctx, p+"u", "go", "late"), e.Terminate(ctx, p+"u", "enough")))
	e.want(t, p+"u", engine.Terminated, `"enough"`)

	defer w.Hold()()
	e.start(t, "Chain", p+"t", nil)
	for !strings.HasPrefix(w.AwaitStep(t), p+"t") {
	}
	require.NoError(t, e.Terminate(ctx, p+"t", "enough"))
	e.want(t, p+"t", engine.Terminated, `"enough"`)
	for _, id := range []string{p + "u", p + "t"} {
		if calls := w.Terminations(id); len(calls) < 2 || calls[0] != "enough" { // the first call failed
			t.Errorf("Terminated was called for %s with %q, want \"enough\" at least twice", id, calls)
		}
	}
}

// suspendedTwice checks that suspending a suspended instance has no effect, nor has
// resuming another, and that no event in between is lost.
func suspendedTwice(t *testing.T, e client, w *World, p string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	becomes := func(id string, want engine.RuntimeStatus) {
		t.Helper()
		waitUntil(t, id+" to be "+string(want), func() bool { i, _ := e.Get(ctx, id); return i.Status == want })
	}
	for name, operate := range map[string]func(id string){
		"in turn": func(id string) {
			require.NoError(t, e.Suspend(ctx, id, "one"))
			becomes(id, engine.Suspended)
			require.NoError(t, e.Suspend(ctx, id, "two"), e.Raise(ctx, id, "go", "x"), e.Resume(ctx, id, ""))
		},
		"racing": func(id string) {
			errs := make(chan error, 2)
			for range cap(errs) {
				go func() { errs <- e.Suspend(ctx, id, "") }()
			}
			require.NoError(t, <-errs, <-errs, e.Raise(ctx, id, "go", "x"))
			becomes(id, engine.Suspended)
			require.NoError(t, e.Resume(ctx, id, ""))
		},
		"and resumed twice": func(id string) {
			require.NoError(t, e.Suspend(ctx, id, ""), e.Suspend(ctx, id, ""))
			becomes(id, engine.Suspended)
			require.NoError(t, e.Resume(ctx, id, ""), e.Resume(ctx, id, ""), e.Raise(ctx, id, "go", "x"))
		},
		"with resumptions that have no effect": func(id string) {
			require.NoError(t, e.Resume(ctx, id, ""), e.Suspend(ctx, id, ""), e.Resume(ctx, id, ""), e.Resume(ctx, id, ""), e.Suspend(ctx, id, ""))
			becomes(id, engine.Suspended)
			require.NoError(t, e.Suspend(ctx, id, ""), e.Raise(ctx, id, "go", "x"), e.Resume(ctx, id, ""))
		},
	} {
		t.Run(name, func(t *testing.T) {
			id := p + strings.ReplaceAll(name, " ", "-")
			e.start(t, "Listen", id, nil)
			operate(id)
			e.want(t, id, engine.Completed, `"x"`)
		})
	}

	release := w.Hold() // the result of an activity must not be lost either
	defer release()
	e.start(t, "Chain", p+"c", nil)
	for !strings.HasPrefix(w.AwaitStep(t), p+"c") {
	}
	require.NoError(t, e.Suspend(ctx, p+"c", ""), e.Suspend(ctx, p+"c", ""))
	becomes(p+"c", engine.Suspended)
	release()
	waitUntil(t, "the result to be in the history", func() bool {
		h, _ := e.History(ctx, p+"c")
		return slices.ContainsFunc(h, func(ev engine.Event) bool { return ev.Type == "TaskCompleted" })
	})
	require.NoError(t, e.Resume(ctx, p+"c", ""))
	e.want(t, p+"c", engine.Completed, "3")
}

func history(t *testing.T, e client, w *World, p string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e.start(t, "Chain", p+"a", nil)
	e.want(t, p+"a", engine.Completed, "3")
	h, err := e.History(ctx, p+"a")
	require.NoError(t, err)
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
	const steps = "TaskScheduled TaskCompleted TaskScheduled TaskCompleted TaskScheduled TaskCompleted"
	if s := strings.Join(types, " "); s != "ExecutionStarted "+steps+" ExecutionCompleted" {
		t.Errorf("history: %s, want three activities between start and end", s)
	}
	before := w.Calls.Load()
	id, err := e.Rerun(ctx, p+"a", last)
	require.NoError(t, err)
	e.want(t, id, engine.Completed, "3")
	if ran := w.Calls.Load() - before; ran != 1 {
		t.Errorf("a rerun from the last activity ran %d activities, want 1", ran)
	}
	if _, err := e.Rerun(ctx, p+"a", 77); err == nil {
		t.Error("Rerun from an unknown event = nil, want an error")
	}
}

func list(t *testing.T, e client, _ *World, p string) {
	var want, got []string
	for n := range 12 {
		id := fmt.Sprintf("%s%02d", p, n)
		want = append(want, id)
		e.start(t, "Listen", id, nil)
	}
	for cursor := ""; ; {
		ids, next, err := e.List(t.Context(), cursor, 5)
		if err != nil || len(ids) > 5 {
			t.Fatalf("List returned %d ids, %v, want at most 5", len(ids), err)
		}
		for _, id := range ids {
			if strings.HasPrefix(id, p) {
				got = append(got, id)
			}
		}
		cursor = next
		if cursor == "" {
			break
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("List = %v, want %v", got, want)
	}
}

func waitEnds(t *testing.T, e client, _ *World, p string) {
	e.start(t, "Listen", p+"w", nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := e.Wait(ctx, p+"w"); err == nil {
		t.Error("Wait with a deadline = nil, want an error")
	}
}
