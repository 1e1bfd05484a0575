package worker

import (
	"context"

	"github.com/ordersaga/ordersaga/internal/intake"
)

// For tests.
var (
	NewSagaCounter  = newSagaCounter
	RestartCapacity = restartCapacity
)

// IntakeByOrder consumes orders as with Dapr: sagas are counted by the orders.
func (w *Worker) IntakeByOrder(ctx context.Context) error {
	byOrder := *w
	byOrder.sagas = newSagaCounter(w.parts.Fleet, depthOf(w.parts.Cloud, w.parts.Resources.OrderQueue))
	return byOrder.orders(intake.Starter{Orders: w.parts.Store, Sagas: w.parts.Engine, Terms: w.Terms}).Run(ctx)
}

// FakeSagaCounter returns a counter whose count is the test's: live sagas and workers.
func FakeSagaCounter(count func() (live, workers int)) *sagaCounter {
	return &sagaCounter{count: func(context.Context) (c sagaCount, err error) {
		c.Live, c.workers = count()
		return c, nil
	}}
}

// Capacity is capacity.
func (s *sagaCounter) Capacity(ctx context.Context, maxLive int) int { return s.capacity(ctx, maxLive) }

// RecordStart is recordStart.
func (s *sagaCounter) RecordStart() { s.recordStart() }
