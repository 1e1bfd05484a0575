package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/money"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// ChargePayment charges the order's total once, if it is not zero. Within KeyTTL
// the provider's idempotency key prevents a second charge. Later the order's
// record does, or, if the charge's response was lost, the provider's ledger.
func (a Activities) ChargePayment(ctx context.Context, s workflows.State) (workflows.State, error) {
	rec, err := a.Store.Get(ctx, s.Order.OrderID) // it has the token, which history must not have
	if err == nil {
		err = mayGoOn(rec)
	}
	if err != nil {
		return workflows.State{}, err
	}
	// A worker of an older release, which had lines only, may have passed the
	// order on without its shipping, tax and discount.
	if o, err := rec.Order(); err == nil {
		s.Order.Shipping, s.Order.Tax, s.Order.Discount = o.Shipping, o.Tax, o.Discount
	}
	id := rec.ChargeID
	if id == "" && s.Order.Total() > 0 {
		id, err = a.charge(ctx, s.Order, rec)
		if err != nil {
			err = a.verifyNotCharged(ctx, s.Order, rec, err)
		}
	}
	if declined, ok := errors.AsType[*payment.DeclinedError](err); ok {
		return workflows.State{}, &saga.Stop{Status: string(order.StatusDeclined), Reason: declined.Code + ": " + declined.Message}
	}
	if errors.Is(err, payment.ErrVoided) {
		return workflows.State{}, &saga.Stop{Status: string(order.StatusFailed), Reason: err.Error()}
	}
	if err != nil {
		return workflows.State{}, err
	}
	return workflows.State{ChargeID: id}, a.Store.MarkPaid(ctx, s.Order.OrderID, id)
}

// charge charges an order whose record has no charge. It returns *saga.Stop if
// the order's approval was refused or has expired.
func (a Activities) charge(ctx context.Context, o order.Order, rec orderstore.Record) (id string, err error) {
	if stop := notApproved(rec); stop != nil {
		return "", stop
	}
	// No charge was made before the order was accepted.
	if rec.Refunding || time.Since(rec.CreatedAt) > cmp.Or(a.KeyTTL, time.Hour) {
		id, err := a.chargeInLedger(ctx, o, rec)
		if err != nil || id != "" {
			return id, err
		}
	}
	return a.Payments.Charge(ctx, payment.Charge{OrderID: o.OrderID, Amount: o.Total(), Currency: o.Currency, Token: rec.Token})
}

// chargeInLedger returns the order's unrefunded charge in the provider's ledger, or
// "" if the order may be charged.
func (a Activities) chargeInLedger(ctx context.Context, o order.Order, rec orderstore.Record) (id string, err error) {
	charges, err := a.Payments.ChargesOf(ctx, o.OrderID)
	if err != nil {
		return "", err
	}
	for _, c := range charges {
		switch {
		case c.Refunded:
		case c.Amount != o.Total() || c.Currency != o.Currency:
			return "", fmt.Errorf("charge order %s: the provider's ledger has charge %s for %s, want %s",
				o.OrderID, c.ID, money.Format(c.Amount, c.Currency), money.Format(o.Total(), o.Currency))
		default:
			return c.ID, nil
		}
	}
	if rec.Refunding || len(charges) > 0 {
		return "", fmt.Errorf("charge order %s: %w", o.OrderID, payment.ErrVoided)
	}
	return "", nil
}

// verifyNotCharged checks a charge's error against the provider's ledger. A
// final error ends the order without a refund, but an earlier attempt whose
// response was lost may have charged. Then the outcome is unknown, and the
// returned error makes the step retry.
func (a Activities) verifyNotCharged(ctx context.Context, o order.Order, rec orderstore.Record, cause error) error {
	ends, final := endAfter(cause)
	if !final {
		return cause
	}
	charges, err := a.Payments.ChargesOf(ctx, o.OrderID)
	if err != nil {
		return err
	}
	for _, c := range charges {
		if !c.Refunded {
			//nolint:errorlint // the cause is final; this error is not
			return fmt.Errorf("the provider's ledger has charge %s, although the response is: %s", c.ID, cause)
		}
	}
	// No refund follows. The order's record may lack one that was made before, by
	// a process that was killed between the refund and the record.
	for _, c := range charges {
		if c.RefundID != "" {
			if err := a.recordRefund(ctx, o, rec, c.RefundID, ends); err != nil {
				return err
			}
		}
	}
	return cause
}

// endAfter returns the status in which an order ends after a charge's error; final is
// false if the charge is retried.
func endAfter(err error) (ends order.Status, final bool) {
	if _, declined := errors.AsType[*payment.DeclinedError](err); declined {
		return order.StatusDeclined, true
	}
	if stop, stopped := errors.AsType[*saga.Stop](err); stopped {
		return order.Status(stop.Status), true
	}
	return order.StatusFailed, errors.Is(err, payment.ErrVoided)
}

// RefundPayment refunds the order's charge, or ensures that none is made later.
// A COMPLETED order keeps its charge: then this is a second saga for it. So does
// an order whose refund an operator has settled.
func (a Activities) RefundPayment(ctx context.Context, s workflows.State, why saga.Stop) error {
	rec, err := a.Store.MarkRefunding(ctx, s.Order.OrderID)
	if errors.Is(err, orderstore.ErrFinished) {
		return nil
	}
	if err != nil && !errors.Is(err, orderstore.ErrNotFound) {
		return err
	}
	if rec.Carrier == orderstore.Dispatched { // recorded before the mark; an answer after it is flagged by intake
		zerolog.Ctx(ctx).Error().Msg(orderstore.RefundedThoughDispatched)
		if err := a.Store.Flag(ctx, rec, "saga", orderstore.RefundedThoughDispatched); err != nil {
			return err
		}
	}
	if slices.Contains(rec.Settled, workflows.StepCharge) { // by bank transfer, for example
		return nil
	}
	if s.Order.Total() == 0 && len(s.Order.Lines) > 0 { // without a record the total is unknown
		return nil
	}
	id, err := a.Payments.Refund(ctx, payment.Entry{OrderID: s.Order.OrderID, ID: rec.ChargeID, Amount: rec.Total, Currency: rec.Currency})
	if err != nil || id == "" {
		return err
	}
	return a.recordRefund(ctx, s.Order, rec, id, order.Status(why.Status))
}

// recordRefund records a refund with its order and notifies the customer. ends
// is the status in which the order ends; it decides the reason.
func (a Activities) recordRefund(ctx context.Context, o order.Order, rec orderstore.Record, refundID string, ends order.Status) error {
	if err := a.Store.MarkRefunded(ctx, o.OrderID, refundID); err != nil {
		return err
	}
	if rec.Status.Terminal() {
		ends = rec.Status
	}
	return a.notify(ctx, o, rec, events.NotifyRefunded, reasonCode(ends, rec))
}
