package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/sagastart"
	"github.com/ordersaga/ordersaga/internal/text"
	"github.com/ordersaga/ordersaga/internal/tracing"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// Why the reconciler has terminated a saga. It tells it from one that a person
// has terminated, whose order is undone.
const (
	anew    = "begun anew by the reconciler"
	dropped = "dropped by the reconciler" // for an operator to decide about
)

func endedFor(inst engine.Instance, why string) bool {
	return inst.Status == engine.Terminated && string(inst.Output) == strconv.Quote(why)
}

// terminate ends a saga and leaves nothing of it.
func (r Reconciler) terminate(ctx context.Context, id, why string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := r.Sagas.Terminate(ctx, id, why); err != nil {
		return err
	}
	if _, err := r.Sagas.Wait(ctx, id); err != nil {
		return err
	}
	return r.purge(ctx, id)
}

// purge forgets a saga that has ended, if there is one.
func (r Reconciler) purge(ctx context.Context, id string) error {
	err := r.Sagas.Purge(ctx, id)
	if errors.Is(err, engine.ErrNotFound) {
		return nil
	}
	return err
}

func (r Reconciler) restart(ctx context.Context, rec orderstore.Record) error {
	if err := r.purge(ctx, rec.OrderID); err != nil {
		return err
	}
	if rec.Terminated != "" {
		if err := r.Orders.ClearTerminated(ctx, rec.OrderID); err != nil {
			return err
		}
	}
	return r.start(ctx, rec)
}

// start restarts the order's saga at its first step, with what an earlier saga has
// recorded (see sagastart.State). Whether the order needs approval at all was decided
// when its stock was reserved (see ReserveStock), whatever the terms are now. start also
// sends the carrier's answer, which the carrier may not repeat, and a requested
// cancellation. If that signal is lost, the order is not shipped all the same.
// engine.ErrActive: another reconciler was quicker and sends the same.
func (r Reconciler) start(ctx context.Context, rec orderstore.Record) error {
	err := sagastart.Start(tracing.Continue(ctx, rec.Trace), r.Sagas, rec, r.Terms)
	if err == nil && rec.Carrier != "" && rec.ShipmentID != "" {
		err = saga.Send(ctx, r.Sagas, rec.OrderID, workflows.EventCarrier, CarrierAnswer(rec))
		if errors.Is(err, engine.ErrEnded) { // it has found the answer in the order's record
			err = nil
		}
	}
	if err != nil || !rec.CancelRequested {
		return err
	}
	return saga.Send(ctx, r.Sagas, rec.OrderID, workflows.EventCancel, cancellation(rec))
}

// CarrierAnswer is what the carrier has answered about an order, as its saga is
// told.
func CarrierAnswer(rec orderstore.Record) workflows.CarrierAnswer {
	return workflows.CarrierAnswer{Dispatched: rec.Carrier == orderstore.Dispatched, TrackingID: rec.TrackingID, Reason: rec.RefusedFor()}
}

// Terminated is an engine.OnTerminated: it keeps with the order that its saga was
// terminated, so that it is undone also if the saga is purged at once.
func Terminated(keep func(ctx context.Context, orderID, reason string) error) engine.OnTerminated {
	return func(ctx context.Context, id, reason string) error {
		if reason == anew || reason == dropped || !order.ValidID(id) {
			return nil
		}
		err := keep(ctx, id, text.Cut(cmp.Or(reason, "no reason given"), text.Max))
		if errors.Is(err, orderstore.ErrFinished) { // it is no order's, or the order has ended
			return nil
		}
		return err
	}
}

// Found is what the engine said of an order's saga, and what the order's record
// knows of one that was terminated and then purged. It is zero if the saga is gone.
func Found(rec orderstore.Record, inst engine.Instance, err error) (engine.Instance, error) {
	if !errors.Is(err, engine.ErrNotFound) {
		return inst, err
	}
	if rec.Terminated != "" && !rec.Status.Terminal() {
		return engine.Instance{Status: engine.Terminated}, nil
	}
	return engine.Instance{}, nil
}

