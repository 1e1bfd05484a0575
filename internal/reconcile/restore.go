package reconcile

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/tracing"
	"github.com/ordersaga/ordersaga/workflows"
)

// withoutRecord reports a charge or a reservation whose order has no record. If the engine
// has the order's saga, the record is restored from its input (see orderstore.Store.Restore);
// ours is then true. chargeID is "" if unknown.
func (r Reconciler) withoutRecord(ctx context.Context, rep *Report, id, chargeID, what string) (ours bool, err error) {
	inst, err := r.Sagas.Get(ctx, id)
	if err != nil && !errors.Is(err, engine.ErrNotFound) && !errors.Is(err, engine.ErrInvalidID) {
		return false, err
	}
	var s workflows.State
	if err == nil {
		s, err = InputOf(inst)
	}
	if err != nil { // not the order's saga
		r.found(ctx, rep, id, what, "flagged", nil)
		return false, nil
	}
	history, err := r.Sagas.History(ctx, id)
	if err != nil && !errors.Is(err, engine.ErrNotFound) {
		return false, err
	}
	what += ", but its saga is " + string(inst.Status) + ": the order's record is gone"
	lost := orderstore.Lost{Order: s.Order, ShipmentID: s.ShipmentID, Trace: s.Trace, Reason: what}
	if s.Accepted > 0 {
		lost.AcceptedAt = time.UnixMilli(s.Accepted)
	}
	if slices.ContainsFunc(history, requestsShipment) {
		lost.ShipmentID = shipment.ID(id)
	}
	ctx = tracing.Continue(ctx, s.Trace)
	r.found(ctx, rep, id, what, "record restored", func() error {
		lost.ChargeID, err = payment.FindCharge(ctx, r.Payments, s.Order, cmp.Or(chargeID, s.ChargeID))
		if err == nil {
			_, err = r.Orders.Restore(ctx, lost)
		}
		return err
	})
	return true, err
}

// acceptedAgain reports whether an order's record was lost, and the order accepted again: an
// order whose shipment was requested is no longer PENDING.
func (r Reconciler) acceptedAgain(ctx context.Context, rec orderstore.Record, inst engine.Instance) (bool, error) {
	if rec.Status != order.StatusPending || inst.Status == "" {
		return false, nil
	}
	history, err := r.Sagas.History(ctx, rec.OrderID)
	if err != nil && !errors.Is(err, engine.ErrNotFound) {
		return false, err
	}
	return slices.ContainsFunc(history, requestsShipment), nil
}

func requestsShipment(e engine.Event) bool { return e.Name == workflows.RequestShipment }

// InputOf returns the input of an order's saga. The error is that it is not one.
func InputOf(inst engine.Instance) (workflows.State, error) {
	var s workflows.State
	err := json.Unmarshal(inst.Input, &s)
	if err == nil && s.Order.OrderID != inst.ID {
		err = errors.New("it is about no order, or another one")
	}
	return s, wrap(err, "read the input of saga "+inst.ID)
}

// restored reports an order whose record was restored and that no operator has decided
// about. It is reported at once: the saga may compensate it before the grace period is over.
func (r Reconciler) restored(ctx context.Context, rep *Report, rec orderstore.Record) {
	if !rec.AwaitsDecision() {
		return
	}
	todo := "its saga or the reconciler compensates it"
	if rec.ShipmentID != "" {
		todo = "ask the carrier about its shipment; once its saga needs attention, or is terminated, retry, resolve or compensate it"
	}
	r.found(tracing.Continue(ctx, rec.Trace), rep, rec.OrderID,
		"order's record was gone and is restored from its saga, without customer, address and payment token; "+todo+
			"; find out whether the orders table has lost others", "flagged", nil)
}
