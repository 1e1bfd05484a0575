package enginetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/engine"
)

// Conformance runs every call of engine.Engine on a running engine, on which w
// is registered, and whose Terminated is its option: both engines must give the
// same answers. id prefixes all ids.
func Conformance(t *testing.T, e engine.Engine, w *World, id string) {
	c := client{e}
	for name, test := range map[string]func(*testing.T, client, *World, string){
		"run": workflowsRun, "unknown": unknownWorkflow, "ids": ids, "events": events,
		"suspend": suspend, "suspended-twice": suspendedTwice, "history": history, "list": list, "wait": waitEnds,
	} {
		t.Run(name, func(t *testing.T) { test(t, c, w, id+"-"+name+"-") })
	}
}

type client struct{ engine.Engine }

func (c client) start(t testing.TB, workflow, id string, input any) {
	t.Helper()
	if err := c.Start(t.Context(), workflow, id, input); err != nil {
		t.Fatal(err)
	}
}

func (c client) wait(t testing.TB, id string) engine.Instance {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	i, err := c.Wait(ctx, id)
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	return i
}

func (c client) want(t testing.TB, id string, status engine.RuntimeStatus, output string) {
	t.Helper()
	if i := c.wait(t, id); i.Status != status || string(i.Output) != output {
		t.Errorf("%s is %s with output %s (%s), want %s with %s", id, i.Status, i.Output, i.Failure, status, output)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("never: %s", what)
		}
	}
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
		t.Errorf("activities ran more than once: %v", r)
	}
}

func unknownWorkflow(t *testing.T, e client, _ *World, p string) {
	e.start(t, "Nobody", p+"x", nil)
	if i := e.wait(t, p+"x"); i.Status != engine.Failed || !strings.Contains(i.Failure, "Nobody") {
		t.Errorf("%+v", i)
	}
}

func ids(t *testing.T, e client, _ *World, p string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e.start(t, "Listen", p+"a", nil)
	if err := e.Start(ctx, "Listen", p+"a", nil); !errors.Is(err, engine.ErrActive) {
		t.Errorf("starting a running id: %v", err)
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
			t.Errorf("%s of an unknown id: %v", name, err)
		}
	}
	if err := e.Purge(ctx, p+"a"); !errors.Is(err, engine.ErrNotCompleted) {
		t.Errorf("purging a running id: %v", err)
	}
	if err := e.Raise(ctx, p+"a", "go", "x"); err != nil {
		t.Fatal(err)
	}
	e.want(t, p+"a", engine.Completed, `"x"`)
	if err := e.Raise(ctx, p+"a", "go", "x"); !errors.Is(err, engine.ErrEnded) {
		t.Errorf("raising to an ended id: %v", err)
	}
	if err := e.Purge(ctx, p+"a"); err != nil {
		t.Error(err)
	}
	if _, err := e.Get(ctx, p+"a"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("after purge: %v", err)
	}
	e.start(t, "Chain", p+"a", nil) // the id is free again
	e.want(t, p+"a", engine.Completed, "3")
	e.start(t, "Chain", p+"a", nil) // as Dapr: an ended id starts anew
	e.want(t, p+"a", engine.Completed, "3")
}

func events(t *testing.T, e client, _ *World, p string) {
	for n := range 10 { // the event races with the start
		id := fmt.Sprint(p, n)
		e.start(t, "Listen", id, nil)
		if err := e.Raise(t.Context(), id, "other", "x"); err != nil {
			t.Fatal(err)
		}
		if n%2 == 0 {
			eventually(t, "it waits", func() bool {
				h, _ := e.History(t.Context(), id)
				return len(h) > 2
			})
		}
		if err := e.Raise(t.Context(), id, "go", id); err != nil {
			t.Fatal(err)
		}
		e.want(t, id, engine.Completed, `"`+id+`"`)
	}
}

func suspend(t *testing.T, e client, w *World, p string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e.start(t, "Listen", p+"s", nil)
	if err := e.Suspend(ctx, p+"s", "look at it"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "suspended", func() bool { i, _ := e.Get(ctx, p+"s"); return i.Status == engine.Suspended })
	if err := e.Raise(ctx, p+"s", "go", "late"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the event is taken in", func() bool {
		h, _ := e.History(ctx, p+"s")
		return slices.ContainsFunc(h, func(ev engine.Event) bool { return ev.Type == "EventRaised" })
	})
	if i, err := e.Get(ctx, p+"s"); err != nil || i.Status != engine.Suspended {
		t.Errorf("an event ended the suspension: %+v %v", i, err)
	}
	if err := e.Resume(ctx, p+"s", ""); err != nil {
		t.Fatal(err)
	}
	e.want(t, p+"s", engine.Completed, `"late"`)

	// The event came in time, and the time was over at the resumption.
	e.start(t, "Expect", p+"in-time", 3000)
	eventually(t, "it waits", func() bool {
		h, _ := e.History(ctx, p+"in-time")
		return slices.ContainsFunc(h, func(ev engine.Event) bool { return ev.Type == "TimerCreated" })
	})
	over := time.After(3300 * time.Millisecond)
	if err := e.Suspend(ctx, p+"in-time", ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, "suspended", func() bool { i, _ := e.Get(ctx, p+"in-time"); return i.Status == engine.Suspended })
	if err := e.Raise(ctx, p+"in-time", "go", "in time"); err != nil {
		t.Fatal(err)
	}
	<-over // on Dapr the timer of one that is suspended fires when it is resumed
	if err := e.Resume(ctx, p+"in-time", ""); err != nil {
		t.Fatal(err)
	}
	e.want(t, p+"in-time", engine.Completed, `"in time"`)

	e.start(t, "Listen", p+"u", nil)
	if err := e.Suspend(ctx, p+"u", ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, "suspended", func() bool { i, _ := e.Get(ctx, p+"u"); return i.Status == engine.Suspended })
	if err := errors.Join(e.Raise(ctx, p+"u", "go", "late"), e.Terminate(ctx, p+"u", "enough")); err != nil {
		t.Fatal(err)
	}
	e.want(t, p+"u", engine.Terminated, `"enough"`)

	defer w.Hold()()
	e.start(t, "Chain", p+"t", nil)
	for !strings.HasPrefix(w.AwaitStep(t), p+"t") {
	}
	if err := e.Terminate(ctx, p+"t", "enough"); err != nil {
		t.Fatal(err)
	}
	e.want(t, p+"t", engine.Terminated, `"enough"`)
	for _, id := range []string{p + "u", p + "t"} {
		if told := w.Ends(id); len(told) < 2 || told[0] != "enough" { // it failed the first time
			t.Errorf("the termination of %s was reported as %q", id, told)
		}
	}
}

