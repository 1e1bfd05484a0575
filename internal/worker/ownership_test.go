package worker_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/fleet"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// TestStateOwnsTheSagas, whether or not its worker runs.
func TestStateOwnsTheSagas(t *testing.T) {
	a := testkit.NewAWS(t, nil)
	newWorker := func(dir string, force bool) *worker.Worker {
		w := good()
		w.AWS.Endpoint, w.DataDir, w.ForceOwnership, w.OwnershipCheckInterval = a.Endpoint, dir, force, time.Millisecond
		var err error
		w.Listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { _ = w.Listener.Close() }) // by the worker, if it runs
		return &w
	}
	open := func(w *worker.Worker) error {
		_, err := w.Open(t.Context())
		return err
	}
	refused := func(w *worker.Worker) {
		t.Helper()
		err := open(w)
		host, _ := os.Hostname()
		owned, ok := errors.AsType[*fleet.OwnedError](err)
		text := fmt.Sprintf("host %s, pid %d, since 20", host, os.Getpid())
		if !ok || owned.Owner.Host != host || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), "--force-ownership") {
			t.Errorf("error = %v, want an OwnedError with %q and --force-ownership", err, text)
		}
	}
	ephemeral := newWorker("", false)
	require.NoError(t, open(ephemeral))
	refused(newWorker("", false))
	require.NoError(t, ephemeral.Close()) // nothing is left of it

	first, second := t.TempDir(), t.TempDir()
	w := newWorker(first, false)
	require.NoError(t, open(w))
	refused(newWorker(second, false))
	require.NoError(t, w.Close())
	refused(newWorker(second, false)) // its sagas are in the first one's state, running or not
	refused(newWorker("", false))
	require.NoError(t, os.RemoveAll(first+"/engine")) // lost or set aside: the sagas are still the same state's

	w = newWorker(first, false)
	require.NoError(t, open(w))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	other := newWorker(second, true)
	require.NoError(t, open(other))
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "this worker was taken over from") {
		t.Errorf("error of the first worker = %v, want that it was taken over from", err)
	}
	require.NoError(t, other.Close())
	refused(newWorker(first, false))
}
