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
	"github.com/ordersaga/ordersaga/internal/worker"
)

// TestOneEmbeddedWorkerPerQueue: the state owns the sagas, whether or not its
// worker runs.
func TestOneEmbeddedWorkerPerQueue(t *testing.T) {
	a := testkit.NewAWS(t, nil)
	newWorker := func(dir string, force bool) *worker.Worker {
		w := good()
		w.AWS.Endpoint, w.DataDir, w.ForceOwnership, w.OwnedEvery = a.Endpoint, dir, force, time.Millisecond
		var err error
		w.Listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		must(t, err)
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
		if !ok || owned.Owner.Host != host || !strings.Contains(err.Error(), fmt.Sprintf("host %s, pid %d, since 20", host, os.Getpid())) || !strings.Contains(err.Error(), "--force-ownership") {
			t.Errorf("%v", err)
		}
	}
	ephemeral := newWorker("", false)
	must(t, open(ephemeral))
	refused(newWorker("", false))
	must(t, ephemeral.Close()) // nothing is left of it

	first, second := t.TempDir(), t.TempDir()
	w := newWorker(first, false)
	must(t, open(w))
	refused(newWorker(second, false))
	must(t, w.Close())
	refused(newWorker(second, false)) // its sagas are in the first one's state, running or not
	refused(newWorker("", false))
	must(t, os.RemoveAll(first+"/engine")) // lost or set aside: it is the same one's to begin again

	w = newWorker(first, false)
	must(t, open(w))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	other := newWorker(second, true)
	must(t, open(other))
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "this worker was taken over from") {
		t.Errorf("the first one goes on: %v", err)
	}
	must(t, other.Close())
	refused(newWorker(first, false))
}
