package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

func (s *server) approving(h huma.API) {
	huma.Register(h, actionOperation("approveSaga", "approve", "Approve an order above the approval limit",
		"The first of approve, reject, cancel and the approval's expiry is final; later ones get 409 with that decision. "+
			"Only a cancellation still overrides an approval, until the shipment is requested."), s.decide(true))
	huma.Register(h, actionOperation("rejectSaga", "reject", "Reject an order above the approval limit",
		"The first decision is final; see approve. The order is then cancelled."), s.decide(false))
}

// decide returns the handler of approve or reject.
func (s *server) decide(approved bool) func(context.Context, *actionInput) (*sagaOutput, error) {
	name, decision := orderstore.NoteApprove, orderstore.Approved
	if !approved {
		name, decision = orderstore.NoteReject, orderstore.Rejected
	}
	return func(ctx context.Context, in *actionInput) (*sagaOutput, error) {
		note := withActor(ctx, in.Body)
		return s.apply(ctx, in.ID, action{
			name: name, note: note,
			notify: s.event(workflows.EventApproval, workflows.Approval{Approved: approved, By: note.By, Note: note.Note}),
			precondition: func(rec orderstore.Record, inst engine.Instance) string {
				return notDecidable(rec, inst, decision)
			},
			alreadyApplied: func(rec orderstore.Record) bool { return rec.Decision == decision },
			persist: func(ctx context.Context, id string, n orderstore.Note) error {
				return s.Orders.Decide(ctx, id, decision, n)
			},
			withoutSaga: s.restart,
		})
	}
}

// notDecidable returns why an order cannot be approved or rejected, or "".
func notDecidable(rec orderstore.Record, inst engine.Instance, decision orderstore.Decision) string {
	switch {
	case rec.Decision != "" && rec.Decision != decision:
		return rec.Decided()
	case rec.CancelRequested:
		by, note := rec.CancelledBy()
		return saga.Reason("the order is to be cancelled: asked for", by, note)
	case inst.Status.Ended() && !rec.Status.Terminal():
		return "the saga has ended " + string(inst.Status) + "; the next reconciliation compensates the order, or marks it as needing attention"
	}
	reason := statusForbids(order.Approved, rec)
	if reason == "" && saga.IsUndoing(inst.CustomStatus) {
		reason = "the order is being cancelled already"
	}
	return reason
}
