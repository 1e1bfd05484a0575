package workflows_test

import (
	"encoding/json"
	"testing"

	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/backend"
	"github.com/dapr/durabletask-go/task"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	protocol "github.com/ordersaga/ordersaga/internal/replay"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
)

// TestTablesOfOrders: the first action of an order's saga records its table. A release
// that records another one, also in another form, cannot continue the sagas of this
// one. So these texts never change: a new table is a new version.
func TestTablesOfOrders(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		version string
		carrier bool
		want    string
	}{
		{workflows.VersionV1, true, "saga=msxibl;reserve=hgcttb;approve=1jncxrb;charge=lcuyi1;ship=19rv88h;carrier=gfilpm;confirm=10qysy9"},
		{workflows.VersionV2, true, "saga=msxibl;reserve=hgcttb;approve=1jncxrb;charge=lcuyi1;ship=19rv88h;carrier=bqi4pk;confirm=10qysy9"},
		{"v3", true, "saga=msxibl;reserve=hgcttb;approve=lnebhq;charge=lcuyi1;ship=19rv88h;carrier=d1pfso;confirm=10qysy9"},
		{"v3", false, "saga=msxibl;reserve=hgcttb;approve=lnebhq;charge=lcuyi1;ship=ww7x5i;carrier=d1pfso;confirm=10qysy9"},
	} {
		input, err := json.Marshal(workflows.State{Terms: workflows.Terms{AwaitCarrier: c.carrier}})
		require.NoError(t, err)
		registry := task.NewTaskRegistry()
		require.NoError(t, registry.AddWorkflowN(workflows.OrderSaga, versions[c.version]))
		res, err := task.NewTaskExecutor(registry).ExecuteWorkflow(t.Context(), "o", nil, []*protos.HistoryEvent{
			{Timestamp: timestamppb.Now(), EventType: &protos.HistoryEvent_WorkflowStarted{WorkflowStarted: &protos.WorkflowStartedEvent{}}},
			{EventType: &protos.HistoryEvent_ExecutionStarted{ExecutionStarted: &protos.ExecutionStartedEvent{
				Name: workflows.OrderSaga, Input: wrapperspb.String(string(input)),
			}}},
		}, backend.ExecuteOptions{})
		require.NoError(t, err)
		if why := protocol.Answer(res); why != "" || len(res.GetActions()) != 1 {
			t.Fatalf("%s: first turn = %v (%s), want one action", c.version, res.GetActions(), why)
		}
		if got := res.GetActions()[0].GetScheduleTask().GetVersion().GetValue(); got != c.want {
			t.Errorf("%s, waits for the carrier %t: recorded table = %q, want %q", c.version, c.carrier, got, c.want)
		}
	}
}
