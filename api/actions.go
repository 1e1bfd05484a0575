package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// Said is who acts and why; it is kept with the order.
type Said struct {
	By   string `json:"by,omitempty" maxLength:"64" doc:"Who acts." example:"ann"`
	Note string `json:"note,omitempty" maxLength:"500" doc:"Why."`
}

// CancelRequest asks to cancel an order.
type CancelRequest struct {
	Said

	For orderstore.OnBehalf `json:"for,omitempty" enum:"customer,shop" default:"shop" doc:"On whose behalf: the customer is told that they, or that the shop, has cancelled the order. By and note stay inside."`
}

type cancelInput struct {
	IDInput

	Body *CancelRequest `required:"false"`
}

// ResolveRequest decides about a saga that needs attention.
type ResolveRequest struct {
	Said

	Action saga.Action `json:"action,omitempty" enum:"retry,skip,resolve,compensate" default:"retry" doc:"retry: try the stuck step again. skip: leave it out. resolve: it was done by hand. Both complete the order if the step was its last, or if its saga is lost and its shipment was requested. compensate: give up a step after the point of no return and undo the others."`
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
	huma.Register(h, op("approveSaga", "approve", "Approve an order above the approval limit",
		"One decision holds: the first of approve, reject, cancel and the end of the time for it. Those that come later answer 409 with the one that does. Only a cancel still overrides an approval, until the shipment is requested."), s.decide(true))
	huma.Register(h, op("rejectSaga", "reject", "Refuse an order above the approval limit",
		"One decision holds; see approve. The order is then cancelled."), s.decide(false))
	const resolving = "The first resolution of a stuck step is final. Until its result is known, a different one answers 409."
	huma.Register(h, op("resolveSaga", "resolve", "Resolve a saga that needs attention", resolving), s.resolve)
	alias := op("retrySaga", "retry", "Resolve a saga that needs attention (old path)", "Deprecated: use resolveSaga, which does the same. "+resolving)
	alias.Deprecated = true
	huma.Register(h, alias, s.resolve)
	s.manage(h, op)
}

// action is what somebody does to a saga.
type action struct {
	name string
	said Said
	// why says what is in the way, or "". The instance is zero if the engine
	// does not know the saga.
	why func(orderstore.Record, engine.Instance) string
	// done reports that it holds already: only the saga is told again.
	done func(orderstore.Record) bool
	// commit makes it hold, with a note, or says stock.ErrFinished: it came too
	// late.
	commit func(ctx context.Context, id string, n orderstore.Note) error
	// tell lets the saga know.
	tell func(ctx context.Context, id string) error
	// holds says that it does though the saga has ended meanwhile.
	holds bool
	// without does it for an order whose saga is lost or has ended, where there
	// is anything to do.
	without func(ctx context.Context, rec orderstore.Record, a action) error
}

// send is how most actions tell the saga: by an event.
func (s *server) send(event string, payload any) func(context.Context, string) error {
	return func(ctx context.Context, id string) error { return s.Sagas.Raise(ctx, id, event, payload) }
}

// act does it and tells the saga. What the orders table has accepted holds,
// whenever the saga hears of it.
func (s *server) act(ctx context.Context, id string, a action) (*sagaOutput, error) {
	rec, err := s.Orders.Get(ctx, id)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	inst, err := s.instance(ctx, rec)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	if inst.Status == engine.Stalled { // whatever it is, the saga would not hear of it
		return nil, s.failed(ctx, engine.ErrStalled)
	}
	if reason := a.why(rec, inst); reason != "" {
		return nil, huma.Error409Conflict(reason)
	}
	ctx, cancel := carriedOut(ctx)
	defer cancel()
	if !a.done(rec) {
		err := a.commit(ctx, id, noteOf(ctx, a.name, a.said))
		late := errors.Is(err, orderstore.ErrFinished)
		if err != nil && !late {
			return nil, s.failed(ctx, err)
		}
		if late {
			if rec, err = s.Orders.Get(ctx, id); err != nil {
				return nil, s.failed(ctx, err)
			}
			// Else it holds: somebody wanted the same at the same moment, or it was
			// this request, tried again because the answer to it was lost.
			if !a.done(rec) {
				return nil, tooLate(rec, inst, a)
			}
		}
	}
	if gone(inst) && a.without != nil {
		err = a.without(ctx, rec, a)
	} else {
		err = s.tell(ctx, id, a)
	}
	if err != nil && (!a.holds || !errors.Is(err, engine.ErrEnded)) {
		return nil, s.failed(ctx, err)
	}
	if rec, err = s.Orders.Get(ctx, id); err != nil {
		return nil, s.failed(ctx, err)
	}
	return &sagaOutput{toSaga(rec)}, nil
}

