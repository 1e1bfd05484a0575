package api

import (
	"cmp"
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/workflows"
)

// CancelRequest is the body of a request to cancel an order.
type CancelRequest struct {
	ActionNote

	For orderstore.OnBehalf `json:"for,omitempty" enum:"customer,shop" default:"shop" doc:"On whose behalf: the customer's notification names the customer or the shop as the one who cancelled. It contains neither by nor note."`
}

type cancelInput struct {
	IDInput

	Body *CancelRequest `required:"false"`
}

func (s *server) cancelling(h huma.API) {
	huma.Register(h, actionOperation("cancelSaga", "cancel", "Cancel an order",
		"Accepted until the shipment is requested. Completed steps are compensated. "+
			"The response shows the order as it is now; follow the order to see it end."), s.cancel)
}

// notCancellable returns why an order cannot be cancelled, or "". In NEEDS_ATTENTION the
// state machine does not allow it, as the saga does not wait for a cancellation there.
func notCancellable(rec orderstore.Record) string {
	switch {
	case rec.Status == order.StatusCompleted || rec.ShipmentID != "":
		return "the shipment has been requested"
	case rec.Status.Terminal():
		return "the order has ended " + string(rec.Status)
	case !rec.Status.Allows(order.CancelRequested):
		return "it needs an operator's attention; resolve it with compensate instead, if its step allows that"
	case rec.Decision != "" && rec.Decision != orderstore.Approved:
		return rec.Decided() + "; the order is being cancelled already"
	}
	return ""
}

func (s *server) cancel(ctx context.Context, in *cancelInput) (*sagaOutput, error) {
	body := deref(in.Body)
	note := withActor(ctx, &body.ActionNote)
	cancellation := workflows.Cancellation{By: note.By, Reason: note.Note}
	return s.apply(ctx, in.ID, action{
		name: orderstore.NoteCancel, note: note, endedIsFine: true, notify: s.event(workflows.EventCancel, cancellation),
		precondition:   func(rec orderstore.Record, _ engine.Instance) string { return notCancellable(rec) },
		alreadyApplied: func(rec orderstore.Record) bool { return rec.CancelRequested },
		persist: func(ctx context.Context, id string, n orderstore.Note) error {
			n.For = cmp.Or(body.For, orderstore.Shop)
			return s.Orders.RequestCancel(ctx, id, n)
		},
		// An order whose message still waits in the queue gets its saga here. Otherwise
		// it would run later.
		withoutSaga: func(ctx context.Context, rec orderstore.Record, a action) error {
			if rec.Status != order.StatusPending || rec.Terminated != "" {
				return s.restart(ctx, rec, a)
			}
			o, err := rec.Order()
			if err != nil {
				return err
			}
			_, _, err = s.Starter.Start(ctx, o)
			if err != nil {
				return err
			}
			return s.Sagas.Raise(ctx, rec.OrderID, workflows.EventCancel, cancellation)
		},
	})
}
