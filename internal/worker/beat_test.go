package worker_test

import (
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// TestLastWord: what sagas do while their worker drains is told, too.
func TestLastWord(t *testing.T) {
	const n = 300
	s := testkit.NewSystem(t, func(w *worker.Worker) { w.Terms.AwaitCarrier = false }, nil)
	s.SetStock(t, map[string]int64{"A": n})
	starter := intake.Starter{Orders: s.Store, Sagas: s.Parts.Engine, Terms: s.Worker.Terms}
	var g errgroup.Group
	g.SetLimit(16)
	for i := range n {
		g.Go(func() error {
			_, _, err := starter.Start(t.Context(), order.Order{
				OrderID: fmt.Sprint("o", i), CustomerID: "c", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"}, Lines: []order.Line{{SKU: "A", Quantity: 1, UnitPrice: 1}},
			})
			return err
		})
	}
	must(t, g.Wait())
	s.StopWorker()
	ended, err := s.Store.CountByStatus(t.Context(), order.StatusCompleted)
	must(t, err)
	told := 0
	workers, err := s.Parts.Fleet.Workers(t.Context())
	must(t, err)
	for _, w := range workers {
		if !w.Stopped {
			t.Errorf("%s has not said that it ends", w.ID)
		}
		for _, span := range w.Recent {
			told += span.Ended[order.StatusCompleted]
		}
		if w.Durations == nil || int(w.Durations.TotalCount()) != told {
			t.Errorf("%d ended, and that many durations: %v", told, w.Durations)
		}
	}
	if told == 0 || told != ended[order.StatusCompleted] || len(workers) != 1 {
		t.Errorf("%d workers told of %d orders that were completed, of %d", len(workers), told, ended[order.StatusCompleted])
	}
}
