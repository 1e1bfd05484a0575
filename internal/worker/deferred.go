package worker

import (
	"context"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
)

// deferredTasks retries work that the API could not finish before it answered:
// sending events to sagas that no worker runs at the moment. The tasks are in memory
// only. The decisions behind them are in the orders table, from which the reconciler
// sends the same events, only later.
type deferredTasks struct {
	logger zerolog.Logger
	queue  chan deferredTask
}

type deferredTask struct {
	what     string
	run      func(context.Context) error
	deadline time.Time
}

const (
	// deferredTimeout is ample for an autoscaler to start a worker.
	deferredTimeout       = 10 * time.Minute
	deferredPause         = time.Second // between two attempts of one task
	deferredQueueSize     = 1000
	deferredMaxConcurrent = 32
)

func newDeferredTasks(l zerolog.Logger) deferredTasks {
	return deferredTasks{logger: l, queue: make(chan deferredTask, deferredQueueSize)}
}

// Add queues a task; what names it in the log. It drops the task if the queue is full.
func (d deferredTasks) Add(what string, run func(context.Context) error) {
	d.enqueue(deferredTask{what: what, run: run, deadline: time.Now().Add(deferredTimeout)})
}

func (d deferredTasks) enqueue(t deferredTask) {
	select {
	case d.queue <- t:
	default:
		d.logger.Warn().Str("task", t.what).Msg("too many deferred tasks; left to the reconciler")
	}
}

// Run runs the tasks until ctx ends. One that fails goes to the end of the queue.
func (d deferredTasks) Run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	for range deferredMaxConcurrent {
		g.Go(func() error {
			for {
				select {
				case <-gctx.Done():
					return nil
				case t := <-d.queue:
					d.attempt(gctx, t)
				}
			}
		})
	}
	return g.Wait()
}

func (d deferredTasks) attempt(ctx context.Context, t deferredTask) {
	err := t.run(ctx)
	switch {
	case err == nil || ctx.Err() != nil:
		return
	case time.Now().After(t.deadline):
		d.logger.Warn().Err(err).Str("task", t.what).Msg("deferred task failed for too long; left to the reconciler")
		return
	}
	pause := time.NewTimer(deferredPause)
	defer pause.Stop()
	select {
	case <-ctx.Done():
	case <-pause.C:
		d.enqueue(t)
	}
}
