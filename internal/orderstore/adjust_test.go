package orderstore_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

func adjusted(id string, lines ...events.StockLine) events.StockAdjusted {
	return events.StockAdjusted{Type: events.TypeStockAdjusted, EventID: id, Reason: events.Correction, Lines: lines}
}

func TestAdjustAppliesAnEventOnce(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	adjuster := orderstore.NewAdjuster(a.Store, "")
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(adjuster.CreateTable(t.Context()))
	check(adjuster.CreateTable(t.Context()))
	e := adjusted("e", events.StockLine{SKU: "A", Quantity: 5}, events.StockLine{SKU: "B", Quantity: 2})
	for n := range 4 {
		announced, err := adjuster.Apply(t.Context(), e)
		if err != nil || announced != (n >= 2) {
			t.Errorf("delivery %d: announced = %t, error = %v, want %t and no error", n, announced, err, n >= 2)
		}
		if l, err := a.Store.GetLevel(t.Context(), "A"); err != nil || l != (orderstore.Level{SKU: "A", Available: 5, Received: 5}) {
			t.Errorf("level = %+v, error = %v, want 5 units of A available and received, and no other", l, err)
		}
		if n >= 1 {
			check(adjuster.Announced(t.Context(), "e"))
		}
	}
	if err := adjuster.Announced(t.Context(), "unknown"); !errors.Is(err, orderstore.ErrFinished) {
		t.Errorf("error = %v, want %v", err, orderstore.ErrFinished)
	}
	if _, err := adjuster.Apply(t.Context(), adjusted("e", events.StockLine{SKU: "A", Quantity: 6})); !errors.Is(
		err,
		orderstore.ErrEventConflict,
	) {
		t.Errorf("error = %v, want %v", err, orderstore.ErrEventConflict)
	}
	_, err := adjuster.Apply(
		t.Context(),
		adjusted(
			"below",
			events.StockLine{SKU: "A", Quantity: 1},
			events.StockLine{SKU: "B", Quantity: -3},
			events.StockLine{SKU: "C", Quantity: -1},
		),
	)
	refused, ok := errors.AsType[*orderstore.RefusedError](err)
	if !ok || len(refused.Fields) != 2 || !strings.HasPrefix(refused.Fields[0], "lines[1].quantity: is -3") {
		t.Errorf("error = %v, want the adjustment rejected with 2 fields, first lines[1].quantity: is -3", err)
	}
	_, err = a.Store.Count(t.Context(), "FULL", orderstore.MaxLevel, orderstore.NewSKU)
	check(err)
	if _, err := adjuster.Apply(t.Context(), adjusted("above", events.StockLine{SKU: "FULL", Quantity: 1})); err == nil ||
		!strings.Contains(err.Error(), "more than 1000000000000") {
		t.Errorf("error = %v, want one with %q", err, "more than 1000000000000")
	}
	ledger, err := a.Store.CheckLedger(t.Context())
	if err != nil || len(ledger.Violations) > 0 || ledger.Units.Available != 7+orderstore.MaxLevel {
		t.Errorf("ledger = %+v, error = %v, want %d units available and no violations", ledger, err, 7+orderstore.MaxLevel)
	}
}

// TestConcurrentAdjustmentsApplyEachEventOnce: several callers apply the same events to shared
// SKUs, and transactions conflict.
func TestConcurrentAdjustmentsApplyEachEventOnce(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, func(o *awslocal.Options) { o.Conflict = awslocal.WithProbability(0.2, 1) })
	adjuster := orderstore.NewAdjuster(a.Store, "")
	if err := adjuster.CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for n := range 25 {
				if _, err := adjuster.Apply(t.Context(),
					adjusted(fmt.Sprint("e", n), events.StockLine{SKU: "A", Quantity: 2}, events.StockLine{SKU: "B", Quantity: 1})); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if l, err := a.Store.GetLevel(t.Context(), "A"); err != nil || l.Available != 50 {
		t.Errorf("level = %+v, error = %v, want 50 available", l, err)
	}
}
