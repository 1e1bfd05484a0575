// Package reconcile finds what crashes, bugs and manual edits leave behind:
// an order without a saga, stock held for an order that has ended, a charge
// that nobody refunded. It mends what is safe to mend and reports the rest.
// Every action is one that the saga itself would have taken, is idempotent,
// and is taken only on what has not changed for the grace period.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/activities/stock"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// Orders is what the reconciler uses of *stock.Store.
type Orders interface {
	Get(ctx context.Context, orderID string) (stock.Record, error)
	GetReservation(ctx context.Context, orderID string) (stock.Reservation, error)
	List(ctx context.Context, q stock.Query) (stock.Page, error)
	ListReservations(ctx context.Context, cursor string, limit int) ([]stock.Reservation, string, error)
	Release(ctx context.Context, orderID string, final order.Status, reason string) error
	MarkRefunded(ctx context.Context, orderID, refundID string) error
	AddNote(ctx context.Context, orderID string, n stock.Note) error
	Unpark(ctx context.Context, orderID string, to order.Status) error
}

// Payments is what the reconciler uses of *payment.Client.
type Payments interface {
	Charges(ctx context.Context, cursor string, limit int) ([]payment.Entry, string, error)
	Refund(ctx context.Context, orderID string) (string, error)
}

// Sagas is what the reconciler uses of an engine.
type Sagas interface {
	Get(ctx context.Context, id string) (engine.Instance, error)
	Start(ctx context.Context, workflow, id string, input any) error
	Raise(ctx context.Context, id, event string, payload any) error
	History(ctx context.Context, id string) ([]engine.Event, error)
	Terminate(ctx context.Context, id, reason string) error
	Wait(ctx context.Context, id string) (engine.Instance, error)
	Purge(ctx context.Context, id string) error
}

// Reconciler compares the three ledgers.
type Reconciler struct {
	Orders   Orders
	Payments Payments
	Sagas    Sagas
	Terms    workflows.Terms
	Grace    time.Duration // 0 means five minutes
	Now      func() time.Time
	Logger   zerolog.Logger
}

// Finding is one thing that did not fit.
type Finding struct {
	OrderID string `json:"orderId"`
	What    string `json:"what"`
	Action  string `json:"action"` // what was done, or "flagged" for a person
	Error   string `json:"error,omitempty"`
}

// Report is the outcome of one run.
type Report struct {
	Orders       int       `json:"ordersChecked"`
	Reservations int       `json:"reservationsChecked"`
	Charges      int       `json:"chargesChecked"`
	Findings     []Finding `json:"findings"`
}

const pageSize = 200

var live = []order.Status{order.StatusPending, order.StatusReserved, order.StatusAwaitingApproval, order.StatusPaid, order.StatusNeedsAttention}

// Once runs all three comparisons. The report is also valid beside an error,
// as far as it got.
func (r Reconciler) Once(ctx context.Context) (Report, error) {
	if r.Grace == 0 {
		r.Grace = 5 * time.Minute
	}
	if r.Now == nil {
		r.Now = time.Now
	}
	rep := Report{Findings: []Finding{}}
	err := errors.Join(r.orders(ctx, &rep), r.reservations(ctx, &rep), r.charges(ctx, &rep))
	return rep, err
}

// Run repeats Once at the interval until ctx ends.
func (r Reconciler) Run(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		rep, err := r.Once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			r.Logger.Error().Err(err).Msg("reconciliation did not finish; it is tried again")
		}
		for _, f := range rep.Findings {
			r.Logger.Warn().Str("order", f.OrderID).Str("what", f.What).Str("action", f.Action).Str("error", f.Error).Msg("reconciled")
		}
	}
}

// found records a finding and what came of acting on it.
func (r Reconciler) found(ctx context.Context, rep *Report, orderID, what, action string, act func() error) {
	f := Finding{OrderID: orderID, What: what, Action: action}
	if act != nil {
		if err := act(); err != nil {
			f.Error = err.Error()
		} else if err := r.Orders.AddNote(ctx, orderID, stock.Note{Actor: "reconciler", Action: action, Text: what}); err != nil && !errors.Is(err, stock.ErrNotFound) {
			f.Error = err.Error()
		}
	}
	rep.Findings = append(rep.Findings, f)
}

