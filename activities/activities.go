// Package activities has the work of the order saga's steps: one file for each
// stage of an order. Every activity may run twice and may be cut off at any
// point; what it does first makes a second run harmless.
package activities

import (
	"context"
	"errors"
	"time"

	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/workflows"
)

// Store is the part of *orderstore.Store that the activities use.
type Store interface {
	Get(ctx context.Context, orderID string) (orderstore.Record, error)
	Accept(ctx context.Context, o order.Order) (rec orderstore.Record, created bool, err error)
	Reserve(ctx context.Context, o order.Order) (orderstore.Reserved, error)
	ReserveForApproval(ctx context.Context, o order.Order, idleFor time.Duration) (orderstore.Reserved, error)
	Complete(ctx context.Context, orderID, shipmentID, trackingID string) error
	CompleteHolding(ctx context.Context, orderID, shipmentID, trackingID string, holds []order.Demand) error
	Release(ctx context.Context, orderID string, final order.Status, reason string) error
	MarkPaid(ctx context.Context, orderID, chargeID string) error
	MarkRefunding(ctx context.Context, orderID string) (orderstore.Record, error)
	MarkRefunded(ctx context.Context, orderID, refundID string) error
	ShipmentRequested(ctx context.Context, orderID, shipmentID string) (orderstore.Record, error)
	Decide(ctx context.Context, orderID string, d orderstore.Decision, n orderstore.Note) error
	MarkNeedsAttention(ctx context.Context, orderID, reason string) error
	AddNote(ctx context.Context, orderID string, n orderstore.Note) error
	Flag(ctx context.Context, rec orderstore.Record, actor, text string) error
	MarkSold(ctx context.Context, orderID, chargeID, shipmentID string) error
	Restore(ctx context.Context, l orderstore.Lost) (order.Status, error)
}

// Payments is the part of *payment.Client that the activities use.
type Payments interface {
	Charge(ctx context.Context, c payment.Charge) (id string, err error)
	ChargesOf(ctx context.Context, orderID string) ([]payment.Entry, error)
	Refund(ctx context.Context, made payment.Entry) (id string, err error)
}

// Shipments is the part of *shipment.Publisher that the activities use.
type Shipments interface {
	RequestShipment(ctx context.Context, o order.Order) error
	Notify(ctx context.Context, o order.Order, kind events.NotificationKind, why events.ReasonCode) error
}

// Activities has what the steps work with. Store, Payments and Shipments are
// required. It is safe for concurrent use.
type Activities struct {
	Store     Store
	Payments  Payments
	Shipments Shipments
	Logger    zerolog.Logger
	// KeyTTL is the minimum time for which the payment provider keeps an idempotency
	// key; 0 means an hour.
	KeyTTL time.Duration
	// Observe is called after every attempt of an activity; nil disables it.
	Observe func(Attempt)
	// Ended is called for every order that ends; nil disables it.
	Ended func(End)
	// Input returns the input of an order's saga. It is called when the order's record is
	// gone. nil: such an order is restored without its content, if its step does not have it.
	Input func(ctx context.Context, orderID string) (workflows.State, error)
}

// Register adds the order saga, in all its versions, and its activities to a
// registry. Their names never change: sagas in flight carry them.
func (a Activities) Register(r *task.TaskRegistry) error {
	return errors.Join(
		r.AddVersionedWorkflowN(workflows.OrderSaga, workflows.Version, true, workflows.Order),
		r.AddVersionedWorkflowN(workflows.OrderSaga, workflows.VersionV2, false, workflows.OrderV2),
		r.AddVersionedWorkflowN(workflows.OrderSaga, workflows.VersionV1, false, workflows.OrderV1),
		r.AddActivityN(workflows.ReserveStock, a.do(workflows.ReserveStock, a.ReserveStock)),
		r.AddActivityN(workflows.ReleaseStock, a.undo(workflows.ReleaseStock, a.ReleaseStock)),
		r.AddActivityN(workflows.SettleApproval, a.do(workflows.SettleApproval, a.SettleApproval)),
		r.AddActivityN(workflows.ChargePayment, a.do(workflows.ChargePayment, a.ChargePayment)),
		r.AddActivityN(workflows.RefundPayment, a.undo(workflows.RefundPayment, a.RefundPayment)),
		r.AddActivityN(workflows.RequestShipment, a.do(workflows.RequestShipment, a.Ship)),
		r.AddActivityN(workflows.ConfirmShipment, a.do(workflows.ConfirmShipment, a.ConfirmShipment)),
		r.AddActivityN(workflows.VerifyRefusal, a.do(workflows.VerifyRefusal, a.VerifyRefusal)),
		r.AddActivityN(workflows.CompleteByHand, a.do(workflows.CompleteByHand, a.CompleteByHand)),
		r.AddActivityN(workflows.ParkSaga, a.onStuck(workflows.ParkSaga, a.ParkSaga)),
	)
}
