package workflows_test

import (
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/backend"
	"github.com/dapr/durabletask-go/task"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/embedded"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

var update = flag.Bool("update", false, "record the histories that testdata does not have yet")

// recordings are sagas whose histories are in testdata. The code of the next release
// replays sagas in flight, so a change that these histories do not survive would strand
// them. Such a change needs ctx.IsPatched or a new version of the workflow, and the old
// history stays here.
var recordings = map[string]func(t *testing.T, s *fakeActivities, e *embedded.Engine){
	"happy": func(t *testing.T, _ *fakeActivities, e *embedded.Engine) { start(t, e, terms(nil)) },
	"declined": func(t *testing.T, s *fakeActivities, e *embedded.Engine) {
		s.stop = map[string]*saga.Stop{workflows.ChargePayment: {Status: "DECLINED", Reason: "no"}}
		start(t, e, terms(nil))
	},
	"retries-approval-carrier":    approvedAndDispatched,
	"v3-retries-approval-carrier": approvedAndDispatched,
	"v2-expired":                  expired,
	"v3-expired":                  expired,
	"v3-refused": func(t *testing.T, s *fakeActivities, e *embedded.Engine) {
		start(t, e, terms(needApproval))
		waitForCall(t, s, workflows.ReserveStock)
		send(t, e, workflows.EventApproval, workflows.Approval{By: "ann", Note: "no"})
	},
	"cancelled": func(t *testing.T, s *fakeActivities, e *embedded.Engine) {
		start(t, e, terms(needApproval))
		waitForCall(t, s, workflows.ReserveStock)
		send(t, e, workflows.EventCancel, workflows.Cancellation{By: "ann"})
	},
	"parked-resolved": func(t *testing.T, s *fakeActivities, e *embedded.Engine) {
		s.fail = map[string]int{workflows.ChargePayment: -1, workflows.RefundPayment: -1}
		start(t, e, terms(nil))
		waitForCall(t, s, workflows.ParkSaga)
		send(t, e, workflows.EventResolve, saga.Resolution{Action: saga.ActionResolve, By: "ann"})
	},
	"v1-late-carrier": lateAnswer,
	"late-carrier":    lateAnswer,
	"v3-late-carrier": func(t *testing.T, s *fakeActivities, e *embedded.Engine) {
		s.stop = map[string]*saga.Stop{workflows.VerifyRefusal: {Status: "FAILED", Reason: "island"}}
		lateAnswer(t, s, e)
	},
	"sent-by-hand": func(t *testing.T, s *fakeActivities, e *embedded.Engine) {
		s.fail = map[string]int{workflows.RequestShipment: -1}
		start(t, e, terms(nil))
		waitForCall(t, s, workflows.ParkSaga)
		send(t, e, workflows.EventResolve, saga.Resolution{Action: saga.ActionResolve, By: "ann"})
	},
}

// versions are the registered versions of the workflow.
var versions = map[string]task.Workflow{
	workflows.VersionV1: workflows.OrderV1, workflows.VersionV2: workflows.OrderV2, workflows.Version: workflows.Order,
}

// versionsOf are the versions that replay a history, the one that recorded it first. A
// history that is not listed replays on every version.
var versionsOf = map[string][]string{
	"v1-late-carrier":             {workflows.VersionV1},
	"late-carrier":                {workflows.VersionV2},
	"v3-late-carrier":             {workflows.Version},
	"retries-approval-carrier":    {workflows.VersionV2, workflows.VersionV1},
	"v3-retries-approval-carrier": {workflows.Version},
	"v2-expired":                  {workflows.VersionV2, workflows.VersionV1},
	"v3-expired":                  {workflows.Version},
	"v3-refused":                  {workflows.Version},
}

func approvedAndDispatched(t *testing.T, s *fakeActivities, e *embedded.Engine) {
	t.Helper()
	s.fail = map[string]int{
		workflows.ReserveStock: 1, workflows.ChargePayment: 2, workflows.RequestShipment: 1, workflows.SettleApproval: 1,
	}
	start(t, e, terms(func(t *workflows.Terms) { needApproval(t); awaitCarrier(t) }))
	waitForCall(t, s, workflows.ReserveStock)
	send(t, e, workflows.EventApproval, workflows.Approval{Approved: true, By: "ann"})
	waitForCall(t, s, workflows.RequestShipment)
	send(t, e, workflows.EventCarrier, workflows.CarrierAnswer{Dispatched: true, TrackingID: "trk"})
}

func expired(t *testing.T, s *fakeActivities, e *embedded.Engine) {
	t.Helper()
	s.fail = map[string]int{workflows.SettleApproval: 1}
	start(t, e, terms(approvalTimesOut))
}

// lateAnswer sends the carrier's answer when the saga is stuck. In v1 an operator has to
// resolve it after that.
func lateAnswer(t *testing.T, s *fakeActivities, e *embedded.Engine) {
	t.Helper()
	start(t, e, terms(carrierTimesOut))
	waitForCall(t, s, workflows.ParkSaga)
	send(t, e, workflows.EventCarrier, workflows.CarrierAnswer{Reason: "island"})
	if s.version != workflows.VersionV1 {
		return
	}
	require.Eventually(t, "the saga has the answer", 20*time.Second, func() bool {
		h, err := e.History(t.Context(), "o")
		return err == nil && slices.ContainsFunc(h, func(ev engine.Event) bool { return ev.Type == "EventRaised" })
	})
	send(t, e, workflows.EventResolve, saga.Resolution{Action: saga.ActionResolve, By: "ann"})
}

// start starts the saga of the order o.
func start(t *testing.T, e *embedded.Engine, terms workflows.Terms) {
	t.Helper()
	require.NoError(t, e.Start(t.Context(), workflows.OrderSaga, "o", input(terms)))
}

// send sends the saga a signal.
func send(t *testing.T, e *embedded.Engine, kind string, payload any) {
	t.Helper()
	require.NoError(t, saga.Send(t.Context(), e, "o", kind, payload))
}

func TestReplay(t *testing.T) {
	t.Parallel()
	for name, play := range recordings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join("testdata", name+".json")
			if _, err := os.Stat(file); *update && errors.Is(err, fs.ErrNotExist) {
				record(t, file, versionsOf[name], play)
			}
			for version, code := range versions {
				if versionsOf[name] == nil || slices.Contains(versionsOf[name], version) {
					replay(t, load(t, file), code)
				}
			}
		})
	}
}

