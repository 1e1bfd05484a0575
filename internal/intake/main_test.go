package intake_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/activities"
	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/embedded"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/paymentsim"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func event(t testing.TB, id string) string {
	t.Helper()
	b, err := json.Marshal(order.Order{
		SpecVersion: 1, OrderID: id, CustomerID: "c-1", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"},
		Lines: []order.Line{{SKU: "A", Quantity: 1, UnitPrice: 500}},
	})
	require.NoError(t, err)
	return string(b)
}

// env is a running engine with the order saga, and what it depends on.
type env struct {
	testkit.AWS
	engine   *embedded.Engine
	payments *payment.Client
	starter  intake.Starter
}

func newEnv(t testing.TB, terms workflows.Terms) env {
	t.Helper()
	w := env{AWS: testkit.NewAWS(t, nil)}
	w.SetStock(t, map[string]int64{"A": 100})

	provider, err := paymentsim.Open(paymentsim.Options{Logger: zerolog.Nop()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, provider.Close()) })
	server := httptest.NewServer(provider.Handler())
	t.Cleanup(server.Close)
	w.payments = payment.New(payment.Options{URL: server.URL})
	t.Cleanup(w.payments.Close)

	w.engine, err = embedded.Open(embedded.Options{Logger: zerolog.Nop()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.engine.Close()) })
	registry := task.NewTaskRegistry()
	require.NoError(t, activities.Activities{
		Store: w.Store, Payments: w.payments,
		Shipments: shipment.New(w.Clients.SNS, w.Resources.ShipmentTopic, w.Resources.CustomerTopic),
	}.Register(registry))
	require.NoError(t, registry.AddWorkflowN("lingers", lingers))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.engine.Run(ctx, registry) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	w.starter = intake.Starter{Orders: w.Store, Sagas: w.engine, Terms: terms}
	return w
}

// ended waits until a saga has ended.
func (w env) ended(t testing.TB, id string) engine.Instance {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	i, err := w.engine.Wait(ctx, id)
	require.NoError(t, err)
	return i
}

// lingers is a workflow that accepts every event and ends at the event "end".
func lingers(ctx *task.WorkflowContext) (any, error) {
	return nil, ctx.WaitForSingleEvent("end", -1).Await(nil)
}

// message returns a message without attributes.
func message(body string) events.Message { return events.Message{Body: []byte(body)} }
