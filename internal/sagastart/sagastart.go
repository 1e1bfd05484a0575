// Package sagastart builds the initial state of an order's saga from the order's
// record, and starts the saga. Intake starts new orders with it, and the reconciler
// restarts orders whose saga was lost.
package sagastart

import (
	"context"
	"fmt"

	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/workflows"
)

// Engine is the part of an engine that Start uses.
type Engine interface {
	Start(ctx context.Context, workflow, id string, input any) error
}

// State returns the initial state of the saga of an order. It carries over what an
// earlier saga of the order has recorded: an order that was approved is not sent for
// approval again, and a charge is refunded however the new saga ends. A new order's
// record has none of that. The error is that of decoding the record.
func State(rec orderstore.Record, terms workflows.Terms) (workflows.State, error) {
	o, err := rec.Order()
	if err != nil {
		return workflows.State{}, fmt.Errorf("build the saga of order %s: %w", rec.OrderID, err)
	}
	s := workflows.NewState(o, terms)
	s.ChargeID, s.ShipmentID = rec.ChargeID, rec.ShipmentID
	s.Approved = rec.Decision == orderstore.Approved || rec.ChargeID != ""
	s.Trace, s.Accepted = rec.Trace, rec.CreatedAt.UnixMilli()
	return s, nil
}

// Start starts the saga of an order under terms. The order id is the saga's id, so
// that a second start of the same order finds the first; the error is then
// engine.ErrActive, which errors.Is finds.
func Start(ctx context.Context, sagas Engine, rec orderstore.Record, terms workflows.Terms) error {
	s, err := State(rec, terms)
	if err != nil {
		return err
	}
	if err := sagas.Start(ctx, workflows.OrderSaga, rec.OrderID, s); err != nil {
		return fmt.Errorf("start the saga of order %s: %w", rec.OrderID, err)
	}
	return nil
}
