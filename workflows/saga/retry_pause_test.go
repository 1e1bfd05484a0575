package saga_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/backend"
	"github.com/dapr/durabletask-go/task"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// limited is an error that requests a pause.
type limited struct{ pause time.Duration }

func (limited) Error() string               { return "429 retry after 59s: slow down" }
func (l limited) RetryAfter() time.Duration { return l.pause }

// older is an error as recorded by a worker that limited pauses to Policy.Max.
type older struct{ pause time.Duration }

func (o older) Error() string { return fmt.Sprintf("retry after %s: 429 slow down", o.pause) }

// TestErrorsRequestTheirPause covers steps and compensations. The pause is at least
// the requested one, up to a minute, whatever Policy.Max, and it varies. Histories
// of older workers replay unchanged. The clock is virtual.
func TestErrorsRequestTheirPause(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for name, c := range map[string]struct {
		failure     error
		max         time.Duration
		least, most time.Duration // of the first pause
	}{
		"no request":          {errors.New("retry after 59s: slow down, quotes a proxy"), 30 * s, 700 * time.Millisecond, s},
		"less than First":     {limited{s / 10}, 30 * s, 700 * time.Millisecond, s},
		"one second":          {limited{s}, 30 * s, s, 1300 * time.Millisecond},
		"20 s":                {limited{20 * s}, 30 * s, 20 * s, 26 * s},
		"more than Max":       {limited{40 * s}, 30 * s, 40*s + 1, 52 * s},
		"more than short Max": {limited{40 * s}, s, 40*s + 1, 52 * s},
		"more than a minute":  {limited{time.Hour}, 10 * time.Minute, time.Minute + 1, 78 * s},
		"old history":         {older{40 * s}, 30 * s, 30 * s, 30 * s},
		"negative":            {limited{-time.Hour}, 30 * s, 700 * time.Millisecond, s},
	} {
		t.Run(name, func(t *testing.T) {
			policy := saga.Policy{First: s, Max: c.max, Factor: 2, Jitter: 0.3, MaxAttempts: 5}
			failing := map[string]int{"Book": 1, "Cancel": 1}
			fail := func(activity string) error {
				failing[activity]--
				if failing[activity] >= 0 {
					if _, old := errors.AsType[older](c.failure); old {
						return c.failure // unwrapped: its text must come first
					}
					return fmt.Errorf("call %s: %w", activity, c.failure)
				}
				return nil
			}
			r := task.NewTaskRegistry()
			require.NoError(t,
				r.AddWorkflowN("Trip", saga.Saga[Trip]{Failed: "FAILED", Steps: []saga.Step[Trip]{
					{Name: "flight", Do: "Book", Undo: "Cancel", Retry: policy, UndoRetry: policy},
					{Name: "hotel", Do: "Full", Retry: policy},
				}}.Workflow),
				r.AddActivityN("Book", saga.Do(func(context.Context, Trip) (Trip, error) { return Trip{}, fail("Book") })),
				r.AddActivityN("Full", saga.Do(func(context.Context, Trip) (Trip, error) { return Trip{}, &saga.Stop{Status: "FULL"} })),
				r.AddActivityN("Cancel", saga.Undo(func(context.Context, Trip, saga.Stop) error { return fail("Cancel") })),
			)
			pauses, report := runVirtual(t, r, "Trip")
			if len(pauses) != 2 || report.Status != "FULL" || len(report.Compensated) != 1 {
				t.Fatalf("pauses %v and report %+v, want 2 pauses, FULL and 1 compensation", pauses, report)
			}
			for i, of := range []string{"step", "compensation"} {
				if pauses[i] < c.least || pauses[i] > c.most {
					t.Errorf("pause of the %s = %s, want %s to %s", of, pauses[i], c.least, c.most)
				}
			}
		})
	}
}

// runVirtual runs a saga to its end in virtual time: a timer fires as soon as it is
// set, and the clock advances to it. pauses has the durations of all timers.
func runVirtual(t *testing.T, r *task.TaskRegistry, workflow string) (pauses []time.Duration, report saga.Report) {
	t.Helper()
	exec, now := task.NewTaskExecutor(r), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var old []*protos.HistoryEvent
	news := []*protos.HistoryEvent{{EventId: -1, Timestamp: timestamppb.New(now), EventType: &protos.HistoryEvent_ExecutionStarted{
		ExecutionStarted: &protos.ExecutionStartedEvent{Name: workflow, Input: wrapperspb.String("{}")},
	}}}
	for range 100 {
		news = append([]*protos.HistoryEvent{{EventId: -1, Timestamp: timestamppb.New(now), EventType: &protos.HistoryEvent_WorkflowStarted{
			WorkflowStarted: &protos.WorkflowStartedEvent{},
		}}}, news...)
		res, err := exec.ExecuteWorkflow(t.Context(), "trip", old, news, backend.ExecuteOptions{})
		require.NoError(t, err)
		old, news = append(old, news...), nil
		for _, a := range res.GetActions() {
			decided := &protos.HistoryEvent{EventId: a.GetId(), Timestamp: timestamppb.New(now)}
			var came *protos.HistoryEvent
			switch {
			case a.GetCompleteWorkflow() != nil:
				require.NoError(t, json.Unmarshal([]byte(a.GetCompleteWorkflow().GetResult().GetValue()), &report))
				return pauses, report
			case a.GetScheduleTask() != nil:
				s := a.GetScheduleTask()
				decided.EventType = &protos.HistoryEvent_TaskScheduled{
					TaskScheduled: &protos.TaskScheduledEvent{Name: s.GetName(), Input: s.GetInput()},
				}
				came, err = exec.ExecuteActivity(t.Context(), "trip", decided, backend.ExecuteOptions{})
				require.NoError(t, err)
			case a.GetCreateTimer() != nil:
				at := a.GetCreateTimer().GetFireAt()
				decided.EventType = &protos.HistoryEvent_TimerCreated{TimerCreated: &protos.TimerCreatedEvent{FireAt: at}}
				came = &protos.HistoryEvent{EventId: -1, Timestamp: at, EventType: &protos.HistoryEvent_TimerFired{
					TimerFired: &protos.TimerFiredEvent{TimerId: a.GetId(), FireAt: at},
				}}
				pauses, now = append(pauses, at.AsTime().Sub(now)), at.AsTime()
			}
			old, news = append(old, decided), append(news, came)
		}
	}
	t.Fatal("the saga has not ended after 100 turns, want an end")
	return nil, report
}
