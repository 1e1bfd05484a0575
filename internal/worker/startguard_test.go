package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/api/protos"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
	"github.com/ordersaga/ordersaga/workflows"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestDurableTaskClientsStartSagasAsIntakeDoes: the same orders, recorded the same way.
func TestDurableTaskClientsStartSagasAsIntakeDoes(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := testkit.NewSystem(t, func(w *worker.Worker) { w.EngineListener, w.Terms.AwaitCarrier = l, false }, nil)
	s.SetStock(t, map[string]int64{"A": 10})
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	hub := protos.NewTaskHubSidecarServiceClient(conn)
	start := func(name, id, input string) error {
		_, err := hub.StartInstance(t.Context(), &protos.CreateInstanceRequest{Name: name, InstanceId: id, Input: wrapperspb.String(input)})
		return err
	}
	input := func(id string, price int64, terms string) string {
		b, err := json.Marshal(order.Order{
			OrderID: id, CustomerID: "c", Currency: "EUR",
			Lines: []order.Line{{SKU: "A", Quantity: 1, UnitPrice: price}}, Payment: order.Payment{Token: "tok_ok"},
		})
		require.NoError(t, err)
		return `{"order":` + string(b) + `,"terms":` + terms + `}`
	}

	require.NoError(t, start(workflows.OrderSaga, "o-1", input("o-1", 100, `{}`)))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	res, err := hub.WaitForInstanceCompletion(ctx, &protos.GetInstanceRequest{InstanceId: "o-1", GetInputsAndOutputs: true})
	require.NoError(t, err)
	w := res.GetWorkflowState()
	if !strings.Contains(w.GetOutput().GetValue(), "COMPLETED") || strings.Contains(w.GetInput().GetValue(), "tok_ok") {
		t.Errorf("output = %v, want COMPLETED; input = %v, want no token", w.GetOutput(), w.GetInput())
	}
	// Terms of its own do not bypass an approval.
	require.NoError(t, start(workflows.OrderSaga, "o-2", input("o-2", 150_000, `{"approvalAbove":0}`)))
	testkit.Eventually(t, "o-2 waits for approval", func() error {
		rec, err := s.Store.Get(ctx, "o-2")
		if err == nil && rec.Status != order.StatusAwaitingApproval {
			err = fmt.Errorf("it is %s", rec.Status)
		}
		return err
	})

	for name, c := range map[string]struct {
		err  error
		want codes.Code
		text string
	}{
		"another workflow":   {start("Other", "o-3", input("o-3", 1, `{}`)), codes.InvalidArgument, "OrderSaga"},
		"no input":           {start(workflows.OrderSaga, "o-3", ""), codes.InvalidArgument, "input"},
		"no order":           {start(workflows.OrderSaga, "o-3", `{}`), codes.InvalidArgument, "order"},
		"an invalid order":   {start(workflows.OrderSaga, "o-3", `{"order":{"orderId":"o-3"}}`), codes.InvalidArgument, "customerId"},
		"another's id":       {start(workflows.OrderSaga, "o-3", input("o-4", 1, `{}`)), codes.InvalidArgument, "o-4"},
		"one that runs":      {start(workflows.OrderSaga, "o-2", input("o-2", 150_000, `{}`)), codes.AlreadyExists, "AWAITING_APPROVAL"},
		"one that has ended": {start(workflows.OrderSaga, "o-1", input("o-1", 100, `{}`)), codes.AlreadyExists, "COMPLETED"},
		"a used id":          {start(workflows.OrderSaga, "o-1", input("o-1", 200, `{}`)), codes.AlreadyExists, "different order"},
	} {
		if got := status.Convert(c.err); got.Code() != c.want || !strings.Contains(got.Message(), c.text) {
			t.Errorf("%s: error = %v, want %v with %q", name, c.err, c.want, c.text)
		}
	}
}

// TestEngineListenerIsForTheEmbeddedEngine: a sidecar has a port of its own.
func TestEngineListenerIsForTheEmbeddedEngine(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	w := worker.Worker{EngineListener: l, Dapr: &worker.Dapr{}}
	if err := w.Validate(); err == nil || !strings.Contains(err.Error(), "sidecar") {
		t.Errorf("error = %v, want one about the sidecar", err)
	}
}