// tellTime is how long the caller waits for the saga to hear of it.
const tellTime = 3 * time.Second

// tell lets the saga know, now or, where no worker runs, once one does: what
// was committed is what brings it (Load). Until then nobody could take the
// event in: Dapr keeps none for a saga that has no host.
func (s *server) tell(ctx context.Context, id string, a action) error {
	if s.Later == nil {
		return a.tell(ctx, id)
	}
	now, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	err := a.tell(now, id)
	if ctx.Err() == nil && err != nil && (now.Err() != nil || errors.Is(err, context.DeadlineExceeded)) {
		s.Later(a.name+" order "+id, func(ctx context.Context) error {
			err := a.tell(ctx, id)
			if errors.Is(err, engine.ErrEnded) || errors.Is(err, engine.ErrNotFound) {
				return nil // there is nobody left to tell
			}
			return err
		})
		return nil
	}
	return err
}

// gone reports that no saga hears of anything any more.
func gone(inst engine.Instance) bool { return inst.Status == "" || inst.Status.Ended() }

// tooLate says what has changed since an action was found possible.
func tooLate(rec orderstore.Record, inst engine.Instance, a action) error {
	return huma.Error409Conflict(cmp.Or(a.why(rec, inst), "the order has changed meanwhile; look at it again"))
}

// again starts the saga of an order that the engine has lost. The new saga reads
// the decision in the order's record; if another process has started it in the
// meantime, it gets the event. A failure is logged and left to the reconciler.
func (s *server) again(ctx context.Context, rec orderstore.Record, a action) error {
	told := a.tell
	a.tell = func(ctx context.Context, id string) error {
		rec, err := s.Orders.Get(ctx, id)
		if err != nil {
			return err
		}
		inst, err := s.instance(ctx, rec)
		if err == nil && inst.Status == "" && s.Begin != nil {
			if err = s.Begin(ctx, rec); errors.Is(err, engine.ErrActive) {
				err = told(ctx, id)
			}
		}
		return err
	}
	if err := s.tell(ctx, rec.OrderID, a); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("a saga that is lost is begun again later")
	}
	return nil
}

// notCancellable returns why an order cannot be cancelled, or "".
func notCancellable(rec orderstore.Record) string {
	switch {
	case rec.Status == order.StatusCompleted || rec.ShipmentID != "":
		return "the shipment has been requested; the order can no longer be cancelled"
	case rec.Status.Terminal():
		return "the order has ended " + string(rec.Status)
	case !rec.Status.Allows(order.CancelRequested):
		return "the order is being undone already and needs an operator's attention"
	case rec.Decision != "" && rec.Decision != orderstore.Approved:
		return rec.Decided() + "; the order is being cancelled already"
	}
	return ""
}

func (s *server) cancel(ctx context.Context, in *cancelInput) (*sagaOutput, error) {
	body := deref(in.Body)
	said := heard(ctx, &body.Said)
	cancellation := workflows.Cancellation{By: said.By, Reason: said.Note}
	return s.act(ctx, in.ID, action{
		name: orderstore.NoteCancel, said: said, holds: true, tell: s.send(workflows.EventCancel, cancellation),
		why:  func(rec orderstore.Record, _ engine.Instance) string { return notCancellable(rec) },
		done: func(rec orderstore.Record) bool { return rec.CancelRequested },
		commit: func(ctx context.Context, id string, n orderstore.Note) error {
			n.For = cmp.Or(body.For, orderstore.Shop)
			return s.Orders.RequestCancel(ctx, id, n)
		},
		// An order that waits to be taken in gets its saga here, or it would run
		// later.
		without: func(ctx context.Context, rec orderstore.Record, a action) error {
			if rec.Status != order.StatusPending || rec.Terminated != "" {
				return s.again(ctx, rec, a)
			}
			o, err := rec.Order()
			if err != nil {
				return err
			}
			if _, _, err := s.Starter.Start(ctx, o); err != nil {
				return err
			}
			return s.Sagas.Raise(ctx, rec.OrderID, workflows.EventCancel, cancellation)
		},
	})
}

