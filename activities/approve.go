package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// SettleApproval records the decision about the order's approval, or that the
// time for it is over, unless a decision is recorded already. The saga then
// follows the recorded one.
func (a Activities) SettleApproval(ctx context.Context, s workflows.State) (workflows.State, error) {
	decision, note := decisionOf(s)
	if err := a.Store.Decide(ctx, s.Order.OrderID, decision, note); err != nil && !errors.Is(err, orderstore.ErrFinished) {
		return workflows.State{}, err
	}
	rec, err := a.Store.Get(ctx, s.Order.OrderID)
	if err != nil && (!errors.Is(err, orderstore.ErrNotFound) || s.Accepted > 0) {
		return workflows.State{}, err
	}
	if (rec.Decision == orderstore.Approved || rec.ChargeID != "") && !rec.Status.Terminal() && !rec.CancelRequested {
		return workflows.State{Approved: true}, nil
	}
	return workflows.State{}, cannotApprove(rec)
}

// decisionOf returns the decision that the saga received about the approval: that of a
// signal, or Expired if none came in time.
func decisionOf(s workflows.State) (orderstore.Decision, orderstore.Note) {
	received := s.Approval
	switch {
	case received == nil:
		return orderstore.Expired, orderstore.Note{Actor: "saga", Action: orderstore.NoteExpire, Text: s.Terms.ApprovalExpired()}
	case received.Approved:
		return orderstore.Approved, orderstore.Note{
			Actor: cmp.Or(received.By, orderstore.Anonymous), Action: orderstore.NoteApprove, Text: received.Note,
		}
	}
	return orderstore.Rejected, orderstore.Note{
		Actor: cmp.Or(received.By, orderstore.Anonymous), Action: orderstore.NoteReject, Text: received.Note,
	}
}

// cannotApprove returns the Stop of an order without a valid approval.
func cannotApprove(rec orderstore.Record) *saga.Stop {
	switch {
	case rec.Status.Terminal():
		return &saga.Stop{Status: string(rec.Status), Reason: "the order had ended before"}
	case rec.CancelRequested:
		return cancelled(rec)
	}
	if stop := notApproved(rec); stop != nil {
		return stop
	}
	return &saga.Stop{Status: string(order.StatusFailed), Reason: fmt.Sprintf("the order is %q and cannot be approved", rec.Status)}
}

// notApproved returns the Stop of an order whose approval was rejected or has expired;
// nil for all others.
func notApproved(rec orderstore.Record) *saga.Stop {
	by, why := rec.DecidedBy()
	switch rec.Decision {
	case orderstore.Rejected:
		return &saga.Stop{Status: string(order.StatusCancelled), Reason: workflows.ApprovalRefused(by, why)}
	case orderstore.Expired:
		return &saga.Stop{Status: string(order.StatusCancelled), Reason: why}
	case orderstore.Approved:
	}
	return nil
}

// cancelled returns the Stop of an order whose cancellation was accepted.
func cancelled(rec orderstore.Record) *saga.Stop {
	by, why := rec.CancelledBy()
	return &saga.Stop{Status: string(order.StatusCancelled), Reason: saga.Reason("cancelled", by, why)}
}
