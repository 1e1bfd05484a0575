package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/auth"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
)

// ActionNote is who acts and why. It is kept with the order.
type ActionNote struct {
	By   string `json:"by,omitempty" maxLength:"64" doc:"Name of the operator. Ignored for authenticated callers: the token names them." example:"ann"`
	Note string `json:"note,omitempty" maxLength:"500" doc:"Reason of the action."`
}

type actionInput struct {
	IDInput

	Body *ActionNote `required:"false"`
}

// withActor returns the note of a request. An authenticated caller acts in its own name
// only. in may be nil.
func withActor(ctx context.Context, in *ActionNote) ActionNote {
	note := deref(in)
	if p, ok := auth.FromContext(ctx); ok {
		note.By = p.Name
	}
	return note
}

// newNote returns the entry for an action in the order's audit trail.
func newNote(ctx context.Context, action string, note ActionNote) orderstore.Note {
	n := orderstore.Note{Actor: cmp.Or(note.By, orderstore.Anonymous), Action: action, Text: note.Note}
	if p, ok := auth.FromContext(ctx); ok {
		n.Subject = p.Subject
	}
	return n
}

// actions registers what operators do to an order or to its saga.
func (s *server) actions(h huma.API) {
	s.cancelling(h)
	s.approving(h)
	s.resolving(h)
	s.lifecycle(h)
}

// actionOperation returns the operation POST /v1/sagas/{id}/path.
func actionOperation(id, path, summary, description string) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: http.MethodPost, Path: "/v1/sagas/{id}/" + path, Tags: []string{"actions"},
		Summary: summary, Description: description, DefaultStatus: http.StatusAccepted,
		Errors: []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity},
	}
}

// action is an operator's action on one order. Its order of events is: check the
// precondition, persist it with a note, notify the saga. Once persisted it takes effect,
// whenever the saga is notified: a saga that starts later reads it in the order.
type action struct {
	name    string // as stored in the note
	attempt string // as in "cannot ... order o-1"; "" is name
	note    ActionNote

	// precondition returns why the action is not possible, or "". The instance is zero
	// if the engine does not have the saga.
	precondition func(orderstore.Record, engine.Instance) string
	// alreadyApplied reports that the same action is persisted. Then only the saga is
	// notified, again.
	alreadyApplied func(orderstore.Record) bool
	// persist stores the action and its note. It returns orderstore.ErrFinished if the
	// order has changed since the precondition was checked.
	persist func(ctx context.Context, id string, n orderstore.Note) error
	// notify sends the action to the saga.
	notify func(ctx context.Context, id string) error
	// endedIsFine: the action takes effect also if the saga ends before it is notified.
	endedIsFine bool
	// withoutSaga replaces notify for an order whose saga is lost or has ended; nil
	// means that notify is used.
	withoutSaga func(ctx context.Context, rec orderstore.Record, a action) error
}

// conflict returns the 409 that refuses the action for a reason.
func (a action) conflict(id, reason string) error {
	return conflict(cmp.Or(a.attempt, a.name)+" order "+id, reason)
}

// event returns a notify that raises an event of package workflows.
func (s *server) event(name string, payload any) func(context.Context, string) error {
	return func(ctx context.Context, id string) error { return s.Sagas.Raise(ctx, id, name, payload) }
}

// apply carries out an action and returns the order as it is then.
func (s *server) apply(ctx context.Context, id string, a action) (*sagaOutput, error) {
	rec, err := s.Orders.Get(ctx, id)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	inst, err := s.instance(ctx, rec)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	if inst.Status == engine.Stalled { // it could not be notified of anything
		return nil, a.conflict(id, engine.ErrStalled.Error())
	}
	if reason := a.precondition(rec, inst); reason != "" {
		return nil, a.conflict(id, reason)
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	if !a.alreadyApplied(rec) {
		rec, err = s.persist(ctx, rec, inst, a)
		if err != nil {
			return nil, err
		}
	}
	if hasEnded(inst) && a.withoutSaga != nil {
		err = a.withoutSaga(ctx, rec, a)
	} else {
		err = s.notify(ctx, id, a)
	}
	if err != nil && (!a.endedIsFine || !errors.Is(err, engine.ErrEnded)) {
		return nil, s.failed(ctx, err)
	}
	rec, err = s.Orders.Get(ctx, id)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	return &sagaOutput{Body: toSaga(rec)}, nil
}

// persist stores an action and returns the order. Its error is a problem document.
func (s *server) persist(ctx context.Context, rec orderstore.Record, inst engine.Instance, a action) (orderstore.Record, error) {
	id := rec.OrderID
	err := a.persist(ctx, id, newNote(ctx, a.name, a.note))
	if err == nil {
		return rec, nil
	}
	if !errors.Is(err, orderstore.ErrFinished) {
		return rec, s.failed(ctx, err)
	}
	rec, err = s.Orders.Get(ctx, id)
	if err != nil {
		return rec, s.failed(ctx, err)
	}
	// Otherwise the same action was requested at the same time, or this request is a
	// retry because the response to it was lost.
	if !a.alreadyApplied(rec) {
		changed := "the order has changed in the meantime; read it again"
		return rec, a.conflict(id, cmp.Or(a.precondition(rec, inst), changed))
	}
	return rec, nil
}

// notifyTimeout is how long a request waits until the saga is notified.
const notifyTimeout = 3 * time.Second

// notify notifies the saga: now, or, while no worker runs, once one does. What was
// persisted counts as backlog, which starts a worker. Until then no process could receive
// the event: Dapr keeps none for a saga without a host.
func (s *server) notify(ctx context.Context, id string, a action) error {
	if s.Defer == nil {
		return a.notify(ctx, id)
	}
	now, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	err := a.notify(now, id)
	timedOut := err != nil && (now.Err() != nil || errors.Is(err, context.DeadlineExceeded))
	if ctx.Err() != nil || !timedOut {
		return err
	}
	s.Defer(a.name+" order "+id, func(ctx context.Context) error {
		err := a.notify(ctx, id)
		if errors.Is(err, engine.ErrEnded) || errors.Is(err, engine.ErrNotFound) {
			return nil // there is no saga to notify
		}
		return err
	})
	return nil
}

// hasEnded reports that a saga has ended or is lost: it processes no event any more.
func hasEnded(inst engine.Instance) bool { return inst.Status == "" || inst.Status.Ended() }

// restart starts the saga of an order that the engine has lost. The new saga reads the
// action in the order. If another process has started it in the meantime, it receives
// the event. A failure is logged and left to the reconciler.
func (s *server) restart(ctx context.Context, rec orderstore.Record, a action) error {
	notify := a.notify
	a.notify = func(ctx context.Context, id string) error {
		rec, err := s.Orders.Get(ctx, id)
		if err != nil {
			return err
		}
		inst, err := s.instance(ctx, rec)
		if err != nil || inst.Status != "" || s.RestartSaga == nil {
			return err
		}
		err = s.RestartSaga(ctx, rec)
		if errors.Is(err, engine.ErrActive) {
			return notify(ctx, id)
		}
		return err
	}
	err := s.notify(ctx, rec.OrderID, a)
	if err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("cannot restart a lost saga now; the reconciler will")
	}
	return nil
}

func never(orderstore.Record) bool { return false }

func deref[T any](p *T) T {
	if p == nil {
		return *new(T)
	}
	return *p
}

// statusForbids returns why an event cannot happen in the order's status, or "".
func statusForbids(e order.Event, rec orderstore.Record) string {
	if rec.Status.Allows(e) {
		return ""
	}
	return "the order is " + string(rec.Status) + ", it must be " + joined(order.From(e), " or ")
}