// Begin starts the saga of an order again that the engine does not know, once
// somebody has decided about the order, so that this does not wait for the
// reconciler. engine.ErrActive if it runs after all.
func (r Reconciler) Begin(ctx context.Context, rec orderstore.Record) error {
	if err := r.start(ctx, rec); err != nil {
		return err
	}
	return r.Orders.AddNote(ctx, rec.OrderID, orderstore.Note{Actor: "api", Action: startedAgain, Text: withoutSaga(rec)})
}

// MissesCarrier reports whether a saga waits for the carrier, or for a person
// because of it, and its order has the answer.
func MissesCarrier(rec orderstore.Record, inst engine.Instance) bool {
	return rec.Carrier != "" && (inst.CustomStatus == workflows.StepCarrier || saga.ParkedAt(inst.CustomStatus) == workflows.StepCarrier)
}

// SendResolution sends a parked saga what an operator has decided; send is how,
// as saga.Send does. Before a retry it sends the carrier's answer, if that is what
// the saga waits for in vain: a saga that takes no answer while it is parked (v1)
// needs both.
func SendResolution(ctx context.Context, send func(ctx context.Context, id, kind string, payload any) error, rec orderstore.Record, inst engine.Instance, res saga.Resolution) error {
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

// UndoRefused starts the saga of an order again that the carrier has refused
// late: when the saga had ended, or was about to. It finds the refusal, and
// refunds, releases and tells the customer. Repeating it changes nothing.
func (r Reconciler) UndoRefused(ctx context.Context, orderID string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if _, err := r.Sagas.Wait(ctx, orderID); err != nil && !errors.Is(err, engine.ErrNotFound) {
		return fmt.Errorf("undo order %s, which the carrier has refused: wait for its saga's end: %w", orderID, err)
	}
	rec, err := r.Orders.Get(ctx, orderID)
	if err != nil || rec.Status != order.StatusPaid || rec.Carrier != orderstore.Refused {
		return err // if nil, it is undone already, or with a person
	}
	err = r.restart(ctx, rec)
	if errors.Is(err, engine.ErrActive) || errors.Is(err, engine.ErrNotCompleted) {
		return nil // another one was quicker
	}
	if err != nil {
		return fmt.Errorf("undo order %s, which the carrier has refused: %w", orderID, err)
	}
	return nil
}

// ErrNoSaga is the answer to a decision that needs the saga that was lost.
var ErrNoSaga = errors.New("the order's saga is lost")

// CanDoWithout returns an ErrNoSaga for what Lost cannot do with the order.
func CanDoWithout(rec orderstore.Record, a saga.Action) error {
	why := "its shipment was not requested"
	switch {
	case a == saga.ActionRetry || a == saga.ActionCompensate:
		return nil
	case rec.Carrier == orderstore.Refused:
		why = saga.Reason("the carrier has refused the shipment", "", rec.RefusedFor())
	case rec.GivenUp || rec.Refunding || settledRefund(rec):
		why = "the order is being undone"
	case rec.ShipmentID != "" || slices.ContainsFunc(rec.Settled, workflows.PastPointOfNoReturn):
		return nil
	}
	return fmt.Errorf("%w, and %s: only retry (begin it again, or go on undoing it) and compensate (refund and release) are possible", ErrNoSaga, why)
}

// choices are the decisions about an order without a saga that Lost can carry out.
func choices(rec orderstore.Record) string {
	if CanDoWithout(rec, saga.ActionResolve) != nil {
		return "retry or compensate"
	}
	return "retry, resolve or compensate"
}

// settledRefund reports whether an operator has given the order's money back by
// hand, or left that out: then no refund follows.
func settledRefund(rec orderstore.Record) bool {
	return slices.Contains(rec.Settled, workflows.StepCharge)
}

// LaterError says that a decision is kept, and why it could not be carried out
// yet.
type LaterError struct{ Err error }

func (e *LaterError) Error() string {
	return "the order is given up, and could not be undone yet: " + e.Err.Error() + "; the reconciler tries again, and so does retry"
}

func (e *LaterError) Unwrap() error { return e.Err }

// Lost carries out an operator's decision about an order that needs attention,
// and whose saga has ended without it or is not known to the engine. One that
// was given up is not begun again: to retry is to go on undoing it. So it is with
// one whose refund an operator has settled. To skip or resolve is to complete an
// order whose shipment was requested.
func (r Reconciler) Lost(ctx context.Context, rec orderstore.Record, d saga.Resolution) error {
	if err := CanDoWithout(rec, d.Action); err != nil {
		return err
	}
	if d.Action == saga.ActionSkip || d.Action == saga.ActionResolve {
		if err := r.Orders.MarkStepDone(ctx, rec.OrderID, workflows.StepShip); err != nil {
			return err
		}
		return r.Orders.Complete(ctx, rec.OrderID, shipment.ID(rec.OrderID), "")
	}
	if d.Action == saga.ActionCompensate || rec.GivenUp || settledRefund(rec) {
		if err := r.Orders.MarkAbandoned(ctx, rec.OrderID); err != nil {
			return err
		}
		if err := r.undo(ctx, rec.OrderID, d.Reason()); err != nil {
			return &LaterError{err}
		}
		return nil
	}
	// Purged first: an order that needs attention is left alone, whatever
	// happens here; one that has gone on, and has a saga that ended, is undone.
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
		if to, err = r.held(rec); err != nil {
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

// held is the status of an order that holds its stock and is not paid.
func (r Reconciler) held(rec orderstore.Record) (order.Status, error) {
	s, err := sagastart.State(rec, r.Terms)
	if s.NeedsApproval() {
		return order.StatusAwaitingApproval, err
	}
	return order.StatusReserved, err
}

// undo does what the saga's compensations do.
func (r Reconciler) undo(ctx context.Context, orderID, reason string) error {
	return r.undoTo(ctx, orderID, order.StatusFailed, reason)
}

func (r Reconciler) undoTo(ctx context.Context, orderID string, final order.Status, reason string) error {
	if err := r.refund(ctx, orderID); err != nil {
		return err
	}
	if err := r.inform(ctx, orderID, final); err != nil {
		return err
	}
	return r.Orders.Release(ctx, orderID, final, reason)
}

// inform tells the customer before the order ends, as the saga does: it is undone
// once more if that fails.
func (r Reconciler) inform(ctx context.Context, orderID string, final order.Status) error {
	if r.Inform == nil {
		return nil
	}
	rec, err := r.Orders.Get(ctx, orderID)
	if err != nil || rec.Status.Terminal() {
		return err
	}
	return r.Inform(ctx, rec, final)
}

// endOf is how an order ends whose saga has ended without it: as was decided, or
// FAILED.
func endOf(rec orderstore.Record, why string) (order.Status, string) {
	switch {
	case rec.CancelRequested:
		by, reason := rec.CancelledBy()
		return order.StatusCancelled, saga.Reason("cancelled", by, reason)
	case rec.Decision == orderstore.Rejected:
		return order.StatusCancelled, workflows.ApprovalRefused(rec.DecidedBy())
	case rec.Decision == orderstore.Expired:
		_, reason := rec.DecidedBy()
		return order.StatusCancelled, reason
	}
	return order.StatusFailed, why
}

// refund does what the saga's compensation does: nothing, if an operator has
// settled it.
func (r Reconciler) refund(ctx context.Context, orderID string) error {
	rec, err := r.Orders.MarkRefunding(ctx, orderID)
	if err != nil {
		return err
	}
	if rec.Carrier == orderstore.Dispatched {
		if err := r.Orders.Flag(ctx, rec, reconciler, orderstore.RefundedThoughDispatched); err != nil {
			return err
		}
	}
	if settledRefund(rec) {
		return nil
	}
	id, err := r.Payments.Refund(ctx, payment.Entry{OrderID: orderID, ID: rec.ChargeID, Amount: rec.Total, Currency: rec.Currency})
	if err != nil || id == "" {
		return err
	}
	return r.Orders.MarkRefunded(ctx, orderID, id)
}
