package reconcile

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"time"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/text"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// reservations looks for stock held for orders that have ended, and for pieces
// that are reserved though no order holds them.
func (r Reconciler) reservations(ctx context.Context, rep *Report) error {
	before, err := r.reserved(ctx)
	if err != nil {
		return err
	}
	held := pieces{}
	var errs failures
	for list, err := range r.allReservations(ctx) {
		if err != nil {
			return fmt.Errorf("reconcile reservations: %w", err)
		}
		for _, res := range list {
			rep.Reservations++
			if res.State != orderstore.HoldHeld {
				continue
			}
			held.add(res)
			if err := r.reservation(ctx, rep, res.OrderID); !errs.add(wrap(err, "reconcile the reservation of order "+res.OrderID)) {
				return errs.err()
			}
		}
		r.show(rep)
	}
	return errors.Join(errs.err(), r.leaks(ctx, rep, before, held))
}

// reservation looks at one that is held.
func (r Reconciler) reservation(ctx context.Context, rep *Report, id string) error {
	rec, err := r.Orders.Get(ctx, id)
	if errors.Is(err, orderstore.ErrNotFound) {
		r.found(ctx, rep, id, "stock is held for an order that does not exist", "flagged", nil)
		return nil
	}
	if err != nil || !rec.Status.Terminal() || !r.settled(rec.UpdatedAt) {
		return err
	}
	ctx = tracing.Continue(ctx, rec.Trace)
	// Read before its order had ended, it may be stale.
	res, err := r.Orders.GetReservation(ctx, id)
	switch {
	case err != nil:
		return err
	case res.State != orderstore.HoldHeld:
	case rec.Status == order.StatusCompleted:
		r.found(ctx, rep, id, "stock is held, and not sold, for an order that is COMPLETED", "flagged", nil)
	default:
		r.found(ctx, rep, id, "stock is held for an order that is "+string(rec.Status), "released", func() error {
			return r.Orders.Release(ctx, id, rec.Status, rec.Reason)
		})
	}
	return nil
}

// ledger is what runs remember of the provider's. Its zero value has seen none of
// it.
type ledger struct {
	since time.Time // by the provider's clock: the next run looks at what was charged then or later
	deep  time.Time // by ours: when a run went back slowGraces grace periods further
	// ended are charges of which nothing more can come, those that the last deep
	// run listed and those since: hashes of their ids, for there may be many.
	ended map[uint64]struct{}
}

var ledgerSeed = maphash.MakeSeed()

func (l *ledger) hasEnded(c payment.Entry) bool {
	_, yes := l.ended[maphash.String(ledgerSeed, c.ID)]
	return yes
}

// from is where a run begins. Once in slowGraces/2 grace periods one is deep.
func (l *ledger) from(now time.Time, grace time.Duration) (since time.Time, deep bool) {
	if l.since.IsZero() || now.Sub(l.deep) < slowGraces/2*grace {
		return l.since, l.since.IsZero()
	}
	return l.since.Add(-slowGraces * grace), true
}

// mostOdd is how many entries that do not count have a finding of their own.
const mostOdd = 100

