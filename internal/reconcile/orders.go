package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/tracing"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// orders looks for live orders whose saga is gone or has ended without them.
// It adds those that have not ended to alive, and those that are PAID to paid,
// and says whether these are all.
func (r Reconciler) orders(ctx context.Context, rep *Report, alive map[string]bool, paid claims) (all bool, err error) {
	var errs failures
	var lost orphans
	if r.Backlog != nil {
		waiting, err := r.Backlog(ctx)
		if err != nil {
			errs.add(fmt.Errorf("reconcile orders: %w", err))
		}
		lost.backlog = waiting > 0 || err != nil // unknown, they may be in the queue
	}
	err = r.Orders.Walk(ctx, order.OpenStatuses(), pageSize, func(page []orderstore.Record) error {
		page = slices.DeleteFunc(page, func(rec orderstore.Record) bool {
			again := alive[rec.OrderID] // it has changed its status meanwhile
			alive[rec.OrderID] = true
			return again
		})
		rep.Orders += len(page)
		for _, rec := range page {
			paid.add(rec)
		}
		page = slices.DeleteFunc(page, func(rec orderstore.Record) bool { return !r.settled(rec.UpdatedAt) })
		sagas := r.sagasOf(ctx, page)
		for i, rec := range page {
			if err := r.order(ctx, rep, &lost, rec, sagas[i]); err != nil { // the others are looked at all the same
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
	if err := r.begin(ctx, rep, lost.orders); err != nil {
		errs.add(fmt.Errorf("reconcile orders: %w", err))
	}
	r.show(rep)
	return all, errs.err()
}

// sagaOf is what the engine knows of an order's saga.
type sagaOf struct {
	engine.Instance

	err error
}

// sagasOf asks for many at a time: a sidecar answers one in milliseconds, and
// most of those that are asked for wait as they should.
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

func (r Reconciler) order(ctx context.Context, rep *Report, lost *orphans, rec orderstore.Record, found sagaOf) error {
	inst, err := found.Instance, found.err
	if err != nil && !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	r.Stalled.saw(rec.OrderID, inst.Status == engine.Stalled)
	if err == nil && r.waitsAsItMay(rec, inst) {
		return nil
	}
	// The list is a moment old, and the saga may have ended since, with its
	// order: what counts is what it has left behind.
	rec, err = r.Orders.Get(ctx, rec.OrderID)
	if err != nil {
		return err
	}
	if rec.Status.Terminal() || !r.settled(rec.UpdatedAt) {
		return nil
	}
	ctx = tracing.Continue(ctx, rec.Trace)
	if inst, err = Found(rec, inst, found.err); err != nil {
		return err
	}
	gone := inst.Status == ""
	is, ended := "order is "+string(rec.Status), "its saga has ended "+string(inst.Status)
	if rec.Terminated != "" {
		ended += " (" + rec.Terminated + ")"
	}
	switch {
	case !gone && !inst.Status.Ended():
		return r.wake(ctx, rep, rec, inst)
	case rec.GivenUp:
		r.found(ctx, rep, rec.OrderID, is+" and was given up, but not undone", "undone", func() error {
			return r.undo(ctx, rec.OrderID, "given up by an operator; undone by the reconciler")
		})
	case gone && rec.Status != order.StatusNeedsAttention:
		if lost.backlog && r.mayBeQueued(rec) {
			rep.Left++
		} else {
			lost.orders = append(lost.orders, rec)
		}
	case gone:
		r.found(ctx, rep, rec.OrderID, is+" and has no saga; an operator may "+choices(rec)+" it", "flagged", nil)
	case endedFor(inst, anew): // another reconciler, or one that died, is half way
		r.found(ctx, rep, rec.OrderID, "saga was terminated to be begun anew", "saga begun anew", func() error { return r.restart(ctx, rec) })
	case endedFor(inst, dropped): // likewise
		r.found(ctx, rep, rec.OrderID, "saga was terminated to be dropped", "saga dropped", func() error { return r.purge(ctx, rec.OrderID) })
	case rec.Carrier == orderstore.Refused && rec.Status != order.StatusNeedsAttention:
		// Nothing is on its way. It may have been COMPLETED before, and whoever
		// took the refusal in died before the saga was started again.
		r.found(ctx, rep, rec.OrderID, is+" and refused by the carrier, but "+ended, "saga started again", func() error { return r.restart(ctx, rec) })
	case rec.ShipmentID == "":
		r.found(ctx, rep, rec.OrderID, is+" but "+ended, "undone", func() error {
			final, why := endOf(rec, ended+" without finishing the order; undone by the reconciler")
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

// slowGraces is after how many grace periods a saga that waits for the carrier
// is looked after, and the longest pause between looking after any: with the
// usual five minutes, two hours.
const slowGraces = 24

// wake looks after a saga that has stood still where none waits for long. Dapr
// can lose a saga's wake-up when a process dies at the wrong moment: any event
// brings another, and means nothing to a saga that is well. A step of which it
// lost the answer it never asks for again: such a saga is begun anew, and
// finds what is done.
func (r Reconciler) wake(ctx context.Context, rep *Report, rec orderstore.Record, inst engine.Instance) error {
	still := r.Now().Sub(rec.UpdatedAt)
	what := "order has been " + string(rec.Status) + " for " + still.Round(time.Second).String()
	parked := rec.Status == order.StatusNeedsAttention
	switch {
	case inst.Status == engine.Suspended:
		r.found(ctx, rep, rec.OrderID, what+", and its saga is suspended", "flagged", nil)
		return nil
	case inst.Status == engine.Stalled:
		why, err := r.stalledFor(ctx, rec.OrderID)
		if err != nil {
			return err
		}
		r.found(ctx, rep, rec.OrderID, what+", and its saga is stalled: "+why, "flagged", nil)
		return nil
	case r.waitsAsItMay(rec, inst):
		return nil
	case rec.Status == order.StatusAwaitingApproval && inst.CustomStatus == workflows.StepApprove:
		r.tell(ctx, rep, rec)
		return nil
	}
	history, err := r.Sagas.History(ctx, rec.OrderID)
	if err != nil && !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	step, lost := r.lostStep(history)
	what += map[bool]string{true: ", and " + step + " never answered"}[lost]
	switch {
	case lost && parked:
		// How to go on is for a person to say, and none can as long as an
		// earlier decision seems to be carried out.
		r.found(ctx, rep, rec.OrderID, what, "saga dropped", func() error { return r.terminate(ctx, rec.OrderID, dropped) })
	case lost:
		r.found(ctx, rep, rec.OrderID, what, "saga begun anew", func() error {
			if err := r.terminate(ctx, rec.OrderID, anew); err != nil {
				return err
			}
			return r.start(ctx, rec)
		})
	case parked && saga.IsParked(inst.CustomStatus) && rec.Resolution != "":
		by, why := rec.ResolvedBy()
		r.found(ctx, rep, rec.OrderID, rec.Resolution+" was decided and its saga waits on", "saga told again", func() error {
			return SendResolution(ctx, r.send, rec, inst, saga.Resolution{Action: saga.Action(rec.Resolution), By: by, Note: why})
		})
	case MissesCarrier(rec, inst):
		r.found(ctx, rep, rec.OrderID, "the carrier has "+string(rec.Carrier)+" the order and its saga waits on", "saga told again", func() error {
			return saga.Send(ctx, r.Sagas, rec.OrderID, workflows.EventCarrier, CarrierAnswer(rec))
		})
	case parked && saga.IsParked(inst.CustomStatus): // waits for a person
	default:
		r.found(ctx, rep, rec.OrderID, what, "saga nudged", func() error { return saga.Send(ctx, r.Sagas, rec.OrderID, saga.Nudge, nil) })
	}
	return nil
}

func (r Reconciler) send(ctx context.Context, id, kind string, payload any) error {
	return saga.Send(ctx, r.Sagas, id, kind, payload)
}

// stalledFor is why Dapr has stalled a saga, as its history says.
func (r Reconciler) stalledFor(ctx context.Context, id string) (string, error) {
	history, err := r.Sagas.History(ctx, id)
	if err != nil {
		return "", err
	}
	for _, e := range slices.Backward(history) {
		if e.Type == "ExecutionStalled" {
			return e.Error, nil
		}
	}
	return "its history does not say why", nil
}

// tell repeats to a saga that waits for an approval what was decided about its
// order: whoever took the decision in may have died before the saga heard of it.
// The time for it is over if nothing was: the wake-up for that was lost.
func (r Reconciler) tell(ctx context.Context, rep *Report, rec orderstore.Record) {
	what, event, payload := "order was "+string(rec.Decision), workflows.EventApproval, any(workflows.Approval{Approved: rec.Decision == orderstore.Approved})
	switch {
	case rec.CancelRequested:
		what, event, payload = "order was cancelled", workflows.EventCancel, cancellation(rec)
	case rec.Decision == orderstore.Expired: // which the saga reads in the order's record
		what = "order's approval has expired"
	case rec.Decision == "":
		what, event, payload = "order was to be approved until "+rec.IdleUntil, saga.Nudge, nil
	}
	r.found(ctx, rep, rec.OrderID, what+" and its saga waits on", "saga told again", func() error {
		return saga.Send(ctx, r.Sagas, rec.OrderID, event, payload)
	})
}

// waitsAsItMay is for sagas that have not ended.
func (r Reconciler) waitsAsItMay(rec orderstore.Record, inst engine.Instance) bool {
	still := r.Now().Sub(rec.UpdatedAt)
	switch {
	case inst.Status.Ended() || inst.Status == engine.Suspended || inst.Status == engine.Stalled:
		return false
	case still < r.pause(rec):
		return true
	case inst.CustomStatus == workflows.StepCarrier: // the carrier may take a day; a step before it may be lost
		return still < slowGraces*r.Grace && !MissesCarrier(rec, inst)
	case rec.Status == order.StatusAwaitingApproval && inst.CustomStatus == workflows.StepApprove:
		return rec.Decision == "" && !rec.CancelRequested && !r.overdue(rec)
	}
	return false
}

// overdue is for an order that waits for its approval: the saga should have seen
// by now that the time for it is over.
func (r Reconciler) overdue(rec orderstore.Record) bool {
	until, err := time.Parse(time.RFC3339Nano, rec.IdleUntil)
	return err == nil && r.settled(until)
}

func cancellation(rec orderstore.Record) workflows.Cancellation {
	by, why := rec.CancelledBy()
	return workflows.Cancellation{By: by, Reason: why}
}

// pause is how long an order is left alone after it was looked after. It
// doubles each time: what was done stays in its notes and its saga's history.
func (r Reconciler) pause(rec orderstore.Record) time.Duration {
	pause := r.Grace
	for _, n := range rec.Notes {
		if n.Actor == reconciler {
			pause = min(2*pause, slowGraces*r.Grace)
		}
	}
	return pause
}

// lostStep finds an activity that was scheduled before the grace period and
// has no outcome. None takes nearly so long.
func (r Reconciler) lostStep(history []engine.Event) (name string, lost bool) {
	open := map[int]engine.Event{}
	for _, e := range history {
		switch {
		case e.Type == "TaskScheduled":
			open[e.ID] = e
		case (e.Type == "TaskCompleted" || e.Type == "TaskFailed") && e.RelatesTo != nil:
			delete(open, *e.RelatesTo)
		}
	}
	for _, e := range open {
		if r.settled(e.At) {
			return e.Name, true
		}
	}
	return "", false
}
