package activities

import (
	"context"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// Ship is the activity [workflows.RequestShipment]. It requests the shipment. If
// the saga does not wait for the carrier's answer, it then completes the order.
func (a Activities) Ship(ctx context.Context, s workflows.State) (workflows.State, error) {
	rec, err := a.requestShipment(ctx, s)
	if err != nil || s.Terms.AwaitCarrier || rec.Status == order.StatusCompleted {
		return workflows.State{}, err
	}
	return workflows.State{}, a.complete(ctx, s, rec)
}

// requestShipment requests the shipment from the carrier and returns the order's
// record. The record changes first: its condition keeps an order that is not
// paid and held from shipping. In a second run the order may be COMPLETED
// already; then nothing is sent.
func (a Activities) requestShipment(ctx context.Context, s workflows.State) (orderstore.Record, error) {
	rec, err := a.Store.ShipmentRequested(ctx, s.Order.OrderID, shipment.ID(s.Order.OrderID))
	if errors.Is(err, orderstore.ErrFinished) {
		return a.alreadyShipped(ctx, s, err)
	}
	if err != nil {
		return rec, err
	}
	return rec, a.Shipments.RequestShipment(ctx, withCustomer(s.Order, rec))
}

// alreadyShipped returns the record of an order that has shipped, or why it
// cannot ship.
func (a Activities) alreadyShipped(ctx context.Context, s workflows.State, cause error) (orderstore.Record, error) {
	rec, err := a.Store.Get(ctx, s.Order.OrderID)
	switch {
	case err != nil:
		return rec, err
	case rec.AwaitsDecision():
		return rec, mayGoOn(rec)
	case rec.Status == order.StatusCompleted && rec.ShipmentID == shipment.ID(s.Order.OrderID):
		return rec, nil // this is the step's second run
	case rec.Status.Terminal():
		return rec, stopIfFinished(cause)
	case rec.CancelRequested:
		return rec, cancelled(rec)
	case rec.Carrier == orderstore.Refused: // and its saga was restarted
		return rec, refused(rec)
	case rec.ShipmentID == "" && s.Accepted > 0 && !rec.Refunding && lacksCharge(rec, s):
		// An earlier attempt may have sent the request.
		return rec, a.restore(ctx, workflows.RequestShipment, s,
			fmt.Errorf("request the shipment of order %s: its record does not have its charge", s.Order.OrderID))
	}
	if stop := notApproved(rec); stop != nil {
		return rec, stop
	}
	return rec, stopIfFinished(cause)
}

// VerifyRefusal ends the saga if the order's record has the carrier's refusal,
// which intake has recorded. A durable-task client may have sent the saga
// another one, even before a shipment was requested; that one is dropped.
func (a Activities) VerifyRefusal(ctx context.Context, s workflows.State) (workflows.State, error) {
	rec, err := a.Store.Get(ctx, s.Order.OrderID)
	if err != nil {
		return workflows.State{}, err
	}
	if rec.Carrier == orderstore.Refused {
		return workflows.State{}, refused(rec)
	}
	zerolog.Ctx(ctx).Warn().Msg("ignored a refusal signal: the order's record has none")
	return workflows.State{}, nil
}

// refused returns the Stop of an order that the carrier refused.
func refused(rec orderstore.Record) *saga.Stop {
	return &saga.Stop{Status: string(order.StatusFailed), Reason: saga.Reason("refused by the carrier", "", rec.RefusedFor())}
}

// stopIfFinished makes the error "the order is not paid and held" final: a retry
// cannot change it.
func stopIfFinished(err error) error {
	if errors.Is(err, orderstore.ErrFinished) {
		return &saga.Stop{Status: string(order.StatusFailed), Reason: err.Error()}
	}
	return err
}
