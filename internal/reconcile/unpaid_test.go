package reconcile_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

func (l leaky) sold(o order.Order) {
	l.Helper()
	require.NoError(l, l.Store.MarkShipmentRequested(l.Context(), o.OrderID, shipment.ID(o.OrderID)))
	require.NoError(l, l.Store.CompleteHolding(l.Context(), o.OrderID, shipment.ID(o.OrderID), "t", o.Demand()))
}

// givenBack refunds an order's charge at the provider, behind the system's back.
func (l leaky) givenBack(id string) {
	l.Helper()
	_, err := l.Parts.Payments.RefundCharge(l.Context(), payment.Entry{OrderID: id, ID: "ch_charge-" + id, Amount: 200, Currency: "EUR"})
	require.NoError(l, err)
}

func TestCompletedOrderWithoutAChargeIsFlagged(t *testing.T) {
	l := newLeaky(t, nil)
	l.Unpaid = nil // its clock is ahead of the orders'
	l.sold(l.paid("good", "tok_ok"))
	l.nothing()
	l.sold(l.paid("bad", "tok_ok"))
	l.givenBack("bad")
	never := l.reserved("never", "tok_ok") // charged, but for what an older version wrote
	require.NoError(l, l.Store.MarkPaid(t.Context(), "never", "made-up"))
	l.sold(never)
	f := l.once()
	if len(f) != 2 || f[0].OrderID != "bad" || f[1].OrderID != "never" {
		t.Fatalf("findings = %+v, want two, of bad and never", f)
	}
	for _, f := range f {
		if f.What != "order is COMPLETED and has no unrefunded charge of 2.00 EUR" || f.Action != "flagged" || f.Error != "" {
			t.Errorf("finding = %+v, want it flagged as COMPLETED without an unrefunded charge of 2.00 EUR, and no error", f)
		}
	}
}

// TestOperatorsShipmentIsNoPayment: an operator who has shipped an order has decided nothing
// about its charge.
func TestOperatorsShipmentIsNoPayment(t *testing.T) {
	l := newLeaky(t, nil)
	l.Unpaid = nil // its clock is ahead of the orders'
	l.sold(l.paid("sent", "tok_ok"))
	require.NoError(l, l.Store.AddNote(t.Context(), "sent", orderstore.Note{Actor: "ann", Action: "resolve", Text: "by another carrier"}))
	l.nothing()
	l.givenBack("sent")
	l.found("order is COMPLETED and has no unrefunded charge of 2.00 EUR", "flagged")
}

func TestPaidOrderWithoutAChargeIsFlagged(t *testing.T) {
	l := newLeaky(t, nil)
	l.silent("waits")
	l.nothing()
	l.givenBack("waits")
	l.found("order is PAID and has no unrefunded charge of 2.00 EUR", "flagged")
	l.Now = time.Now // too soon: it may be on its way
	l.nothing()
}

