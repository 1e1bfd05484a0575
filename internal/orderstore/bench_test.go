package orderstore_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// perCall reports AWS calls per operation beside time and allocations.
func perCall(b *testing.B, a testkit.AWS, op func(id string) error) {
	b.Helper()
	before := a.Clients.Calls()
	var n atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := op(fmt.Sprintf("%s-%d", b.Name(), n.Add(1))); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(a.Clients.Calls()-before)/float64(b.N), "aws-calls/op")
}

func BenchmarkAccept(b *testing.B) {
	a := testkit.NewAWS(b, nil)
	perCall(b, a, func(id string) error {
		_, _, err := a.Store.Accept(context.Background(), newOrder(id))
		return err
	})
}

// BenchmarkSteps measures what a saga does to the store: accept, reserve, pay, sell.
func BenchmarkSteps(b *testing.B) {
	for name, skus := range map[string]int64{"spread": 1000, "one hot SKU": 1} {
		b.Run(name, func(b *testing.B) {
			a := testkit.NewAWS(b, nil)
			for n := range skus {
				a.SetStock(b, map[string]int64{fmt.Sprint("S", n): 1_000_000_000})
			}
			var turn atomic.Int64
			perCall(b, a, func(id string) error {
				ctx := context.Background()
				o := newOrder(id, order.Line{SKU: fmt.Sprint("S", turn.Add(1)%skus), Quantity: 1, UnitPrice: 1})
				if _, _, err := a.Store.Accept(ctx, o); err != nil {
					return err
				}
				if res, err := a.Store.Reserve(ctx, o); err != nil || !res.Held {
					return fmt.Errorf("%+v: %w", res, err)
				}
				if err := a.Store.MarkPaid(ctx, id, "ch"); err != nil {
					return err
				}
				return a.Store.CompleteHolding(ctx, id, "shp", "", o.Demand())
			})
		})
	}
}
