package embedded

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		crashChild(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// running is an engine that runs until stop is called, or the test ends.
type running struct {
	*Engine
	stop func()
}

func run(t testing.TB, w *enginetest.World, o Options) running {
	t.Helper()
	return runEngine(t, w.Registry(t), o)
}

func runEngine(t testing.TB, registry *task.TaskRegistry, o Options) running {
	t.Helper()
	o.Logger = zerolog.Nop()
	e, err := Open(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- e.Run(ctx, registry) }()
	r := running{Engine: e, stop: sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-ran, e.Close()); err != nil {
			t.Errorf("stop the engine: %v", err)
		}
	})}
	t.Cleanup(r.stop)
	return r
}

func (r running) start(t testing.TB, workflow, id string, input any) {
	t.Helper()
	require.NoError(t, r.Start(context.Background(), workflow, id, input))
}

func (r running) wait(t testing.TB, id string) engine.Instance {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	i, err := r.Wait(ctx, id)
	if err != nil {
		t.Fatalf("wait for %s: %v", id, err)
	}
	return i
}

func (r running) want(t testing.TB, id string, status engine.RuntimeStatus, output string) {
	t.Helper()
	if i := r.wait(t, id); i.Status != status || string(i.Output) != output {
		t.Errorf("%s is %s with output %s (%s), want %s with %s", id, i.Status, i.Output, i.Failure, status, output)
	}
}

// becomes waits until an instance has a status, for statuses that are not final.
func (r running) becomes(t testing.TB, id string, status engine.RuntimeStatus) {
	t.Helper()
	waitUntil(t, id+" to be "+string(status), func() bool {
		i, err := r.Get(context.Background(), id)
		return err == nil && i.Status == status
	})
}

// happened reports whether an instance's history has an event of the given type,
// and with the given name unless that is "".
func (r running) happened(t testing.TB, id, kind, name string) bool {
	t.Helper()
	h, err := r.History(context.Background(), id)
	require.NoError(t, err)
	return slices.ContainsFunc(h, func(e engine.Event) bool { return e.Type == kind && (name == "" || e.Name == name) })
}

// workflows registers functions under names.
func workflows(t testing.TB, fns map[string]task.Workflow) *task.TaskRegistry {
	t.Helper()
	r := task.NewTaskRegistry()
	for name, fn := range fns {
		require.NoError(t, r.AddWorkflowN(name, fn))
	}
	return r
}

// waitUntil fails the test unless cond becomes true within 20 s.
func waitUntil(t testing.TB, what string, cond func() bool) {
	t.Helper()
	require.Eventually(t, what, 20*time.Second, cond)
}
