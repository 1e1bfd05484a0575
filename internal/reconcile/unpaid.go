package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/money"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// Unpaid keeps, between the runs of a reconciler, the orders whose payment or refund is not
// proven. The zero value has none. It is safe for concurrent use.
type Unpaid struct {
	run sync.Mutex // one at a time: each goes by what the one before has found

	mu        sync.Mutex
	found     map[string]bool // without an unrefunded charge, or a refund, or the ledger contradicts itself about them
	watched   map[string]bool // not ended yet, or too lately, when they were looked at, or could not be
	looked    time.Time       // orders accepted before were looked at, or are watched
	succeeded time.Time
}

// Count returns the number of inconsistent payments found so far: orders that are PAID or
// COMPLETED without a valid charge, that have ended otherwise with a charge and without a
// refund, or that the provider's ledger contradicts.
func (u *Unpaid) Count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.found)
}

// Succeeded returns when the latest run ended that could check everything; zero if there
// was none.
func (u *Unpaid) Succeeded() time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.succeeded
}

func (u *Unpaid) succeed(at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.succeeded = at
}

// claims are the payments and refunds that a run must prove.
type claims struct {
	// orders count as paid, or have ended without their money having gone back, by
	// their ids, until their charge is seen standing in the provider's ledger.
	orders map[string]orderstore.Record
	// doubted are orders about which the ledger contradicts itself or the order.
	doubted map[string]bool
}

func (c claims) add(rec orderstore.Record) {
	if claimed(rec) {
		c.orders[rec.OrderID] = orderstore.Record{ChargeID: rec.ChargeID, Total: rec.Total, Currency: rec.Currency}
	}
}

// claimed reports whether an order's money must be proven. That an operator has shipped
// an order proves nothing about its payment; one that was compensated, an operator may
// have refunded elsewhere.
func claimed(rec orderstore.Record) bool {
	paid := rec.Total > 0 && (rec.Status == order.StatusPaid || rec.Status == order.StatusCompleted) && !rec.Refunding
	return paid || kept(rec) && !rec.ManuallyResolved()
}

func (c claims) seen(e payment.Entry) {
	if rec, ok := c.orders[e.OrderID]; ok && e.ID == rec.ChargeID && pays(e, rec) {
		delete(c.orders, e.OrderID)
	}
}

// kept reports whether an order has ended without completing, was charged, and has no
// refund.
func kept(rec orderstore.Record) bool {
	return rec.Status.Terminal() && rec.Status != order.StatusCompleted && rec.ChargeID != "" && rec.RefundID == ""
}

func pays(e payment.Entry, rec orderstore.Record) bool {
	return !e.Refunded && e.Amount == rec.Total && e.Currency == rec.Currency
}

