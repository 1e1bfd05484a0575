package activities

import (
	"context"
	"time"

	"github.com/dapr/durabletask-go/task"

	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// Attempt is one try of an activity. Err is a *saga.Stop for a business
// outcome, and any other error if it is tried again.
type Attempt struct {
	Activity, OrderID string
	Took              time.Duration
	Err               error
}

func (a Activities) observe(name string, s workflows.State, began time.Time, err error) {
	if a.Observe != nil {
		a.Observe(Attempt{Activity: name, OrderID: s.Order.OrderID, Took: time.Since(began), Err: err})
	}
}

func (a Activities) do(name string, fn func(context.Context, workflows.State) (workflows.State, error)) task.Activity {
	return saga.Do(func(ctx context.Context, s workflows.State) (workflows.State, error) {
		began := time.Now()
		changed, err := fn(ctx, s)
		a.observe(name, s, began, err)
		return changed, err
	})
}

func (a Activities) undo(name string, fn func(context.Context, workflows.State, saga.Stop) error) task.Activity {
	return saga.Undo(func(ctx context.Context, s workflows.State, why saga.Stop) error {
		began := time.Now()
		err := fn(ctx, s, why)
		a.observe(name, s, began, err)
		return err
	})
}

func (a Activities) parked(name string, fn func(ctx context.Context, s workflows.State, step, cause string) error) task.Activity {
	return saga.Parked(func(ctx context.Context, s workflows.State, step, cause string) error {
		began := time.Now()
		err := fn(ctx, s, step, cause)
		a.observe(name, s, began, err)
		return err
	})
}
