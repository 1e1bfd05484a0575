package activities

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/tracing"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// Attempt is one try of an activity. Err is a *saga.Stop for a business
// outcome, and any other error if it is tried again.
type Attempt struct {
	Activity, OrderID string
	Number            int // 1 is the first
	Took              time.Duration
	Err               error
}

// Outcome is done, stopped (a business outcome) or failed (it is tried again).
func (a Attempt) Outcome() string {
	if _, stopped := errors.AsType[*saga.Stop](a.Err); stopped {
		return "stopped"
	} else if a.Err != nil {
		return "failed"
	}
	return "done"
}

// End is how an order ended. One whose worker dies meanwhile may be told of twice,
// or not at all.
type End struct {
	Status   order.Status
	Refunded bool
	Took     time.Duration // since the order was accepted; 0 if that is not known
}

func (a Activities) ended(s workflows.State, e End) {
	if s.Accepted > 0 {
		e.Took = max(time.Since(time.UnixMilli(s.Accepted)), time.Millisecond) // clocks differ
	}
	if a.Ended != nil {
		a.Ended(e)
	}
}

// try makes an attempt a span, and says in the log and to Observe what came of
// it. What fn logs to the logger of its context names the order and the trace.
func (a Activities) try(ctx context.Context, name string, s workflows.State, fn func(context.Context, workflows.State) error) error {
	n, id := max(s.Attempt, 1), cmp.Or(s.OrderID, s.Order.OrderID)
	ctx, span := tracing.BeginAttempt(tracing.Rejoin(ctx, s.Trace), name, id, n)
	log := tracing.Fields(ctx, a.Logger.With().Str("order", id).Str("activity", name).Int("attempt", n)).Logger()
	ctx = log.WithContext(ctx)

	began := time.Now()
	s, err := a.whole(ctx, s)
	if err == nil {
		err = fn(ctx, s)
	}
	attempt := Attempt{Activity: name, OrderID: id, Number: n, Took: time.Since(began), Err: err}

	span.SetAttributes(tracing.Outcome.String(attempt.Outcome()))
	if stop, ok := errors.AsType[*saga.Stop](err); ok { // an answer, not an error
		span.AddEvent(stop.Error())
		tracing.End(span, nil)
	} else {
		tracing.End(span, err)
	}
	zerolog.Ctx(ctx).Debug().Err(err).Str("outcome", attempt.Outcome()).Dur("took", attempt.Took).Msg("activity tried")
	if a.Observe != nil {
		a.Observe(attempt)
	}
	return err
}

// whole puts the order back into an input that only names it.
func (a Activities) whole(ctx context.Context, s workflows.State) (workflows.State, error) {
	if s.OrderID == "" || s.Order.OrderID != "" {
		return s, nil
	}
	rec, err := a.Store.Get(ctx, s.OrderID)
	if errors.Is(err, orderstore.ErrNotFound) { // it was never accepted, or somebody has deleted it
		s.Order = order.Order{OrderID: s.OrderID}
		return s, nil
	}
	if err != nil {
		return s, err
	}
	o, err := rec.Order()
	s.Order = o.WithoutToken()
	return s, err
}

func (a Activities) do(name string, fn func(context.Context, workflows.State) (workflows.State, error)) task.Activity {
	return saga.Do(func(ctx context.Context, s workflows.State) (changed workflows.State, err error) {
		err = a.try(ctx, name, s, func(ctx context.Context, s workflows.State) error {
			changed, err = fn(ctx, s)
			return err
		})
		return changed, err
	})
}

func (a Activities) undo(name string, fn func(context.Context, workflows.State, saga.Stop) error) task.Activity {
	return saga.Undo(func(ctx context.Context, s workflows.State, why saga.Stop) error {
		return a.try(ctx, name, s, func(ctx context.Context, s workflows.State) error { return fn(ctx, s, why) })
	})
}

func (a Activities) parked(name string, fn func(ctx context.Context, s workflows.State, step, cause string) error) task.Activity {
	return saga.OnStuck(func(ctx context.Context, s workflows.State, step, cause string) error {
		return a.try(ctx, name, s, func(ctx context.Context, s workflows.State) error { return fn(ctx, s, step, cause) })
	})
}
