package worker_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/snspublisher"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// TestStalledSagaIsReportedWhileItAwaitsApproval: a client's events fill its history up.
// The stuck list and the metric have it, though it may wait for a day.
func TestStalledSagaIsReportedWhileItAwaitsApproval(t *testing.T) {
	s := testkit.NewDaprSystem(t, zerolog.Nop(), nil)
	dear := order.Order{
		OrderID: "dear", CustomerID: "c", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"},
		Lines: []order.Line{{SKU: "SKU-1", Quantity: 1, UnitPrice: 5_000_000}},
	}
	require.NoError(t, intake.Publisher{Topic: snspublisher.New(s.Clients.SNS, s.Resources.OrderTopic)}.PublishOrder(t.Context(), dear))
	testkit.Eventually(t, "it waits", func() error {
		rec, err := s.Store.Get(t.Context(), "dear")
		if err != nil || rec.Status != order.StatusAwaitingApproval {
			return fmt.Errorf("%s %w", rec.Status, err)
		}
		return nil
	})
	r := s.Worker.Reconciler()
	testkit.Eventually(t, "it is stalled", func() error {
		err := saga.Send(t.Context(), r.Sagas, "dear", "noise", strings.Repeat("x", 3<<20))
		if !errors.Is(err, engine.ErrStalled) {
			return fmt.Errorf("%w", err)
		}
		return nil
	})
	r.Now = func() time.Time { return time.Now().Add(10 * time.Minute) }
	_, err := r.Once(t.Context())
	require.NoError(t, err)
	for path, want := range map[string]string{"/v1/sagas?stuck=true": `"runtimeStatus":"STALLED"`, "/metrics": "ordersaga_sagas_stalled 1\n"} {
		res, err := http.Get(s.API + path)
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, errors.Join(err, res.Body.Close()))
		if !strings.Contains(string(body), want) {
			t.Errorf("%s = %s, want %s in it", path, body, want)
		}
	}
}
