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

// ledger is the part of the provider's ledger that earlier runs have read. The zero value
// has none of it.
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

// from returns where a run begins. One run in slowGraces/2 grace periods is deep.
func (l *ledger) from(now time.Time, grace time.Duration) (since time.Time, deep bool) {
	if l.since.IsZero() || now.Sub(l.deep) < slowGraces/2*grace {
		return l.since, l.since.IsZero()
	}
	return l.since.Add(-slowGraces * grace), true
}

// maxInvalidEntries is how many invalid entries of the ledger have a finding of their
// own.
const maxInvalidEntries = 100

// charges looks for money taken for orders that did not complete, among the charges that
// may be new. The next run begins at the first charge of an order that has not ended, or
// a grace period before the last charge; a deep run goes slowGraces grace periods further
// back, because a ledger may lag. Older charges have been checked and stay as they are.
// Charges that need nothing more are listed again but not checked. walked reports whether
// all could be read.
func (r Reconciler) charges(ctx context.Context, rep *Report, alive map[string]bool, paid claims, seen *ledger) (walked bool, err error) {
	var first, last time.Time // of those to be looked at again, and of all
	var errs failures
	since, deep := seen.from(r.Now(), r.Grace)
	ended, invalid := map[uint64]struct{}{}, 0
	for page, err := range r.Payments.ChargesSince(ctx, since) {
		if err != nil {
			return false, errors.Join(errs.err(), fmt.Errorf("reconcile charges: %w", err))
		}
		for _, c := range page {
			rep.Charges++
			if c.Invalid != nil {
				invalid++
				if invalid <= maxInvalidEntries && !errs.add(r.invalidEntry(ctx, rep, paid, c)) {
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
				// Unpaid remembers to check it when its order has ended.
			case !done && (first.IsZero() || c.CreatedAt.Before(first)):
				first = c.CreatedAt
			// The first run lists all charges that were ever made.
			case done && (!since.IsZero() || r.Now().Sub(c.CreatedAt) < (slowGraces+1)*r.Grace):
				ended[maphash.String(ledgerSeed, c.ID)] = struct{}{}
			}
			if c.CreatedAt.After(last) {
				last = c.CreatedAt
			}
			if now := r.Now(); last.After(now) { // a charge dated in the future must not hide later ones
				last = now
			}
		}
		r.show(rep)
	}
	if invalid > maxInvalidEntries {
		r.found(ctx, rep, "", fmt.Sprintf("%d more entries of the provider's ledger are invalid", invalid-maxInvalidEntries), "flagged", nil)
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

// invalidEntry reports an invalid entry of the ledger, and marks its order, if there is
// one, as doubted.
func (r Reconciler) invalidEntry(ctx context.Context, rep *Report, paid claims, c payment.Entry) error {
	if c.OrderID != "" {
		rec, err := r.Orders.Get(ctx, c.OrderID)
		switch {
		case err == nil:
			ctx = tracing.Continue(ctx, rec.Trace)
			paid.doubted[c.OrderID] = true
		case !errors.Is(err, orderstore.ErrNotFound):
			return wrap(err, "reconcile an invalid charge of order "+c.OrderID)
		}
	}
	r.found(ctx, rep, c.OrderID, "an entry of the provider's ledger is invalid: "+c.Invalid.Error(), "flagged", nil)
	return nil
}

// charge checks a charge that was not refunded. ended reports that it needs nothing more,
// or that its order is doubted.
func (r Reconciler) charge(ctx context.Context, rep *Report, paid claims, c payment.Entry) (ended bool, err error) {
	rec, err := r.Orders.Get(ctx, c.OrderID)
	if errors.Is(err, orderstore.ErrNotFound) {
		ours, err := r.withoutRecord(ctx, rep, c.OrderID, c.ID, "charge "+c.ID+" belongs to no order")
		return !ours, err
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
		return r.duplicateCharge(ctx, rep, paid, rec, c)
	case rec.ManuallyResolved():
		r.found(ctx, rep, c.OrderID, what+", and an operator has resolved a step of it", "flagged", nil)
		return true, nil
	case rec.RefundID != "" && c.ID == rec.ChargeID, refundedBefore(rec, what):
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

// duplicateCharge checks a charge of a COMPLETED order that was not refunded. A charge
// other than the one in the order's record is refunded, provided that the recorded one
// was not: otherwise it is the only payment. ended is that of charge.
func (r Reconciler) duplicateCharge(
	ctx context.Context, rep *Report, paid claims, rec orderstore.Record, c payment.Entry,
) (ended bool, err error) {
	if c.ID == rec.ChargeID {
		return true, nil
	}
	all, err := r.Payments.ChargesOf(ctx, rec.OrderID)
	switch {
	case payment.IsInvalidResponse(err):
		paid.doubted[rec.OrderID] = true
		r.found(ctx, rep, rec.OrderID, "order is COMPLETED, and its entries in the ledger are invalid: "+err.Error(), "flagged", nil)
		return true, nil
	case err != nil:
		return false, err
	}
	what := "order is COMPLETED with charge " + rec.ChargeID + ", and charge " + c.ID + " stands too"
	stands := func(e payment.Entry) bool { return e.ID == rec.ChargeID && !e.Refunded }
	switch {
	case !slices.ContainsFunc(all, stands):
		what := "order is COMPLETED with charge " + rec.ChargeID + ", which does not stand; charge " + c.ID + " does"
		r.found(ctx, rep, rec.OrderID, what, "flagged", nil)
		return true, nil
	case rec.ManuallyResolved():
		r.found(ctx, rep, rec.OrderID, what+"; an operator has resolved a step of it", "flagged", nil)
		return true, nil
	case refundedBefore(rec, what):
		paid.doubted[rec.OrderID] = true
		r.found(ctx, rep, rec.OrderID, what+contradicts, "flagged", nil)
		return true, nil
	default:
		r.found(ctx, rep, rec.OrderID, what, "surplus refunded", func() error {
			_, err := r.Payments.RefundCharge(ctx, c)
			return err
		})
	}
	return false, nil
}

const contradicts = ", although the provider has confirmed its refund"

// refundedBefore reports whether the reconciler has refunded a charge before with the
// same finding. Its order has not changed for the grace period since, so the ledger
// should show the refund. Notes store the findings: the text of one that precedes a
// refund must not change, or an older release's refund is repeated after an upgrade.
func refundedBefore(rec orderstore.Record, what string) bool {
	return slices.ContainsFunc(rec.Notes, func(n orderstore.Note) bool { return n.Actor == reconciler && n.Text == text.Cut(what, text.Max) })
}
