package reconcile

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/replay"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// slowGraces is the number of grace periods after which a saga that awaits the carrier is
// checked, and the longest pause between two checks of any saga: two hours with the
// default grace period.
const slowGraces = 24

// running checks a saga that has not moved in a status where none waits for long. Dapr
// can lose a saga's reminder when a process crashes at the wrong moment: any event
// creates another, and means nothing to a healthy saga. Dapr never repeats a step whose
// result it lost: such a saga is restarted, and finds what is done.
func (r Reconciler) running(ctx context.Context, rep *Report, rec orderstore.Record, inst engine.Instance) error {
	still := r.Now().Sub(rec.UpdatedAt)
	what := "order has been " + string(rec.Status) + " for " + still.Round(time.Second).String()
	parked := rec.Status == order.StatusNeedsAttention
	switch {
	case inst.Status == engine.Suspended:
		r.found(ctx, rep, rec.OrderID, what+", and its saga is suspended", "flagged", nil)
		return nil
	case inst.Status == engine.Stalled:
		why, err := r.stalledFor(ctx, inst)
		if err != nil {
			return err
		}
		r.found(ctx, rep, rec.OrderID, what+", and its saga is stalled: "+why, "flagged", nil)
		return nil
	case r.waitsNormally(rec, inst):
		return nil
	case rec.Status == order.StatusAwaitingApproval && inst.CustomStatus == workflows.StepApprove:
		r.repeatDecision(ctx, rep, rec)
		return nil
	}
	history, err := r.Sagas.History(ctx, rec.OrderID)
	if err != nil && !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	step, lost := r.lostStep(history)
	if lost {
		what += ", and " + step + " never returned"
	}
	switch {
	case lost && parked:
		// An operator must decide how to continue, and cannot while an earlier
		// decision seems to be in progress.
		r.found(ctx, rep, rec.OrderID, what, "saga dropped", func() error { return r.terminate(ctx, rec.OrderID, reasonDropped) })
	case lost:
		r.found(ctx, rep, rec.OrderID, what, restarted, func() error {
			if err := r.terminate(ctx, rec.OrderID, reasonRestarted); err != nil {
				return err
			}
			return r.start(ctx, rec)
		})
	case parked && saga.IsParked(inst.CustomStatus) && rec.Resolution != "":
		by, why := rec.ResolvedBy()
		r.found(ctx, rep, rec.OrderID, rec.Resolution+" was decided and its saga still waits", sentAgain, func() error {
			return SendResolution(ctx, r.send, rec, inst, saga.Resolution{Action: saga.Action(rec.Resolution), By: by, Note: why})
		})
	case MissesCarrier(rec, inst):
		what := "the carrier has " + string(rec.Carrier) + " the order and its saga still waits"
		r.found(ctx, rep, rec.OrderID, what, sentAgain, func() error {
			return saga.Send(ctx, r.Sagas, rec.OrderID, workflows.EventCarrier, CarrierAnswer(rec))
		})
	case parked && (saga.IsParked(inst.CustomStatus) || rec.Restored): // waits for an operator
	default:
		r.found(ctx, rep, rec.OrderID, what, "saga nudged", func() error { return saga.Send(ctx, r.Sagas, rec.OrderID, saga.Nudge, nil) })
	}
	return nil
}

func (r Reconciler) send(ctx context.Context, id, kind string, payload any) error {
	return saga.Send(ctx, r.Sagas, id, kind, payload)
}

// stalledFor returns why a saga is stalled, from its custom status or its history.
func (r Reconciler) stalledFor(ctx context.Context, inst engine.Instance) (string, error) {
	if why := replay.ChangedBy(inst.CustomStatus); why != "" {
		return why, nil
	}
	history, err := r.Sagas.History(ctx, inst.ID)
	if err != nil {
		return "", err
	}
	for _, e := range slices.Backward(history) {
		if e.Type == "ExecutionStalled" {
			return e.Error, nil
		}
	}
	return "its history has no reason", nil
}

// repeatDecision sends a saga that awaits an approval what was decided about its order:
// the process that recorded the decision may have crashed before it sent it. Without a
// decision the time for it is over, and the saga's timer was lost.
func (r Reconciler) repeatDecision(ctx context.Context, rep *Report, rec orderstore.Record) {
	what, event := "order was "+string(rec.Decision), workflows.EventApproval
	payload := any(workflows.Approval{Approved: rec.Decision == orderstore.Approved})
	switch {
	case rec.CancelRequested:
		what, event, payload = "order was cancelled", workflows.EventCancel, cancellation(rec)
	case rec.Decision == orderstore.Expired: // which the saga reads in the order's record
		what = "order's approval has expired"
	case rec.Decision == "":
		what, event, payload = "order was to be approved until "+rec.IdleUntil, saga.Nudge, nil
	}
	r.found(ctx, rep, rec.OrderID, what+" and its saga still waits", sentAgain, func() error {
		return saga.Send(ctx, r.Sagas, rec.OrderID, event, payload)
	})
}

// waitsNormally reports whether a saga that has not ended waits for no longer than it
// may.
func (r Reconciler) waitsNormally(rec orderstore.Record, inst engine.Instance) bool {
	still := r.Now().Sub(rec.UpdatedAt)
	switch {
	case inst.Status.Ended() || inst.Status == engine.Suspended || inst.Status == engine.Stalled:
		return false
	case still < r.pause(rec):
		return true
	case inst.CustomStatus == workflows.StepCarrier: // the carrier may take a day; a step before it may be lost
		return still < slowGraces*r.Grace && !MissesCarrier(rec, inst) && rec.Status != order.StatusPending
	case rec.Status == order.StatusAwaitingApproval && inst.CustomStatus == workflows.StepApprove:
		return rec.Decision == "" && !rec.CancelRequested && !r.overdue(rec)
	}
	return false
}

// overdue reports whether the saga of an order that awaits approval should have noticed
// by now that the time for it is over.
func (r Reconciler) overdue(rec orderstore.Record) bool {
	until, err := time.Parse(time.RFC3339Nano, rec.IdleUntil)
	return err == nil && r.settled(until)
}

func cancellation(rec orderstore.Record) workflows.Cancellation {
	by, why := rec.CancelledBy()
	return workflows.Cancellation{By: by, Reason: why}
}

// pause returns how long an order is left alone after it was checked. It doubles each time,
// because every action stays in the order's notes and its saga's history.
func (r Reconciler) pause(rec orderstore.Record) time.Duration {
	pause := r.Grace
	for _, n := range rec.Notes {
		if n.Actor == reconciler {
			pause = min(2*pause, slowGraces*r.Grace)
		}
	}
	return pause
}

// lostStep finds an activity that was scheduled before the grace period and has no
// outcome. No activity takes nearly as long.
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

// MissesCarrier reports whether a saga awaits the carrier, or an operator because of it,
// although its order has the carrier's answer.
func MissesCarrier(rec orderstore.Record, inst engine.Instance) bool {
	return rec.Carrier != "" && (inst.CustomStatus == workflows.StepCarrier || saga.ParkedAt(inst.CustomStatus) == workflows.StepCarrier)
}
