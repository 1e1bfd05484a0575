// Package enginetest has the tests that both engines must pass, and the workflows
// for them.
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

	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// World has the test workflows, and records what they do. One World can be used
// by several engines in turn. Create it with NewWorld. It is safe for concurrent
// use.
type World struct {
	Calls  atomic.Int64 // of activity Step
	Broken atomic.Bool  // makes workflow Panic panic
	Panics atomic.Int64 // of workflow Panic
	// OtherTable changes the table of workflow Table.
	OtherTable atomic.Bool
	// Versions lists the versions of workflow Deploy in the Registry, the latest
	// last. Set it before Registry is called.
	Versions []string

	mu           sync.Mutex
	ran          map[string]int      // how often Step ran, by its input
	terminations map[string][]string // reasons that Terminated got, by instance
	held         chan struct{}       // activities wait until it is closed; nil if they need not
	entered      chan string
	gates        map[string]gate
}

// NewWorld returns a World without records.
func NewWorld() *World {
	return &World{
		ran: map[string]int{}, terminations: map[string][]string{}, entered: make(chan string, 10_000), gates: map[string]gate{},
	}
}

// Terminated is an engine.OnTerminated that fails at the first call for each
// instance.
func (w *World) Terminated(_ context.Context, id, reason string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.terminations[id] = append(w.terminations[id], reason)
	if len(w.terminations[id]) == 1 {
		return errors.New("not yet")
	}
	return nil
}

// Terminations returns the reasons that Terminated got for an instance, one per
// call.
func (w *World) Terminations(id string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.terminations[id]
}

// Ran returns how often Step ran with an input.
func (w *World) Ran(input string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ran[input]
}

// Repeated returns the inputs with the given prefix that Step ran with more than
// once.
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

// Hold makes activities that start from now on wait until release is called.
// release may be called more than once.
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

// AwaitStep waits until Step has been called, and returns its input. Each call of
// Step is returned once.
func (w *World) AwaitStep(t testing.TB) string {
	t.Helper()
	select {
	case in := <-w.entered:
		return in
	case <-time.After(20 * time.Second):
		t.Fatal("activity Step was not called within 20 s")
		return ""
	}
}

// Registry returns a registry with these workflows:
//
//	Chain        runs three activities in a row and returns their number
//	Fan          runs ten activities concurrently and returns their number
//	Listen       waits for the event "go" and returns its payload
//	Expect       waits for "go" for input milliseconds; returns "nothing" after that
//	Nap          waits for a timer of input milliseconds
//	Child        runs Chain as a child
//	Panic        panics while Broken
//	Fail         fails because its activity fails
//	FailByPanic  fails because its activity panics
//	Again        continues as new until the input is 0
//	Deploy       waits for the event "go" and returns its version
//	Table        is a saga of two steps
//
// and those of addIdentity.
func (w *World) Registry(t testing.TB) *task.TaskRegistry {
	t.Helper()
	r := task.NewTaskRegistry()
	for i, v := range w.Versions {
		err := r.AddVersionedWorkflowN("Deploy", v, i == len(w.Versions)-1, func(ctx *task.WorkflowContext) (any, error) {
			return v, ctx.WaitForSingleEvent("go", -1).Await(nil)
		})
		require.NoError(t, err)
	}
	err := errors.Join(
		w.addIdentity(r),
		w.addTable(r),
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
	require.NoError(t, err)
	return r
}

func (w *World) step(ctx task.ActivityContext) (any, error) {
	var in string
	if err := ctx.GetInput(&in); err != nil {
		return nil, err
	}
	return in, w.record(ctx.Context(), in)
}

// record records a call of an activity, and waits while activities are held.
func (w *World) record(ctx context.Context, in string) error {
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
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
