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
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		crashChild(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// running is an engine that works until stop, or the end of the test.
type running struct {
	*Engine
	stop func()
}

func run(t testing.TB, w *enginetest.World, o Options) running {
	t.Helper()
	return serve(t, w.Registry(t), o)
}

func serve(t testing.TB, registry *task.TaskRegistry, o Options) running {
	t.Helper()
	o.Logger = zerolog.Nop()
	e, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
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

// becomes waits until an instance has a status that is no end.
func (r running) becomes(t testing.TB, id string, status engine.RuntimeStatus) {
	t.Helper()
	eventually(t, id+" is "+string(status), func() bool {
		i, err := r.Get(context.Background(), id)
		return err == nil && i.Status == status
	})
}

// happened reports whether an instance's history has an event of a type, and
// of a name if one is given.
func (r running) happened(t testing.TB, id, kind, name string) bool {
	t.Helper()
	h, err := r.History(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(h, func(e engine.Event) bool { return e.Type == kind && (name == "" || e.Name == name) })
}

// workflows registers functions under names.
func workflows(t testing.TB, fns map[string]task.Workflow) *task.TaskRegistry {
	t.Helper()
	r := task.NewTaskRegistry()
	for name, fn := range fns {
		if err := r.AddWorkflowN(name, fn); err != nil {
			t.Fatal(err)
		}
	}
	return r
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
