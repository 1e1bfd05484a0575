// Package reconcile finds what crashes, bugs and manual edits leave behind: an order
// without a saga, stock held for an order that has ended, a charge that was not refunded,
// an order that counts as paid and is not, or that has ended with a charge and without a
// refund. It repairs what is safe to repair and reports the rest. Every action is one
// that the saga itself would have taken, is idempotent, and is taken only on what has not
// changed for the grace period.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/text"
	"github.com/ordersaga/ordersaga/internal/tracing"
	"github.com/ordersaga/ordersaga/workflows"
)

// Orders is the part of *orderstore.Store that the reconciler uses.
type Orders interface {
	Get(ctx context.Context, orderID string) (orderstore.Record, error)
	GetReservation(ctx context.Context, orderID string) (orderstore.Reservation, error)
	BackfillTimeIndex(ctx context.Context) (int, error)
	Walk(ctx context.Context, statuses []order.Status, limit int, f func([]orderstore.Record) error) error
	WalkSince(ctx context.Context, since time.Time, statuses []order.Status, limit int, f func([]orderstore.Record) error) error
	ListLevels(ctx context.Context, cursor string, limit int) ([]orderstore.Level, string, error)
	GetLevel(ctx context.Context, sku string) (orderstore.Level, error)
	ListReservations(ctx context.Context, cursor string, limit int) ([]orderstore.Reservation, string, error)
	Release(ctx context.Context, orderID string, final order.Status, reason string) error
	MarkRefunding(ctx context.Context, orderID string) (orderstore.Record, error)
	MarkRefunded(ctx context.Context, orderID, refundID string) error
	AddNote(ctx context.Context, orderID string, n orderstore.Note) error
	Flag(ctx context.Context, rec orderstore.Record, actor, text string) error
	MarkNeedsAttention(ctx context.Context, orderID, reason string) error
	ResumeFromAttention(ctx context.Context, orderID string, to order.Status) error
	MarkAbandoned(ctx context.Context, orderID string) error
	MarkStepDone(ctx context.Context, orderID, step string) error
	ClearTerminated(ctx context.Context, orderID string) error
	Complete(ctx context.Context, orderID, shipmentID, trackingID string) error
	Restore(ctx context.Context, l orderstore.Lost) (order.Status, error)
}

// Payments is the part of *payment.Client that the reconciler uses.
type Payments interface {
	ChargesSince(ctx context.Context, since time.Time) iter.Seq2[[]payment.Entry, error]
	ChargesOf(ctx context.Context, orderID string) ([]payment.Entry, error)
	RefundCharge(ctx context.Context, e payment.Entry) (string, error)
	Refund(ctx context.Context, made payment.Entry) (string, error)
}

// Sagas is the part of an engine that the reconciler uses.
type Sagas interface {
	Get(ctx context.Context, id string) (engine.Instance, error)
	Start(ctx context.Context, workflow, id string, input any) error
	Raise(ctx context.Context, id, event string, payload any) error
	History(ctx context.Context, id string) ([]engine.Event, error)
	Terminate(ctx context.Context, id, reason string) error
	Wait(ctx context.Context, id string) (engine.Instance, error)
	Purge(ctx context.Context, id string) error
}

// DefaultGrace is how long something must be unchanged before the reconciler touches it.
// It must be longer than any step may take.
const DefaultGrace = 5 * time.Minute

// Reconciler compares orders, reservations and charges. Orders, Payments and Sagas are
// required; every other zero value has the meaning given. Its methods may run
// concurrently, also in several processes, because every action is idempotent.
type Reconciler struct {
	Orders   Orders
	Payments Payments
	Sagas    Sagas
	Terms    workflows.Terms
	Grace    time.Duration // 0 means DefaultGrace
	Now      func() time.Time
	// Capacity returns how many sagas may be restarted if lost orders were found without
	// one, not counting those that wait for a person or the carrier. nil means any number.
	Capacity func(ctx context.Context, lost int) int
	// Backlog returns how many messages wait in the order queue. nil means none.
	Backlog func(context.Context) (int, error)
	Logger  zerolog.Logger
	// Unpaid keeps unproven payments from one run to the next. With nil each run checks the
	// orders that have ended within slowGraces grace periods.
	Unpaid *Unpaid
	// Notify notifies the customer of an order that the reconciler compensates how the
	// order ends. It may be called repeatedly. nil disables it.
	Notify func(ctx context.Context, rec orderstore.Record, final order.Status) error
	// Stalled keeps the stalled sagas, as the latest run found. It may be nil.
	Stalled *Stalled

	progress func(Report) // receives a run's report as far as it is; may be nil
}

// Finding is one inconsistency.
type Finding struct {
	OrderID string `json:"orderId,omitempty" doc:"Id of the order. Absent if it is not about one order."`
	SKU     string `json:"sku,omitempty" doc:"SKU. Absent if it is about an order."`
	What    string `json:"what" doc:"What is inconsistent."`
	Action  string `json:"action" doc:"What was done, such as refunded; flagged for an operator; or failed, with error."`
	Error   string `json:"error,omitempty" doc:"Why the action failed, or could not be noted. Absent otherwise."`
	TraceID string `json:"traceId,omitempty" doc:"Id of the order's OpenTelemetry trace. Absent if it was not traced."`
}

// Report is the outcome of one run.
type Report struct {
	Orders       int       `json:"ordersChecked" doc:"Number of orders that were checked."`
	Reservations int       `json:"reservationsChecked" doc:"Number of reservations that were checked."`
	Charges      int       `json:"chargesChecked" doc:"Number of charges that were checked."`
	Left         int       `json:"leftForLater" doc:"Orders without a saga that were left alone: their messages wait in the queue, or --max-live was reached."`
	Findings     []Finding `json:"findings" nullable:"false" doc:"Inconsistencies that were found."`
}

