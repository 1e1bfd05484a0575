package reconcile

import (
	"context"
	"errors"
	"fmt"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// reservations looks for stock held for orders that have ended, and for units that are
// reserved although no order holds them.
func (r Reconciler) reservations(ctx context.Context, rep *Report) error {
	before, err := r.reserved(ctx)
	if err != nil {
		return err
	}
	held := units{}
	var errs failures
	for list, err := range r.allReservations(ctx) {
		if err != nil {
			return fmt.Errorf("reconcile reservations: %w", err)
		}
		for _, res := range list {
			rep.Reservations++
			if res.State != orderstore.HoldHeld {
				continue
			}
			held.add(res)
			if err := r.reservation(ctx, rep, res.OrderID); !errs.add(wrap(err, "reconcile the reservation of order "+res.OrderID)) {
				return errs.err()
			}
		}
		r.show(rep)
	}
	return errors.Join(errs.err(), r.leaks(ctx, rep, before, held))
}

// reservation checks one reservation that is held.
func (r Reconciler) reservation(ctx context.Context, rep *Report, id string) error {
	rec, err := r.Orders.Get(ctx, id)
	if errors.Is(err, orderstore.ErrNotFound) {
		_, err := r.withoutRecord(ctx, rep, id, "", "stock is held for an order that does not exist")
		return err
	}
	if err != nil || !rec.Status.Terminal() || !r.settled(rec.UpdatedAt) {
		return err
	}
	ctx = tracing.Continue(ctx, rec.Trace)
	// Read before its order had ended, it may be stale.
	res, err := r.Orders.GetReservation(ctx, id)
	switch {
	case err != nil:
		return err
	case res.State != orderstore.HoldHeld:
	case rec.Status == order.StatusCompleted:
		r.found(ctx, rep, id, "stock is held, and not sold, for an order that is COMPLETED", "flagged", nil)
	default:
		r.found(ctx, rep, id, "stock is held for an order that is "+string(rec.Status), "released", func() error {
			return r.Orders.Release(ctx, id, rec.Status, rec.Reason)
		})
	}
	return nil
}