func (r Reconciler) settled(at time.Time) bool { return r.Now().Sub(at) > r.Grace }

// orders looks for live orders whose saga is gone or has ended without them.
func (r Reconciler) orders(ctx context.Context, rep *Report) error {
	var errs []error
	q := stock.Query{Statuses: live, Limit: pageSize}
	for {
		page, err := r.Orders.List(ctx, q)
		if err != nil {
			return fmt.Errorf("reconcile orders: %w", err)
		}
		for _, rec := range page.Records {
			rep.Orders++
			if !r.settled(rec.UpdatedAt) {
				continue
			}
			if err := r.order(ctx, rep, rec); err != nil { // the others are looked at all the same
				errs = append(errs, fmt.Errorf("reconcile order %s: %w", rec.OrderID, err))
			}
		}
		if q.Cursor = page.Next; q.Cursor == "" || ctx.Err() != nil {
			return errors.Join(errs...)
		}
	}
}

func (r Reconciler) order(ctx context.Context, rep *Report, rec stock.Record) error {
	inst, err := r.Sagas.Get(ctx, rec.OrderID)
	if err != nil && !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	gone := err != nil
	// The list is a moment old, and the saga may have ended since, with its
	// order: what counts is what it has left behind.
	rec, err = r.Orders.Get(ctx, rec.OrderID)
	if err != nil {
		return err
	}
	if rec.Status.Terminal() || !r.settled(rec.UpdatedAt) {
		return nil
	}
	switch {
	case !gone && !inst.Status.Ended():
		return r.wake(ctx, rep, rec)
	case gone && rec.Status != order.StatusNeedsAttention:
		// All steps are idempotent, so a saga that is begun again finds what
		// is done and goes on from there.
		r.found(ctx, rep, rec.OrderID, "order is "+string(rec.Status)+" and has no saga", "saga started again", func() error { return r.start(ctx, rec) })
	case gone:
		r.found(ctx, rep, rec.OrderID, "order needs attention and has no saga; an operator may retry or compensate it", "flagged", nil)
	case inst.Status == engine.Terminated && string(inst.Output) == strconv.Quote(anew):
		// Another reconciler, or one that died, is half way.
		r.found(ctx, rep, rec.OrderID, "saga was terminated to be begun anew", "saga begun anew", func() error { return r.restart(ctx, rec) })
	case rec.ShipmentID != "":
		// The parcel may be on its way: neither refunding nor shipping again is
		// safe, so a person finds out.
		r.found(ctx, rep, rec.OrderID, "order is "+string(rec.Status)+" with a shipment requested, but its saga has ended "+string(inst.Status), "flagged", nil)
	default:
		r.found(ctx, rep, rec.OrderID, "order is "+string(rec.Status)+" but its saga has ended "+string(inst.Status), "refunded and released", func() error {
			return r.undo(ctx, rec.OrderID, "saga ended "+string(inst.Status)+" without finishing the order; undone by the reconciler")
		})
	}
	return nil
}

// slowGraces is after how many grace periods a saga that waits for the carrier
// is looked after: with the usual five minutes, every two hours.
const slowGraces = 24

