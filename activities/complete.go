package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// complete ends an order as COMPLETED, in this sequence:
//
//  1. the customer is notified, so that an order that looks finished is;
//  2. one transaction moves the order's units from reserved to sold and sets
//     its status;
//  3. the order is counted as ended.
//
// The carrier may refuse between 1 and 2. Then the transaction fails, the saga
// compensates, and the customer gets a second notification (docs/adr/0006).
func (a Activities) complete(ctx context.Context, s workflows.State, rec orderstore.Record) error {
	if err := a.notify(ctx, s.Order, rec, events.NotifyConfirmed, ""); err != nil {
		return err
	}
	err := a.Store.CompleteHolding(ctx, s.Order.OrderID, shipment.ID(s.Order.OrderID), s.TrackingID, s.Order.Demand())
	if errors.Is(err, orderstore.ErrFinished) {
		rec, getErr := a.Store.Get(ctx, s.Order.OrderID)
		if getErr != nil {
			return getErr
		}
		switch {
		case rec.Carrier == orderstore.Refused:
			return refused(rec)
		case shipped(rec) && !rec.Status.Terminal() && !rec.Refunding && !rec.GivenUp:
			return err // a refund would give the goods away, so an operator decides
		}
	}
	if err == nil {
		a.ended(s, End{Status: order.StatusCompleted})
	}
	return stopIfFinished(err)
}

// shipped reports whether the carrier or an operator has stated that the order is on its way.
func shipped(rec orderstore.Record) bool {
	return rec.Carrier == orderstore.Dispatched || slices.ContainsFunc(rec.Settled, workflows.PastPointOfNoReturn)
}

// lacksCharge reports whether the record does not have the charge that the saga has made:
// it was lost, and the order accepted again.
func lacksCharge(rec orderstore.Record, s workflows.State) bool {
	return rec.ChargeID == "" && s.ChargeID != ""
}

// ConfirmShipment completes an order that the carrier has dispatched.
func (a Activities) ConfirmShipment(ctx context.Context, s workflows.State) (workflows.State, error) {
	rec, err := a.Store.Get(ctx, s.Order.OrderID)
	switch {
	case err != nil:
		return workflows.State{}, err
	case rec.AwaitsDecision():
		return workflows.State{}, mayGoOn(rec)
	case rec.Status == order.StatusCompleted:
		return workflows.State{}, nil // this is the step's second run
	case rec.Carrier == orderstore.Refused && !rec.Status.Terminal(): // an operator has let the saga go on
		return workflows.State{}, refused(rec)
	case rec.Status.Terminal():
		return workflows.State{}, &saga.Stop{Status: string(order.StatusFailed), Reason: "order is already " + string(rec.Status)}
	case rec.ShipmentID == "" && s.Accepted > 0 && !rec.Refunding && (!shipped(rec) || lacksCharge(rec, s)):
		// The saga has requested it. The record was lost, and the order accepted again.
		return workflows.State{}, a.restore(ctx, workflows.ConfirmShipment, s,
			fmt.Errorf("confirm the shipment of order %s: its record does not have it", s.Order.OrderID))
	case rec.ShipmentID == "" && !shipped(rec):
		return workflows.State{}, &saga.Stop{
			Status: string(order.StatusFailed), Reason: "order is " + string(rec.Status) + " and its shipment was not requested",
		}
	}
	return workflows.State{}, a.complete(ctx, s, rec)
}

// CompleteByHand completes an order whose last step an operator has resolved or
// skipped. A notification that fails does not prevent that: it may be why the
// step was stuck. If the order cannot complete though no compensation runs, the
// step is stuck again.
func (a Activities) CompleteByHand(ctx context.Context, s workflows.State) (workflows.State, error) {
	rec, err := a.Store.Get(ctx, s.Order.OrderID)
	switch {
	case err != nil:
		return workflows.State{}, err
	case rec.Status == order.StatusCompleted: // this is the step's second run
	case rec.Carrier == orderstore.Refused && !rec.Status.Terminal():
		return workflows.State{}, refused(rec)
	case rec.Status.Terminal() || rec.Refunding:
		return workflows.State{}, &saga.Stop{
			Status: string(order.StatusFailed), Reason: "order is " + string(rec.Status) + " and is being compensated by another saga",
		}
	default:
		if err := a.Store.Complete(ctx, s.Order.OrderID, shipment.ID(s.Order.OrderID), s.TrackingID); err != nil {
			return workflows.State{}, err
		}
		a.ended(s, End{Status: order.StatusCompleted})
	}
	if err := a.notify(ctx, s.Order, rec, events.NotifyConfirmed, ""); err != nil {
		return workflows.State{}, a.noteNotNotified(ctx, s, events.NotifyConfirmed, err)
	}
	return workflows.State{}, nil
}