// TestRefundOfAnEndedOrderMustBeProven: an order that was charged and has ended is refunded
// until the refund is proven. The absence of a charge is no proof.
func TestRefundOfAnEndedOrderMustBeProven(t *testing.T) {
	l := newLeaky(t, nil)
	l.Unpaid = &reconcile.Unpaid{}
	charged := func(id, charge string) {
		o := l.reserved(id, "tok_ok")
		require.NoError(l, l.Store.MarkPaid(t.Context(), o.OrderID, charge))
	}
	charged("forgotten", "ch_1") // the provider does not have it
	charged("by hand", "ch_2")
	require.NoError(l, l.Store.AddNote(t.Context(), "by hand", orderstore.Note{Actor: "ann", Action: "skip", Text: "they were paid by hand"}))
	l.paid("unwritten", "tok_ok") // refunded, and the process crashed
	l.givenBack("unwritten")
	for _, id := range []string{"forgotten", "by hand", "unwritten"} {
		require.NoError(l, l.Store.Release(t.Context(), id, order.StatusFailed, "test"))
	}
	soon := l.Reconciler
	soon.Now = time.Now
	if rep, err := soon.Once(t.Context()); err != nil || len(rep.Findings) != 0 {
		t.Errorf("findings before the grace period = %+v, error = %v, want none", rep.Findings, err)
	}
	f := l.once()
	if len(f) != 2 || f[1].OrderID != "unwritten" ||
		f[1].What != "order is FAILED, was charged (ch_charge-unwritten), and has no refund" || f[1].Error != "" {
		t.Fatalf("findings = %+v, want two, the second one of unwritten: charged, without a refund, and no error", f)
	}
	if rec := l.is("unwritten", order.StatusFailed); rec.RefundID != "re_charge-unwritten" {
		t.Errorf("refund on record = %q, want %q", rec.RefundID, "re_charge-unwritten")
	}
	for range 2 { // until it is right
		if f[0].OrderID != "forgotten" || f[0].Action != "failed" ||
			!strings.Contains(f[0].Error, "charge ch_1 over 2.00 EUR was made, and it is not in the ledger") {
			t.Errorf("findings = %+v, want first that of forgotten, failed: charge ch_1 over 2.00 EUR is not in the ledger", f)
		}
		if n := l.Unpaid.Count(); n != 1 {
			t.Errorf("orders counted as unpaid = %d, want 1", n)
		}
		f = l.once()
		if len(f) != 1 {
			t.Fatalf("findings = %+v, want one", f)
		}
	}
	require.NoError(l, l.Store.AddNote(t.Context(), "forgotten", orderstore.Note{Actor: "ann", Action: "resolve", Text: "refunded by hand"}))
	l.nothing()
}

// counted records since when orders that have completed were read.
type counted struct {
	*orderstore.Store
	since *[]time.Time
}

func (a counted) WalkSince(
	ctx context.Context,
	since time.Time,
	statuses []order.Status,
	limit int,
	f func([]orderstore.Record) error,
) error {
	*a.since = append(*a.since, since)
	return a.Store.WalkSince(ctx, since, statuses, limit, f)
}

// TestUnpaidOrderIsCheckedUntilItIsPaid: completed orders are read once. An order that was
// found unpaid is checked until it is right.
func TestUnpaidOrderIsCheckedUntilItIsPaid(t *testing.T) {
	l := newLeaky(t, nil)
	var since []time.Time
	l.Orders, l.Unpaid = counted{l.Store, &since}, &reconcile.Unpaid{}
	counts := func(want int) {
		t.Helper()
		if n := l.Unpaid.Count(); n != want {
			t.Errorf("orders counted as unpaid = %d, want %d", n, want)
		}
	}
	l.silent("waits") // accepted before the first run, ends after it
	l.nothing()
	o, err := l.Store.Get(t.Context(), "waits")
	require.NoError(l, err)
	require.NoError(l, l.Store.Complete(t.Context(), "waits", o.ShipmentID, "t"))
	l.givenBack("waits")
	for range 2 {
		l.found("order is COMPLETED and has no unrefunded charge of 2.00 EUR", "flagged")
		counts(1)
	}
	soon := time.Now().Add(50 * time.Minute) // by the reconciler's clock
	if len(since) != 3 || !since[0].Before(time.Now()) || since[1].Before(soon) || since[2].Before(since[1]) {
		t.Errorf("orders read since %v, want 3 times: first in the past, then %s or later, in order", since, soon)
	}
	require.NoError(l, l.Simulators.ForgetPayments(t.Context()))
	l.charged(
		order.Order{
			OrderID:  "waits",
			Currency: "EUR",
			Payment:  order.Payment{Token: "tok_ok"},
			Lines:    []order.Line{{SKU: "A", Quantity: 2, UnitPrice: 100}},
		},
	)
	want := "order is COMPLETED with charge ch_charge-waits, which does not stand; charge ch_charge-waits.2 does"
	f := l.once() // also once more, for it was found before
	if len(f) == 0 || slices.ContainsFunc(f, func(f reconcile.Finding) bool { return f.What != want || f.Action != "flagged" }) {
		t.Errorf("findings = %+v, want only %q, flagged", f, want)
	}
	counts(0)
}
