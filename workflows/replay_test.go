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

// recordings are sagas whose histories are in testdata. Sagas in flight are
// replayed by the code of the next release: a change that these histories do
// not survive would strand them. Then the change needs ctx.IsPatched or a new
// version of the workflow, and the old history stays here.
var recordings = map[string]func(t *testing.T, s *script, e *embedded.Engine){
	"happy": func(t *testing.T, _ *script, e *embedded.Engine) { begin(t, e, terms(nil)) },
	"declined": func(t *testing.T, s *script, e *embedded.Engine) {
		s.stop = map[string]*saga.Stop{workflows.ChargePayment: {Status: "DECLINED", Reason: "no"}}
		begin(t, e, terms(nil))
	},
	"retries-approval-carrier":    approvedAndTaken,
	"v3-retries-approval-carrier": approvedAndTaken,
	"v2-expired":                  expired,
	"v3-expired":                  expired,
	"v3-refused": func(t *testing.T, s *script, e *embedded.Engine) {
		begin(t, e, terms(approval))
		until(t, s, workflows.ReserveStock)
		send(t, e, workflows.EventApproval, workflows.Approval{By: "ann", Note: "no"})
	},
	"cancelled": func(t *testing.T, s *script, e *embedded.Engine) {
		begin(t, e, terms(approval))
		until(t, s, workflows.ReserveStock)
		send(t, e, workflows.EventCancel, workflows.Cancellation{By: "ann"})
	},
	"parked-resolved": func(t *testing.T, s *script, e *embedded.Engine) {
		s.fail = map[string]int{workflows.ChargePayment: -1, workflows.RefundPayment: -1}
		begin(t, e, terms(nil))
		until(t, s, workflows.ParkSaga)
		send(t, e, workflows.EventResolve, saga.Resolution{Action: saga.ActionResolve, By: "ann"})
	},
	"v1-late-carrier": late,
	"late-carrier":    late,
	"v3-late-carrier": func(t *testing.T, s *script, e *embedded.Engine) {
		s.stop = map[string]*saga.Stop{workflows.VerifyRefusal: {Status: "FAILED", Reason: "island"}}
		late(t, s, e)
	},
	"sent-by-hand": func(t *testing.T, s *script, e *embedded.Engine) {
		s.fail = map[string]int{workflows.RequestShipment: -1}
		begin(t, e, terms(nil))
		until(t, s, workflows.ParkSaga)
		send(t, e, workflows.EventResolve, saga.Resolution{Action: saga.ActionResolve, By: "ann"})
	},
}

// versions are all registered versions.
var versions = map[string]task.Workflow{
	workflows.VersionV1: workflows.OrderV1,
	workflows.VersionV2: workflows.OrderV2,
	workflows.Version:   workflows.Order,
}

// recordedBy has the versions that a history can be of, the one that recorded it first.
// All others replay on every version.
var recordedBy = map[string][]string{
	"v1-late-carrier":             {workflows.VersionV1},
	"late-carrier":                {workflows.VersionV2},
	"v3-late-carrier":             {workflows.Version},
	"retries-approval-carrier":    {workflows.VersionV2, workflows.VersionV1},
	"v3-retries-approval-carrier": {workflows.Version},
	"v2-expired":                  {workflows.VersionV2, workflows.VersionV1},
	"v3-expired":                  {workflows.Version},
	"v3-refused":                  {workflows.Version},
}

func approvedAndTaken(t *testing.T, s *script, e *embedded.Engine) {
	t.Helper()
	s.fail = map[string]int{workflows.ReserveStock: 1, workflows.ChargePayment: 2, workflows.RequestShipment: 1, workflows.SettleApproval: 1}
	begin(t, e, terms(func(t *workflows.Terms) { approval(t); awaiting(t) }))
	until(t, s, workflows.ReserveStock)
	send(t, e, workflows.EventApproval, workflows.Approval{Approved: true, By: "ann"})
	until(t, s, workflows.RequestShipment)
	send(t, e, workflows.EventCarrier, workflows.CarrierAnswer{Dispatched: true, TrackingID: "trk"})
}

