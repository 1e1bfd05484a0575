package saga_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/backend"
	"github.com/dapr/durabletask-go/backend/runtimestate"
	"github.com/dapr/durabletask-go/task"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/replay"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// player runs the turns of one saga at given times.
type player struct {
	exec    backend.Executor
	history []*protos.HistoryEvent
	timers  []*protos.HistoryEvent // that have not been delivered
	done    bool
	old     bool // the release before 0028: it records no table
}

// turn runs a turn with an event and returns the timers that it set.
func (p *player) turn(t *testing.T, at time.Time, event *protos.HistoryEvent) {
	t.Helper()
	s := runtimestate.NewWorkflowRuntimeState("x", nil, p.history)
	started := &protos.HistoryEvent_WorkflowStarted{WorkflowStarted: &protos.WorkflowStartedEvent{}}
	event.Timestamp = timestamppb.New(at)
	require.NoError(t, runtimestate.AddEvent(s, &protos.HistoryEvent{EventId: -1, Timestamp: event.GetTimestamp(), EventType: started}),
		runtimestate.AddEvent(s, event))
	past, added, _ := engine.ForSDK(s.GetOldEvents(), s.GetNewEvents())
	res, err := p.exec.ExecuteWorkflow(context.Background(), "x", past, added, backend.ExecuteOptions{})
	require.NoError(t, err)
	if why := replay.Answer(res); why != "" {
		t.Fatalf("the replay differs from the history: %s, want the same", why)
	}
	_, err = runtimestate.NewApplier("", "").Actions(s, res.GetCustomStatus(), res.GetActions(), nil, nil)
	require.NoError(t, err)
	if p.old {
		for _, e := range s.GetNewEvents() {
			if timer := e.GetTimerCreated(); timer != nil {
				timer.Name = new(replay.TimerName(timer.GetName()))
			}
		}
	}
	p.timers = append(p.timers, s.GetPendingTimers()...)
	p.history = slices.Concat(s.GetOldEvents(), s.GetNewEvents())
	p.done = runtimestate.IsCompleted(s)
}

// fire delivers the timers that are due at a time, the one set last first if reversed.
func (p *player) fire(t *testing.T, at time.Time, reversed bool) {
	t.Helper()
	due := func(e *protos.HistoryEvent) bool { return !e.GetTimerFired().GetFireAt().AsTime().After(at) }
	overdue := slices.DeleteFunc(slices.Clone(p.timers), func(e *protos.HistoryEvent) bool { return !due(e) })
	p.timers = slices.DeleteFunc(p.timers, due)
	if reversed {
		slices.Reverse(overdue)
	}
	for _, e := range overdue {
		p.turn(t, at, e)
	}
}

func (p *player) signal(t *testing.T, at time.Time, kind string, data any) {
	t.Helper()
	raw, err := json.Marshal(data)
	require.NoError(t, err)
	raw, err = json.Marshal(saga.Signal{Kind: kind, Data: raw})
	require.NoError(t, err)
	p.turn(t, at, &protos.HistoryEvent{EventId: -1, EventType: &protos.HistoryEvent_EventRaised{
		EventRaised: &protos.EventRaisedEvent{Name: saga.SignalEvent, Input: wrapperspb.String(string(raw))},
	}})
}

