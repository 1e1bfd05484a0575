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

// mayBeQueued reports whether a message that waits in the queue may still start
// the order's saga. SQS does not tell how old the oldest message is, nor whose
// they are, so while any wait, all orders that were accepted for the queue and
// are PENDING may be among them. But a busy queue is never empty: after
// slowGraces grace periods (two hours) an order is no longer left to it. To
// start one that is queued all the same does no harm: its message finds that.
func (r Reconciler) mayBeQueued(rec orderstore.Record) bool {
	return rec.Status == order.StatusPending && rec.Queued && r.Now().Sub(rec.CreatedAt) < slowGraces*r.Grace
}

// begin starts sagas again, of the oldest orders first, as many as there is
// room for: the next run finds the others. All steps are idempotent, so a saga
// that is begun again finds what is done and goes on from there.
func (r Reconciler) begin(ctx context.Context, rep *Report, lost []orderstore.Record) error {
	room := len(lost)
	if r.Room != nil && room > 0 {
		room = max(min(room, r.Room(ctx, awake(lost))), 0)
	}
	rep.Left += len(lost) - room
	slices.SortFunc(lost, func(a, b orderstore.Record) int { return cmp.Compare(a.Placed, b.Placed) })
	var errs failures
	for _, rec := range lost[:room] {
		if !errs.add(r.beginOne(ctx, rep, rec)) {
			break
		}
	}
	return errs.err()
}

// awake is how many of the orders do not wait for a person or the carrier, as
// stock.Load counts.
func awake(lost []orderstore.Record) (n int) {
	for _, rec := range lost {
		if rec.ShipmentID == "" && rec.IdleUntil == "" {
			n++
		}
	}
	return n
}

// beginOne looks once more: meanwhile intake may have started it.
func (r Reconciler) beginOne(ctx context.Context, rep *Report, rec orderstore.Record) error {
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

const startedAgain = "saga started again"

func withoutSaga(rec orderstore.Record) string {
	return "order is " + string(rec.Status) + " and has no saga"
}
