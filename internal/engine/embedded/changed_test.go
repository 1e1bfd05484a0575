package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/task"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/replay"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

type goods struct{}

var once = saga.Policy{MaxAttempts: 3, First: time.Millisecond, Max: time.Millisecond, Factor: 1}

func do(name string) saga.Step[goods] {
	return saga.Step[goods]{Name: strings.ToLower(name), Do: name, Undo: "Undo" + name, Retry: once, UndoRetry: once}
}

func waits(name string) saga.Step[goods] {
	return saga.Step[goods]{Name: name, Wait: &saga.Wait[goods]{
		Signal: name, Timeout: func(goods) time.Duration { return time.Hour },
		Received: func(*goods, json.RawMessage) *saga.Stop { return nil },
		TimedOut: func(goods) *saga.Stop { return &saga.Stop{Status: "LATE"} },
	}}
}

func tableOf(steps ...saga.Step[goods]) saga.Saga[goods] {
	return saga.Saga[goods]{Done: "DONE", Failed: "FAILED", Cancelled: "CANCELLED", Steps: steps}
}

// shop has the activities of the sagas, and counts their calls. Charge waits.
type shop struct {
	mu      sync.Mutex
	ran     map[string]int
	charges chan struct{} // a charge has begun
	charged chan struct{} // closed: charges end
}

func newShop() *shop {
	return &shop{ran: map[string]int{}, charges: make(chan struct{}, 10), charged: make(chan struct{})}
}

func (s *shop) calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.ran)
}

func (s *shop) registry(t *testing.T, w task.Workflow) *task.TaskRegistry {
	t.Helper()
	r := workflows(t, map[string]task.Workflow{"W": w})
	for _, name := range []string{"Reserve", "UndoReserve", "Check", "Charge", "UndoCharge", "Ship", "Notify"} {
		require.NoError(t, r.AddActivityN(name, func(ctx task.ActivityContext) (any, error) {
			if name == "Charge" {
				s.charges <- struct{}{}
				select {
				case <-s.charged:
				case <-ctx.Context().Done():
					return nil, ctx.Context().Err()
				}
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.ran[name]++
			return map[string]any{}, nil
		}))
	}
	return r
}

// TestSagaOfAnotherTableIsStalled: a program with another table does nothing with a
// saga whose charge is under way, and shows why. Under the right program it ends as if
// nothing had happened.
func TestSagaOfAnotherTableIsStalled(t *testing.T) {
	reserve, charge, ship := do("Reserve"), do("Charge"), do("Ship")
	before := tableOf(reserve, charge, ship)
	otherUndo, noReturn := charge, ship
	otherUndo.Undo, noReturn.PointOfNoReturn = "UndoReserve", true
	reports := before
	reports.OnStuck = "Notify"
	for name, c := range map[string]struct {
		after saga.Saga[goods]
		why   string
	}{
		"inserted step":   {tableOf(reserve, do("Check"), charge, ship), "step 2 is check, was charge"},
		"inserted wait":   {tableOf(reserve, waits("approve"), charge, ship), "step 2 is approve, was charge"},
		"step gone":       {tableOf(reserve, charge), "step 3 is missing, was ship"},
		"step added":      {tableOf(reserve, charge, ship, do("Notify")), "step 4 is notify, was missing"},
		"other undo":      {tableOf(reserve, otherUndo, ship), "step 2 (charge) has changed to do Charge, undo UndoReserve"},
		"no return":       {tableOf(reserve, charge, noReturn), "step 3 (ship) has changed to do Ship, undo UndoShip, no return"},
		"reports parking": {reports, "Saga.OnStuck was another activity"},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := newShop(), t.TempDir()
			e := runEngine(t, s.registry(t, before.Workflow), Options{Dir: dir, DrainTimeout: time.Millisecond})
			e.start(t, "W", "w", goods{})
			<-s.charges
			e.stop() // the charge is cut off, and runs again
			close(s.charged)

			told := make(chan string, 10)
			after := Options{Dir: dir, Stalled: func(id, why string) { told <- id + ": " + why }}
			e = runEngine(t, s.registry(t, c.after.Workflow), after)
			e.becomes(t, "w", engine.Stalled)
			if got := <-told; got != "w: "+c.why {
				t.Errorf("Options.Stalled was called with %q, want %q", got, "w: "+c.why)
			}
			e.stop()
			e = runEngine(t, s.registry(t, c.after.Workflow), after) // a restart changes nothing
			<-told
			i, err := e.Get(t.Context(), "w")
			require.NoError(t, err)
			if got := replay.ChangedBy(i.CustomStatus); got != c.why || i.Status != engine.Stalled {
				t.Errorf("saga is %s with custom status %q, want STALLED because %q", i.Status, i.CustomStatus, c.why)
			}
			if err := e.Raise(t.Context(), "w", saga.SignalEvent, saga.Signal{Kind: "cancel"}); !errors.Is(err, engine.ErrStalled) {
				t.Errorf("Raise to the stalled saga = %v, want ErrStalled", err)
			}
			waitUntil(t, "the saga to count as one that waits for something external", func() bool {
				st, err := e.Stats(t.Context())
				return err == nil && st == engine.Stats{Live: 1, Waiting: 1, AwaitingExternal: 1}
			})
			h, err := e.History(t.Context(), "w")
			require.NoError(t, err)
			stalls := slices.DeleteFunc(h, func(ev engine.Event) bool { return ev.Type != "ExecutionStalled" })
			if len(stalls) != 1 || stalls[0].Error != c.why {
				t.Errorf("stalls in the history = %+v, want one because %q", stalls, c.why)
			}
			e.stop()

			e = runEngine(t, s.registry(t, before.Workflow), Options{Dir: dir})
			e.want(t, "w", engine.Completed, `{"status":"DONE"}`)
			if got, want := s.calls(), map[string]int{"Reserve": 1, "Charge": 1, "Ship": 1}; !maps.Equal(got, want) {
				t.Errorf("calls = %v, want %v", got, want)
			}
		})
	}
}

