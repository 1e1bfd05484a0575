package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// TestErrorThatIsNotUTF8FollowsThePolicy: the failure is recorded, with the bad
// bytes replaced. (Without that, the activity was called 150,000 times a second.)
func TestErrorThatIsNotUTF8FollowsThePolicy(t *testing.T) {
	var calls atomic.Int64
	type state struct{}
	table := saga.Saga[state]{Done: "D", Failed: "F", Cancelled: "C", Steps: []saga.Step[state]{
		{Name: "a", Do: "A", Retry: saga.Policy{MaxAttempts: 3, First: time.Millisecond, Max: time.Millisecond, Factor: 1}},
	}}
	r := workflows(t, map[string]task.Workflow{"S": table.Workflow})
	require.NoError(t, r.AddActivityN("A", saga.Do(func(context.Context, state) (state, error) {
		calls.Add(1)
		return state{}, errors.New("provider said: caf\xe9")
	})))
	e := runEngine(t, r, Options{})
	e.start(t, "S", "s", state{})
	e.wait(t, "s")
	if n := calls.Load(); n != 3 {
		t.Errorf("the activity was called %d times, want 3", n)
	}
	h, err := e.History(t.Context(), "s")
	require.NoError(t, err)
	if !slices.ContainsFunc(h, func(ev engine.Event) bool { return strings.Contains(ev.Error, "caf\uFFFD") }) {
		t.Errorf("history = %+v, want the activity's error with a replacement character", h)
	}
}

// TestTextThatIsNotUTF8IsMadeValid: wherever a workflow's code may put it.
func TestTextThatIsNotUTF8IsMadeValid(t *testing.T) {
	bad := json.RawMessage("\"caf\xe9\"")
	r := workflows(t, map[string]task.Workflow{
		"Output": func(ctx *task.WorkflowContext) (any, error) {
			ctx.SetCustomStatus("caf\xe9")
			return bad, nil
		},
		"Failure": func(*task.WorkflowContext) (any, error) { return nil, errors.New("caf\xe9") },
		"Activity": func(ctx *task.WorkflowContext) (any, error) {
			var got string
			err := ctx.CallActivity("Echo", task.WithRawActivityInput(wrapperspb.String("\"caf\xe9\""))).Await(&got)
			return got, err
		},
	})
	require.NoError(t, r.AddActivityN("Echo", func(task.ActivityContext) (any, error) { return bad, nil }))
	e := runEngine(t, r, Options{})
	for _, name := range []string{"Output", "Failure", "Activity"} {
		e.start(t, name, name, nil)
		i := e.wait(t, name)
		if got := string(i.Output) + i.Failure; strings.Trim(got, `"`) != "caf\uFFFD" || name == "Output" && i.CustomStatus != "caf\uFFFD" {
			t.Errorf("%s ended as %+v, want caf and a replacement character", name, i)
		}
	}
}

