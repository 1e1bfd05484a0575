package app_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/app"
	"github.com/ordersaga/ordersaga/internal/fleet"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestOneEmbeddedWorkerPerQueue: the state owns the sagas, whether or not its
// worker runs.
func TestOneEmbeddedWorkerPerQueue(t *testing.T) {
	a := testkit.NewAWS(t, nil)
	worker := func(dir string, takeOver bool) *app.Worker {
		w := good()
		w.AWS.Endpoint, w.DataDir, w.TakeOver, w.OwnedEvery = a.Endpoint, dir, takeOver, time.Millisecond
		var err error
		w.Listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		must(t, err)
		t.Cleanup(func() { _ = w.Listener.Close() }) // by the worker, if it runs
		return &w
	}
	open := func(w *app.Worker) error {
		_, err := w.Open(t.Context())
		return err
	}
	refused := func(w *app.Worker) {
		t.Helper()
		err := open(w)
		host, _ := os.Hostname()
		owned, ok := errors.AsType[*fleet.OwnedError](err)
		if !ok || owned.Owner.Host != host || !strings.Contains(err.Error(), fmt.Sprintf("host %s, pid %d, since 20", host, os.Getpid())) || !strings.Contains(err.Error(), "--take-over") {
			t.Errorf("%v", err)
		}
	}
	ephemeral := worker("", false)
	must(t, open(ephemeral))
	refused(worker("", false))
	must(t, ephemeral.Close()) // nothing is left of it

	first, second := t.TempDir(), t.TempDir()
	w := worker(first, false)
	must(t, open(w))
	refused(worker(second, false))
	must(t, w.Close())
	refused(worker(second, false)) // its sagas are in the first one's state, running or not
	refused(worker("", false))
	must(t, os.RemoveAll(first+"/engine")) // lost or set aside: it is the same one's to begin again

	w = worker(first, false)
	must(t, open(w))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	other := worker(second, true)
	must(t, open(other))
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "this worker was taken over from") {
		t.Errorf("the first one goes on: %v", err)
	}
	must(t, other.Close())
	refused(worker(first, false))
}
