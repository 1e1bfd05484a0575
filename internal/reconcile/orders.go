package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// orders looks for open orders whose saga is lost or has ended without them. It adds
// orders that have not ended to alive, and those that are PAID to paid. all reports
// whether these are complete.
func (r Reconciler) orders(ctx context.Context, rep *Report, alive map[string]bool, paid claims) (all bool, err error) {
	var errs failures
	var lost orphans
	if r.Backlog != nil {
		waiting, err := r.Backlog(ctx)
		if err != nil {
			errs.add(fmt.Errorf("reconcile orders: %w", err))
		}
		lost.backlog = waiting > 0 || err != nil // if unknown, they may be in the queue
	}
	err = r.Orders.Walk(ctx, order.OpenStatuses(), pageSize, func(page []orderstore.Record) error {
		page = slices.DeleteFunc(page, func(rec orderstore.Record) bool {
			again := alive[rec.OrderID] // its status has changed meanwhile
			alive[rec.OrderID] = true
			return again
		})
		rep.Orders += len(page)
		for _, rec := range page {
			paid.add(rec)
			r.restored(ctx, rep, rec)
		}
		page = slices.DeleteFunc(page, func(rec orderstore.Record) bool { return !r.settled(rec.UpdatedAt) })
		sagas := r.sagasOf(ctx, page)
		for i, rec := range page {
			if err := r.order(ctx, rep, &lost, rec, sagas[i]); err != nil { // the others are checked all the same
				errs.add(fmt.Errorf("reconcile order %s: %w", rec.OrderID, err))
			}
		}
		r.show(rep)
		return ctx.Err()
	})
	all = err == nil
	if all {
		r.Stalled.keep(alive)
	} else {
		errs.add(fmt.Errorf("reconcile orders: %w", err))
	}
	if err := r.startLost(ctx, rep, lost.orders); err != nil {
		errs.add(fmt.Errorf("reconcile orders: %w", err))
	}
	r.show(rep)
	return all, errs.err()
}

// sagaOf is what the engine returned for an order's saga.
type sagaOf struct {
	engine.Instance

	err error
}

// sagasOf reads many sagas concurrently: a sidecar needs milliseconds for each, and most
// of them wait as they should.
func (r Reconciler) sagasOf(ctx context.Context, page []orderstore.Record) []sagaOf {
	out := make([]sagaOf, len(page))
	var g errgroup.Group
	g.SetLimit(16)
	for i := range page {
		g.Go(func() error {
			out[i].Instance, out[i].err = r.Sagas.Get(ctx, page[i].OrderID)
			return nil
		})
	}
	_ = g.Wait() // each has its own error
	return out
}

// order checks one open order that is unchanged for the grace period.
func (r Reconciler) order(ctx context.Context, rep *Report, lost *orphans, rec orderstore.Record, found sagaOf) error {
	inst, err := found.Instance, found.err
	if err != nil && !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	r.Stalled.saw(rec.OrderID, inst.Status == engine.Stalled)
	if err == nil && r.waitsNormally(rec, inst) {
		return nil
	}
	// The list is slightly old, and the saga may have ended since, with its order:
	// the record as it is now counts.
	rec, err = r.Orders.Get(ctx, rec.OrderID)
	if err != nil {
		return err
	}
	if rec.Status.Terminal() || !r.settled(rec.UpdatedAt) {
		return nil
	}
	ctx = tracing.Continue(ctx, rec.Trace)
	inst, err = InstanceOf(rec, inst, found.err)
	if err != nil {
		return err
	}
	gone := inst.Status == ""
	is, ended := "order is "+string(rec.Status), "its saga has ended "+string(inst.Status)
	if rec.Terminated != "" {
		ended += " (" + rec.Terminated + ")"
	}
	again, err := r.acceptedAgain(ctx, rec, inst)
	if err != nil {
		return err
	}
	switch {
	case again:
		_, err := r.withoutRecord(ctx, rep, rec.OrderID, "", is+", and accepted again: its saga has requested its shipment before")
		return err
	case !gone && !inst.Status.Ended():
		return r.running(ctx, rep, rec, inst)
	case rec.GivenUp:
		r.found(ctx, rep, rec.OrderID, is+" and was abandoned, but not compensated", "undone", func() error {
			return r.undo(ctx, rec.OrderID, "abandoned by an operator; compensated by the reconciler")
		})
	case gone && rec.Status != order.StatusNeedsAttention:
		if lost.backlog && r.mayBeQueued(rec) {
			rep.Left++
		} else {
			lost.orders = append(lost.orders, rec)
		}
	case gone:
		r.found(ctx, rep, rec.OrderID, is+" and has no saga; an operator may "+choices(rec)+" it", "flagged", nil)
	case endedFor(inst, reasonRestarted): // another reconciler, or one that crashed, is half way
		r.found(ctx, rep, rec.OrderID, "saga was terminated to be restarted", restarted, func() error { return r.restart(ctx, rec) })
	case endedFor(inst, reasonDropped): // another reconciler did not finish
		r.found(ctx, rep, rec.OrderID, "saga was terminated to be dropped", "saga dropped", func() error { return r.purge(ctx, rec.OrderID) })
	case rec.Carrier == orderstore.Refused && rec.Status != order.StatusNeedsAttention:
		// Nothing is on its way. The order may have been COMPLETED before, and the
		// process that recorded the refusal crashed before it restarted the saga.
		what := is + " and refused by the carrier, but " + ended
		r.found(ctx, rep, rec.OrderID, what, startedAgain, func() error { return r.restart(ctx, rec) })
	case rec.ShipmentID == "":
		r.found(ctx, rep, rec.OrderID, is+" but "+ended, "undone", func() error {
			final, why := finalStatus(rec, ended+" without finishing the order; compensated by the reconciler")
			return r.undoTo(ctx, rec.OrderID, final, why)
		})
	// The parcel may be on its way: neither refunding nor shipping again is
	// safe, so a person decides.
	case rec.Status != order.StatusNeedsAttention:
		why := is + " with a shipment requested, but " + ended
		r.found(ctx, rep, rec.OrderID, why, "parked", func() error { return r.Orders.MarkNeedsAttention(ctx, rec.OrderID, why) })
	default:
		r.found(ctx, rep, rec.OrderID, is+" with a shipment requested, and "+ended+"; an operator may "+choices(rec)+" it", "flagged", nil)
	}
	return nil
}