// charges looks for money taken for orders that did not complete, among the
// charges that may be new. The next run goes back to the first charge of an order
// that has not ended, or to a grace period before the last one; and now and then
// slowGraces further, for a ledger may lag. What is older has been seen, and
// stays. Charges of which nothing more can come are listed again, and not looked
// at. It reports whether it could read them all.
func (r Reconciler) charges(ctx context.Context, rep *Report, alive map[string]bool, paid claims, seen *ledger) (walked bool, err error) {
	var first, last time.Time // of those to be looked at again, and of all
	var errs failures
	since, deep := seen.from(r.Now(), r.Grace)
	ended, odd := map[uint64]struct{}{}, 0
	for page, err := range r.Payments.ChargesSince(ctx, since) {
		if err != nil {
			return false, errors.Join(errs.err(), fmt.Errorf("reconcile charges: %w", err))
		}
		for _, c := range page {
			rep.Charges++
			if c.Invalid != nil {
				if odd++; odd <= mostOdd && !errs.add(r.odd(ctx, rep, paid, c)) {
					return false, errs.err()
				}
				continue
			}
			paid.seen(c)
			done := c.Refunded || seen.hasEnded(c)
			if !done && !alive[c.OrderID] {
				done, err = r.charge(ctx, rep, paid, c)
				if !errs.add(wrap(err, "reconcile charge "+c.ID+" of order "+c.OrderID)) {
					return false, errs.err()
				}
			}
			switch {
			case !done && alive[c.OrderID] && r.Now().Sub(c.CreatedAt) > slowGraces*r.Grace:
				// Unpaid remembers to look at it when its order has ended.
			case !done && (first.IsZero() || c.CreatedAt.Before(first)):
				first = c.CreatedAt
			case done && (!since.IsZero() || r.Now().Sub(c.CreatedAt) < (slowGraces+1)*r.Grace): // the first run's are all that there ever were
				ended[maphash.String(ledgerSeed, c.ID)] = struct{}{}
			}
			if c.CreatedAt.After(last) {
				last = c.CreatedAt
			}
			if now := r.Now(); last.After(now) { // one that is not yet must not hide those that come
				last = now
			}
		}
		r.show(rep)
	}
	if odd > mostOdd {
		r.found(ctx, rep, "", fmt.Sprintf("%d more entries of the provider's ledger do not count", odd-mostOdd), "flagged", nil)
	}
	if last.IsZero() {
		return true, errs.err()
	}
	seen.since = last.Add(-r.Grace)
	if deep {
		seen.deep, seen.ended = r.Now(), ended
	} else {
		maps.Copy(seen.ended, ended)
	}
	if !first.IsZero() && first.Before(seen.since) {
		seen.since = first
	}
	return true, errs.err()
}

// odd reports an entry that does not count, and doubts its order, if there is one.
func (r Reconciler) odd(ctx context.Context, rep *Report, paid claims, c payment.Entry) error {
	if c.OrderID != "" {
		rec, err := r.Orders.Get(ctx, c.OrderID)
		switch {
		case err == nil:
			ctx = tracing.Continue(ctx, rec.Trace)
			paid.doubted[c.OrderID] = true
		case !errors.Is(err, orderstore.ErrNotFound):
			return wrap(err, "reconcile an odd charge of order "+c.OrderID)
		}
	}
	r.found(ctx, rep, c.OrderID, "an entry of the provider's ledger does not count: "+c.Invalid.Error(), "flagged", nil)
	return nil
}

// charge looks at one that stands, and reports whether nothing more can come of
// it, or its order is doubted.
func (r Reconciler) charge(ctx context.Context, rep *Report, paid claims, c payment.Entry) (ended bool, err error) {
	rec, err := r.Orders.Get(ctx, c.OrderID)
	if errors.Is(err, orderstore.ErrNotFound) {
		r.found(ctx, rep, c.OrderID, "charge "+c.ID+" belongs to no order", "flagged", nil)
		return true, nil
	}
	if err != nil {
		return false, err
	}
	ctx = tracing.Continue(ctx, rec.Trace)
	what := "order is " + string(rec.Status) + " and its charge " + c.ID + " was kept"
	switch {
	case !rec.Status.Terminal() || !r.settled(rec.UpdatedAt):
		return false, nil
	case rec.Status == order.StatusCompleted:
		return r.surplus(ctx, rep, paid, rec, c)
	case rec.ManuallyResolved():
		r.found(ctx, rep, c.OrderID, "order is "+string(rec.Status)+", its charge "+c.ID+" was kept, and an operator has had a hand in it", "flagged", nil)
		return true, nil
	case rec.RefundID != "" && c.ID == rec.ChargeID, gaveBack(rec, what):
		paid.doubted[c.OrderID] = true
		r.found(ctx, rep, c.OrderID, what+contradicts, "flagged", nil)
		return true, nil
	default:
		r.found(ctx, rep, c.OrderID, what, "refunded", func() error {
			return r.refund(ctx, c.OrderID)
		})
	}
	return false, nil
}

const contradicts = ", though the provider has answered that it was refunded"

// gaveBack reports whether the reconciler has had a charge refunded already, about
// which what says the same as then. Its order has not changed for the grace
// period since, so the ledger should say so too.
func gaveBack(rec orderstore.Record, what string) bool {
	return slices.ContainsFunc(rec.Notes, func(n orderstore.Note) bool { return n.Actor == reconciler && n.Text == text.Cut(what, text.Max) })
}

func wrap(err error, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
