package reconcile

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/sagastart"
	"github.com/ordersaga/ordersaga/internal/text"
	"github.com/ordersaga/ordersaga/internal/tracing"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// Reasons with which the reconciler terminates a saga. Engines store them, so the values
// must not change. They distinguish such a saga from one that an operator terminated,
// whose order is compensated.
const (
	reasonRestarted = "begun anew by the reconciler"
	reasonDropped   = "dropped by the reconciler" // an operator then resolves the order
)

func endedFor(inst engine.Instance, why string) bool {
	return inst.Status == engine.Terminated && string(inst.Output) == strconv.Quote(why)
}

// terminate ends a saga and deletes its state.
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

// purge deletes the state of a saga that has ended, if there is one.
func (r Reconciler) purge(ctx context.Context, id string) error {
	err := r.Sagas.Purge(ctx, id)
	if errors.Is(err, engine.ErrNotFound) {
		return nil
	}
	return err
}

// restart deletes the saga that ended and starts the order's saga again.
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
		if errors.Is(err, engine.ErrEnded) { // it found the answer in the order's record
			err = nil
		}
	}
	if err != nil || !rec.CancelRequested {
		return err
	}
	return saga.Send(ctx, r.Sagas, rec.OrderID, workflows.EventCancel, cancellation(rec))
}

// CarrierAnswer returns the signal with the recorded answer of the carrier.
func CarrierAnswer(rec orderstore.Record) workflows.CarrierAnswer {
	return workflows.CarrierAnswer{Dispatched: rec.Carrier == orderstore.Dispatched, TrackingID: rec.TrackingID, Reason: rec.RefusedFor()}
}

// Terminated returns an engine.OnTerminated that records with the order that its saga was
// terminated, so that the order is compensated even if the saga is purged at once. record
// is (*orderstore.Store).MarkTerminated.
func Terminated(record func(ctx context.Context, orderID, reason string) error) engine.OnTerminated {
	return func(ctx context.Context, id, reason string) error {
		if reason == reasonRestarted || reason == reasonDropped || !order.ValidID(id) {
			return nil
		}
		err := record(ctx, id, text.Cut(cmp.Or(reason, "no reason given"), text.Max))
		if errors.Is(err, orderstore.ErrFinished) { // not an order's saga, or the order has ended
			return nil
		}
		return err
	}
}

// InstanceOf completes what the engine returned for an order's saga with the order's
// record, which has that a saga was terminated and then purged. The instance is zero if
// the saga is lost.
func InstanceOf(rec orderstore.Record, inst engine.Instance, err error) (engine.Instance, error) {
	if !errors.Is(err, engine.ErrNotFound) {
		return inst, err
	}
	if rec.Terminated != "" && !rec.Status.Terminal() {
		return engine.Instance{Status: engine.Terminated}, nil
	}
	return engine.Instance{}, nil
}

// RestartSaga restarts the saga of an order that the engine has lost, once a decision
// about the order was recorded, so that the decision does not wait for the next run.
// engine.ErrActive: the saga runs after all.
func (r Reconciler) RestartSaga(ctx context.Context, rec orderstore.Record) error {
	if err := r.start(ctx, rec); err != nil {
		return err
	}
	return r.Orders.AddNote(ctx, rec.OrderID, orderstore.Note{Actor: "api", Action: startedAgain, Text: withoutSaga(rec)})
}