// suspendedTwice: suspending what is suspended changes nothing, nor does resuming
// what is not, and nothing is lost that comes between.
func suspendedTwice(t *testing.T, e client, w *World, p string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	becomes := func(id string, want engine.RuntimeStatus) {
		t.Helper()
		eventually(t, id+" is "+string(want), func() bool { i, _ := e.Get(ctx, id); return i.Status == want })
	}
	for name, play := range map[string]func(id string){
		"in turn": func(id string) {
			must(e.Suspend(ctx, id, "one"))
			becomes(id, engine.Suspended)
			must(e.Suspend(ctx, id, "two"), e.Raise(ctx, id, "go", "x"), e.Resume(ctx, id, ""))
		},
		"racing": func(id string) {
			errs := make(chan error, 2)
			for range cap(errs) {
				go func() { errs <- e.Suspend(ctx, id, "") }()
			}
			must(<-errs, <-errs, e.Raise(ctx, id, "go", "x"))
			becomes(id, engine.Suspended)
			must(e.Resume(ctx, id, ""))
		},
		"and resumed twice": func(id string) {
			must(e.Suspend(ctx, id, ""), e.Suspend(ctx, id, ""))
			becomes(id, engine.Suspended)
			must(e.Resume(ctx, id, ""), e.Resume(ctx, id, ""), e.Raise(ctx, id, "go", "x"))
		},
		"around refused resumptions": func(id string) {
			must(e.Resume(ctx, id, ""), e.Suspend(ctx, id, ""), e.Resume(ctx, id, ""), e.Resume(ctx, id, ""), e.Suspend(ctx, id, ""))
			becomes(id, engine.Suspended)
			must(e.Suspend(ctx, id, ""), e.Raise(ctx, id, "go", "x"), e.Resume(ctx, id, ""))
		},
	} {
		t.Run(name, func(t *testing.T) {
			id := p + strings.ReplaceAll(name, " ", "-")
			e.start(t, "Listen", id, nil)
			play(id)
			e.want(t, id, engine.Completed, `"x"`)
		})
	}

	release := w.Hold() // an activity's answer is one of what must not get lost
	defer release()
	e.start(t, "Chain", p+"c", nil)
	for !strings.HasPrefix(w.AwaitStep(t), p+"c") {
	}
	must(e.Suspend(ctx, p+"c", ""), e.Suspend(ctx, p+"c", ""))
	becomes(p+"c", engine.Suspended)
	release()
	eventually(t, "the answer is taken in", func() bool {
		h, _ := e.History(ctx, p+"c")
		return slices.ContainsFunc(h, func(ev engine.Event) bool { return ev.Type == "TaskCompleted" })
	})
	must(e.Resume(ctx, p+"c", ""))
	e.want(t, p+"c", engine.Completed, "3")
}

func history(t *testing.T, e client, w *World, p string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e.start(t, "Chain", p+"a", nil)
	e.want(t, p+"a", engine.Completed, "3")
	h, err := e.History(ctx, p+"a")
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
	before := w.Calls.Load()
	id, err := e.Rerun(ctx, p+"a", last)
	if err != nil {
		t.Fatal(err)
	}
	e.want(t, id, engine.Completed, "3")
	if ran := w.Calls.Load() - before; ran != 1 {
		t.Errorf("rerun from the last activity ran %d", ran)
	}
	if _, err := e.Rerun(ctx, p+"a", 77); err == nil {
		t.Error("rerun from an event that is none")
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
			t.Fatal(len(ids), err)
		}
		for _, id := range ids {
			if strings.HasPrefix(id, p) {
				got = append(got, id)
			}
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("list: %v", got)
	}
}

func waitEnds(t *testing.T, e client, _ *World, p string) {
	e.start(t, "Listen", p+"w", nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := e.Wait(ctx, p+"w"); err == nil {
		t.Errorf("%v", err)
	}
}