// TestEternalWorkflowTakesAllWaitingEvents: it takes one event and continues as
// new, and many wait. (The SDK's loop gave up after 20 in a turn, at each attempt.)
func TestEternalWorkflowTakesAllWaitingEvents(t *testing.T) {
	const many = turnLimit + 50
	e, err := Open(Options{Logger: zerolog.Nop()})
	require.NoError(t, err)
	require.NoError(t, e.Start(t.Context(), "Eternal", "e", 0))
	for n := range many {
		require.NoError(t, e.Raise(t.Context(), "e", "n", n))
	}
	registry := workflows(t, map[string]task.Workflow{"Eternal": func(ctx *task.WorkflowContext) (any, error) {
		var seen, got int
		if err := ctx.GetInput(&seen); err != nil || seen == many {
			return seen, err
		}
		if err := ctx.WaitForSingleEvent("n", -1).Await(&got); err != nil || got != seen {
			return nil, fmt.Errorf("event %d was %d: %w", seen, got, err)
		}
		ctx.ContinueAsNew(seen+1, task.WithKeepUnprocessedEvents())
		return nil, nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- e.Run(ctx, registry) }()
	running{Engine: e}.want(t, "e", engine.Completed, strconv.Itoa(many))
	cancel()
	require.NoError(t, <-ran, e.Close())
}

// TestWorkflowThatOnlyContinuesAsNewIsPaused: it must not keep a worker busy.
func TestWorkflowThatOnlyContinuesAsNewIsPaused(t *testing.T) {
	var runs atomic.Int64
	e := runEngine(t, workflows(t, map[string]task.Workflow{
		"Spin": func(ctx *task.WorkflowContext) (any, error) {
			runs.Add(1)
			ctx.ContinueAsNew(nil)
			return nil, nil
		},
		"Small": func(*task.WorkflowContext) (any, error) { return nil, nil },
	}), Options{Workflows: 1})
	e.start(t, "Spin", "spin", nil)
	waitUntil(t, "the first turn to be abandoned", func() bool { return e.instance("spin").retries > 0 })
	e.start(t, "Small", "small", nil)
	e.want(t, "small", engine.Completed, "")
	if n := runs.Load(); n > 3*(maxIdleGenerations+2) {
		t.Errorf("the code ran %d times, want at most %d a turn, and pauses between the turns", n, maxIdleGenerations+1)
	}
	require.NoError(t, e.Terminate(t.Context(), "spin", "enough"))
	e.want(t, "spin", engine.Terminated, `"enough"`)
}

// instance returns a copy of an instance, as it is in memory.
func (r running) instance(id string) *instance {
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	i, ok := r.store.instances.Get(id)
	if !ok {
		return newInstance(id)
	}
	return i.copied()
}

// TestTimersOfAnAbandonedTurnKeepTheirOrder: those that come due during the pause
// follow them.
func TestTimersOfAnAbandonedTurnKeepTheirOrder(t *testing.T) {
	s := newStore(zerolog.Nop())
	i := newInstance("i")
	i.inFlight = true
	first, second, third := &protos.HistoryEvent{EventId: 1}, &protos.HistoryEvent{EventId: 2}, &protos.HistoryEvent{EventId: 3}
	i.fired = []*protos.HistoryEvent{third}
	s.abandonTurn(turn{inst: i, added: []*protos.HistoryEvent{first, second}, fired: []*protos.HistoryEvent{first, second}})
	if want := []*protos.HistoryEvent{first, second, third}; !slices.Equal(i.fired, want) {
		t.Errorf("timers after an abandoned turn: %v, want %v", i.fired, want)
	}
}

// switchedSampler samples everything or nothing. The SDK's tracer keeps the first
// provider of the process, which other tests use too.
type switchedSampler struct{ on atomic.Bool }

func (*switchedSampler) Description() string { return "switched" }

func (s *switchedSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if s.on.Load() {
		return sdktrace.AlwaysSample().ShouldSample(p)
	}
	return sdktrace.NeverSample().ShouldSample(p)
}

// TestSnapshotsBesideTracedSagas: run it with -race. The span's id is written into
// the start event while snapshots read events.
func TestSnapshotsBesideTracedSagas(t *testing.T) {
	sampler := &switchedSampler{}
	sampler.on.Store(true)
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler)))
	t.Cleanup(func() { sampler.on.Store(false) })
	e := run(t, enginetest.NewWorld(), Options{})
	done := make(chan struct{})
	var snapshots sync.WaitGroup
	snapshots.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if err := e.store.snapshot(func([]byte) error { return nil }); err != nil {
				t.Errorf("snapshot beside running sagas: %v, want none to fail", err)
			}
		}
	})
	var starters sync.WaitGroup
	for g := range 4 {
		starters.Go(func() {
			for n := range 50 {
				id := fmt.Sprint(g, "-", n)
				e.start(t, "Chain", id, nil)
				e.wait(t, id)
			}
		})
	}
	starters.Wait()
	close(done)
	snapshots.Wait()
	if start := e.instance("0-0").view().rebuildState().StartEvent; start.GetWorkflowSpanID().GetValue() == "" {
		t.Errorf("start event = %v, want it to have its span's id", start)
	}
}