const pageSize = 200

// Once runs all comparisons, over all charges that were ever made. The report is valid
// beside an error, too, for what was checked until then.
func (r Reconciler) Once(ctx context.Context) (Report, error) {
	return r.once(ctx, &ledger{})
}

// once checks the charges that are new to seen. A failure of one part does not keep it
// from checking the others.
func (r Reconciler) once(ctx context.Context, seen *ledger) (rep Report, err error) {
	if r.Grace == 0 {
		r.Grace = DefaultGrace
	}
	if r.Now == nil {
		r.Now = time.Now
	}
	rep = Report{Findings: []Finding{}}
	if r.Unpaid == nil {
		r.Unpaid = &Unpaid{}
	}
	r.Unpaid.run.Lock()
	defer r.Unpaid.run.Unlock()
	if r.Stalled == nil {
		r.Stalled = &Stalled{}
	}
	alive, began := map[string]bool{}, r.Now()
	paid := claims{orders: map[string]orderstore.Record{}, doubted: map[string]bool{}}
	all, errOrders := r.orders(ctx, &rep, alive, paid)
	errReservations := r.reservations(ctx, &rep)
	errEnded := r.ended(ctx, alive, paid)
	walked, errCharges := r.charges(ctx, &rep, alive, paid, seen)
	errUnpaid := r.unpaid(ctx, &rep, alive, paid, began, all && errEnded == nil, walked)
	errBackfill := r.backfill(ctx)
	if err = errors.Join(errOrders, errReservations, errEnded, errCharges, errUnpaid, errBackfill); err == nil {
		r.Unpaid.succeed(r.Now())
	}
	return rep, err
}

// backfill adds orders that an older release accepted to the index by time.
func (r Reconciler) backfill(ctx context.Context) error {
	n, err := r.Orders.BackfillTimeIndex(ctx)
	if n > 0 {
		r.Logger.Info().Int("orders", n).Msg("orders of an older release were added to the index by time")
	}
	if err != nil {
		err = fmt.Errorf("reconcile lists: %w", err)
	}
	return err
}

// Run repeats Once at the interval until ctx ends, and then returns nil. It logs each
// report.
func (r Reconciler) Run(ctx context.Context, every time.Duration) error {
	seen := &ledger{} // a new process checks all charges once
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		rep, err := r.once(ctx, seen)
		if ctx.Err() != nil {
			return nil
		}
		r.log(rep, err)
	}
}

// failures are those of one part of a run. A single failure does not end the part, but
// many in a row do: then the fault is not with one order or charge.
type failures struct {
	errs []error // the first ones
	more int     // than these
	row  int
}

const maxConsecutiveFailures = 10

// add counts the outcome for one order or charge, and reports whether to continue.
func (f *failures) add(err error) bool {
	switch {
	case err == nil:
		f.row = 0
		return true
	case len(f.errs) < maxConsecutiveFailures:
		f.errs = append(f.errs, err)
	default:
		f.more++
	}
	f.row++
	return f.row < maxConsecutiveFailures
}

func (f *failures) err() error {
	if f.more > 0 {
		return errors.Join(append(f.errs, fmt.Errorf("and %d more", f.more))...)
	}
	return errors.Join(f.errs...)
}

func (r Reconciler) log(rep Report, err error) {
	if err != nil {
		r.Logger.Error().Err(err).Msg("reconciliation did not finish; the next run checks everything again")
	}
	if rep.Left > 0 {
		r.Logger.Info().Int("orders", rep.Left).
			Msg("orders without a saga are left for the next run: they wait in the queue, or there is no capacity")
	}
	for _, f := range rep.Findings {
		r.Logger.Warn().Str("order", f.OrderID).Str("sku", f.SKU).Str("trace", f.TraceID).
			Str("what", f.What).Str("action", f.Action).Str("error", f.Error).Msg("reconciled")
	}
}

func (r Reconciler) show(rep *Report) {
	if r.progress != nil {
		now := *rep
		now.Findings = slices.Clone(rep.Findings)
		r.progress(now)
	}
}

// reconciler is the actor of the reconciler's notes.
const reconciler = "reconciler" // as an actor of notes

// found records a finding and the outcome of act: action if it succeeded, "failed"
// otherwise. A nil act only records.
func (r Reconciler) found(ctx context.Context, rep *Report, orderID, what, action string, act func() error) {
	what = text.Cut(what, text.Max)
	f := Finding{OrderID: orderID, What: what, Action: action, TraceID: tracing.ID(ctx)}
	if act != nil {
		err := act()
		switch {
		case errors.Is(err, engine.ErrActive) && r.runs(ctx, orderID):
			f.Action = "left alone: its saga runs"
		case err != nil:
			f.Action, f.Error = "failed", text.Cut(err.Error(), text.Max)
		default:
			note := orderstore.Note{Actor: reconciler, Action: action, Text: what}
			err := r.Orders.AddNote(ctx, orderID, note)
			if err != nil && !errors.Is(err, orderstore.ErrNotFound) {
				f.Error = text.Cut(err.Error(), text.Max)
			}
		}
	}
	rep.Findings = append(rep.Findings, f)
}

// runs reports whether the engine has a saga of the order.
func (r Reconciler) runs(ctx context.Context, orderID string) bool {
	_, err := r.Sagas.Get(ctx, orderID)
	return err == nil
}

// settled reports whether at is longer ago than the grace period.
func (r Reconciler) settled(at time.Time) bool { return r.Now().Sub(at) > r.Grace }

func wrap(err error, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