// wake looks after a saga that has stood still where none waits for long. Dapr
// can lose a saga's wake-up when a process dies at the wrong moment: any event
// brings another, and means nothing to a saga that is well. A step of which it
// lost the answer it never asks for again: such a saga is begun anew, and
// finds what is done.
func (r Reconciler) wake(ctx context.Context, rep *Report, rec stock.Record) error {
	switch {
	case rec.Status == order.StatusPaid && rec.ShipmentID != "": // waits for the carrier, who may take a day
		if r.Now().Sub(rec.UpdatedAt) < slowGraces*r.Grace {
			return nil
		}
	case rec.Status == order.StatusAwaitingApproval && rec.Decision != "":
		r.found(ctx, rep, rec.OrderID, "order was "+string(rec.Decision)+" and its saga waits on", "saga told again", func() error {
			return saga.Send(ctx, r.Sagas, rec.OrderID, workflows.EventApproval, workflows.Approval{Approved: rec.Decision == stock.Approved})
		})
		return nil
	case rec.Status != order.StatusPending && rec.Status != order.StatusReserved && rec.Status != order.StatusPaid:
		return nil // waits for a person
	}
	history, err := r.Sagas.History(ctx, rec.OrderID)
	if err != nil && !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	what := "order has been " + string(rec.Status) + " for " + r.Now().Sub(rec.UpdatedAt).Round(time.Second).String()
	if step, lost := r.lostStep(history); lost && !rec.CancelRequested {
		r.found(ctx, rep, rec.OrderID, what+", and "+step+" never answered", "saga begun anew", func() error { return r.beginAnew(ctx, rec) })
		return nil
	}
	r.found(ctx, rep, rec.OrderID, what, "saga nudged", func() error {
		return saga.Send(ctx, r.Sagas, rec.OrderID, saga.Nudge, nil)
	})
	return nil
}

// lostStep finds an activity that was scheduled before the grace period and
// has no outcome. None takes nearly so long.
func (r Reconciler) lostStep(history []engine.Event) (name string, lost bool) {
	open := map[int]engine.Event{}
	for _, e := range history {
		switch {
		case e.Type == "TaskScheduled":
			open[e.ID] = e
		case (e.Type == "TaskCompleted" || e.Type == "TaskFailed") && e.RelatesTo != nil:
			delete(open, *e.RelatesTo)
		}
	}
	for _, e := range open {
		if r.settled(e.At) {
			return e.Name, true
		}
	}
	return "", false
}

// anew is why a saga was terminated that is to be begun anew. It tells it from
// one that a person has terminated, whose order is undone.
const anew = "begun anew by the reconciler"

func (r Reconciler) beginAnew(ctx context.Context, rec stock.Record) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := r.Sagas.Terminate(ctx, rec.OrderID, anew); err != nil {
		return err
	}
	if _, err := r.Sagas.Wait(ctx, rec.OrderID); err != nil {
		return err
	}
	return r.restart(ctx, rec)
}

func (r Reconciler) restart(ctx context.Context, rec stock.Record) error {
	if err := r.Sagas.Purge(ctx, rec.OrderID); err != nil {
		return err
	}
	return r.start(ctx, rec)
}

// start begins the order's saga from its first step, knowing what another
// one has done: nobody is asked for approval twice, and what was charged is
// refunded whenever it ends.
func (r Reconciler) start(ctx context.Context, rec stock.Record) error {
	o, err := rec.Order()
	if err != nil {
		return err
	}
	return r.Sagas.Start(ctx, workflows.OrderSaga, rec.OrderID, workflows.State{
		Order: o.WithoutToken(), Terms: r.Terms, ChargeID: rec.ChargeID, ShipmentID: rec.ShipmentID,
		Approved: rec.Decision == stock.Approved || rec.ChargeID != "",
	})
}

// ErrNoSaga is the answer to a decision that needs the saga that was lost.
var ErrNoSaga = errors.New("the order's saga is lost: only retry (begin it again) and compensate (refund and release) are possible")

// Lost carries out an operator's decision about an order that needs attention
// and whose saga the engine has lost.
func (r Reconciler) Lost(ctx context.Context, rec stock.Record, d saga.Resolution) error {
	switch d.Action { //nolint:exhaustive // all others
	case saga.ActionRetry:
		to := order.StatusPending
		res, err := r.Orders.GetReservation(ctx, rec.OrderID)
		switch {
		case err != nil && !errors.Is(err, stock.ErrNotFound):
			return err
		case rec.ChargeID != "":
			to = order.StatusPaid
		case res.State == stock.HoldHeld:
			to = order.StatusReserved
		}
		if err := r.Orders.Unpark(ctx, rec.OrderID, to); err != nil {
			return err
		}
		return r.start(ctx, rec)
	case saga.ActionCompensate:
		return r.undo(ctx, rec.OrderID, "compensated by "+d.By+": "+d.Note)
	}
	return ErrNoSaga
}

