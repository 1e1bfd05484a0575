package worker_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/invariants"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// TestTwoInstallationsShareAProvider: staging and production have orders with the same
// ids and other amounts, and one account at the provider. Each charges and refunds its
// own, and finds no inconsistency.
func TestTwoInstallationsShareAProvider(t *testing.T) {
	production := testkit.NewSystem(t, nil, nil)
	staging := testkit.NewSystem(t, func(w *worker.Worker) {
		w.Installation, w.PaymentURL = "staging", production.Simulators.PaymentURL
	}, nil)
	t.Cleanup(staging.StopWorker) // before the provider
	systems := map[string]testkit.System{"production": production, "staging": staging}
	price := map[string]int{"production": 500, "staging": 7}
	want := map[string]order.Status{"ok": order.StatusCompleted, "refused": order.StatusFailed}
	for name, s := range systems {
		s.SetStock(t, map[string]int64{"A": 1000})
		for id := range want {
			recipient := ""
			if id == "refused" && name == "staging" {
				recipient = "REFUSE"
			}
			body := fmt.Sprintf(`{"orderId":%q,"customerId":"c","currency":"EUR","lines":[{"sku":"A","quantity":1,"unitPrice":%d}],`+
				`"payment":{"token":"tok_ok"},"shipTo":{"name":%q}}`, id, price[name], recipient)
			res, err := http.Post(s.API+"/v1/orders", "application/json", strings.NewReader(body))
			if err != nil || res.StatusCode != http.StatusAccepted {
				t.Fatalf("place order: %v (%v), want 202", res, err)
			}
			_ = res.Body.Close()
		}
	}
	for name, s := range systems {
		for id, want := range want {
			if name == "production" {
				want = order.StatusCompleted
			}
			testkit.Eventually(t, name+" "+id, func() error {
				rec, err := s.Store.Get(t.Context(), id)
				if err == nil && rec.Status != want {
					err = fmt.Errorf("it is %s (%s)", rec.Status, rec.Reason)
				}
				return err
			})
		}
	}
	for name, s := range systems {
		payments := payment.New(payment.Options{URL: production.Simulators.PaymentURL, Installation: s.Worker.Installation})
		defer payments.Close()
		sources := invariants.Sources{Orders: s.Store, Charges: payments, Shipments: s.Simulators, Sagas: s.Parts.Engine}
		res, err := invariants.Run(t.Context(), sources, []string{"ok", "refused"})
		if err != nil || res.Orders != 2 || len(res.Violations) > 0 {
			t.Errorf("check of %s = %+v (%v), want 2 orders and no violations", name, res, err)
		}
		rep, err := s.Worker.Reconciler().Once(t.Context())
		if err != nil || rep.Charges != 2 || len(rep.Findings) > 0 {
			t.Errorf("reconciler of %s = %+v (%v), want 2 charges and no findings", name, rep, err)
		}
	}
	if rec, err := production.Store.Get(t.Context(), "refused"); err != nil || rec.RefundID != "" {
		t.Errorf("order of production = %+v (%v), want no refund", rec, err)
	}

	// No worker starts on its orders under another name.
	staging.StopWorker()
	w := *staging.Worker
	w.Installation = ""
	if _, err := w.Open(context.Background()); err == nil || !strings.Contains(err.Error(), "--installation staging") {
		t.Errorf("start without the name: error = %v, want a hint to --installation staging", err)
	}
}
