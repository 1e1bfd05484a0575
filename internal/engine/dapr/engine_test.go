package dapr_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/engine/dapr"
	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

func TestMain(m *testing.M) {
	testkit.UseBuiltDapr()
	os.Exit(m.Run())
}

// cluster is a real Dapr with a state store, SQLite if not said, and nothing
// else.
func cluster(t *testing.T, state ...daprlocal.State) *daprlocal.Cluster {
	t.Helper()
	state = append(state, daprlocal.State{Store: "sqlite"})
	testkit.NeedDapr(t)
	dir := t.TempDir()
	only := filepath.Join(dir, "only")
	if err := os.Mkdir(only, 0o700); err != nil {
		t.Fatal(err)
	}
	for to, from := range map[string]string{"statestore.yaml": "state/" + state[0].Store + ".yaml", "configuration.yaml": "local/configuration.yaml"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "..", "components", from))
		if err == nil {
			err = os.WriteFile(filepath.Join(only, to), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	c, err := daprlocal.Start(t.Context(), daprlocal.Options{Dir: dir, Components: only, State: state[0], Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return c
}

// start runs an engine beside a sidecar of its own.
func start(t *testing.T, c *daprlocal.Cluster, w *enginetest.World, name string) (e *dapr.Engine, stop func()) {
	t.Helper()
	return startWith(t, c, w, name, dapr.Options{})
}

func startWith(t *testing.T, c *daprlocal.Cluster, w *enginetest.World, name string, o dapr.Options) (e *dapr.Engine, stop func()) {
	t.Helper()
	side, err := c.Sidecar(t.Context(), daprlocal.App{ID: "ordersaga", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	o.Address, o.Logger = side.GRPC, zerolog.Nop()
	e, err = dapr.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	registry := w.Registry(t)
	go func() { ran <- e.Run(ctx, registry) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := errors.Join(<-ran, e.Close()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return e, stop
}

func TestConformance(t *testing.T) {
	w := enginetest.NewWorld()
	e, _ := startWith(t, cluster(t), w, "one", dapr.Options{Terminated: w.Terminated})
	enginetest.Conformance(t, e, w, "c")
}

// TestDrain: what is under way when the worker is told to stop is not cut off,
// though Dapr gives it to another worker as well.
func TestDrain(t *testing.T) {
	c, w := cluster(t), enginetest.NewWorld()
	e, stop := start(t, c, w, "one")
	release := w.Hold()
	if err := e.Start(t.Context(), "Chain", "a", nil); err != nil {
		t.Fatal(err)
	}
	w.AwaitStep(t)
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	select {
	case <-stopped:
		t.Fatal("stopped with an activity in progress")
	case <-time.After(300 * time.Millisecond):
	}
	release()
	<-stopped
	e, _ = start(t, c, w, "two")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if i, err := e.Wait(ctx, "a"); err != nil || string(i.Output) != "3" {
		t.Errorf("%+v %v", i, err)
	}
}

// TestUnfitSidecar: what a sidecar lacks is said at the start, and not by the
// first saga that needs it.
func TestUnfitSidecar(t *testing.T) {
	c := cluster(t)
	side, err := c.Sidecar(t.Context(), daprlocal.App{ID: "ordersaga"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = dapr.Open(t.Context(), dapr.Options{Address: side.GRPC, Needs: []string{"statestore", "orderpubsub"}})
	if unfit, ok := errors.AsType[*dapr.UnfitError](err); !ok || !strings.Contains(unfit.Reason, "no component orderpubsub (it has: statestore)") {
		t.Errorf("%v", err)
	}
}

func TestNoSidecar(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := dapr.Open(ctx, dapr.Options{Address: "127.0.0.1:1"}); err == nil {
		t.Error("no error")
	}
}
