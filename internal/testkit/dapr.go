package testkit

import (
	"context"
	"io"
	"testing"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/devenv"
	"github.com/ordersaga/ordersaga/internal/fleet"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// NewDaprSystem is NewSystem on real Dapr, as `ordersaga dev` starts it and with its catalogue.
// Parts and StopWorker are not set. The logger also receives the output of Dapr's processes. change
// may be nil.
func NewDaprSystem(t testing.TB, logger zerolog.Logger, change func(*devenv.Dev)) System {
	t.Helper()
	UseBuiltDapr()
	RequireDapr(t)
	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan System, 1), make(chan error, 1)
	d := devenv.Dev{Dapr: true, Out: io.Discard, Logger: logger, Job: job(func(w *worker.Worker, sims devenv.Simulators) {
		ready <- System{API: "http://" + w.Listener.Addr().String(), Simulators: sims, Worker: w}
	})}
	if change != nil {
		change(&d)
	}
	go func() { ended <- d.Run(ctx) }()
	var s System
	select {
	case s = <-ready:
	case err := <-ended:
		stop()
		t.Fatalf("ordersaga dev exited before it was ready: %v", err)
	}
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	s.Endpoint = s.Worker.AWS.Endpoint
	var err error
	s.Clients, err = cloud.New(ctx, s.Worker.AWS)
	require.NoError(t, err)
	s.Resources, err = s.Clients.Setup(ctx) // all of them exist, so it only looks up their names
	require.NoError(t, err)
	s.Store = orderstore.New(s.Clients.DynamoDB, orderstore.TablesWithPrefix(""), nil)
	s.Fleet = fleet.New(s.Clients.DynamoDB, orderstore.TablesWithPrefix("").Orders, nil)
	return s
}

// job is a devenv.Job that is a function.
type job func(*worker.Worker, devenv.Simulators)

// Run calls the function.
func (j job) Run(_ context.Context, w *worker.Worker, sims devenv.Simulators) error {
	j(w, sims)
	return nil
}