// TestSagaWhoseEventCameWithItsStart: the first turn of a saga that begins with a wait
// then has the next step's activity, too.
func TestSagaWhoseEventCameWithItsStart(t *testing.T) {
	s, dir := newShop(), t.TempDir()
	before, after := tableOf(waits("approve"), do("Charge")), tableOf(waits("consent"), do("Charge"))
	idle, err := Open(Options{Dir: dir}) // runs nothing
	require.NoError(t, err)
	require.NoError(t, idle.Start(t.Context(), "W", "w", goods{}))
	require.NoError(t, saga.Send(t.Context(), idle, "w", "approve", true))
	require.NoError(t, idle.Close())

	e := runEngine(t, s.registry(t, before.Workflow), Options{Dir: dir, DrainTimeout: time.Millisecond})
	<-s.charges
	e.stop() // the charge is cut off, and runs again
	close(s.charged)
	e = runEngine(t, s.registry(t, after.Workflow), Options{Dir: dir})
	e.becomes(t, "w", engine.Stalled)
	e.stop()
	e = runEngine(t, s.registry(t, before.Workflow), Options{Dir: dir})
	e.want(t, "w", engine.Completed, `{"status":"DONE"}`)
}

// TestStalledSagaThatWaits covers sagas whose first action is a timer. What arrived
// before the stall counts after it. The workflow has versions, which stay its own.
func TestStalledSagaThatWaits(t *testing.T) {
	s, dir := newShop(), t.TempDir()
	close(s.charged)
	serve := func(sg saga.Saga[goods]) running {
		r := s.registry(t, sg.Workflow)
		require.NoError(t, r.AddVersionedWorkflowN("V", "v2", true, sg.Workflow), r.AddVersionedWorkflowN("V", "v1", false, sg.Workflow))
		return runEngine(t, r, Options{Dir: dir})
	}
	before, after := tableOf(waits("approve"), do("Ship")), tableOf(waits("consent"), do("Ship"))
	e := serve(before)
	for _, name := range []string{"W", "V"} {
		e.start(t, name, name, goods{})
		waitUntil(t, "the timer to have its usual name", func() bool { return e.happened(t, name, "TimerCreated", saga.SignalEvent) })
	}
	e.stop()
	idle, err := Open(Options{Dir: dir}) // accepts events, and runs nothing
	require.NoError(t, err)
	for _, id := range []string{"W", "V"} {
		require.NoError(t, saga.Send(t.Context(), idle, id, "approve", true))
	}
	require.NoError(t, idle.Close())

	e = serve(after)
	e.becomes(t, "W", engine.Stalled)
	e.becomes(t, "V", engine.Stalled)
	e.stop()
	e = serve(before)
	e.want(t, "W", engine.Completed, `{"status":"DONE"}`)
	e.want(t, "V", engine.Completed, `{"status":"DONE"}`)
}

// TestSagaThatDecidesDifferentlyIsStalled: the tables look alike, but what a function
// in one decides is not what the history has. No step takes another's result, and
// nothing is compensated.
func TestSagaThatDecidesDifferentlyIsStalled(t *testing.T) {
	with := func(applies bool, step saga.Step[goods]) saga.Saga[goods] {
		step.When = func(goods) bool { return applies }
		return tableOf(do("Reserve"), step, do("Charge"), do("Ship"))
	}
	for name, c := range map[string]struct {
		before, after saga.Saga[goods]
		why           string
	}{
		"step now":       {with(false, do("Check")), with(true, do("Check")), "the next activity is Check, was Charge"},
		"step no longer": {with(true, do("Check")), with(false, do("Check")), "the next activity is Charge, was Check"},
		"wait now":       {with(false, waits("approve")), with(true, waits("approve")), "a previous execution called CallActivity for 'Charge'"},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := newShop(), t.TempDir()
			e := runEngine(t, s.registry(t, c.before.Workflow), Options{Dir: dir, DrainTimeout: time.Millisecond})
			e.start(t, "W", "w", goods{})
			<-s.charges
			e.stop()
			close(s.charged)
			e = runEngine(t, s.registry(t, c.after.Workflow), Options{Dir: dir})
			e.becomes(t, "w", engine.Stalled)
			if i, err := e.Get(t.Context(), "w"); err != nil || !strings.HasPrefix(replay.ChangedBy(i.CustomStatus), c.why) {
				t.Errorf("custom status is %q (%v), want %q", i.CustomStatus, err, c.why)
			}
			e.stop()
			e = runEngine(t, s.registry(t, c.before.Workflow), Options{Dir: dir})
			e.want(t, "w", engine.Completed, `{"status":"DONE"}`)
			for activity, n := range s.calls() {
				if n > 1 || strings.HasPrefix(activity, "Undo") {
					t.Errorf("%s was called %d times, want each step once and no compensation", activity, n)
				}
			}
		})
	}
}

