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

// action is what somebody does to a saga.
type action struct {
	name  string
	said  Said
	event string
	// payload of the event.
	payload any
	// why says what is in the way, or "".
	why func(stock.Record) string
	// done reports that it was done before: only the event is sent again.
	done func(stock.Record) bool
	// commit makes it hold, with a note, or says stock.ErrFinished: it came too
	// late.
	commit func(ctx context.Context, id string, n stock.Note) error
}

// act does it and tells the saga. What the orders table has accepted holds,
// whenever the saga hears of it.
func (s *server) act(ctx context.Context, id string, a action) (*sagaOutput, error) {
	rec, err := s.Orders.Get(ctx, id)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	if reason := a.why(rec); reason != "" {
		return nil, huma.Error409Conflict(reason)
	}
	note := stock.Note{Actor: cmp.Or(a.said.By, stock.Anonymous), Action: a.name, Text: a.said.Note}
	if !a.done(rec) {
		err := a.commit(ctx, id, note)
		if errors.Is(err, stock.ErrFinished) {
			return nil, s.tooLate(ctx, id, a)
		}
		if err != nil {
			return nil, s.failed(ctx, err)
		}
	}
	err = s.Sagas.Raise(ctx, id, a.event, a.payload)
	if errors.Is(err, engine.ErrNotFound) {
		err = s.raiseLater(ctx, rec, a)
	}
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	s.Logger.Info().Str("order", id).Str("action", a.name).Str("by", note.Actor).Msg("operator action")
	if rec, err = s.Orders.Get(ctx, id); err != nil {
		return nil, s.failed(ctx, err)
	}
	return &sagaOutput{sagaOf(rec)}, nil
}

// tooLate says what has changed since an action was found possible.
func (s *server) tooLate(ctx context.Context, id string, a action) error {
	rec, err := s.Orders.Get(ctx, id)
	if err != nil {
		return s.failed(ctx, err)
	}
	return huma.Error409Conflict(cmp.Or(a.why(rec), "the order has changed meanwhile; look at it again"))
}

// raiseLater is for a saga that the engine does not know. An order that waits
// to be taken in gets its saga here. One whose saga was lost gets another from
// the reconciler, which begins with what the order's record says.
func (s *server) raiseLater(ctx context.Context, rec stock.Record, a action) error {
	if rec.Status != order.StatusPending {
		return nil
	}
	o, err := rec.Order()
	if err != nil {
		return err
	}
	if _, _, err := s.Starter.Start(ctx, o); err != nil {
		return err
	}
	return s.Sagas.Raise(ctx, rec.OrderID, a.event, a.payload)
}

func (s *server) cancel(ctx context.Context, in *actionInput) (*sagaOutput, error) {
	said := deref(in.Body)
	return s.act(ctx, in.ID, action{
		name: "cancel", said: said, why: cancellable, event: workflows.EventCancel,
		payload: workflows.Cancellation{By: said.By, Reason: said.Note},
		done:    func(rec stock.Record) bool { return rec.CancelRequested },
		commit:  s.Orders.RequestCancel,
	})
}

func (s *server) decide(yes bool) func(context.Context, *actionInput) (*sagaOutput, error) {
	name, decision := "approve", stock.Approved
	if !yes {
		name, decision = "reject", stock.Rejected
	}
	return func(ctx context.Context, in *actionInput) (*sagaOutput, error) {
		said := deref(in.Body)
		return s.act(ctx, in.ID, action{
			name: name, said: said, event: workflows.EventApproval,
			payload: workflows.Approval{Approved: yes, By: said.By, Note: said.Note},
			why: func(rec stock.Record) string {
				if rec.Decision != "" && rec.Decision != decision {
					return "the order was " + string(rec.Decision) + " before"
				}
				return only(order.StatusAwaitingApproval)(rec)
			},
			done:   func(rec stock.Record) bool { return rec.Decision == decision },
			commit: func(ctx context.Context, id string, n stock.Note) error { return s.Orders.Decide(ctx, id, decision, n) },
		})
	}
}

func (s *server) retry(ctx context.Context, in *resolveInput) (*sagaOutput, error) {
	body := deref(in.Body)
	res := saga.Resolution{Action: cmp.Or(body.Action, saga.ActionRetry), By: body.By, Note: body.Note}
	inst, err := s.Sagas.Get(ctx, in.ID)
	lost := errors.Is(err, engine.ErrNotFound)
	if err != nil && !lost {
		return nil, s.failed(ctx, err)
	}
	a := action{
		name: string(res.Action), said: body.Said, event: workflows.EventResolve, payload: res,
		why: func(rec stock.Record) string {
			if saga.IsParked(inst.CustomStatus) && !inst.Status.Ended() {
				return ""
			}
			if reason := only(order.StatusNeedsAttention)(rec); reason != "" {
				return reason
			}
			if !lost {
				return "a decision is being carried out; wait for what comes of it"
			}
			return ""
		},
		done:   func(stock.Record) bool { return false }, // each time is one more try
		commit: s.Orders.AddNote,
	}
	if lost {
		return s.actLost(ctx, in.ID, a, res)
	}
	return s.act(ctx, in.ID, a)
}

// actLost is for an order whose saga the engine has lost.
func (s *server) actLost(ctx context.Context, id string, a action, res saga.Resolution) (*sagaOutput, error) {
	rec, err := s.Orders.Get(ctx, id)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	if reason := a.why(rec); reason != "" {
		return nil, huma.Error409Conflict(reason)
	}
	if err := a.commit(ctx, id, stock.Note{Actor: cmp.Or(res.By, stock.Anonymous), Action: a.name, Text: res.Note}); err != nil {
		return nil, s.failed(ctx, err)
	}
	if err := s.Lost(ctx, rec, res); err != nil {
		return nil, s.failed(ctx, err)
	}
	if rec, err = s.Orders.Get(ctx, id); err != nil {
		return nil, s.failed(ctx, err)
	}
	return &sagaOutput{sagaOf(rec)}, nil
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
