package reconcile_test

import (
	"context"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/activities/stock"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/reconcile"
)

func (l leaky) sold(o order.Order) {
	l.Helper()
	l.must(l.Store.MarkShipmentRequested(l.Context(), o.OrderID, shipment.ID(o.OrderID)))
	l.must(l.Store.Sell(l.Context(), o.OrderID, shipment.ID(o.OrderID), "t", o.Demand()...))
}

// givenBack refunds an order's charge at the provider, behind the system's back.
func (l leaky) givenBack(id string) {
	l.Helper()
	_, err := l.Parts.Payments.RefundCharge(l.Context(), id, "ch_charge-"+id)
	l.must(err)
}

func TestCompletedWithoutACharge(t *testing.T) {
	l := newLeaky(t, nil)
	l.Unpaid = nil // its clock is ahead of the orders'
	l.sold(l.paid("good", "tok_ok"))
	l.nothing()
	l.sold(l.paid("bad", "tok_ok"))
	l.givenBack("bad")
	never := l.reserved("never", "tok_ok") // charged, but for what an older version wrote
	l.must(l.Store.MarkPaid(t.Context(), "never", "made-up"))
	l.sold(never)
	f := l.once()
	if len(f) != 2 || f[0].OrderID != "bad" || f[1].OrderID != "never" {
		t.Fatalf("%+v", f)
	}
	for _, f := range f {
		if f.What != "order is COMPLETED and no charge over 200 EUR stands" || f.Action != "flagged" || f.Error != "" {
			t.Errorf("%+v", f)
		}
	}
}

func TestPaidWithoutACharge(t *testing.T) {
	l := newLeaky(t, nil)
	l.silent("waits")
	l.nothing()
	l.givenBack("waits")
	l.found("order is PAID and no charge over 200 EUR stands", "flagged")
	l.Now = time.Now // too soon: it may be on its way
	l.nothing()
}

// counted says since when orders that have completed were read.
type counted struct {
	*stock.Store
	since *[]time.Time
}

func (a counted) WalkSince(ctx context.Context, since time.Time, statuses []order.Status, limit int, f func([]stock.Record) error) error {
	*a.since = append(*a.since, since)
	return a.Store.WalkSince(ctx, since, statuses, limit, f)
}

// TestUnpaidIsRemembered: what has completed is read once; what was found is
// looked at until it is right.
func TestUnpaidIsRemembered(t *testing.T) {
	l := newLeaky(t, nil)
	var since []time.Time
	l.Orders, l.Unpaid = counted{l.Store, &since}, &reconcile.Unpaid{}
	counts := func(want int) {
		t.Helper()
		if n := l.Unpaid.Count(); n != want {
			t.Errorf("%d are unpaid, want %d", n, want)
		}
	}
	l.silent("waits") // accepted before the first run, ends after it
	l.nothing()
	o, err := l.Store.Get(t.Context(), "waits")
	l.must(err)
	l.must(l.Store.Sell(t.Context(), "waits", o.ShipmentID, "t"))
	l.givenBack("waits")
	for range 2 {
		l.found("order is COMPLETED and no charge over 200 EUR stands", "flagged")
		counts(1)
	}
	if len(since) != 3 || !since[0].Before(time.Now()) || since[1].Before(time.Now().Add(50*time.Minute)) { // by the reconciler's clock
		t.Errorf("read since %v", since)
	}
	l.must(l.Store.AddNote(t.Context(), "waits", stock.Note{Actor: "ann", Action: "resolve", Text: "they paid by hand"}))
	l.nothing()
	counts(0)
}
