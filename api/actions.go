package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordersaga/ordersaga/activities/stock"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// Said is who acts and why; it is kept with the order.
type Said struct {
	By   string `json:"by,omitempty" maxLength:"64" doc:"Who acts." example:"ann"`
	Note string `json:"note,omitempty" maxLength:"500" doc:"Why."`
}

// ResolveRequest decides about a saga that needs attention.
type ResolveRequest struct {
	Said

	Action saga.Action `json:"action,omitempty" enum:"retry,skip,resolve,compensate" default:"retry" doc:"retry: try the stuck step again. skip: leave it out. resolve: it was done by hand. compensate: give up a step after the point of no return and undo the others."`
}

type actionInput struct {
	IDInput

	Body *Said `required:"false"`
}

type resolveInput struct {
	IDInput

	Body *ResolveRequest `required:"false"`
}

func (s *server) actions(h huma.API) {
	op := func(id, path, summary, description string) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: http.MethodPost, Path: "/v1/sagas/{id}/" + path, Tags: []string{"actions"},
			Summary: summary, Description: description, DefaultStatus: http.StatusAccepted,
			Errors: []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity},
		}
	}
	huma.Register(h, op("cancelSaga", "cancel", "Cancel an order",
		"Honoured until the shipment is requested; what was done is undone. The answer shows the order as it is; follow it to see it end."), s.cancel)
	huma.Register(h, op("approveSaga", "approve", "Approve an order above the approval limit", ""), s.decide(true))
	huma.Register(h, op("rejectSaga", "reject", "Refuse an order above the approval limit", ""), s.decide(false))
	huma.Register(h, op("retrySaga", "retry", "Decide about a saga that needs attention", ""), s.retry)
}

type reconcileOutput struct{ Body reconcile.Report }

func (s *server) reconcile(h huma.API) {
	huma.Register(h, huma.Operation{
		OperationID: "reconcile", Method: http.MethodPost, Path: "/v1/reconcile", Tags: []string{"actions"},
		Summary: "Run the reconciler now", Description: "Compares orders, reservations and charges, mends what hangs and reports the rest. The worker also does it by itself.",
	}, func(ctx context.Context, _ *struct{}) (*reconcileOutput, error) {
		report, err := s.Reconcile(ctx)
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		return &reconcileOutput{report}, nil
	})
}

// act raises an event for an order that is in a state for it, and notes who
// did it. why says what is in the way, or "".
func (s *server) act(ctx context.Context, id, action string, said Said, why func(stock.Record) string, event string, payload any) (*sagaOutput, error) {
	rec, err := s.Orders.Get(ctx, id)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	if reason := why(rec); reason != "" {
		return nil, huma.Error409Conflict(reason)
	}
	if event == workflows.EventCancel && rec.CancelRequested {
		return &sagaOutput{sagaOf(rec)}, nil
	}
	// Noted before it is done, so that nothing is done without a note.
	note := stock.Note{Actor: cmp.Or(said.By, "anonymous"), Action: action, Text: said.Note}
	if err := s.Orders.AddNote(ctx, id, note); err != nil {
		return nil, s.failed(ctx, err)
	}
	err = s.Sagas.Raise(ctx, id, event, payload)
	if errors.Is(err, engine.ErrNotFound) {
		err = s.raiseFirst(ctx, rec, event, payload)
	}
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	if event == workflows.EventCancel {
		if err := s.Orders.MarkCancelRequested(ctx, id); err != nil {
			return nil, s.failed(ctx, err)
		}
		rec.CancelRequested = true
	}
	s.Logger.Info().Str("order", id).Str("action", action).Str("by", note.Actor).Msg("operator action")
	return &sagaOutput{sagaOf(rec)}, nil
}

// raiseFirst raises an event for a saga that the engine does not know. An order
// that waits to be taken in gets its saga here: it must not run, some moments
// after its cancellation was refused.
func (s *server) raiseFirst(ctx context.Context, rec stock.Record, event string, payload any) error {
	if rec.Status != order.StatusPending {
		return huma.Error409Conflict("the engine has no saga of the order, which is " + string(rec.Status) + "; the reconciler takes it up")
	}
	o, err := rec.Order()
	if err != nil {
		return err
	}
	if _, _, err := s.Starter.Start(ctx, o); err != nil {
		return err
	}
	return s.Sagas.Raise(ctx, rec.OrderID, event, payload)
}

func (s *server) cancel(ctx context.Context, in *actionInput) (*sagaOutput, error) {
	said := deref(in.Body)
	return s.act(ctx, in.ID, "cancel", said, cancellable, workflows.EventCancel, workflows.Cancellation{By: said.By, Reason: said.Note})
}

func (s *server) decide(yes bool) func(context.Context, *actionInput) (*sagaOutput, error) {
	action := map[bool]string{true: "approve", false: "reject"}[yes]
	return func(ctx context.Context, in *actionInput) (*sagaOutput, error) {
		said := deref(in.Body)
		return s.act(ctx, in.ID, action, said, only(order.StatusAwaitingApproval), workflows.EventApproval,
			workflows.Approval{Approved: yes, By: said.By, Note: said.Note})
	}
}

func (s *server) retry(ctx context.Context, in *resolveInput) (*sagaOutput, error) {
	body := deref(in.Body)
	action := cmp.Or(body.Action, saga.ActionRetry)
	return s.act(ctx, in.ID, string(action), body.Said, only(order.StatusNeedsAttention), workflows.EventResolve,
		saga.Resolution{Action: action, By: body.By, Note: body.Note})
}

// only lets an action through in one status.
func only(want order.Status) func(stock.Record) string {
	return func(rec stock.Record) string {
		if rec.Status == want {
			return ""
		}
		return "the order is " + string(rec.Status) + ", it must be " + string(want)
	}
}

func deref[T any](p *T) T {
	if p == nil {
		return *new(T)
	}
	return *p
}
