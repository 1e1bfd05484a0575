package worker

import (
	"context"
	"errors"

	"github.com/ordersaga/ordersaga/activities"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/deadletter"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/internal/sqsconsumer"
)

// orderReceivers is how many goroutines receive from the order queue.
const orderReceivers = 4

// orders consumes OrderProcessingQueue.
func (w *Worker) orders(s intake.Starter) *sqsconsumer.Consumer {
	return sqsconsumer.New(sqsconsumer.Options{
		SQS: w.parts.Cloud.SQS, QueueURL: w.parts.Resources.OrderQueue, DLQURL: w.parts.Resources.OrderDLQ,
		Handle: func(ctx context.Context, m events.Message) error {
			err := s.HandleOrder(ctx, m)
			if _, poison := errors.AsType[*sqsconsumer.PermanentError](err); w.sagas != nil && !poison {
				w.sagas.recordStart() // it may have run before, or an error may hide that it started
			}
			return err
		},
		Logger: w.Logger, Receivers: orderReceivers, Drain: w.drainTimeout(),
		Observe: w.metrics.outcome("orders"), Lag: w.metrics.age("orders"),
		Probe: w.parts.Store.Probe,
		Capacity: func(ctx context.Context) int {
			if w.sagas != nil {
				return w.sagas.capacity(ctx, w.MaxLive)
			}
			if w.parts.Ready() != nil {
				return 0 // no saga could start: leave the messages to other workers
			}
			return w.restartCapacity(ctx, 0)
		},
	})
}

// carrierAnswers consumes the queue of the carrier's answers.
func (w *Worker) carrierAnswers() *sqsconsumer.Consumer {
	handler := intake.CarrierAnswers{Orders: w.parts.Store, Sagas: w.parts.Engine, Undo: w.Reconciler().UndoRefused}
	return sqsconsumer.New(sqsconsumer.Options{
		SQS: w.parts.Cloud.SQS, QueueURL: w.parts.Resources.CarrierAnswers, DLQURL: w.parts.Resources.CarrierAnswersDLQ,
		Handle: handler.Handle, Logger: w.Logger, Drain: w.drainTimeout(),
		Observe: w.metrics.outcome("carrier"), Lag: w.metrics.age("carrier"), Probe: w.parts.Store.Probe,
	})
}

// restartCapacity returns how many sagas may be started for lost orders, which were
// found without a saga; at or below 0, none.
func (w *Worker) restartCapacity(ctx context.Context, lost int) int {
	st, err := w.parts.Engine.Stats(ctx)
	if err != nil {
		return 0
	}
	capacity := restartCapacity(st, w.MaxLive, lost)
	if w.sagas != nil {
		capacity -= w.sagas.uncounted()
	}
	return capacity
}

// restartCapacity subtracts the live sagas from maxLive. Where orders are counted in
// place of sagas, the lost ones are among them and do not count: once there are more
// than maxLive of them, none would ever be restarted.
func restartCapacity(st engine.Stats, maxLive, lost int) int {
	live := st.Live - st.AwaitingExternal
	if st.ByOrder {
		live -= min(lost, live)
	}
	return maxLive - live
}

// depthOf returns a function that reads how many messages a queue has.
func depthOf(c *cloud.Clients, url string) func(context.Context) (deadletter.Depth, error) {
	return func(ctx context.Context) (deadletter.Depth, error) { return deadletter.DepthOf(ctx, c.SQS, url) }
}

// Reconciler returns the worker's reconciler, which `ordersaga reconcile` runs alone.
// All reconcilers of a worker share what they have found. Open must have succeeded
// before.
func (w *Worker) Reconciler() reconcile.Reconciler {
	return reconcile.Reconciler{
		Orders: w.parts.Store, Payments: w.parts.Payments, Sagas: w.parts.Engine,
		Notify: activities.Activities{Shipments: w.parts.Shipments}.Inform,
		Terms:  w.Terms, Grace: w.ReconcileGrace, Unpaid: w.unpaid, Stalled: w.stalled, Logger: w.Logger, Capacity: w.restartCapacity,
		Backlog: func(ctx context.Context) (int, error) {
			d, err := depthOf(w.parts.Cloud, w.parts.Resources.OrderQueue)(ctx)
			return d.Visible, err
		},
	}
}
