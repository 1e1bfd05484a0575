package reconcile

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// orphans are orders without a saga.
type orphans struct {
	backlog bool // messages wait in the order queue
	orders  []orderstore.Record
}

// mayBeQueued reports whether a message in the queue may still start the order's saga.
// SQS reports neither the age of the oldest message nor whose the messages are, so while
// any wait, all orders that were accepted for the queue and are PENDING may be among
// them. But a busy queue is never empty: after slowGraces grace periods (two hours) an
// order is no longer left to it. Starting a queued order does no harm: its message finds
// the saga.
func (r Reconciler) mayBeQueued(rec orderstore.Record) bool {
	return rec.Status == order.StatusPending && rec.Queued && r.Now().Sub(rec.CreatedAt) < slowGraces*r.Grace
}

// startLost restarts sagas, of the oldest orders first, up to the capacity: the next run
// finds the others. All steps are idempotent, so a restarted saga finds what is done and
// continues from there.
func (r Reconciler) startLost(ctx context.Context, rep *Report, lost []orderstore.Record) error {
	room := len(lost)
	if r.Capacity != nil && room > 0 {
		room = max(min(room, r.Capacity(ctx, awake(lost))), 0)
	}
	rep.Left += len(lost) - room
	slices.SortFunc(lost, func(a, b orderstore.Record) int { return cmp.Compare(a.Placed, b.Placed) })
	var errs failures
	for _, rec := range lost[:room] {
		if !errs.add(r.startOne(ctx, rep, rec)) {
			break
		}
	}
	return errs.err()
}

// awake returns how many of the orders wait neither for a person nor for the carrier, as
// fleet.Backlog counts.
func awake(lost []orderstore.Record) (n int) {
	for _, rec := range lost {
		if rec.ShipmentID == "" && rec.IdleUntil == "" {
			n++
		}
	}
	return n
}

// startOne checks once more, because intake may have started the saga meanwhile.
func (r Reconciler) startOne(ctx context.Context, rep *Report, rec orderstore.Record) error {
	rec, err := r.Orders.Get(ctx, rec.OrderID)
	if err != nil {
		return err
	}
	if rec.Status.Terminal() || !r.settled(rec.UpdatedAt) {
		return nil
	}
	if _, err := r.Sagas.Get(ctx, rec.OrderID); !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	ctx = tracing.Continue(ctx, rec.Trace)
	r.found(ctx, rep, rec.OrderID, withoutSaga(rec), startedAgain, func() error { return r.start(ctx, rec) })
	return nil
}

// Actions of notes and findings. Orders store them, and those of earlier releases have other
// values: no code may depend on these.
const (
	startedAgain = "saga started again"
	restarted    = "saga restarted"
	sentAgain    = "signal resent"
)

func withoutSaga(rec orderstore.Record) string {
	return "order is " + string(rec.Status) + " and has no saga"
}
