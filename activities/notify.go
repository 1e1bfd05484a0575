package activities

import (
	"cmp"
	"context"
	"errors"

	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/workflows"
)

// withCustomer adds the customer and the address to a saga's order. They are in
// the order's record and not in history, unless an older release has started
// the saga.
func withCustomer(o order.Order, rec orderstore.Record) order.Order {
	o.CustomerID, o.ShipTo = cmp.Or(rec.CustomerID, o.CustomerID), cmp.Or(rec.ShipTo, o.ShipTo)
	return o
}

// notify sends a notification to the order's customer, unless the customer's
// data was erased.
func (a Activities) notify(
	ctx context.Context, o order.Order, rec orderstore.Record, kind events.NotificationKind, why events.ReasonCode,
) error {
	o = withCustomer(o, rec)
	if rec.Forgotten || o.CustomerID == "" {
		return nil
	}
	return a.Shipments.Notify(ctx, o, kind, why)
}

// notifyUnread is notify for a step that has not read the order's record. It
// reads the record if the order has no customer.
func (a Activities) notifyUnread(ctx context.Context, o order.Order, kind events.NotificationKind, why events.ReasonCode) error {
	var rec orderstore.Record
	var err error
	if o.CustomerID == "" {
		rec, err = a.Store.Get(ctx, o.OrderID)
	}
	if err != nil && !errors.Is(err, orderstore.ErrNotFound) {
		return err
	}
	return a.notify(ctx, o, rec, kind, why)
}

// notifyEnd notifies the customer of how the order ends, before the order gets
// that status: a saga that is delayed here must not look finished. In a second
// run, when the order has ended, a failed notification does not delay the saga;
// a note records it.
func (a Activities) notifyEnd(ctx context.Context, s workflows.State, rec orderstore.Record, final order.Status) error {
	kind := notificationOf(final)
	err := a.notify(ctx, s.Order, rec, kind, reasonCode(final, rec))
	if err == nil {
		return nil
	}
	if rec, getErr := a.Store.Get(ctx, s.Order.OrderID); getErr != nil || !rec.Status.Terminal() {
		return err
	}
	return a.noteNotNotified(ctx, s, kind, err)
}

// noteNotNotified records that a notification of the customer has failed.
func (a Activities) noteNotNotified(ctx context.Context, s workflows.State, kind events.NotificationKind, why error) error {
	return a.Store.AddNote(ctx, s.Order.OrderID, orderstore.Note{
		Actor: "saga", Action: "customer not notified", Text: string(kind) + ": " + why.Error(),
	})
}

// Inform sends the notifications of an order that is compensated without its
// saga: of the refund, if there was one, and of how the order ends. It is what
// the saga would have sent.
func (a Activities) Inform(ctx context.Context, rec orderstore.Record, final order.Status) error {
	o, why := order.Order{OrderID: rec.OrderID}, reasonCode(final, rec)
	if rec.RefundID != "" {
		if err := a.notify(ctx, o, rec, events.NotifyRefunded, why); err != nil {
			return err
		}
	}
	return a.notify(ctx, o, rec, notificationOf(final), why)
}

// notificationOf returns the notification of an order that ends without completing.
func notificationOf(final order.Status) events.NotificationKind {
	switch final { //nolint:exhaustive // all others
	case order.StatusDeclined:
		return events.NotifyDeclined
	case order.StatusRejected:
		return events.NotifyRejected
	case order.StatusCancelled:
		return events.NotifyCancelled
	}
	return events.NotifyFailed
}

// reasonCode returns the reason in that notification. It depends on the order's record
// and never on texts: those were written for colleagues, or by programs, and a
// saga of an older release has nothing else.
func reasonCode(final order.Status, rec orderstore.Record) events.ReasonCode {
	switch final { //nolint:exhaustive // all others
	case order.StatusRejected:
		return events.ReasonOutOfStock
	case order.StatusDeclined:
		return events.ReasonPaymentDeclined
	case order.StatusCancelled:
		if rec.CancelRequested && rec.CancelledFor() == orderstore.Customer {
			return events.ReasonCancelledByCustomer
		}
		return events.ReasonCancelledByShop
	}
	if rec.Carrier == orderstore.Refused {
		return events.ReasonRefusedByCarrier
	}
	return events.ReasonTechnical
}
