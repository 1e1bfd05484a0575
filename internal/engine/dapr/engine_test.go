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
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

func TestMain(m *testing.M) {
	testkit.UseBuiltDapr()
	os.Exit(m.Run())
}

// startCluster starts a real Dapr with SQLite as its state store.
func startCluster(t *testing.T) *daprlocal.Cluster {
	t.Helper()
	return startClusterOn(t, daprlocal.State{Store: "sqlite"})
}

// startClusterOn starts a real Dapr with a state store and no other component.
func startClusterOn(t *testing.T, state daprlocal.State) *daprlocal.Cluster {
	t.Helper()
	testkit.RequireDapr(t)
	dir := t.TempDir()
	only := filepath.Join(dir, "only")
	require.NoError(t, os.Mkdir(only, 0o700))
	for to, from := range map[string]string{
		"statestore.yaml": "state/" + state.Store + ".yaml", "configuration.yaml": "local/configuration.yaml",
	} {
		b, err := os.ReadFile(filepath.Join("..", "..", "..", "components", from))
		if err == nil {
			err = os.WriteFile(filepath.Join(only, to), b, 0o600)
		}
		require.NoError(t, err)
	}
	c, err := daprlocal.Start(t.Context(), daprlocal.Options{Dir: dir, Components: only, State: state, Logger: zerolog.Nop()})
	require.NoError(t, err)
	t.Cleanup(c.Stop)
	return c
}

// start runs an engine with a sidecar of its own.
func start(t *testing.T, c *daprlocal.Cluster, w *enginetest.World, name string) (e *dapr.Engine, stop func()) {
	t.Helper()
	return startWith(t, c, w, name, dapr.Options{})
}

func startWith(t *testing.T, c *daprlocal.Cluster, w *enginetest.World, name string, o dapr.Options) (e *dapr.Engine, stop func()) {
	t.Helper()
	side, err := c.Sidecar(t.Context(), daprlocal.App{ID: "ordersaga", Name: name})
	require.NoError(t, err)
	o.Address, o.Logger = side.GRPC, zerolog.Nop()
	e, err = dapr.Open(t.Context(), o)
	require.NoError(t, err)
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
			t.Errorf("stop the engine: %v", err)
		}
	}
	t.Cleanup(stop)
	return e, stop
}

func TestEngineConformsToTheContract(t *testing.T) {
	w := enginetest.NewWorld()
	e, _ := startWith(t, startCluster(t), w, "one", dapr.Options{Terminated: w.Terminated})
	enginetest.Conformance(t, e, w, "c", enginetest.Deviations{ // docs/adr/0027-answers-belong-to-one-execution.md
		FormerActivityFails: true, FormerChildAnswers: true, FormerChildKeepsID: true, TerminatesByID: true, LateEventIsDropped: true,
	})
}

// TestDrainFinishesWorkInProgress: an activity in progress is not canceled when the
// worker stops, although Dapr assigns it to another worker as well.
func TestDrainFinishesWorkInProgress(t *testing.T) {
	c, w := startCluster(t), enginetest.NewWorld()
	e, stop := start(t, c, w, "one")
	release := w.Hold()
	require.NoError(t, e.Start(t.Context(), "Chain", "a", nil))
	w.AwaitStep(t)
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	select {
	case <-stopped:
		t.Fatal("stopped with an activity in progress, want stop to wait for it")
	case <-time.After(300 * time.Millisecond):
	}
	release()
	<-stopped
	e, _ = start(t, c, w, "two")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if i, err := e.Wait(ctx, "a"); err != nil || string(i.Output) != "3" {
		t.Errorf("the saga after the drain = %+v, %v, want output 3", i, err)
	}
}

// TestOpenRejectsAnIncompatibleSidecar: Open reports what a sidecar lacks, before
// the first saga that needs it.
func TestOpenRejectsAnIncompatibleSidecar(t *testing.T) {
	c := startCluster(t)
	side, err := c.Sidecar(t.Context(), daprlocal.App{ID: "ordersaga"})
	require.NoError(t, err)
	_, err = dapr.Open(t.Context(), dapr.Options{Address: side.GRPC, Needs: []string{"statestore", "orderpubsub"}})
	incompatible, ok := errors.AsType[*dapr.IncompatibleSidecarError](err)
	if !ok || !strings.Contains(incompatible.Reason, "no component orderpubsub (it has: statestore)") {
		t.Errorf("Open = %v, want an IncompatibleSidecarError that names the component", err)
	}
}

func TestOpenWithoutASidecarFails(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := dapr.Open(ctx, dapr.Options{Address: "127.0.0.1:1"}); err == nil {
		t.Error("Open without a sidecar = nil, want an error")
	}
}