// ended adds to c the orders that have ended since the last run: those that were watched,
// and those accepted since. The first run goes back as far as a saga may await the
// carrier.
func (r Reconciler) ended(ctx context.Context, alive map[string]bool, c claims) error {
	r.Unpaid.mu.Lock()
	since := r.Unpaid.looked
	var ended []string
	for id := range r.Unpaid.watched {
		if !alive[id] {
			ended = append(ended, id)
		}
	}
	r.Unpaid.mu.Unlock()
	if since.IsZero() {
		since = r.Now().Add(-slowGraces * r.Grace)
	}
	records := make([]orderstore.Record, len(ended))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, id := range ended {
		g.Go(func() (err error) {
			records[i], err = r.Orders.Get(gctx, id)
			if errors.Is(err, orderstore.ErrNotFound) {
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("reconcile orders that have ended: %w", err)
	}
	for _, rec := range records {
		c.add(rec)
	}
	err := r.Orders.WalkSince(ctx, since, order.TerminalStatuses(), pageSize, func(page []orderstore.Record) error {
		for _, rec := range page {
			c.add(rec)
		}
		return ctx.Err()
	})
	if err != nil {
		return fmt.Errorf("reconcile orders that have ended: %w", err)
	}
	return nil
}

// unpaid reports the claims without a matching charge, if they are unchanged for the
// grace period and the ledger, queried for each order, has none either. An operator finds
// out why: neither charging nor taking back is safe. An order whose money was to be
// refunded is refunded once more, until the refund is proven. What earlier runs found is
// checked again until it is right. all means that nothing is missing in alive and c, and
// walked that the ledger of all orders could be read.
func (r Reconciler) unpaid(ctx context.Context, rep *Report, alive map[string]bool, c claims, began time.Time, all, walked bool) error {
	r.Unpaid.mu.Lock()
	before, watched := r.Unpaid.found, maps.Clone(alive)
	if !all {
		maps.Copy(watched, r.Unpaid.watched)
	}
	r.Unpaid.mu.Unlock() // the maps in it are never written to
	look := map[string]bool{}
	for id := range c.orders {
		look[id] = true
	}
	for id := range before {
		look[id] = true
	}
	found := map[string]bool{}
	var errs failures
	ids := slices.Sorted(maps.Keys(look))
	for i, id := range ids {
		wrong, err := r.money(ctx, rep, c, id)
		if walked && payment.IsInvalidResponse(err) { // a finding has it; otherwise it does not concern only this order
			err = nil
		}
		if err != nil || wrong == notYet {
			watched[id] = true
		}
		if wrong == yes || before[id] && (err != nil || wrong == notYet) {
			found[id] = true
		}
		if errs.add(wrap(err, "reconcile the payment of order "+id)) {
			continue
		}
		for _, id := range ids[i:] {
			watched[id] = true
			if before[id] {
				found[id] = true
			}
		}
		break
	}
	maps.Copy(found, c.doubted)
	r.Unpaid.mu.Lock()
	defer r.Unpaid.mu.Unlock()
	r.Unpaid.found, r.Unpaid.watched = found, watched
	if all {
		r.Unpaid.looked = began.Add(-r.Grace) // clocks differ
	}
	return errs.err()
}

// verdict states whether an order's payment or refund is wrong.
type verdict int

const (
	no verdict = iota
	yes
	notYet // known
)

// money checks one order against the ledger. An invalid response is yes, and an error.
func (r Reconciler) money(ctx context.Context, rep *Report, c claims, id string) (wrong verdict, err error) {
	rec, err := r.Orders.Get(ctx, id)
	if errors.Is(err, orderstore.ErrNotFound) {
		return no, nil
	}
	if err != nil {
		return notYet, err
	}
	ctx = tracing.Continue(ctx, rec.Trace)
	claim := claimed(rec)
	switch {
	case !claim && (rec.ManuallyResolved() || !rec.Status.Terminal()):
		return no, nil
	case !r.settled(rec.UpdatedAt):
		return notYet, nil
	case kept(rec):
		what := fmt.Sprintf("order is %s, was charged (%s), and has no refund", rec.Status, rec.ChargeID)
		r.found(ctx, rep, id, what, "refunded", func() error {
			err := r.refund(ctx, id)
			if err != nil {
				wrong = yes
			}
			return err
		})
		return wrong, nil
	case c.doubted[id]: // reported already
		return yes, nil
	}
	charges, err := r.Payments.ChargesOf(ctx, id)
	switch {
	case payment.IsInvalidResponse(err):
		r.found(ctx, rep, id, "order is "+string(rec.Status)+", and its entries in the ledger are invalid: "+err.Error(), "flagged", nil)
		return yes, err
	case err != nil:
		return notYet, err
	case claim && !slices.ContainsFunc(charges, func(e payment.Entry) bool { return pays(e, rec) }):
		what := fmt.Sprintf("order is %s and has no unrefunded charge of %s", rec.Status, money.Format(rec.Total, rec.Currency))
		r.found(ctx, rep, id, what, "flagged", nil)
		return yes, nil
	case !rec.Status.Terminal():
		return no, nil
	}
	for _, e := range charges {
		if e.Refunded {
			continue
		}
		ended, err := r.charge(ctx, rep, c, e)
		if err != nil {
			return notYet, err
		}
		if !ended || c.doubted[id] {
			wrong = yes
		}
	}
	return wrong, nil
}
