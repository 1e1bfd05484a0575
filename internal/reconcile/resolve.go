package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/sagastart"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// SendResolution sends a parked saga an operator's resolution with send, which works as
// saga.Send. Before a retry it sends the carrier's answer if the saga awaits it in vain:
// a saga of version 1 accepts no answer while it is parked, and needs both.
func SendResolution(
	ctx context.Context, send func(ctx context.Context, id, kind string, payload any) error,
	rec orderstore.Record, inst engine.Instance, res saga.Resolution,
) error {
	if res.Action != saga.ActionRetry || !MissesCarrier(rec, inst) {
		return send(ctx, rec.OrderID, workflows.EventResolve, res)
	}
	if err := send(ctx, rec.OrderID, workflows.EventCarrier, CarrierAnswer(rec)); err != nil {
		return err
	}
	err := send(ctx, rec.OrderID, workflows.EventResolve, res)
	if errors.Is(err, engine.ErrEnded) { // the answer was enough
		return nil
	}
	return err
}

// ErrNoSaga means that a resolution requires the saga, which is lost.
var ErrNoSaga = errors.New("the order's saga is lost")

// CanResolveWithoutSaga returns an ErrNoSaga for a resolution that ResolveWithoutSaga
// cannot carry out.
func CanResolveWithoutSaga(rec orderstore.Record, a saga.Action) error {
	why := "its shipment was not requested"
	switch {
	case a == saga.ActionRetry || a == saga.ActionCompensate:
		return nil
	case rec.Carrier == orderstore.Refused:
		why = saga.Reason("the carrier has refused the shipment", "", rec.RefusedFor())
	case rec.GivenUp || rec.Refunding || refundResolved(rec):
		why = "the order is being compensated"
	case rec.ShipmentID != "" || slices.ContainsFunc(rec.Settled, workflows.PastPointOfNoReturn):
		return nil
	}
	return fmt.Errorf("%w, and %s: only retry (restart it, or continue compensating it) and compensate (refund and release) are possible",
		ErrNoSaga, why)
}

// choices lists the resolutions that ResolveWithoutSaga can carry out.
func choices(rec orderstore.Record) string {
	if CanResolveWithoutSaga(rec, saga.ActionResolve) != nil {
		return "retry or compensate"
	}
	return "retry, resolve or compensate"
}

// refundResolved reports whether an operator has refunded the order by hand or skipped
// the refund. Then no refund follows.
func refundResolved(rec orderstore.Record) bool {
	return slices.Contains(rec.Settled, workflows.StepCharge)
}

// DeferredError means that a decision is recorded, and Err is why it could not be carried
// out yet.
type DeferredError struct{ Err error }

func (e *DeferredError) Error() string {
	return "the order is abandoned, and could not be compensated yet: " +
		e.Err.Error() + "; the reconciler retries, and so does the action retry"
}

func (e *DeferredError) Unwrap() error { return e.Err }

// ResolveWithoutSaga carries out an operator's resolution of an order that needs
// attention and whose saga has ended without it or is lost. An abandoned order is not
// restarted: to retry is to continue compensating it. The same holds for an order whose
// refund an operator has resolved. To skip or resolve is to complete an order whose
// shipment was requested.
func (r Reconciler) ResolveWithoutSaga(ctx context.Context, rec orderstore.Record, d saga.Resolution) error {
	if err := CanResolveWithoutSaga(rec, d.Action); err != nil {
		return err
	}
	if d.Action == saga.ActionSkip || d.Action == saga.ActionResolve {
		if err := r.Orders.MarkStepDone(ctx, rec.OrderID, workflows.StepShip); err != nil {
			return err
		}
		return r.Orders.Complete(ctx, rec.OrderID, shipment.ID(rec.OrderID), "")
	}
	if d.Action == saga.ActionCompensate || rec.GivenUp || refundResolved(rec) {
		if err := r.Orders.MarkAbandoned(ctx, rec.OrderID); err != nil {
			return err
		}
		if err := r.undo(ctx, rec.OrderID, d.Reason()); err != nil {
			return &DeferredError{Err: err}
		}
		return nil
	}
	// Purge first: an order that needs attention is left alone, whatever happens here;
	// one that has continued, and has a saga that ended, is compensated.
	if err := r.purge(ctx, rec.OrderID); err != nil {
		return err
	}
	to := order.StatusPending
	res, err := r.Orders.GetReservation(ctx, rec.OrderID)
	switch {
	case err != nil && !errors.Is(err, orderstore.ErrNotFound):
		return err
	case rec.ChargeID != "":
		to = order.StatusPaid
	case res.State == orderstore.HoldHeld:
		to, err = r.held(rec)
		if err != nil {
			return err
		}
	}
	if err := r.Orders.ResumeFromAttention(ctx, rec.OrderID, to); err != nil {
		return err
	}
	if err = r.start(ctx, rec); errors.Is(err, engine.ErrActive) {
		err = nil
	}
	return err
}

// held returns the status of an order that holds its stock and is not paid.
func (r Reconciler) held(rec orderstore.Record) (order.Status, error) {
	s, err := sagastart.State(rec, r.Terms)
	if s.NeedsApproval() {
		return order.StatusAwaitingApproval, err
	}
	return order.StatusReserved, err
}
