package activities

import (
	"context"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// ReserveStock reserves the stock of all lines, or rejects the order.
func (a Activities) ReserveStock(ctx context.Context, s workflows.State) (workflows.State, error) {
	res, err := a.reserve(ctx, s)
	if errors.Is(err, orderstore.ErrNotFound) && s.Order.Payment.Token != "" {
		// Intake leaves the token out. A durable-task client has started this
		// saga without intake, which Dapr allows.
		if err := s.Order.Validate(); err != nil {
			return workflows.State{}, &saga.Stop{Status: string(order.StatusFailed), Reason: err.Error()}
		}
		if _, _, err := a.Store.Accept(ctx, s.Order); err != nil {
			return workflows.State{}, err
		}
		res, err = a.reserve(ctx, s)
	}
	switch {
	case err != nil:
		return workflows.State{}, err
	case res.Sold:
		return workflows.State{}, a.sold(ctx, s)
	case res.Status == order.StatusRejected:
		return workflows.State{}, a.reject(ctx, s, res)
	case res.Status.Terminal():
		// A second saga for an order that has ended: Dapr starts one if a start
		// gets past the guard of the API and intake. It must have no effect.
		return workflows.State{}, &saga.Stop{Status: string(res.Status), Reason: "the order had ended before"}
	case !res.Held:
		return workflows.State{}, fmt.Errorf("reserve stock for order %s: it is %s and holds nothing", s.Order.OrderID, res.Status)
	}
	return approvalOf(res, s), nil
}

// sold completes an order that was accepted again, after the record of its sale was lost,
// and returns how the saga ends. The order must neither ship again nor be refunded.
func (a Activities) sold(ctx context.Context, s workflows.State) error {
	chargeID, err := payment.FindCharge(ctx, a.Payments, s.Order, "")
	if err != nil { // the reconciler reports an order without a charge; a step that fails would compensate it
		zerolog.Ctx(ctx).Warn().Err(err).Msg("the charge of a completed order is not known")
	}
	err = a.Store.MarkSold(ctx, s.Order.OrderID, chargeID, shipment.ID(s.Order.OrderID))
	if err != nil {
		return err
	}
	zerolog.Ctx(ctx).Error().Msg("the record of a completed order was lost, and the order was accepted again: it stays completed")
	return &saga.Stop{Status: string(order.StatusCompleted), Reason: "the order had ended before"}
}

func (a Activities) reserve(ctx context.Context, s workflows.State) (orderstore.Reserved, error) {
	if s.NeedsApproval() {
		return a.Store.ReserveForApproval(ctx, s.Order, s.Terms.ApprovalWait())
	}
	return a.Store.Reserve(ctx, s.Order)
}

// reject notifies the customer of an order that is out of stock, and returns
// how the saga ends. If the notification fails, the step is retried.
func (a Activities) reject(ctx context.Context, s workflows.State, res orderstore.Reserved) error {
	if err := a.notifyUnread(ctx, s.Order, events.NotifyRejected, events.ReasonOutOfStock); err != nil {
		return err
	}
	a.ended(s, End{Status: res.Status})
	return &saga.Stop{Status: string(res.Status), Reason: fmt.Sprintf("out of stock: %v", res.ShortSKUs)}
}

// approvalOf returns whether the saga must wait for the order's approval, as fields of
// its state. A restarted saga does not wait for it again. Whether the order needs one was decided when
// its stock was reserved; the restarted saga's own terms may differ.
func approvalOf(res orderstore.Reserved, s workflows.State) workflows.State {
	out := workflows.State{Approved: res.Decision == orderstore.Approved, Decided: res.Decision != ""}
	needs := s.NeedsApproval()
	switch {
	case res.Status == order.StatusAwaitingApproval && !needs && !s.Approved:
		out.Asks = true
	case (res.Status == order.StatusReserved || res.Status == order.StatusPaid) && needs:
		out.Approved = true
	}
	return out
}

// ReleaseStock releases what the order holds, if anything, and ends the order.
func (a Activities) ReleaseStock(ctx context.Context, s workflows.State, why saga.Stop) error {
	rec, err := a.Store.Get(ctx, s.Order.OrderID)
	if err != nil && (!errors.Is(err, orderstore.ErrNotFound) || s.Accepted > 0) {
		return err
	}
	final := order.Status(why.Status)
	if rec.Status.Terminal() {
		final = rec.Status
	}
	if final == order.StatusCompleted {
		return a.Store.Release(ctx, s.Order.OrderID, final, why.Reason) // its error states why not
	}
	if err := a.notifyEnd(ctx, s, rec, final); err != nil {
		return err
	}
	if err := a.Store.Release(ctx, s.Order.OrderID, final, why.Reason); err != nil {
		return err
	}
	if !rec.Status.Terminal() {
		a.ended(s, End{Status: final, Refunded: rec.RefundID != ""})
	}
	return nil
}
