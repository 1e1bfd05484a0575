package worker_test

import (
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// TestLastHeartbeatCountsSagasThatEndedWhileDraining checks that no saga is missing from
// the last heartbeat of a worker that stops.
func TestLastHeartbeatCountsSagasThatEndedWhileDraining(t *testing.T) {
	const n = 300
	s := testkit.NewSystem(t, func(w *worker.Worker) { w.Terms.AwaitCarrier = false }, nil)
	s.SetStock(t, map[string]int64{"A": n})
	starter := intake.Starter{Orders: s.Store, Sagas: s.Parts.Engine, Terms: s.Worker.Terms}
	var g errgroup.Group
	g.SetLimit(16)
	for i := range n {
		g.Go(func() error {
			_, _, err := starter.Start(t.Context(), order.Order{
				OrderID: fmt.Sprint("o", i), CustomerID: "c", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"},
				Lines: []order.Line{{SKU: "A", Quantity: 1, UnitPrice: 1}},
			})
			return err
		})
	}
	require.NoError(t, g.Wait())
	s.StopWorker()
	ended, err := s.Store.CountByStatus(t.Context(), order.StatusCompleted)
	require.NoError(t, err)
	reported := 0
	workers, err := s.Parts.Fleet.Workers(t.Context())
	require.NoError(t, err)
	for _, w := range workers {
		if !w.Stopped {
			t.Errorf("last heartbeat of %s has Stopped = false, want true", w.ID)
		}
		for _, interval := range w.Recent {
			reported += interval.Ended[order.StatusCompleted]
		}
		if w.Durations == nil || int(w.Durations.TotalCount()) != reported {
			t.Errorf("durations = %v, want %d of them", w.Durations, reported)
		}
	}
	if reported == 0 || reported != ended[order.StatusCompleted] || len(workers) != 1 {
		t.Errorf("%d workers reported %d completed orders, want 1 worker and %d orders",
			len(workers), reported, ended[order.StatusCompleted])
	}
}
