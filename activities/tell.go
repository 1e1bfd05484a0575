package activities

import (
	"cmp"
	"context"
	"errors"

	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
)

// whose puts back into a saga's order who placed it and where it goes: the
// history does not have that, unless an older release has begun it, and the
// order's record does.
func whose(o order.Order, rec orderstore.Record) order.Order {
	o.CustomerID, o.ShipTo = cmp.Or(rec.CustomerID, o.CustomerID), cmp.Or(rec.ShipTo, o.ShipTo)
	return o
}

// notify tells who placed an order, unless they were forgotten.
func (a Activities) notify(ctx context.Context, o order.Order, rec orderstore.Record, kind events.NotificationKind, why events.ReasonCode) error {
	o = whose(o, rec)
	if rec.Forgotten || o.CustomerID == "" {
		return nil
	}
	return a.Shipments.Notify(ctx, o, kind, why)
}

// notifyUnread is notify for a step that has not read the order's record. It does
// unless the order says whose it is: whole may have read it.
func (a Activities) notifyUnread(ctx context.Context, o order.Order, kind events.NotificationKind, why events.ReasonCode) error {
	var rec orderstore.Record
	var err error
	if o.CustomerID == "" {
		rec, err = a.Stock.Get(ctx, o.OrderID)
	}
	if err != nil && !errors.Is(err, orderstore.ErrNotFound) {
		return err
	}
	return a.notify(ctx, o, rec, kind, why)
}

// Inform sends the notifications of an order that is undone without its saga, as the
// saga would have: of the refund, if there was one, and of how the order ends.
func (a Activities) Inform(ctx context.Context, rec orderstore.Record, final order.Status) error {
	o, why := order.Order{OrderID: rec.OrderID}, codeOf(final, rec)
	if rec.RefundID != "" {
		if err := a.notify(ctx, o, rec, events.NotifyRefunded, why); err != nil {
			return err
		}
	}
	return a.notify(ctx, o, rec, kindOf(final), why)
}

// kindOf is the notification of an order that ends without completing.
func kindOf(final order.Status) events.NotificationKind {
	return cmp.Or(map[order.Status]events.NotificationKind{
		order.StatusDeclined: events.NotifyDeclined, order.StatusRejected: events.NotifyRejected, order.StatusCancelled: events.NotifyCancelled,
	}[final], events.NotifyFailed)
}

// codeOf is the reason code of that notification. It depends on the order's record,
// never on texts: those were written for colleagues, or by programs, and sagas that
// an older release has begun carry nothing else.
func codeOf(final order.Status, rec orderstore.Record) events.ReasonCode {
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