// undo does what the saga's compensations do.
func (r Reconciler) undo(ctx context.Context, orderID, reason string) error {
	if err := r.refund(ctx, orderID); err != nil {
		return err
	}
	return r.Orders.Release(ctx, orderID, order.StatusFailed, reason)
}

// refund does what the saga's compensation does.
func (r Reconciler) refund(ctx context.Context, orderID string) error {
	id, err := r.Payments.Refund(ctx, orderID)
	if err != nil || id == "" {
		return err
	}
	return r.Orders.MarkRefunded(ctx, orderID, id)
}

// reservations looks for stock held for orders that have ended.
func (r Reconciler) reservations(ctx context.Context, rep *Report) error {
	for cursor := ""; ; {
		list, next, err := r.Orders.ListReservations(ctx, cursor, pageSize)
		if err != nil {
			return fmt.Errorf("reconcile reservations: %w", err)
		}
		for _, res := range list {
			rep.Reservations++
			if res.State != stock.HoldHeld {
				continue
			}
			rec, err := r.Orders.Get(ctx, res.OrderID)
			if errors.Is(err, stock.ErrNotFound) {
				r.found(ctx, rep, res.OrderID, "stock is held for an order that does not exist", "flagged", nil)
				continue
			}
			if err != nil {
				return fmt.Errorf("reconcile reservations: %w", err)
			}
			if !rec.Status.Terminal() || !r.settled(rec.UpdatedAt) {
				continue
			}
			// Read before its order had ended, it may be stale.
			res, err := r.Orders.GetReservation(ctx, res.OrderID)
			if err != nil {
				return fmt.Errorf("reconcile reservations: %w", err)
			}
			switch {
			case res.State != stock.HoldHeld:
			case rec.Status == order.StatusCompleted:
				r.found(ctx, rep, res.OrderID, "stock is held, and not sold, for an order that is COMPLETED", "flagged", nil)
			default:
				r.found(ctx, rep, res.OrderID, "stock is held for an order that is "+string(rec.Status), "released", func() error {
					return r.Orders.Release(ctx, res.OrderID, rec.Status, rec.Reason)
				})
			}
		}
		if cursor = next; cursor == "" {
			return nil
		}
	}
}

// charges looks for money taken for orders that did not complete.
func (r Reconciler) charges(ctx context.Context, rep *Report) error {
	for cursor := ""; ; {
		list, next, err := r.Payments.Charges(ctx, cursor, pageSize)
		if err != nil {
			return fmt.Errorf("reconcile charges: %w", err)
		}
		for _, c := range list {
			rep.Charges++
			if c.Refunded {
				continue
			}
			rec, err := r.Orders.Get(ctx, c.OrderID)
			if errors.Is(err, stock.ErrNotFound) {
				r.found(ctx, rep, c.OrderID, "charge "+c.ID+" belongs to no order", "flagged", nil)
				continue
			}
			if err != nil {
				return fmt.Errorf("reconcile charges: %w", err)
			}
			if !rec.Status.Terminal() || rec.Status == order.StatusCompleted || !r.settled(rec.UpdatedAt) {
				continue
			}
			if rec.ByHand() {
				r.found(ctx, rep, c.OrderID, "order is "+string(rec.Status)+", its charge "+c.ID+" was kept, and an operator has had a hand in it", "flagged", nil)
			} else {
				r.found(ctx, rep, c.OrderID, "order is "+string(rec.Status)+" and its charge "+c.ID+" was kept", "refunded", func() error {
					return r.refund(ctx, c.OrderID)
				})
			}
		}
		if cursor = next; cursor == "" {
			return nil
		}
	}
}