// TestAnswerIsReceivedAfterAnOutage: a wait that a signal ended early has left a timer
// behind. Nothing runs until that and the timer of the wait in progress are overdue,
// and they fire in either order. The saga then receives the answer that it waits for, in
// a wait with a time-out and in one without.
func TestAnswerIsReceivedAfterAnOutage(t *testing.T) {
	t.Parallel()
	wait := func(signal string, d time.Duration) *saga.Wait[Trip] {
		return &saga.Wait[Trip]{
			Signal: signal, Timeout: func(Trip) time.Duration { return d },
			Received: func(*Trip, json.RawMessage) *saga.Stop { return nil }, TimedOut: func(Trip) *saga.Stop { return nil },
		}
	}
	for name, c := range map[string]struct {
		carrier  time.Duration
		reversed bool
		signal   string
		data     any
	}{
		"in order":         {72 * time.Hour, false, "carrier", 1},
		"reversed":         {72 * time.Hour, true, "carrier", 1},
		"parked, in order": {time.Minute, false, "resolve", saga.Resolution{Action: saga.ActionSkip}},
		"parked, reversed": {time.Minute, true, "resolve", saga.Resolution{Action: saga.ActionSkip}},
	} {
		t.Run(name, func(t *testing.T) {
			sg := saga.Saga[Trip]{Done: "D", Failed: "F", Cancelled: "C", Steps: []saga.Step[Trip]{
				{Name: "approve", Wait: wait("approval", time.Hour)}, {Name: "carrier", Wait: wait("carrier", c.carrier)},
			}}
			r := task.NewTaskRegistry()
			require.NoError(t, r.AddWorkflowN("W", sg.Workflow))
			p := &player{exec: task.NewTaskExecutor(r)}
			began := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
			p.turn(t, began, &protos.HistoryEvent{EventId: -1, EventType: &protos.HistoryEvent_ExecutionStarted{
				ExecutionStarted: &protos.ExecutionStartedEvent{
					Name: "W", Input: wrapperspb.String("{}"), WorkflowInstance: &protos.WorkflowInstance{InstanceId: "x"},
				},
			}})
			p.signal(t, began.Add(time.Minute), "approval", 1)
			p.fire(t, began.Add(2*time.Minute), false) // the carrier's time may be up: the saga parks
			up := began.Add(time.Hour + 5*time.Minute)
			p.fire(t, up, c.reversed)
			p.signal(t, up.Add(time.Second), c.signal, c.data)
			p.fire(t, up.Add(10*time.Second), false)
			if !p.done {
				t.Errorf("10 s after the outage the saga goes on waiting, want it to have received %s and ended; timers: %v", c.signal, p.timers)
			}
		})
	}
}

// TestSagaOfAnOlderReleaseWaitsAsItDid: older releases began the grace of a timer when it
// was due. A saga of theirs whose outage was longer than that waits for the carrier's
// whole time, as its history has it; another wait would differ from it.
func TestSagaOfAnOlderReleaseWaitsAsItDid(t *testing.T) {
	t.Parallel()
	for name, old := range map[string]bool{"older release": true, "this release": false} {
		wait := func(signal string, d time.Duration) *saga.Wait[Trip] {
			return &saga.Wait[Trip]{
				Signal: signal, Timeout: func(Trip) time.Duration { return d },
				Received: func(*Trip, json.RawMessage) *saga.Stop { return nil }, TimedOut: func(Trip) *saga.Stop { return nil },
			}
		}
		sg := saga.Saga[Trip]{Done: "D", Failed: "F", Cancelled: "C", Steps: []saga.Step[Trip]{
			{Name: "approve", Wait: wait("approval", time.Hour)}, {Name: "carrier", Wait: wait("carrier", 72*time.Hour)},
		}}
		r := task.NewTaskRegistry()
		require.NoError(t, r.AddWorkflowN("W", sg.Workflow))
		p := &player{exec: task.NewTaskExecutor(r), old: old}
		began := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
		p.turn(t, began, &protos.HistoryEvent{EventId: -1, EventType: &protos.HistoryEvent_ExecutionStarted{
			ExecutionStarted: &protos.ExecutionStartedEvent{
				Name: "W", Input: wrapperspb.String("{}"), WorkflowInstance: &protos.WorkflowInstance{InstanceId: "x"},
			},
		}})
		p.signal(t, began.Add(time.Minute), "approval", 1)
		up := began.Add(time.Hour + 5*time.Minute)
		p.fire(t, up, false)
		next := p.timers[len(p.timers)-1].GetTimerFired().GetFireAt().AsTime().Sub(up)
		if long := next > time.Hour; long != old {
			t.Errorf("%s: after an outage the saga waits for %v at once, want the carrier's whole time: %t", name, next, old)
		}
	}
}
