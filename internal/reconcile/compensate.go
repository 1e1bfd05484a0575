package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// UndoRefused restarts the saga of an order that the carrier refused after the saga had
// ended, or when it was about to. The saga finds the refusal, refunds, releases and
// notifies the customer. A repetition changes nothing.
func (r Reconciler) UndoRefused(ctx context.Context, orderID string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if _, err := r.Sagas.Wait(ctx, orderID); err != nil && !errors.Is(err, engine.ErrNotFound) {
		return fmt.Errorf("compensate order %s, which the carrier has refused: wait for its saga to end: %w", orderID, err)
	}
	rec, err := r.Orders.Get(ctx, orderID)
	if err != nil || rec.Status != order.StatusPaid || rec.Carrier != orderstore.Refused {
		return err // if nil, it is compensated already, or needs attention
	}
	err = r.restart(ctx, rec)
	if errors.Is(err, engine.ErrActive) || errors.Is(err, engine.ErrNotCompleted) {
		return nil // another one was quicker
	}
	if err != nil {
		return fmt.Errorf("compensate order %s, which the carrier has refused: %w", orderID, err)
	}
	return nil
}

// undo does what the saga's compensations do, and ends the order as FAILED.
func (r Reconciler) undo(ctx context.Context, orderID, reason string) error {
	return r.undoTo(ctx, orderID, order.StatusFailed, reason)
}

// undoTo is undo with another final status. A sale is not undone.
func (r Reconciler) undoTo(ctx context.Context, orderID string, final order.Status, reason string) error {
	res, err := r.Orders.GetReservation(ctx, orderID)
	if err != nil && !errors.Is(err, orderstore.ErrNotFound) {
		return err
	}
	if res.State == orderstore.HoldSold { // Release would find that after the refund
		return fmt.Errorf("compensate order %s: it is sold: %w", orderID, orderstore.ErrFinished)
	}
	if err := r.refund(ctx, orderID); err != nil {
		return err
	}
	if err := r.notify(ctx, orderID, final); err != nil {
		return err
	}
	return r.Orders.Release(ctx, orderID, final, reason)
}

// notify notifies the customer before the order ends, as the saga does. If that fails,
// the compensation is repeated.
func (r Reconciler) notify(ctx context.Context, orderID string, final order.Status) error {
	if r.Notify == nil {
		return nil
	}
	rec, err := r.Orders.Get(ctx, orderID)
	if err != nil || rec.Status.Terminal() {
		return err
	}
	return r.Notify(ctx, rec, final)
}

// finalStatus returns how an order ends whose saga has ended without it: as was decided,
// or FAILED.
func finalStatus(rec orderstore.Record, why string) (order.Status, string) {
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

// refund does what the saga's compensation does: nothing if an operator has resolved the
// refund.
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
	if refundResolved(rec) {
		return nil
	}
	id, err := r.Payments.Refund(ctx, payment.Entry{OrderID: orderID, ID: rec.ChargeID, Amount: rec.Total, Currency: rec.Currency})
	if err != nil || id == "" {
		return err
	}
	return r.Orders.MarkRefunded(ctx, orderID, id)
}
