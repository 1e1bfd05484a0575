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

	"github.com/ordersaga/ordersaga/workflows/saga"
)

// limited is an error that asks for a pause.
type limited struct{ pause time.Duration }

func (limited) Error() string               { return "429 retry after 59s: slow down" }
func (l limited) RetryAfter() time.Duration { return l.pause }

// older is what a worker wrote down that cut pauses to the policy's Max.
type older struct{ pause time.Duration }

func (o older) Error() string { return fmt.Sprintf("retry after %s: 429 slow down", o.pause) }

// TestErrorsChooseTheirPause, of steps and of compensations: at least what they
// ask for up to a minute, whatever the policy's Max, and not all the same. What
// an older worker has written down decides as it did. The clock is moved.
func TestErrorsChooseTheirPause(t *testing.T) {
	const s = time.Second
	for name, c := range map[string]struct {
		failure     error
		max         time.Duration
		least, most time.Duration // of the first pause
	}{
		"it does not ask":    {errors.New("retry after 59s: slow down, quotes a proxy"), 30 * s, 700 * time.Millisecond, s},
		"less than ours":     {limited{s / 10}, 30 * s, 700 * time.Millisecond, s},
		"one second":         {limited{s}, 30 * s, s, 1300 * time.Millisecond},
		"20 s":               {limited{20 * s}, 30 * s, 20 * s, 26 * s},
		"more than Max":      {limited{40 * s}, 30 * s, 40*s + 1, 52 * s},
		"more, and short":    {limited{40 * s}, s, 40*s + 1, 52 * s},
		"more than a minute": {limited{time.Hour}, 10 * time.Minute, time.Minute + 1, 78 * s},
		"an old history's":   {older{40 * s}, 30 * s, 30 * s, 30 * s},
		"less than nothing":  {limited{-time.Hour}, 30 * s, 700 * time.Millisecond, s},
	} {
		t.Run(name, func(t *testing.T) {
			policy := saga.Policy{First: s, Max: c.max, Factor: 2, Jitter: 0.3, MaxAttempts: 5}
			failing := map[string]int{"Book": 1, "Cancel": 1}
			fail := func(activity string) error {
				if failing[activity]--; failing[activity] >= 0 {
					if _, old := errors.AsType[older](c.failure); old {
						return c.failure // its text is the first
					}
					return fmt.Errorf("call %s: %w", activity, c.failure)
				}
				return nil
			}
			r := task.NewTaskRegistry()
			if err := errors.Join(
				r.AddWorkflowN("Trip", saga.Saga[Trip]{Failed: "FAILED", Steps: []saga.Step[Trip]{
					{Name: "flight", Do: "Book", Undo: "Cancel", Retry: policy, UndoRetry: policy},
					{Name: "hotel", Do: "Full", Retry: policy},
				}}.Workflow),
				r.AddActivityN("Book", saga.Do(func(context.Context, Trip) (Trip, error) { return Trip{}, fail("Book") })),
				r.AddActivityN("Full", saga.Do(func(context.Context, Trip) (Trip, error) { return Trip{}, &saga.Stop{Status: "FULL"} })),
				r.AddActivityN("Cancel", saga.Undo(func(context.Context, Trip, saga.Stop) error { return fail("Cancel") })),
			); err != nil {
				t.Fatal(err)
			}
			pauses, report := play(t, r, "Trip")
			if len(pauses) != 2 || report.Status != "FULL" || len(report.Compensated) != 1 {
				t.Fatalf("%v %+v", pauses, report)
			}
			for i, of := range []string{"step", "compensation"} {
				if pauses[i] < c.least || pauses[i] > c.most {
					t.Errorf("%s: pauses for %s, want %s to %s", of, pauses[i], c.least, c.most)
				}
			}
		})
	}
}

// play runs a saga to its end, in virtual time: a timer fires as soon as it is
// set, and the clock is moved there. pauses are all timers.
func play(t *testing.T, r *task.TaskRegistry, workflow string) (pauses []time.Duration, report saga.Report) {
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
		if err != nil {
			t.Fatal(err)
		}
		old, news = append(old, news...), nil
		for _, a := range res.GetActions() {
			decided := &protos.HistoryEvent{EventId: a.GetId(), Timestamp: timestamppb.New(now)}
			var came *protos.HistoryEvent
			switch {
			case a.GetCompleteWorkflow() != nil:
				if err := json.Unmarshal([]byte(a.GetCompleteWorkflow().GetResult().GetValue()), &report); err != nil {
					t.Fatal(err)
				}
				return pauses, report
			case a.GetScheduleTask() != nil:
				s := a.GetScheduleTask()
				decided.EventType = &protos.HistoryEvent_TaskScheduled{TaskScheduled: &protos.TaskScheduledEvent{Name: s.GetName(), Input: s.GetInput()}}
				if came, err = exec.ExecuteActivity(t.Context(), "trip", decided, backend.ExecuteOptions{}); err != nil {
					t.Fatal(err)
				}
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
	t.Fatal("it does not end")
	return nil, report
}
