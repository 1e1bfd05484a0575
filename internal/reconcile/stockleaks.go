package reconcile

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/paging"
)

// units are numbers of units, by SKU.
type units map[string]int64

func (p units) add(r orderstore.Reservation) {
	for _, d := range r.Items {
		p[d.SKU] += d.Quantity
	}
}

// reserved returns the levels of all SKUs of which units are reserved.
func (r Reconciler) reserved(ctx context.Context) (map[string]orderstore.Level, error) {
	levels := map[string]orderstore.Level{}
	read := func(cursor string) ([]orderstore.Level, string, error) {
		return r.Orders.ListLevels(ctx, cursor, pageSize)
	}
	for page, err := range paging.Pages("the list of stock", read, nil) {
		if err != nil {
			return nil, fmt.Errorf("reconcile stock: %w", err)
		}
		for _, l := range page {
			if l.Reserved != 0 {
				levels[l.SKU] = l
			}
		}
	}
	return levels, nil
}

// allReservations pages through all reservations, held or not.
func (r Reconciler) allReservations(ctx context.Context) iter.Seq2[[]orderstore.Reservation, error] {
	return paging.Pages("the list of reservations", func(cursor string) ([]orderstore.Reservation, string, error) {
		return r.Orders.ListReservations(ctx, cursor, pageSize)
	}, nil)
}

// holds returns what all orders hold.
func (r Reconciler) holds(ctx context.Context) (units, error) {
	held := units{}
	for page, err := range r.allReservations(ctx) {
		if err != nil {
			return nil, fmt.Errorf("reconcile stock: %w", err)
		}
		for _, res := range page {
			if res.State == orderstore.HoldHeld {
				held.add(res)
			}
		}
	}
	return held, nil
}

// leaks reports SKUs of which the number of reserved units differs from what orders hold.
// The lists are read while orders are processed. So only a difference counts of a SKU
// that did not change between them, and that is the same in a second look. A SKU that
// sells all the time is judged when it pauses.
func (r Reconciler) leaks(ctx context.Context, rep *Report, before map[string]orderstore.Level, held units) error {
	first, err := r.differences(ctx, before, held)
	if err != nil || len(first) == 0 {
		return err
	}
	before, err = r.reserved(ctx)
	if err != nil {
		return err
	}
	held, err = r.holds(ctx)
	if err != nil {
		return err
	}
	second, err := r.differences(ctx, before, held)
	if err != nil {
		return err
	}
	for _, sku := range slices.Sorted(maps.Keys(second)) {
		if first[sku] == second[sku] {
			rep.Findings = append(rep.Findings, Finding{
				SKU: sku, Action: "flagged",
				What: fmt.Sprintf("%d units are reserved, and orders hold %d", before[sku].Reserved, held[sku]),
			})
		}
	}
	return nil
}

// differences returns how many more units are reserved than held, of SKUs whose level has
// not changed since before.
func (r Reconciler) differences(ctx context.Context, before map[string]orderstore.Level, held units) (units, error) {
	differ := units{}
	for sku, l := range before {
		differ[sku] = l.Reserved - held[sku]
	}
	for sku, n := range held {
		differ[sku] = before[sku].Reserved - n
	}
	for sku, n := range differ {
		if n == 0 {
			delete(differ, sku)
			continue
		}
		now, err := r.Orders.GetLevel(ctx, sku)
		if err != nil && !errors.Is(err, orderstore.ErrNotFound) {
			return nil, fmt.Errorf("reconcile stock: %w", err)
		}
		was, known := before[sku]
		if known && now != was || !known && now.Reserved != 0 {
			delete(differ, sku)
		}
	}
	return differ, nil
}
