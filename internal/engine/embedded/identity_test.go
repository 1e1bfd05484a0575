package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/task"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestContinueAsNewKeepsEventsAndDropsAnswers: what arrives while the last turn of a
// generation runs is accepted. The events belong to the next generation, in their
// order; the answers to activities and children do not.
func TestContinueAsNewKeepsEventsAndDropsAnswers(t *testing.T) {
	inTurn, release := make(chan struct{}, 10), make(chan struct{})
	gate := map[string]chan struct{}{"0": make(chan struct{}), "1": make(chan struct{})}
	entered := make(chan string, 10)
	r := workflows(t, map[string]task.Workflow{
		"W": func(ctx *task.WorkflowContext) (any, error) {
			var generation, answer, kid, first, second string
			if err := ctx.GetInput(&generation); err != nil {
				return nil, err
			}
			work := ctx.CallActivity("Gated", task.WithActivityInput(generation))
			child := ctx.CallChildWorkflow("Kid", task.WithChildWorkflowInstanceID("kid"+generation))
			if generation == "0" {
				if err := ctx.WaitForSingleEvent("go", -1).Await(nil); err != nil {
					return nil, err
				}
				inTurn <- struct{}{}
				<-release
				ctx.ContinueAsNew("1")
				return nil, nil
			}
			err := errors.Join(work.Await(&answer), child.Await(&kid),
				ctx.WaitForSingleEvent("e", -1).Await(&first), ctx.WaitForSingleEvent("e", -1).Await(&second))
			return answer + kid + first + second, err
		},
		"Kid": func(ctx *task.WorkflowContext) (any, error) {
			return string(ctx.ID), ctx.WaitForSingleEvent("go", -1).Await(nil)
		},
	})
	require.NoError(t, r.AddActivityN("Gated", func(ctx task.ActivityContext) (any, error) {
		var generation string
		if err := ctx.GetInput(&generation); err != nil {
			return nil, err
		}
		entered <- generation
		select {
		case <-gate[generation]:
		case <-ctx.Context().Done():
			return nil, ctx.Context().Err()
		}
		return "a" + generation, nil
	}))
	dir := t.TempDir()
	e := runEngine(t, r, Options{Dir: dir, DrainTimeout: time.Millisecond})
	e.start(t, "W", "w", "0")
	<-entered
	e.becomes(t, "kid0", engine.Running)
	require.NoError(t, e.Raise(t.Context(), "w", "go", nil))
	<-inTurn
	require.NoError(t, e.Raise(t.Context(), "w", "e", "x"), e.Raise(t.Context(), "kid0", "go", nil))
	close(gate["0"])
	waitUntil(t, "the event and both answers to be in the inbox", func() bool { return len(e.pending("w")) == 3 })
	require.NoError(t, e.Raise(t.Context(), "w", "e", "y"))
	close(release)
	<-entered

	e.stop() // the journal has the same
	e = runEngine(t, r, Options{Dir: dir})
	<-entered
	e.becomes(t, "kid1", engine.Running)
	close(gate["1"])
	require.NoError(t, e.Raise(t.Context(), "kid1", "go", nil))
	e.want(t, "w", engine.Completed, `"a1kid1xy"`)
}

// pending returns the types of the events that are in an instance's inbox, and in no
// turn.
func (r running) pending(id string) (types []string) {
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	i, _ := r.store.instances.Get(id)
	for _, e := range i.inbox[i.takenEvents:] {
		types = append(types, fmt.Sprintf("%T", e.GetEventType()))
	}
	return types
}

