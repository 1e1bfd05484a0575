package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/activities/stock"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// reservations looks for stock held for orders that have ended, and for pieces
// that are reserved though no order holds them.
func (r Reconciler) reservations(ctx context.Context, rep *Report) error {
	before, err := r.reserved(ctx)
	if err != nil {
		return err
	}
	held := pieces{}
	for cursor := ""; ; {
		list, next, err := r.Orders.ListReservations(ctx, cursor, pageSize)
		if err != nil {
			return fmt.Errorf("reconcile reservations: %w", err)
		}
		for _, res := range list {
			rep.Reservations++
			if res.State != stock.HoldHeld {
				continue
			}
			held.add(res)
			rec, err := r.Orders.Get(ctx, res.OrderID)
			if errors.Is(err, stock.ErrNotFound) {
				r.found(ctx, rep, res.OrderID, "stock is held for an order that does not exist", "flagged", nil)
				continue
			}
			if err != nil {
				return fmt.Errorf("reconcile reservations: %w", err)
			}
			ctx := tracing.Continue(ctx, rec.Trace)
			if !rec.Status.Terminal() || !r.settled(rec.UpdatedAt) {
				continue
			}
			// Read before its order had ended, it may be stale.
			res, err := r.Orders.GetReservation(ctx, res.OrderID)
			if err != nil {
				return fmt.Errorf("reconcile reservations: %w", err)
			}
			switch {
			case res.State != stock.HoldHeld:
			case rec.Status == order.StatusCompleted:
				r.found(ctx, rep, res.OrderID, "stock is held, and not sold, for an order that is COMPLETED", "flagged", nil)
			default:
				r.found(ctx, rep, res.OrderID, "stock is held for an order that is "+string(rec.Status), "released", func() error {
					return r.Orders.Release(ctx, res.OrderID, rec.Status, rec.Reason)
				})
			}
		}
		r.show(rep)
		if cursor = next; cursor == "" {
			return r.leaks(ctx, rep, before, held)
		}
	}
}

// charges looks for money taken for orders that did not complete, among the
// charges since a time. It says since when the next run has to look: the first
// charge of an order that has not ended, or else a while before the last one.
// What is older has been seen, and stays.
func (r Reconciler) charges(ctx context.Context, rep *Report, alive map[string]bool, paid claims, since time.Time) (next time.Time, err error) {
	var open, last time.Time
	for cursor := ""; ; {
		list, more, err := r.Payments.ChargesSince(ctx, since, cursor, pageSize)
		if err != nil {
			return since, fmt.Errorf("reconcile charges: %w", err)
		}
		for _, c := range list {
			rep.Charges++
			paid.seen(c)
			ended := c.Refunded
			if !ended && !alive[c.OrderID] {
				if ended, err = r.charge(ctx, rep, c); err != nil {
					return since, fmt.Errorf("reconcile charges: %w", err)
				}
			}
			if !ended && (open.IsZero() || c.CreatedAt.Before(open)) {
				open = c.CreatedAt
			}
			if c.CreatedAt.After(last) {
				last = c.CreatedAt
			}
		}
		r.show(rep)
		if cursor = more; cursor == "" {
			break
		}
	}
	switch {
	case !open.IsZero():
		return open, nil
	case last.IsZero():
		return since, nil
	}
	return last.Add(-r.Grace), nil
}

// charge reports whether nothing more can come of a charge.
func (r Reconciler) charge(ctx context.Context, rep *Report, c payment.Entry) (ended bool, err error) {
	rec, err := r.Orders.Get(ctx, c.OrderID)
	if errors.Is(err, stock.ErrNotFound) {
		r.found(ctx, rep, c.OrderID, "charge "+c.ID+" belongs to no order", "flagged", nil)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	ctx = tracing.Continue(ctx, rec.Trace)
	switch {
	case !rec.Status.Terminal() || !r.settled(rec.UpdatedAt):
		return false, nil
	case rec.Status == order.StatusCompleted:
		return c.ID == rec.ChargeID, r.surplus(ctx, rep, rec, c)
	case rec.ByHand():
		r.found(ctx, rep, c.OrderID, "order is "+string(rec.Status)+", its charge "+c.ID+" was kept, and an operator has had a hand in it", "flagged", nil)
	default:
		r.found(ctx, rep, c.OrderID, "order is "+string(rec.Status)+" and its charge "+c.ID+" was kept", "refunded", func() error {
			return r.refund(ctx, c.OrderID)
		})
	}
	return false, nil
}
