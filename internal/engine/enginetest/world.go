// Package enginetest is what both engines must do, as tests, and the workflows
// they are tested with.
package enginetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/task"
)

// World is what the test workflows act on; it outlives engines.
type World struct {
	Calls  atomic.Int64 // of Step
	Broken atomic.Bool  // workflow Panic panics
	Panics atomic.Int64
	// Versions of workflow Deploy that Registry knows, the latest last.
	Versions []string

	mu      sync.Mutex
	ran     map[string]int      // activity inputs and how often each ran
	ends    map[string][]string // what Terminated was told of each instance
	held    chan struct{}       // activities wait for it, if set
	entered chan string
}

// NewWorld makes one in which nothing has happened.
func NewWorld() *World {
	return &World{ran: map[string]int{}, ends: map[string][]string{}, entered: make(chan string, 10_000)}
}

// Terminated is an engine.OnTerminated that fails at its first call for an
// instance.
func (w *World) Terminated(_ context.Context, id, reason string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends[id] = append(w.ends[id], reason)
	if len(w.ends[id]) == 1 {
		return errors.New("not yet")
	}
	return nil
}

// Ends are the reasons that Terminated got for an instance.
func (w *World) Ends(id string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ends[id]
}

// Ran says how often Step ran with an input.
func (w *World) Ran(input string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ran[input]
}

// Repeated lists the inputs that Step ran with more than once.
func (w *World) Repeated(prefix string) (inputs []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for in, n := range w.ran {
		if n > 1 && strings.HasPrefix(in, prefix) {
			inputs = append(inputs, in)
		}
	}
	return inputs
}

// Hold makes activities wait until release is called.
func (w *World) Hold() (release func()) {
	held := make(chan struct{})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = held
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.held = nil
		close(held)
	})
}

// AwaitStep waits until Step has been entered, and returns its input.
func (w *World) AwaitStep(t testing.TB) string {
	t.Helper()
	select {
	case in := <-w.entered:
		return in
	case <-time.After(20 * time.Second):
		t.Fatal("no activity was called")
		return ""
	}
}

// Registry has the workflows
//
//	Chain    three activities in a row; the output is their number
//	Fan      ten at once
//	Listen   waits for the event "go" and returns its payload
//	Expect   likewise, for input milliseconds: else "nothing"
//	Nap      a timer of input milliseconds
//	Child    starts Chain as a child
//	Panic    panics while broken; Fail: its activity fails; FailByPanic: panics
//	Again    continues as new until the input is 0
//	Deploy   waits for the event "go" and returns its version
func (w *World) Registry(t testing.TB) *task.TaskRegistry {
	t.Helper()
	r := task.NewTaskRegistry()
	for i, v := range w.Versions {
		err := r.AddVersionedWorkflowN("Deploy", v, i == len(w.Versions)-1, func(ctx *task.WorkflowContext) (any, error) {
			return v, ctx.WaitForSingleEvent("go", -1).Await(nil)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(
		r.AddWorkflowN("Chain", func(ctx *task.WorkflowContext) (any, error) {
			for n := range 3 {
				if err := ctx.CallActivity("Step", task.WithActivityInput(fmt.Sprint(ctx.ID, "/", n))).Await(nil); err != nil {
					return nil, err
				}
				ctx.SetCustomStatus(fmt.Sprint("step ", n))
			}
			return 3, nil
		}),
		r.AddWorkflowN("Fan", func(ctx *task.WorkflowContext) (any, error) {
			var all []task.Task
			for n := range 10 {
				all = append(all, ctx.CallActivity("Step", task.WithActivityInput(fmt.Sprint(ctx.ID, "/", n))))
			}
			for _, one := range all {
				if err := one.Await(nil); err != nil {
					return nil, err
				}
			}
			return len(all), nil
		}),
		r.AddWorkflowN("Listen", func(ctx *task.WorkflowContext) (any, error) {
			var got string
			err := ctx.WaitForSingleEvent("go", -1).Await(&got)
			return got, err
		}),
		r.AddWorkflowN("Expect", func(ctx *task.WorkflowContext) (any, error) {
			var ms int
			if err := ctx.GetInput(&ms); err != nil {
				return nil, err
			}
			got := "nothing"
			err := ctx.WaitForSingleEvent("go", time.Duration(ms)*time.Millisecond).Await(&got)
			if errors.Is(err, task.ErrTaskCanceled) {
				err = nil
			}
			return got, err
		}),
		r.AddWorkflowN("Nap", func(ctx *task.WorkflowContext) (any, error) {
			var ms int
			if err := ctx.GetInput(&ms); err != nil {
				return nil, err
			}
			return nil, ctx.CreateTimer(time.Duration(ms) * time.Millisecond).Await(nil)
		}),
		r.AddWorkflowN("Child", func(ctx *task.WorkflowContext) (any, error) {
			var n int
			err := ctx.CallChildWorkflow("Chain", task.WithChildWorkflowInstanceID(string(ctx.ID)+"-child")).Await(&n)
			return n, err
		}),
		r.AddWorkflowN("Panic", func(*task.WorkflowContext) (any, error) {
			if w.Broken.Load() {
				w.Panics.Add(1)
				panic("workflow bug")
			}
			return "fixed", nil
		}),
		r.AddWorkflowN("Fail", func(ctx *task.WorkflowContext) (any, error) {
			return nil, ctx.CallActivity("Bad").Await(nil)
		}),
		r.AddWorkflowN("Again", func(ctx *task.WorkflowContext) (any, error) {
			var n int
			if err := ctx.GetInput(&n); err != nil || n == 0 {
				return "done", err
			}
			if err := ctx.CallActivity("Step", task.WithActivityInput(fmt.Sprint(ctx.ID, "/", n))).Await(nil); err != nil {
				return nil, err
			}
			ctx.ContinueAsNew(n - 1)
			return nil, nil
		}),
		r.AddActivityN("Step", w.step),
		r.AddActivityN("Bad", func(task.ActivityContext) (any, error) { return nil, errors.New("it is bad") }),
		r.AddWorkflowN("FailByPanic", func(ctx *task.WorkflowContext) (any, error) {
			return nil, ctx.CallActivity("BadPanic").Await(nil)
		}),
		r.AddActivityN("BadPanic", func(task.ActivityContext) (any, error) { panic("activity bug") }),
	)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (w *World) step(ctx task.ActivityContext) (any, error) {
	var in string
	if err := ctx.GetInput(&in); err != nil {
		return nil, err
	}
	w.Calls.Add(1)
	w.mu.Lock()
	w.ran[in]++
	held := w.held
	w.mu.Unlock()
	select {
	case w.entered <- in:
	default:
	}
	if held != nil {
		select {
		case <-held:
		case <-ctx.Context().Done():
			return nil, ctx.Context().Err()
		}
	}
	return in, nil
}