// record plays a saga and writes its history to a file.
func record(t *testing.T, file string, of []string, play func(*testing.T, *fakeActivities, *embedded.Engine)) {
	t.Helper()
	s := &fakeActivities{fail: map[string]int{}}
	if len(of) > 0 && of[0] != workflows.Version {
		s.version = of[0]
	}
	e := open(t, s)
	play(t, s, e)
	report(t, e)
	res, err := e.Hub.GetInstanceHistory(t.Context(), api.InstanceID("o"))
	require.NoError(t, err)
	var events []json.RawMessage
	for _, ev := range res.GetEvents() {
		b, err := protojson.Marshal(ev)
		require.NoError(t, err)
		events = append(events, b)
	}
	b, err := json.MarshalIndent(events, "", " ")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, append(b, '\n'), 0o600))
}

// load reads a recorded history.
func load(t *testing.T, file string) []*protos.HistoryEvent {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	var raw []json.RawMessage
	require.NoError(t, json.Unmarshal(b, &raw))
	events := make([]*protos.HistoryEvent, len(raw))
	for i, r := range raw {
		events[i] = &protos.HistoryEvent{}
		require.NoError(t, protojson.Unmarshal(r, events[i]))
	}
	return events
}

// replay runs the current code with the history up to its last turn, and compares its
// decision with the recorded one.
func replay(t *testing.T, history []*protos.HistoryEvent, code task.Workflow) {
	t.Helper()
	last := -1
	for i, e := range history {
		if e.GetWorkflowStarted() != nil {
			last = i
		}
	}
	var want *protos.ExecutionCompletedEvent
	var news []*protos.HistoryEvent
	for _, e := range history[last:] {
		switch {
		case e.GetExecutionCompleted() != nil:
			want = e.GetExecutionCompleted()
		case e.GetTaskScheduled() != nil, e.GetTimerCreated() != nil: // decided, not received
		default:
			news = append(news, e)
		}
	}
	registry := task.NewTaskRegistry()
	require.NoError(t, registry.AddWorkflowN(workflows.OrderSaga, code))
	res, err := task.NewTaskExecutor(registry).ExecuteWorkflow(t.Context(), "o", history[:last], news, backend.ExecuteOptions{})
	require.NoError(t, err)
	for _, a := range res.GetActions() {
		if done := a.GetCompleteWorkflow(); done != nil {
			if done.GetResult().GetValue() != want.GetResult().GetValue() || done.GetWorkflowStatus() != want.GetWorkflowStatus() {
				t.Errorf("saga ends as %s with %s (%v), want %s with %s", done.GetWorkflowStatus(), done.GetResult().GetValue(),
					done.GetFailureDetails(), want.GetWorkflowStatus(), want.GetResult().GetValue())
			}
			return
		}
	}
	t.Errorf("actions of the last turn = %v, want the end of the saga", res.GetActions())
}
