package worker_test

import (
	"fmt"
	"testing"

	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/invariants"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// TestRefusedShipmentIsRefundedWithoutAwaitCarrier: what is charged and not shipped is
// refunded even if no saga waits for the carrier.
func TestRefusedShipmentIsRefundedWithoutAwaitCarrier(t *testing.T) {
	const n = 20
	s := testkit.NewSystem(t, func(w *worker.Worker) { w.Terms.AwaitCarrier = false }, nil)
	s.SetStock(t, map[string]int64{"A": 100})
	starter := intake.Starter{Orders: s.Store, Sagas: s.Parts.Engine, Terms: s.Worker.Terms}
	want := map[string]order.Status{}
	for i := range n {
		o := order.Order{
			OrderID: fmt.Sprint("o", i), CustomerID: "c", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"},
			Lines: []order.Line{{SKU: "A", Quantity: 1, UnitPrice: 1}}, ShipTo: &order.Address{Name: "Ann"},
		}
		want[o.OrderID] = order.StatusCompleted
		if i%2 == 0 {
			o.ShipTo.Name, want[o.OrderID] = "REFUSE", order.StatusFailed
		}
		_, _, err := starter.Start(t.Context(), o)
		require.NoError(t, err)
	}
	for id, status := range want {
		testkit.Eventually(t, id+" ends", func() error {
			rec, err := s.Store.Get(t.Context(), id)
			if err == nil && (rec.Status != status || rec.Carrier == "" || status == order.StatusFailed && rec.RefundID == "") {
				err = fmt.Errorf("order = %+v, want %s with the carrier's answer", rec, status)
			}
			return err
		})
	}
	sources := invariants.Sources{Orders: s.Store, Charges: s.Parts.Payments, Shipments: s.Simulators, Sagas: s.Parts.Engine}
	res, err := invariants.Run(t.Context(), sources, nil)
	if err != nil || len(res.Violations) != 0 || res.ByStatus[order.StatusFailed] != n/2 {
		t.Errorf("check = %+v (%v), want no violations and %d FAILED", res, err, n/2)
	}
	if l, err := s.Store.GetLevel(t.Context(), "A"); err != nil || l.Available != 100-n/2 || l.Reserved != 0 || l.Sold != n/2 {
		t.Errorf("stock level = %+v (%v), want %d available, 0 reserved, %d sold", l, err, 100-n/2, n/2)
	}
}
