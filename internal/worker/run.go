package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dapr/durabletask-go/task"
	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/activities"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/engine/embedded"
	"github.com/ordersaga/ordersaga/internal/httpserve"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/internal/tracing"
	"github.com/ordersaga/ordersaga/workflows"
)

// The shutdown timeout has three parts: intake finishes what it has received,
// the engine drains, and what was cut off gets the rest to return.
func (w *Worker) intakeTimeout() time.Duration { return w.ShutdownTimeout / 10 }
func (w *Worker) drainTimeout() time.Duration  { return w.ShutdownTimeout * 8 / 10 }

// defaultOwnershipCheckInterval is used when OwnershipCheckInterval is 0.
const defaultOwnershipCheckInterval = 15 * time.Second

// Run works until ctx ends, then stops receiving, finishes what is in progress,
// and closes everything. Open must have succeeded before.
//
// It always returns within ShutdownTimeout after ctx has ended. It returns an error
// if something was still running by then. The process must exit then: after a
// restart it continues from the state on disk.
func (w *Worker) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	return endsWithin(ctx, w.ShutdownTimeout, func() error { return w.run(ctx, stop) })
}

// endsWithin runs f and returns its error. It abandons f, still running, when ctx
// ended limit ago.
func endsWithin(ctx context.Context, limit time.Duration, f func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- f() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case err := <-ended:
		return err
	case <-late.C:
		return fmt.Errorf("worker has not ended within %s; the rest is done after the next start", limit)
	}
}

// run is Run without its time limit; stopAll ends ctx.
func (w *Worker) run(ctx context.Context, stopAll func()) error {
	p := w.parts
	registry, err := w.taskRegistry()
	if err != nil {
		return err
	}
	starter := intake.Starter{Orders: p.Store, Sagas: p.Engine, Terms: w.Terms}
	// Intake stops first, the engine after: the sagas that intake has started need it.
	// But intake may wait for a full disk, which ends only when the engine stops.
	engineCtx, stopEngine := context.WithCancel(context.WithoutCancel(ctx))
	defer stopEngine()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(w.intakeTimeout(), stopEngine) })()
	var engineDone errgroup.Group
	if !w.NoSagas {
		engineDone.Go(func() error {
			defer stopAll() // without an engine no order can be processed
			return p.Engine.Run(engineCtx, registry)
		})
	}

	// Heartbeats continue while the engine drains, to report the sagas that end then.
	heartbeatCtx, stopHeartbeat := context.WithCancel(context.WithoutCancel(ctx))
	defer stopHeartbeat()
	var heartbeats sync.WaitGroup
	if !w.NoSagas {
		heartbeats.Go(func() { w.heartbeat(heartbeatCtx) })
	}

	g, gctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(gctx, stopAll)() // one that fails ends the others
	if !w.NoIntake && !w.NoSagas {
		g.Go(func() error { return cloud.WithHint(w.orders(starter).Run(gctx)) })
	}
	if !w.NoSagas {
		g.Go(func() error { return cloud.WithHint(w.carrierAnswers().Run(gctx)) })
	}
	deferred := newDeferredTasks(w.Logger)
	g.Go(func() error { return deferred.Run(gctx) })
	onDemand := reconcile.NewOnDemand(w.Reconciler())
	g.Go(func() error { return onDemand.Run(gctx) })
	g.Go(func() error {
		return httpserve.Run(gctx, w.Listener, tracing.Handler(w.handler(starter, deferred, onDemand)))
	})
	if eng, ok := p.Engine.(*embedded.Engine); ok && w.EngineListener != nil {
		g.Go(func() error { return eng.Serve(gctx, w.EngineListener, startGuard{starter: starter}.start) })
	}
	if w.owner != nil {
		every := cmp.Or(w.OwnershipCheckInterval, defaultOwnershipCheckInterval)
		g.Go(func() error { return w.owner.watch(gctx, every) })
	}
	if w.ReconcileEvery > 0 {
		g.Go(func() error { return w.Reconciler().Run(gctx, w.ReconcileEvery) })
	}
	err = g.Wait()
	stopEngine()
	err = errors.Join(err, engineDone.Wait())
	stopHeartbeat()
	heartbeats.Wait()
	err = errors.Join(err, w.Close())
	w.Logger.Debug().Msg("worker stopped")
	return err
}

// taskRegistry has the workflows and activities that the engine runs.
func (w *Worker) taskRegistry() (*task.TaskRegistry, error) {
	registry := task.NewTaskRegistry()
	acts := activities.Activities{
		Store: w.parts.Store, Payments: w.parts.Payments, Shipments: w.parts.Shipments, Logger: w.Logger,
		Observe: w.metrics.attempt, Ended: w.metrics.end, Input: w.sagaInput,
	}
	if err := acts.Register(registry); err != nil {
		return nil, fmt.Errorf("register activities: %w", err)
	}
	if w.Register == nil {
		return registry, nil
	}
	if err := w.Register(registry); err != nil {
		return nil, fmt.Errorf("register further workflows: %w", err)
	}
	return registry, nil
}

// sagaInput returns the input of an order's saga.
func (w *Worker) sagaInput(ctx context.Context, orderID string) (workflows.State, error) {
	inst, err := w.parts.Engine.Get(ctx, orderID)
	if err != nil {
		return workflows.State{}, fmt.Errorf("read the input of saga %s: %w", orderID, err)
	}
	return reconcile.InputOf(inst)
}

// Close releases what Open has opened. Run calls it when it returns.
func (w *Worker) Close() error {
	w.parts.Payments.Close()
	if err := w.owner.release(); err != nil { // AWS may be down already, as in `dev`
		w.Logger.Debug().Err(err).Msg("ownership of the sagas was not released; the next worker needs --force-ownership")
	}
	if c, ok := w.parts.Engine.(interface{ Close() error }); ok {
		return c.Close()
	}
	return nil
}