// TestEventsAcceptedAtTheEndAreInTheHistory: an event is in the saga's history, or its
// sender gets ErrEnded. That holds after a restart and in the archive.
func TestEventsAcceptedAtTheEndAreInTheHistory(t *testing.T) {
	dir, w := t.TempDir(), enginetest.NewWorld()
	e := run(t, w, Options{Dir: dir})
	accepted := map[string][]string{}
	for n := range 100 {
		id := fmt.Sprint("x", n)
		e.start(t, "Chain", id, nil)
		for k := 0; ; k++ {
			send := []func() error{
				func() error { return e.Raise(t.Context(), id, "cancel", k) },
				func() error { return e.Suspend(t.Context(), id, "") },
				func() error { return e.Resume(t.Context(), id, "") },
			}[k%3]
			if err := send(); errors.Is(err, engine.ErrEnded) {
				break
			} else if err != nil {
				t.Fatalf("event %d to %s: %v, want nil or ErrEnded", k, id, err)
			}
			accepted[id] = append(accepted[id], []string{"EventRaised", "ExecutionSuspended", "ExecutionResumed"}[k%3])
		}
		e.wait(t, id)
	}
	check := func(where string) {
		t.Helper()
		for id, want := range accepted {
			h, err := e.History(t.Context(), id)
			require.NoError(t, err)
			var got []string
			for _, ev := range h {
				if slices.Contains([]string{"EventRaised", "ExecutionSuspended", "ExecutionResumed"}, ev.Type) {
					got = append(got, ev.Type)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: the history of %s has %d events, want the %d accepted ones", where, id, len(got), len(want))
			}
			if i, err := e.Get(t.Context(), id); err != nil || i.Status != engine.Completed || string(i.Output) != "3" {
				t.Errorf("%s: %s is %+v (%v), want COMPLETED with 3", where, id, i, err)
			}
		}
	}
	check("after the end")
	e.stop()
	e = run(t, w, Options{Dir: dir})
	check("after a restart")
	require.NoError(t, e.store.archiveEnded(context.Background(), time.Now().Add(time.Hour)))
	if n := e.inMemory(); n != 0 {
		t.Fatalf("%d sagas are in memory, want all in the archive", n)
	}
	check("in the archive")
	if err := e.store.AddNewWorkflowEvent(t.Context(), "x0", nil); !errors.Is(err, engine.ErrEnded) {
		t.Errorf("an event for an archived saga = %v, want ErrEnded", err)
	}
}

// TestChildrenWithInvalidOrEqualIDsFailTheirParentsTasks: the other children, and the
// parent, go on.
func TestChildrenWithInvalidOrEqualIDsFailTheirParentsTasks(t *testing.T) {
	r := workflows(t, map[string]task.Workflow{
		"Parent": func(ctx *task.WorkflowContext) (any, error) {
			var tasks []task.Task
			for _, id := range []string{"twin", "twin", string(ctx.ID), "caf\xe9", "a/b"} {
				tasks = append(tasks, ctx.CallChildWorkflow("Kid", task.WithChildWorkflowInstanceID(id)))
			}
			var failed []int
			for n, one := range tasks {
				if one.Await(nil) != nil {
					failed = append(failed, n)
				}
			}
			return failed, nil
		},
		"Kid": func(*task.WorkflowContext) (any, error) { return nil, nil },
	})
	e := runEngine(t, r, Options{Dir: t.TempDir()})
	e.start(t, "Parent", "p", nil)
	// Which of the twins is started is not defined.
	if i := e.wait(t, "p"); string(i.Output) != "[0,2,3,4]" && string(i.Output) != "[1,2,3,4]" {
		t.Errorf("children that failed: %s (%s %s), want one of the twins, and 2 to 4", i.Output, i.Status, i.Failure)
	}
	if ids := e.ids(t); !slices.Equal(ids, []string{"p", "twin"}) {
		t.Errorf("instances: %v, want p and twin", ids)
	}
}

// TestTerminationReachesOnlyChildrenOfItsExecution: a child of an earlier execution has
// the id of one that the current execution could not start. It goes on.
func TestTerminationReachesOnlyChildrenOfItsExecution(t *testing.T) {
	w := enginetest.NewWorld()
	r := w.Registry(t)
	require.NoError(t, r.AddWorkflowN("Leave", func(ctx *task.WorkflowContext) (any, error) {
		return nil, ctx.CallChildWorkflow("Listen", task.WithChildWorkflowInstanceID("kid")).Await(nil)
	}), r.AddWorkflowN("Stay", func(ctx *task.WorkflowContext) (any, error) {
		_ = ctx.CallChildWorkflow("Listen", task.WithChildWorkflowInstanceID("kid")).Await(nil) // its id is taken
		return nil, ctx.WaitForSingleEvent("go", -1).Await(nil)
	}))
	e := runEngine(t, r, Options{})
	e.start(t, "Leave", "p", nil)
	e.becomes(t, "kid", engine.Running)
	require.NoError(t, e.Hub.TerminateWorkflow(t.Context(), "p", api.WithRecursiveTerminate(false)))
	e.becomes(t, "p", engine.Terminated)
	e.start(t, "Stay", "p", nil)
	waitUntil(t, "the second execution to wait", func() bool { return e.happened(t, "p", "TimerCreated", "go") })
	require.NoError(t, e.Terminate(t.Context(), "p", ""))
	e.becomes(t, "p", engine.Terminated)
	require.NoError(t, e.Raise(t.Context(), "kid", "go", "still here"))
	e.want(t, "kid", engine.Completed, `"still here"`)
}

// TestPurgeOfSagasThatNameEachOtherEnds: a began b, which began a again, which could not
// begin b. So each has the other among its children.
func TestPurgeOfSagasThatNameEachOtherEnds(t *testing.T) {
	r := workflows(t, map[string]task.Workflow{
		"A": func(ctx *task.WorkflowContext) (any, error) {
			var life string
			err := ctx.GetInput(&life)
			ctx.CallChildWorkflow("B", task.WithChildWorkflowInstanceID("b"))
			return life, err
		},
		"B": func(ctx *task.WorkflowContext) (any, error) {
			ctx.CallChildWorkflow("A", task.WithChildWorkflowInstanceID("a"), task.WithChildWorkflowInput("second"))
			return nil, ctx.WaitForSingleEvent("go", -1).Await(nil)
		},
	})
	e := runEngine(t, r, Options{})
	e.start(t, "A", "a", "first")
	waitUntil(t, "the second execution of a to end", func() bool {
		i, err := e.Get(t.Context(), "a")
		return err == nil && i.Status == engine.Completed && string(i.Output) == `"second"`
	})
	require.NoError(t, e.Raise(t.Context(), "b", "go", nil))
	e.becomes(t, "b", engine.Completed)
	if n, err := e.store.purgeTree(t.Context(), "a", true, false); n != 1 || err != nil {
		t.Errorf("purgeTree = %d, %v, want only the second execution of a purged", n, err)
	}
	if _, err := e.Get(t.Context(), "b"); err != nil {
		t.Errorf("Get of b = %v, want it kept: the first execution of a has begun it", err)
	}
}

// TestRerunIsAnotherExecution: a child of a former instance with the rerun's id does
// not answer the rerun.
func TestRerunIsAnotherExecution(t *testing.T) {
	e := run(t, enginetest.NewWorld(), Options{})
	e.start(t, "Chain", "a", nil)
	e.wait(t, "a")
	id, err := e.Rerun(t.Context(), "a", 0)
	require.NoError(t, err)
	execution := func(id string) string {
		i, err := e.store.read(id)
		require.NoError(t, err)
		return i.startEvent().GetWorkflowInstance().GetExecutionId().GetValue()
	}
	if a, b := execution("a"), execution(id); a == b || b == "" {
		t.Errorf("execution ids of the original and the rerun: %q and %q, want two", a, b)
	}
}