// TestWorkflowThatDiffersFromItsHistoryIsStalled: it is no saga, and fails with what
// the SDK found. Another failure ends it.
func TestWorkflowThatDiffersFromItsHistoryIsStalled(t *testing.T) {
	s, dir := newShop(), t.TempDir()
	close(s.charged)
	calls := func(activities ...string) task.Workflow {
		return func(ctx *task.WorkflowContext) (any, error) {
			for _, name := range activities {
				if err := ctx.CallActivity(name).Await(nil); err != nil {
					return nil, err
				}
			}
			return "done", ctx.WaitForSingleEvent("go", -1).Await(nil)
		}
	}
	e := runEngine(t, s.registry(t, calls("Reserve", "Ship")), Options{Dir: dir})
	e.start(t, "W", "w", nil)
	waitUntil(t, "the workflow to wait", func() bool { return e.happened(t, "w", "TimerCreated", "go") })
	require.NoError(t, e.Suspend(t.Context(), "w", ""), e.Raise(t.Context(), "w", "go", nil), e.Resume(t.Context(), "w", ""))
	e.want(t, "w", engine.Completed, `"done"`)
	e.start(t, "W", "v", nil)
	waitUntil(t, "the workflow to wait", func() bool { return e.happened(t, "v", "TimerCreated", "go") })
	e.stop()
	e = runEngine(t, s.registry(t, calls("Reserve")), Options{Dir: dir})
	require.NoError(t, e.Raise(t.Context(), "v", "go", nil))
	e.becomes(t, "v", engine.Stalled)
	e.stop()
	e = runEngine(t, s.registry(t, calls("Reserve", "Ship")), Options{Dir: dir})
	e.want(t, "v", engine.Completed, `"done"`)
}

// TestSagaWithoutARecordedTableContinues: releases before 0028 recorded none. Neither
// do policies count, nor functions that decide the same.
func TestSagaWithoutARecordedTableContinues(t *testing.T) {
	patient := do("Charge")
	patient.Retry.MaxAttempts, patient.Retry.First, patient.UndoRetry.Budget = 7, time.Microsecond, time.Hour
	now := tableOf(do("Reserve"), patient, do("Ship"))
	old := func(ctx *task.WorkflowContext) (any, error) {
		for _, name := range []string{"Reserve", "Charge", "Ship"} {
			if err := ctx.CallActivity(name, task.WithActivityInput(goods{})).Await(nil); err != nil {
				return nil, err
			}
		}
		return saga.Report{Status: "DONE"}, nil
	}
	for name, before := range map[string]task.Workflow{
		"older release": old, "other policies": tableOf(do("Reserve"), do("Charge"), do("Ship")).Workflow,
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := newShop(), t.TempDir()
			e := runEngine(t, s.registry(t, before), Options{Dir: dir, DrainTimeout: time.Millisecond})
			e.start(t, "W", "w", goods{})
			<-s.charges
			e.stop()
			close(s.charged)
			e = runEngine(t, s.registry(t, now.Workflow), Options{Dir: dir})
			e.want(t, "w", engine.Completed, `{"status":"DONE"}`)
			if got, want := s.calls(), map[string]int{"Reserve": 1, "Charge": 1, "Ship": 1}; !maps.Equal(got, want) {
				t.Errorf("calls = %v, want %v", got, want)
			}
		})
	}
}

// TestSignalsBeforeTheFirstTurnDoNotHideTheTable: the first turn has them too.
func TestSignalsBeforeTheFirstTurnDoNotHideTheTable(t *testing.T) {
	s, dir := newShop(), t.TempDir()
	idle, err := Open(Options{Dir: dir})
	require.NoError(t, err)
	require.NoError(t, idle.Start(context.Background(), "W", "w", goods{}), saga.Send(t.Context(), idle, "w", saga.Nudge, nil))
	require.NoError(t, idle.Close())
	e := runEngine(t, s.registry(t, tableOf(do("Charge"), do("Ship")).Workflow), Options{Dir: dir, DrainTimeout: time.Millisecond})
	<-s.charges
	e.stop()
	close(s.charged)
	e = runEngine(t, s.registry(t, tableOf(do("Charge")).Workflow), Options{Dir: dir})
	e.becomes(t, "w", engine.Stalled)
}
