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
	"github.com/ordersaga/ordersaga/activities/stock"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// Unpaid is what runs of a reconciler remember of orders that count as paid, or
// have ended without their money having gone back. Its zero value remembers
// nothing. It is safe for concurrent use.
type Unpaid struct {
	mu      sync.Mutex
	found   map[string]bool // without a charge that stands, or a refund
	watched map[string]bool // not ended yet, or too lately, when they were looked at
	looked  time.Time       // orders accepted before were looked at, or are watched
}

// Count is how many orders are PAID or COMPLETED without a charge that stands, or
// have ended otherwise with a charge and without a refund, as far as runs have
// found.
func (u *Unpaid) Count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.found)
}

// claims are orders that count as paid, or have ended without their money having
// gone back, by their ids, until their charge is seen standing in the provider's
// ledger.
type claims map[string]stock.Record

func (c claims) add(rec stock.Record) {
	paid := rec.Total > 0 && (rec.Status == order.StatusPaid || rec.Status == order.StatusCompleted) && !rec.Refunding
	if (paid || kept(rec)) && !rec.ByHand() {
		c[rec.OrderID] = stock.Record{ChargeID: rec.ChargeID, Total: rec.Total, Currency: rec.Currency}
	}
}

func (c claims) seen(e payment.Entry) {
	if rec, ok := c[e.OrderID]; ok && e.ID == rec.ChargeID && pays(e, rec) {
		delete(c, e.OrderID)
	}
}

// kept is for an order that has ended, was charged, and has no refund.
func kept(rec stock.Record) bool {
	return rec.Status.Terminal() && rec.Status != order.StatusCompleted && rec.ChargeID != "" && rec.RefundID == ""
}

func pays(e payment.Entry, rec stock.Record) bool {
	return !e.Refunded && e.Amount == rec.Total && e.Currency == rec.Currency
}

// ended adds the orders to claims that have ended since the last run:
// those that were watched, and those accepted since. The first run looks as far
// back as a saga is left alone that waits for the carrier.
func (r Reconciler) ended(ctx context.Context, alive map[string]bool, c claims) error {
	r.Unpaid.mu.Lock()
	since := r.Unpaid.looked
	var ended []string
	for _, watched := range []map[string]bool{r.Unpaid.watched, r.Unpaid.found} {
		for id := range watched {
			if !alive[id] {
				ended = append(ended, id)
			}
		}
	}
	r.Unpaid.mu.Unlock()
	if since.IsZero() {
		since = r.Now().Add(-slowGraces * r.Grace)
	}
	records := make([]stock.Record, len(ended))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, id := range ended {
		g.Go(func() (err error) {
			if records[i], err = r.Orders.Get(gctx, id); errors.Is(err, stock.ErrNotFound) {
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
	final := slices.DeleteFunc(order.Statuses(), func(s order.Status) bool { return !s.Terminal() })
	err := r.Orders.WalkSince(ctx, since, final, pageSize, func(page []stock.Record) error {
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

// unpaid reports the claims of which no charge was seen, if they are as they were
// for the grace period and the ledger, asked for each, has none either. A person
// finds out why: neither charging nor taking back is safe. Whose money was to go
// back is refunded once more, until the refund is proven.
func (r Reconciler) unpaid(ctx context.Context, rep *Report, alive map[string]bool, c claims, began time.Time) error {
	found, watched := map[string]bool{}, maps.Clone(alive)
	for _, id := range slices.Sorted(maps.Keys(c)) {
		rec, err := r.Orders.Get(ctx, id)
		if errors.Is(err, stock.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reconcile the payment of order %s: %w", id, err)
		}
		again := claims{}
		if again.add(rec); len(again) == 0 {
			continue
		}
		if !r.settled(rec.UpdatedAt) {
			watched[id] = true
			continue
		}
		if kept(rec) {
			what := fmt.Sprintf("order is %s, was charged (%s), and has no refund", rec.Status, rec.ChargeID)
			r.found(tracing.Continue(ctx, rec.Trace), rep, id, what, "refunded", func() error {
				err := r.refund(ctx, id)
				if err != nil {
					found[id] = true
				}
				return err
			})
			continue
		}
		charges, err := r.Payments.Of(ctx, id)
		if err != nil {
			return fmt.Errorf("reconcile the payment of order %s: %w", id, err)
		}
		if slices.ContainsFunc(charges, func(e payment.Entry) bool { return pays(e, rec) }) {
			continue
		}
		found[id] = true
		what := fmt.Sprintf("order is %s and no charge over %d %s stands", rec.Status, rec.Total, rec.Currency)
		r.found(tracing.Continue(ctx, rec.Trace), rep, id, what, "flagged", nil)
	}
	r.Unpaid.mu.Lock()
	defer r.Unpaid.mu.Unlock()
	r.Unpaid.found, r.Unpaid.watched, r.Unpaid.looked = found, watched, began.Add(-r.Grace) // clocks differ
	return nil
}