func expired(t *testing.T, s *script, e *embedded.Engine) {
	t.Helper()
	s.fail = map[string]int{workflows.SettleApproval: 1}
	begin(t, e, terms(func(t *workflows.Terms) { approval(t); t.ApprovalTimeout = 5 * time.Millisecond }))
}

// late has the carrier answer when the saga is parked, and an operator decide
// after that.
func late(t *testing.T, s *script, e *embedded.Engine) {
	t.Helper()
	begin(t, e, terms(func(t *workflows.Terms) { awaiting(t); t.CarrierTimeout = 5 * time.Millisecond }))
	until(t, s, workflows.ParkSaga)
	send(t, e, workflows.EventCarrier, workflows.CarrierAnswer{Reason: "island"})
	if s.old != workflows.VersionV1 {
		return // the answer is enough
	}
	require.Eventually(t, "the saga has the answer", 20*time.Second, func() bool {
		h, err := e.History(t.Context(), "o")
		return err == nil && slices.ContainsFunc(h, func(ev engine.Event) bool { return ev.Type == "EventRaised" })
	})
	send(t, e, workflows.EventResolve, saga.Resolution{Action: saga.ActionResolve, By: "ann"})
}

func begin(t *testing.T, e *embedded.Engine, terms workflows.Terms) {
	t.Helper()
	if err := e.Start(t.Context(), workflows.OrderSaga, "o", input(terms)); err != nil {
		t.Fatal(err)
	}
}

func send(t *testing.T, e *embedded.Engine, kind string, payload any) {
	t.Helper()
	if err := saga.Send(t.Context(), e, "o", kind, payload); err != nil {
		t.Fatal(err)
	}
}

func TestReplay(t *testing.T) {
	for name, play := range recordings {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("testdata", name+".json")
			if _, err := os.Stat(file); *update && errors.Is(err, fs.ErrNotExist) {
				record(t, file, recordedBy[name], play)
			}
			for version, code := range versions {
				if recordedBy[name] == nil || slices.Contains(recordedBy[name], version) {
					replay(t, load(t, file), code)
				}
			}
		})
	}
}

func record(t *testing.T, file string, of []string, play func(*testing.T, *script, *embedded.Engine)) {
	t.Helper()
	s := &script{fail: map[string]int{}}
	if len(of) > 0 && of[0] != workflows.Version {
		s.old = of[0]
	}
	e := open(t, s)
	play(t, s, e)
	report(t, e)
	res, err := e.Hub.GetInstanceHistory(t.Context(), api.InstanceID("o"))
	if err != nil {
		t.Fatal(err)
	}
	var events []json.RawMessage
	for _, ev := range res.GetEvents() {
		b, err := protojson.Marshal(ev)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, b)
	}
	b, err := json.MarshalIndent(events, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(b, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, file string) []*protos.HistoryEvent {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		t.Fatal(err)
	}
	events := make([]*protos.HistoryEvent, len(raw))
	for i, r := range raw {
		events[i] = &protos.HistoryEvent{}
		if err := protojson.Unmarshal(r, events[i]); err != nil {
			t.Fatal(err)
		}
	}
	return events
}

// replay runs the current code against the history up to its last turn, and compares
// its decision with the recorded one.
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
	if err := registry.AddWorkflowN(workflows.OrderSaga, code); err != nil {
		t.Fatal(err)
	}
	res, err := task.NewTaskExecutor(registry).ExecuteWorkflow(t.Context(), "o", history[:last], news, backend.ExecuteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range res.GetActions() {
		if done := a.GetCompleteWorkflow(); done != nil {
			if done.GetResult().GetValue() != want.GetResult().GetValue() || done.GetWorkflowStatus() != want.GetWorkflowStatus() {
				t.Errorf("saga ended %s %s (%v), want %s %s", done.GetWorkflowStatus(), done.GetResult().GetValue(),
					done.GetFailureDetails(), want.GetWorkflowStatus(), want.GetResult().GetValue())
			}
			return
		}
	}
	t.Errorf("saga does not end; its actions are %v", res.GetActions())
}