func (s *server) decide(yes bool) func(context.Context, *actionInput) (*sagaOutput, error) {
	name, decision := orderstore.NoteApprove, orderstore.Approved
	if !yes {
		name, decision = orderstore.NoteReject, orderstore.Rejected
	}
	return func(ctx context.Context, in *actionInput) (*sagaOutput, error) {
		said := heard(ctx, in.Body)
		return s.act(ctx, in.ID, action{
			name: name, said: said, tell: s.send(workflows.EventApproval, workflows.Approval{Approved: yes, By: said.By, Note: said.Note}),
			why: func(rec orderstore.Record, inst engine.Instance) string {
				switch {
				case rec.Decision != "" && rec.Decision != decision:
					return rec.Decided()
				case rec.CancelRequested:
					by, note := rec.CancelledBy()
					return saga.Reason("the order is to be cancelled: asked for", by, note)
				case inst.Status.Ended() && !rec.Status.Terminal():
					return "the saga has ended " + string(inst.Status) + "; the reconciler is about to undo the order, or to take it to a person"
				}
				if reason := only(order.Approved, rec); reason != "" {
					return reason
				}
				if saga.IsUndoing(inst.CustomStatus) {
					return "the order is being cancelled already"
				}
				return ""
			},
			done: func(rec orderstore.Record) bool { return rec.Decision == decision },
			commit: func(ctx context.Context, id string, n orderstore.Note) error {
				return s.Orders.Decide(ctx, id, decision, n)
			},
			without: s.again,
		})
	}
}

func (s *server) resolve(ctx context.Context, in *resolveInput) (*sagaOutput, error) {
	body := deref(in.Body)
	body.Said = heard(ctx, &body.Said)
	res := saga.Resolution{Action: cmp.Or(body.Action, saga.ActionRetry), By: body.By, Note: body.Note}
	var now orderstore.Record
	var parked engine.Instance
	lost, step := false, ""
	return s.act(ctx, in.ID, action{
		name: string(res.Action), said: body.Said, tell: func(ctx context.Context, _ string) error {
			return reconcile.SendResolution(ctx, s.Sagas.Raise, now, parked, res)
		},
		why: func(rec orderstore.Record, inst engine.Instance) string {
			now, parked = rec, inst
			lost, step = gone(inst), saga.ParkedAt(inst.CustomStatus)
			if saga.IsParked(inst.CustomStatus) && !lost {
				if rec.Resolution != "" && rec.Resolution != string(res.Action) {
					by, note := rec.ResolvedBy()
					return saga.Reason(rec.Resolution+" was decided before", by, note) + "; wait for what comes of it"
				}
				return inTheWay(rec, saga.ParkedAt(inst.CustomStatus), res.Action)
			}
			if reason := only(order.Resolved, rec); reason != "" {
				return reason
			}
			if !lost {
				return "a decision is being carried out; wait for what comes of it"
			}
			if err := reconcile.CanDoWithout(rec, res.Action); err != nil {
				return err.Error()
			}
			return ""
		},
		done: func(rec orderstore.Record) bool { return !lost && rec.Resolution == string(res.Action) },
		commit: func(ctx context.Context, id string, n orderstore.Note) error {
			if lost { // Lost has conditions of its own
				return s.Orders.RecordOperatorReply(ctx, id, n)
			}
			return s.Orders.Resolve(ctx, id, step, string(res.Action), n)
		},
		without: func(ctx context.Context, rec orderstore.Record, _ action) error { return s.Lost(ctx, rec, res) },
	})
}

// inTheWay says why a saga that is parked at a step cannot take a decision, or "".
func inTheWay(rec orderstore.Record, step string, decision saga.Action) string {
	done := decision == saga.ActionSkip || decision == saga.ActionResolve
	switch {
	case !workflows.Shipping(step) && decision == saga.ActionCompensate:
		return "the order is being undone already, and undoing " + step + " is what is stuck: retry, skip or resolve that"
	case workflows.Shipping(step) && done && rec.Refunding:
		return "the order's money is going back already; retry takes that into account, compensate gives the order up"
	case workflows.Shipping(step) && done && rec.Carrier == orderstore.Refused:
		return saga.Reason("the carrier has refused the shipment", "", rec.RefusedFor()) + "; retry takes that into account, compensate gives the order up"
	}
	return ""
}

func never(orderstore.Record) bool { return false }

// only returns why an event cannot happen in the order's status, or "".
func only(e order.Event, rec orderstore.Record) string {
	if rec.Status.Allows(e) {
		return ""
	}
	var want []string
	for _, s := range order.From(e) {
		want = append(want, string(s))
	}
	return "the order is " + string(rec.Status) + ", it must be " + strings.Join(want, " or ")
}

func deref[T any](p *T) T {
	if p == nil {
		return *new(T)
	}
	return *p
}
