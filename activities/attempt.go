package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/tracing"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// Attempt is one execution of an activity.
type Attempt struct {
	Activity, OrderID string
	Number            int // the first is 1
	Took              time.Duration
	// Err is nil if the activity is done. A *saga.Stop is a business outcome; any
	// other error is technical, and the activity is retried.
	Err error
}

// Outcome returns "done", "stopped" (a business outcome) or "failed" (a technical
// error; the activity is retried).
func (a Attempt) Outcome() string {
	if _, stopped := errors.AsType[*saga.Stop](a.Err); stopped {
		return "stopped"
	} else if a.Err != nil {
		return "failed"
	}
	return "done"
}

// End reports that an order has ended, and how. If the worker crashes at that
// moment, an End may be reported twice, or not at all.
type End struct {
	Status   order.Status
	Refunded bool
	Took     time.Duration // since the order was accepted; 0 if that time is unknown
}

// ended counts an order as ended.
func (a Activities) ended(s workflows.State, e End) {
	if s.Accepted > 0 {
		e.Took = max(time.Since(time.UnixMilli(s.Accepted)), time.Millisecond) // clocks differ
	}
	if a.Ended != nil {
		a.Ended(e)
	}
}

// try runs fn as one attempt of an activity: in a span, with a log line of its
// outcome and a call of Observe. The logger in fn's context names the order and the
// trace.
func (a Activities) try(ctx context.Context, name string, s workflows.State, fn func(context.Context, workflows.State) error) error {
	n, id := max(s.Attempt, 1), cmp.Or(s.OrderID, s.Order.OrderID)
	ctx, span := tracing.BeginAttempt(tracing.Rejoin(ctx, s.Trace), name, id, n)
	log := tracing.Fields(ctx, a.Logger.With().Str("order", id).Str("activity", name).Int("attempt", n)).Logger()
	ctx = log.WithContext(ctx)

	began := time.Now()
	s, err := a.withOrder(ctx, s)
	if err == nil {
		err = fn(ctx, s)
	}
	if errors.Is(err, orderstore.ErrNotFound) && s.Accepted > 0 { // it had a record
		err = a.restore(ctx, name, s, err)
	}
	attempt := Attempt{Activity: name, OrderID: id, Number: n, Took: time.Since(began), Err: err}

	span.SetAttributes(tracing.Outcome.String(attempt.Outcome()))
	if stop, ok := errors.AsType[*saga.Stop](err); ok { // a business outcome, not an error
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

// restore records an order whose record is gone, so that an operator sees it. cause is the
// error of the activity called name, and is returned.
func (a Activities) restore(ctx context.Context, name string, s workflows.State, cause error) error {
	if len(s.Order.Lines) == 0 && a.Input != nil {
		in, err := a.Input(ctx, s.Order.OrderID)
		if err != nil {
			return errors.Join(cause, err)
		}
		s.Order = in.Order
	}
	lost := orderstore.Lost{
		Order: s.Order, AcceptedAt: time.UnixMilli(s.Accepted), ShipmentID: s.ShipmentID, Trace: s.Trace,
		Reason: name + ": the order's record was gone; this one is from its saga, without customer, address and payment token",
	}
	switch name {
	case workflows.RequestShipment, workflows.ConfirmShipment, workflows.CompleteByHand, workflows.VerifyRefusal:
		// Its shipment may have been requested.
		lost.ShipmentID = shipment.ID(s.Order.OrderID)
	}
	var err error
	lost.ChargeID, err = payment.FindCharge(ctx, a.Payments, s.Order, s.ChargeID)
	if err != nil {
		return errors.Join(cause, err)
	}
	status, err := a.Store.Restore(ctx, lost)
	if status != "" {
		zerolog.Ctx(ctx).Error().Str("status", string(status)).Msg("the order's record was gone: it is restored from its saga")
	}
	return errors.Join(cause, err)
}

// mayGoOn returns an error if the order's record was restored: a step forward must not run
// until an operator has decided.
func mayGoOn(rec orderstore.Record) error {
	if rec.AwaitsDecision() {
		return fmt.Errorf("order %s: its record was gone and is restored from its saga; an operator must decide what becomes of it", rec.OrderID)
	}
	return nil
}

// withOrder reads the order into an input that has only its id.
func (a Activities) withOrder(ctx context.Context, s workflows.State) (workflows.State, error) {
	if s.OrderID == "" || s.Order.OrderID != "" {
		return s, nil
	}
	rec, err := a.Store.Get(ctx, s.OrderID)
	if errors.Is(err, orderstore.ErrNotFound) { // it was never accepted, or its record was deleted
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

// do makes fn the activity of a step.
func (a Activities) do(name string, fn func(context.Context, workflows.State) (workflows.State, error)) task.Activity {
	return saga.Do(func(ctx context.Context, s workflows.State) (changed workflows.State, err error) {
		err = a.try(ctx, name, s, func(ctx context.Context, s workflows.State) error {
			changed, err = fn(ctx, s)
			return err
		})
		return changed, err
	})
}

// undo makes fn the activity of a compensation.
func (a Activities) undo(name string, fn func(context.Context, workflows.State, saga.Stop) error) task.Activity {
	return saga.Undo(func(ctx context.Context, s workflows.State, why saga.Stop) error {
		return a.try(ctx, name, s, func(ctx context.Context, s workflows.State) error { return fn(ctx, s, why) })
	})
}

// onStuck makes fn the activity that marks a stuck saga.
func (a Activities) onStuck(name string, fn func(ctx context.Context, s workflows.State, step, cause string) error) task.Activity {
	return saga.OnStuck(func(ctx context.Context, s workflows.State, step, cause string) error {
		if workflows.PastPointOfNoReturn(step) {
			s.ShipmentID = cmp.Or(s.ShipmentID, shipment.ID(cmp.Or(s.OrderID, s.Order.OrderID)))
		}
		return a.try(ctx, name, s, func(ctx context.Context, s workflows.State) error { return fn(ctx, s, step, cause) })
	})
}
