package orderstore_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// prepared accepts an order for each of the benchmark's operations, over the
// given number of SKUs, and gives them out one by one.
func prepared(b *testing.B, a testkit.AWS, skus int) (next func() order.Order) {
	b.Helper()
	for n := range skus {
		a.SetStock(b, map[string]int64{fmt.Sprint("S", n): 1_000_000_000})
	}
	orders := make([]order.Order, b.N)
	for n := range orders {
		orders[n] = accept(b, a.Store, newOrder(fmt.Sprint("o", n), order.Line{SKU: fmt.Sprint("S", n%skus), Quantity: 1, UnitPrice: 1}))
	}
	var n atomic.Int64
	return func() order.Order { return orders[n.Add(1)-1] }
}

func benchmarkReserve(b *testing.B, skus int) {
	a := testkit.NewAWS(b, nil)
	next := prepared(b, a, skus)
	perCall(b, a, func(string) error {
		res, err := a.Store.Reserve(context.Background(), next())
		if err == nil && !res.Held {
			err = fmt.Errorf("not held: %+v", res)
		}
		return err
	})
}

func BenchmarkReserve(b *testing.B) { benchmarkReserve(b, 1000) }

// BenchmarkReserveHotSKU has every buyer reserve the same SKU.
func BenchmarkReserveHotSKU(b *testing.B) { benchmarkReserve(b, 1) }

func BenchmarkSell(b *testing.B) {
	a := testkit.NewAWS(b, nil)
	next := prepared(b, a, 1000)
	ids := make(chan string, b.N)
	for range b.N {
		o := next()
		if _, err := a.Store.Reserve(context.Background(), o); err != nil {
			b.Fatal(err)
		}
		if err := a.Store.MarkPaid(context.Background(), o.OrderID, "ch"); err != nil {
			b.Fatal(err)
		}
		ids <- o.OrderID
	}
	perCall(b, a, func(string) error { return a.Store.Complete(context.Background(), <-ids, "shp", "") })
}
