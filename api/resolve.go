package api

import (
	"cmp"
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// ResolveRequest is the body of a request to resolve a saga that needs attention.
type ResolveRequest struct {
	ActionNote

	Action saga.Action `json:"action,omitempty" enum:"retry,skip,resolve,compensate" default:"retry" doc:"retry: run the stuck step again. skip: leave it out. resolve: it was done by hand. compensate: give up a step after the point of no return and compensate the others. Skip and resolve complete the order if the step was its last, or if its saga is lost and its shipment was requested."`
}

type resolveInput struct {
	IDInput

	Body *ResolveRequest `required:"false"`
}

func (s *server) resolving(h huma.API) {
	const description = "The first resolution of a stuck step is final. Until its result is visible, a different one gets 409."
	huma.Register(h, actionOperation("resolveSaga", "resolve", "Resolve a saga that needs attention", description), s.resolve)
	alias := actionOperation("retrySaga", "retry", "Resolve a saga that needs attention (old path)",
		"Deprecated: use resolveSaga, which does the same. "+description)
	alias.Deprecated = true
	huma.Register(h, alias, s.resolve)
}

func (s *server) resolve(ctx context.Context, in *resolveInput) (*sagaOutput, error) {
	body := deref(in.Body)
	body.ActionNote = withActor(ctx, &body.ActionNote)
	res := saga.Resolution{Action: cmp.Or(body.Action, saga.ActionRetry), By: body.By, Note: body.Note}
	// What the precondition has last seen.
	var rec orderstore.Record
	var inst engine.Instance
	return s.apply(ctx, in.ID, action{
		name: string(res.Action), attempt: string(res.Action) + " the stuck step of", note: body.ActionNote,
		notify: func(ctx context.Context, _ string) error {
			return reconcile.SendResolution(ctx, s.Sagas.Raise, rec, inst, res)
		},
		precondition: func(r orderstore.Record, i engine.Instance) string {
			rec, inst = r, i
			return notResolvable(rec, inst, res.Action)
		},
		alreadyApplied: func(r orderstore.Record) bool { return !hasEnded(inst) && r.Resolution == string(res.Action) },
		persist: func(ctx context.Context, id string, n orderstore.Note) error {
			if hasEnded(inst) { // Options.ResolveLost checks its own conditions
				return s.Orders.RecordOperatorReply(ctx, id, n)
			}
			return s.Orders.Resolve(ctx, id, saga.ParkedAt(inst.CustomStatus), string(res.Action), n)
		},
		withoutSaga: func(ctx context.Context, rec orderstore.Record, _ action) error { return s.ResolveLost(ctx, rec, res) },
	})
}

// notResolvable returns why a resolution is not possible, or "".
func notResolvable(rec orderstore.Record, inst engine.Instance, resolution saga.Action) string {
	if saga.IsParked(inst.CustomStatus) && !hasEnded(inst) {
		if rec.Resolution != "" && rec.Resolution != string(resolution) {
			by, note := rec.ResolvedBy()
			return saga.Reason(rec.Resolution+" was decided before", by, note) + "; wait for its result"
		}
		return stepForbids(rec, saga.ParkedAt(inst.CustomStatus), resolution)
	}
	if reason := statusForbids(order.Resolved, rec); reason != "" {
		return reason
	}
	if !hasEnded(inst) && rec.AwaitsDecision() {
		return "its record was gone and is restored, and its saga still runs: wait until that needs attention, " +
			"or terminate it (`ordersaga saga terminate`) and decide then"
	}
	if !hasEnded(inst) {
		return "a decision is being carried out; wait for its result"
	}
	if err := reconcile.CanResolveWithoutSaga(rec, resolution); err != nil {
		return err.Error()
	}
	return ""
}

// stepForbids returns why a saga that needs attention at a step cannot take a
// resolution, or "".
func stepForbids(rec orderstore.Record, step string, resolution saga.Action) string {
	byHand := resolution == saga.ActionSkip || resolution == saga.ActionResolve
	switch {
	case !workflows.PastPointOfNoReturn(step) && resolution == saga.ActionCompensate:
		return "the order is being compensated already, and the compensation of " + step + " is stuck: use retry, skip or resolve"
	case workflows.PastPointOfNoReturn(step) && byHand && rec.Refunding:
		return "a refund has started: use retry, which takes it into account, or compensate"
	case workflows.PastPointOfNoReturn(step) && byHand && rec.Carrier == orderstore.Refused:
		return saga.Reason("the carrier has refused the shipment", "", rec.RefusedFor()) +
			": use retry, which takes that into account, or compensate"
	}
	return ""
}
