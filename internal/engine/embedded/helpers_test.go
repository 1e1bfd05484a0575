package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/engine"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		crashChild(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// world is what the test workflows act on; it outlives engines.
type world struct {
	calls   atomic.Int64
	broken  atomic.Bool // workflow Panic panics
	panics  atomic.Int64
	mu      sync.Mutex
	seen    map[string]int // activity inputs and how often each ran
	hold    chan struct{}  // activities wait for it, if set
	entered chan string
}

func newWorld() *world { return &world{seen: map[string]int{}, entered: make(chan string, 10_000)} }

// registry has the workflows
//
//	Chain    three activities in a row; the output is their number
//	Fan      ten at once
//	Listen   waits for the event "go" and returns its payload
//	Nap      a timer of input milliseconds
//	Child    starts Chain as a child
//	Panic    panics while broken; Fail: its activity panics
//	Again    continues as new until the input is 0
func (w *world) registry(t testing.TB) *task.TaskRegistry {
	t.Helper()
	r := task.NewTaskRegistry()
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
			if w.broken.Load() {
				w.panics.Add(1)
				panic("workflow bug")
			}
			return "mended", nil
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
		r.AddActivityN("Bad", func(task.ActivityContext) (any, error) { panic("activity bug") }),
	)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (w *world) step(ctx task.ActivityContext) (any, error) {
	var in string
	if err := ctx.GetInput(&in); err != nil {
		return nil, err
	}
	w.calls.Add(1)
	w.mu.Lock()
	w.seen[in]++
	hold := w.hold
	w.mu.Unlock()
	select {
	case w.entered <- in:
	default:
	}
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Context().Done():
			return nil, ctx.Context().Err()
		}
	}
	return in, nil
}

// running is an engine that works until stop, or the end of the test.
type running struct {
	*Engine
	stop func()
}

func run(t testing.TB, w *world, o Options) running {
	t.Helper()
	o.Logger = zerolog.Nop()
	e, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	registry := w.registry(t)
	go func() { ran <- e.Run(ctx, registry) }()
	r := running{e, sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-ran, e.Close()); err != nil {
			t.Error(err)
		}
	})}
	t.Cleanup(r.stop)
	return r
}

func (r running) start(t testing.TB, workflow, id string, input any) {
	t.Helper()
	if err := r.Start(context.Background(), workflow, id, input); err != nil {
		t.Fatal(err)
	}
}

func (r running) wait(t testing.TB, id string) engine.Instance {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	i, err := r.Wait(ctx, id)
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	return i
}

func (r running) want(t testing.TB, id string, status engine.RuntimeStatus, output string) {
	t.Helper()
	if i := r.wait(t, id); i.Status != status || string(i.Output) != output {
		t.Errorf("%s is %s with output %s (%s), want %s with %s", id, i.Status, i.Output, i.Failure, status, output)
	}
}

func entered(t testing.TB, w *world) string {
	t.Helper()
	select {
	case in := <-w.entered:
		return in
	case <-time.After(20 * time.Second):
		t.Fatal("no activity was called")
		return ""
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("never: %s", what)
		}
	}
}
