package worker

import (
	"context"

	"github.com/ordersaga/ordersaga/internal/intake"
)

// For tests.
var (
	LoadOf      = loadOf
	RoomForLost = roomForLost
)

// IntakeByOrder takes orders in as with Dapr: sagas are counted by the orders.
func (w *Worker) IntakeByOrder(ctx context.Context) error {
	byOrder := *w
	byOrder.load = loadOf(w.parts.Fleet, depthOf(w.parts.Cloud, w.parts.Resources.OrderQueue))
	return byOrder.orders(intake.Starter{Orders: w.parts.Store, Sagas: w.parts.Engine, Terms: w.Terms}).Run(ctx)
}

// Counted is a load with a count of the test's: live sagas and workers.
func Counted(count func() (live, workers int)) *load {
	return &load{count: func(context.Context) (c census, err error) {
		c.Live, c.workers = count()
		return c, nil
	}}
}

func (l *load) Room(ctx context.Context, maxLive int) int { return l.room(ctx, maxLive) }
func (l *load) Began()                                    { l.began() }
