package orderstore_test

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestStoreMatchesModel runs random steps on random orders against a model of what each
// order holds. Whatever the sequence, the ledger adds up and agrees (I1), and
// an order that failed holds nothing (I5).
func TestStoreMatchesModel(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	s := a.Store
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		ctx := t.Context()
		sku := func(n int) string { return fmt.Sprintf("r%d-%d", round, n) }
		shelf := map[string]int64{}
		for n := range 3 {
			shelf[sku(n)] = rapid.Int64Range(0, 12).Draw(rt, "shelf")
		}
		a.SetStock(t, shelf)
		type hold struct {
			o    order.Order
			sold bool
		}
		held, orders := map[string]hold{}, []order.Order{}
		known := func(err error) {
			if err != nil && !errors.Is(err, orderstore.ErrFinished) && !errors.Is(err, orderstore.ErrNotFound) {
				rt.Fatal(err)
			}
		}
		pick := func(rt *rapid.T) order.Order {
			if len(orders) == 0 {
				rt.Skip("no order yet")
			}
			return rapid.SampledFrom(orders).Draw(rt, "order")
		}
		rt.Repeat(map[string]func(*rapid.T){
			"accept": func(rt *rapid.T) {
				o := newOrder(fmt.Sprintf("r%d-o%d", round, len(orders)))
				o.Lines = nil
				for range rapid.IntRange(1, 3).Draw(rt, "lines") {
					o.Lines = append(o.Lines, order.Line{SKU: sku(rapid.IntRange(0, 2).Draw(rt, "sku")), Quantity: rapid.Int64Range(1, 3).Draw(rt, "n")})
				}
				accept(t, s, o)
				orders = append(orders, o)
			},
			"reserve": func(rt *rapid.T) {
				o := pick(rt)
				res, err := s.Reserve(ctx, o)
				known(err)
				if _, ok := held[o.OrderID]; res.Held && !ok {
					held[o.OrderID] = hold{o: o}
				}
			},
			"pay": func(rt *rapid.T) { known(s.MarkPaid(ctx, pick(rt).OrderID, "ch")) },
			"sell": func(rt *rapid.T) {
				o := pick(rt)
				// What a caller believes of the reservation, if anything, is a
				// hint, and may be wrong.
				believed := rapid.SampledFrom([][]order.Demand{nil, o.Demand(), {{SKU: sku(0), Quantity: 1}}}).Draw(rt, "believed")
				err := s.CompleteHolding(ctx, o.OrderID, "shp", "", believed)
				known(err)
				if err == nil {
					held[o.OrderID] = hold{o: o, sold: true}
				}
			},
			"release": func(rt *rapid.T) {
				o := pick(rt)
				err := s.Release(ctx, o.OrderID, order.StatusFailed, "")
				known(err)
				if err == nil {
					delete(held, o.OrderID)
				}
			},
			"": func(rt *rapid.T) {
				reserved, sold := map[string]int64{}, map[string]int64{}
				for _, h := range held {
					for _, d := range h.o.Demand() {
						if h.sold {
							sold[d.SKU] += d.Quantity
						} else {
							reserved[d.SKU] += d.Quantity
						}
					}
				}
				for k, n := range shelf {
					l, err := s.GetLevel(ctx, k)
					want := orderstore.Level{SKU: k, Available: n - reserved[k] - sold[k], Reserved: reserved[k], Sold: sold[k], Received: n, Counts: 1}
					if err != nil || l != want || l.Available < 0 {
						rt.Fatalf("%+v %v, want %+v", l, err, want)
					}
				}
			},
		})
	})
}
