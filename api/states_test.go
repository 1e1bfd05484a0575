package api_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/internal/deadletter"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/fleet"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// bench is the API over the real store, with everything behind it in the
// test's hands: an engine that runs nothing, and a topic that goes nowhere.
type bench struct {
	client

	log *book
	*behind
}

type behind struct {
	engine.Engine // for what the test does not ask

	mu        sync.Mutex
	store     *orderstore.Store
	started   []string
	begun     []string
	published []string
	raised    []raised
	lost      []string
	noteFirst bool     // whether every event raised had its note already
	step      string   // at which sagas are parked; "" is the shipment
	busy      bool     // with what was decided before
	unknown   bool     // to the engine, until it is started
	ended     bool     // all sagas have
	undoing   bool     // all sagas are
	stalled   bool     // all sagas are
	found     []string // stalled, by the reconciler
	fail      error
	failRaise error
	failNote  error
	failBegin error
	failLost  error
	slow      time.Duration
	limits    atomic.Int64 // read deadlines that connections were given
	panics    bool
}

type raised struct {
	event   string
	payload any
}

func newBench(t *testing.T) bench {
	t.Helper()
	aws := testkit.NewAWS(t, nil)
	aws.SetStock(t, map[string]int64{"A": 1_000_000})
	b := bench{log: new(book), behind: &behind{store: aws.Store, noteFirst: true}}
	store := noting{aws.Store, aws.Fleet, b.behind}
	server := httptest.NewUnstartedServer(api.New(api.Options{
		Orders: store, Fleet: store, Sagas: b.behind, Starter: intake.Starter{Orders: aws.Store, Sagas: b.behind}, Publisher: b.behind,
		ResolveLost: func(_ context.Context, rec orderstore.Record, d saga.Resolution) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.lost = append(b.lost, rec.OrderID+" "+string(d.Action))
			return cmp.Or(b.failLost, b.fail)
		},
		RestartSaga: func(_ context.Context, rec orderstore.Record) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.begun = append(b.begun, fmt.Sprintf("%s %q %t", rec.OrderID, rec.Decision, rec.CancelRequested))
			return b.failBegin
		},
		DeadLetters: noLetters{}, Reconciler: reconciling{b.behind}, ReconcileWait: time.Millisecond,
		Stalled:  func() []string { return b.found },
		Ready:    func(context.Context) error { return b.fail },
		Registry: prometheus.NewRegistry(), Logger: zerolog.New(b.log),
	}))
	server.Listener = limited{server.Listener, &b.limits}
	server.Start()
	t.Cleanup(server.Close)
	b.client = newClient(t, testkit.System{AWS: aws, API: server.URL})
	return b
}

// noLetters are queues without any.
type noLetters struct{}

func (noLetters) Queues(context.Context) ([]api.Queue, error) { return nil, nil }
func (noLetters) List(context.Context, string, int) ([]deadletter.Message, error) {
	return nil, nil
}

func (noLetters) Redrive(context.Context, string, string, *string) error {
	return deadletter.ErrNotFound
}
func (noLetters) RedriveAll(context.Context, string, float64) (int, error) { return 0, nil }
func (noLetters) Delete(context.Context, string, string) error             { return deadletter.ErrNotFound }

func (noLetters) Forget(context.Context, func(deadletter.Message) bool) (int, error) {
	return 0, nil
}

// reconciling is a run that never ends, or fails.
type reconciling struct{ on *behind }

func (r reconciling) Ask() (<-chan struct{}, func() reconcile.Reconciliation) {
	ended := make(chan struct{})
	if r.on.fail != nil {
		close(ended)
	}
	return ended, r.Latest
}

func (r reconciling) Latest() (run reconcile.Reconciliation) {
	run.Orders, run.Running = 7, r.on.fail == nil
	if !run.Running {
		run.Error = r.on.fail.Error()
	}
	return run
}

type noting struct {
	*orderstore.Store

	*fleet.Registry

	on *behind
}

func (n noting) RecordOperatorReply(ctx context.Context, id string, note orderstore.Note) error {
	if n.on.failNote != nil {
		return n.on.failNote
	}
	return n.Store.RecordOperatorReply(ctx, id, note)
}

func (n noting) Resolve(ctx context.Context, id, step, action string, note orderstore.Note) error {
	if n.on.failNote != nil {
		return n.on.failNote
	}
	return n.Store.Resolve(ctx, id, step, action, note)
}

func (n noting) Backlog(ctx context.Context, at time.Time) (fleet.Backlog, error) {
	if n.on.failNote != nil {
		return fleet.Backlog{}, n.on.failNote
	}
	return n.Registry.Backlog(ctx, at)
}

func (n noting) RequestCancel(ctx context.Context, id string, note orderstore.Note) error {
	if n.on.failNote != nil {
		return n.on.failNote
	}
	return n.Store.RequestCancel(ctx, id, note)
}

func (n noting) Decide(ctx context.Context, id string, d orderstore.Decision, note orderstore.Note) error {
	if n.on.failNote != nil {
		return n.on.failNote
	}
	return n.Store.Decide(ctx, id, d, note)
}

func (b *behind) PublishOrder(_ context.Context, o order.Order) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.panics {
		panic("tok_ok of the caller")
	}
	if b.fail == nil {
		b.published = append(b.published, o.OrderID)
	}
	return b.fail
}

func (b *behind) Start(_ context.Context, _, id string, _ any) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail == nil {
		b.started = append(b.started, id)
	}
	return b.fail
}

func (b *behind) Raise(ctx context.Context, id, event string, payload any) error {
	if b.slow > 0 {
		<-time.After(b.slow)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	rec, err := b.store.Get(ctx, id)
	if err != nil {
		return err
	}
	b.noteFirst = b.noteFirst && len(rec.Notes) == 1
	if b.fail != nil || b.failRaise != nil {
		return errors.Join(b.fail, b.failRaise)
	}
	if b.unknown && !slices.Contains(b.started, id) {
		return fmt.Errorf("saga %s: %w", id, engine.ErrNotFound)
	}
	b.raised = append(b.raised, raised{event, payload})
	return nil
}

// Get returns a parked saga for an order that needs attention.
func (b *behind) Get(ctx context.Context, id string) (engine.Instance, error) {
	rec, err := b.store.Get(ctx, id)
	switch {
	case err != nil:
		return engine.Instance{}, err
	case b.fail != nil:
		return engine.Instance{}, b.fail
	case b.unknown:
		return engine.Instance{}, engine.ErrNotFound
	case b.stalled:
		return engine.Instance{Status: engine.Stalled, CustomStatus: "charge"}, nil
	case b.ended:
		return engine.Instance{Status: engine.Terminated}, nil
	case b.undoing:
		return engine.Instance{Status: engine.Running, CustomStatus: "undo reserve"}, nil
	case rec.Status == order.StatusNeedsAttention && !b.busy:
		return engine.Instance{Status: engine.Running, CustomStatus: "needs attention: " + cmp.Or(b.step, workflows.StepShip)}, nil
	}
	return engine.Instance{Status: engine.Running, CustomStatus: "charge"}, nil
}

func (b *behind) History(context.Context, string) ([]engine.Event, error) {
	if b.stalled {
		return []engine.Event{{Type: "ExecutionStalled", Name: "PAYLOAD_SIZE_EXCEEDED", Error: "too large for 4194304 bytes"}}, nil
	}
	return nil, b.fail
}

func (b *behind) Stats(context.Context) (engine.Stats, error) {
	return engine.Stats{Live: 7, Waiting: 3}, b.fail
}

// put makes an order of its own in a status, by what the saga's steps do.
func (b bench) put(status order.Status) (id string) {
	b.t.Helper()
	id = "o-" + string(status)
	o := mustParse(b.t, newOrder(id, nil))
	do := func(err error) {
		b.t.Helper()
		if err != nil {
			b.t.Fatal(err)
		}
	}
	reserve := func(next order.Status) error {
		var err error
		if next == order.StatusAwaitingApproval {
			_, err = b.Store.ReserveForApproval(b.t.Context(), o, 0)
		} else {
			_, err = b.Store.Reserve(b.t.Context(), o)
		}
		return err
	}
	_, _, err := b.Store.Accept(b.t.Context(), o)
	do(err)
	switch status {
	case order.StatusPending:
	case order.StatusReserved, order.StatusAwaitingApproval:
		do(reserve(status))
	case order.StatusPaid:
		do(reserve(order.StatusReserved))
		do(b.Store.MarkPaid(b.t.Context(), id, "ch"))
	case order.StatusNeedsAttention:
		do(b.Store.MarkNeedsAttention(b.t.Context(), id, "stuck"))
	default:
		do(b.Store.End(b.t.Context(), id, status, ""))
	}
	if v := b.view(id); v.Status != string(status) {
		b.t.Fatalf("order %s is %s, want %s", id, v.Status, status)
	}
	return id
}

// TestResolutionsMustFitTheParkedStep: an action that the parked step does not allow leaves no
// trace.
func TestResolutionsMustFitTheParkedStep(t *testing.T) {
	b := newBench(t)
	id := b.put(order.StatusPaid)
	_, _, err := b.Store.RecordCarrierAnswer(t.Context(), id, orderstore.CarrierAnswer{
		ShipmentID: "shp",
		Answer:     orderstore.Refused, Reason: "island",
	})
	if !errors.Is(err, orderstore.ErrNotRequested) {
		t.Fatalf("no shipment was requested: error = %v, want %v", err, orderstore.ErrNotRequested)
	}
	if err := b.Store.MarkShipmentRequested(t.Context(), id, "shp"); err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	if _, _, err := b.Store.RecordCarrierAnswer(t.Context(), id, orderstore.CarrierAnswer{
		ShipmentID: "shp",
		Answer:     orderstore.Refused, Reason: "island",
	}); err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	if err := b.Store.MarkNeedsAttention(t.Context(), id, "stuck"); err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	for _, c := range []struct{ step, action, say string }{
		{"charge", "compensate", "the compensation of charge is stuck: use retry, skip or resolve"},
		{"carrier", "resolve", "the carrier has refused the shipment: island: use retry"},
		{"confirm", "skip", "the carrier has refused the shipment: island: use retry"},
		{"charge", "resolve", ""}, // such as refunded at the bank
		{"carrier", "retry", ""},
		{"ship", "compensate", ""},
	} {
		b.step, b.raised = c.step, nil
		before := len(b.view(id).Notes)
		a := b.post("/v1/sagas/"+id+"/resolve", `{"action":"`+c.action+`"}`)
		if c.say == "" {
			b.accepted(a)
			want := []raised{{workflows.EventResolve, saga.Resolution{Action: saga.Action(c.action)}}}
			if c.step == workflows.StepCarrier { // one that is at the shipment reads it in the record
				want = append([]raised{{workflows.EventCarrier, workflows.CarrierAnswer{Reason: "island"}}}, want...)
			}
			if !reflect.DeepEqual(b.raised, want) {
				t.Errorf("%s %s: raised %+v, want %+v", c.step, c.action, b.raised, want)
			}
			if err := b.Store.MarkNeedsAttention(t.Context(), id, "it came to nothing"); err != nil {
				t.Fatalf("unexpected error: %v", err)
			}
			continue
		}
		a.wantProblem(t, c.step+" "+c.action, http.StatusConflict, "", c.say)
		if b.raised != nil || len(b.view(id).Notes) != before {
			t.Errorf("%s %s: refused, yet raised %v or left a note, want neither", c.step, c.action, b.raised)
		}
	}
}

// TestStatusDecidesWhichActionsAreAccepted: each action in each status. A refused action
// leaves no trace. An accepted action has its note before it is carried out.
func TestStatusDecidesWhichActionsAreAccepted(t *testing.T) {
	by := `"by":"ann","note":"why"`
	live := []order.Status{order.StatusPending, order.StatusReserved, order.StatusAwaitingApproval, order.StatusPaid}
	waiting, stuck := []order.Status{order.StatusAwaitingApproval}, []order.Status{order.StatusNeedsAttention}
	for _, c := range []struct {
		path, body, note string
		in               []order.Status
		want             raised
	}{
		{"cancel", "{" + by + "}", "cancel", live, raised{workflows.EventCancel, workflows.Cancellation{By: "ann", Reason: "why"}}},
		{"approve", "{" + by + "}", "approve", waiting, raised{workflows.EventApproval, workflows.Approval{
			Approved: true,
			By:       "ann", Note: "why",
		}}},
		{"reject", "{" + by + "}", "reject", waiting, raised{workflows.EventApproval, workflows.Approval{By: "ann", Note: "why"}}},
		{"resolve", "{" + by + "}", "retry", stuck, raised{workflows.EventResolve, saga.Resolution{Action: "retry", By: "ann", Note: "why"}}},
		{"resolve", `{"action":"skip",` + by + "}", "skip", stuck, raised{workflows.EventResolve, saga.Resolution{
			Action: "skip",
			By:     "ann", Note: "why",
		}}},
		{"resolve", `{"action":"resolve",` + by + "}", "resolve", stuck, raised{
			workflows.EventResolve,
			saga.Resolution{Action: "resolve", By: "ann", Note: "why"},
		}},
		{"resolve", `{"action":"compensate",` + by + "}", "compensate", stuck, raised{
			workflows.EventResolve,
			saga.Resolution{Action: "compensate", By: "ann", Note: "why"},
		}},
	} {
		b := newBench(t)
		for _, status := range order.Statuses() {
			id := b.put(status)
			what := c.path + " " + c.body + " of " + id
			b.raised = nil
			a := b.post("/v1/sagas/"+id+"/"+c.path, c.body)
			notes := b.view(id).Notes
			if !slices.Contains(c.in, status) {
				reason := string(status)
				if status == order.StatusCompleted && c.path == "cancel" {
					reason = "shipment"
				}
				if status == order.StatusNeedsAttention && c.path == "cancel" {
					reason = "operator"
				}
				a.wantProblem(t, what, http.StatusConflict, "", reason)
				if b.raised != nil || notes != nil {
					t.Errorf("%s: refused, yet raised %v and noted %v, want neither", what, b.raised, notes)
				}
				continue
			}
			v := b.accepted(a)
			if !reflect.DeepEqual(b.raised, []raised{c.want}) || v.CancelRequested != (c.path == "cancel") {
				t.Errorf("%s: raised %+v, want only %+v; cancelRequested = %t, want %t", what, b.raised, c.want,
					v.CancelRequested, c.path == "cancel")
			}
			if len(notes) != 1 || notes[0].Actor != "ann" || notes[0].Action != c.note || notes[0].Text != "why" {
				t.Errorf("%s: notes = %+v, want one of ann with action %s and text why", what, notes, c.note)
			}
			if c.path != "cancel" {
				continue
			}
			b.accepted(b.post("/v1/sagas/"+id+"/cancel", "")) // again
			if v := b.view(id); len(b.raised) != 2 || len(v.Notes) != 1 || !v.CancelRequested {
				t.Errorf("%s twice: raised %v, saga %+v, want 2 events, 1 note and cancelRequested", what, b.raised, v)
			}
		}
		if !b.noteFirst {
			t.Errorf("%s was done before it was noted, want the note first", c.path)
		}
	}
}

func TestCancelIsRefusedAfterTheShipmentRequest(t *testing.T) {
	b := newBench(t)
	id := b.put(order.StatusPaid)
	if err := b.Store.MarkShipmentRequested(t.Context(), id, "shp"); err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	b.post("/v1/sagas/"+id+"/cancel", "").wantProblem(t, "cancel", http.StatusConflict, "", "shipment has been requested")
	if b.view(id).Cancellable {
		t.Error("cancellable = true after the shipment was requested, want false")
	}
}

// TestActionIsRefusedIfItsNoteCannotBeRecorded: an action without a recorded note is not
// carried out.
func TestActionIsRefusedIfItsNoteCannotBeRecorded(t *testing.T) {
	b := newBench(t)
	id := b.put(order.StatusAwaitingApproval)
	b.failNote = errors.New("no paper")
	b.post("/v1/sagas/"+id+"/approve", "").wantProblem(t, "approve", http.StatusInternalServerError, "", "the log has the reason")
	b.post("/v1/sagas/"+id+"/cancel", "").wantProblem(t, "cancel", http.StatusInternalServerError, "", "the log has the reason")
	if b.raised != nil || b.view(id).CancelRequested {
		t.Errorf("raised %v, want no event and no cancellation in the record", b.raised)
	}
}

// TestCancelBeforeIntakeStartsTheSaga: an order whose message waits in the queue has no saga
// yet. The saga is started to be cancelled, or it would run later.
func TestCancelBeforeIntakeStartsTheSaga(t *testing.T) {
	b := newBench(t)
	b.unknown = true
	pending, held := b.put(order.StatusPending), b.put(order.StatusReserved)
	b.accepted(b.post("/v1/sagas/"+pending+"/cancel", ""))
	if !slices.Equal(b.started, []string{pending}) || len(b.raised) != 1 {
		t.Errorf("started %v, raised %v, want %s started and 1 event", b.started, b.raised, pending)
	}
	// It is begun again, and will not ship.
	if v := b.accepted(b.post("/v1/sagas/"+held+"/cancel", "")); !v.CancelRequested || len(b.raised) != 1 ||
		!slices.Equal(b.begun, []string{held + ` "" true`}) {
		t.Errorf("saga = %+v, begun %q, raised %v, want cancelRequested, %s begun to be cancelled and no second event",
			v, b.begun, b.raised, held)
	}
}

// TestContradictingDecisionIsRefused: the second of two contradicting decisions is refused and
// leaves no note.
func TestContradictingDecisionIsRefused(t *testing.T) {
	b := newBench(t)
	id := b.put(order.StatusAwaitingApproval)
	b.accepted(b.post("/v1/sagas/"+id+"/approve", `{"by":"ann"}`))
	b.accepted(b.post("/v1/sagas/"+id+"/approve", `{"by":"bob"}`))
	b.post("/v1/sagas/"+id+"/reject", "").wantProblem(t, "reject", http.StatusConflict, "", "was approved before by ann")
	if v := b.view(id); len(v.Notes) != 1 || v.Notes[0].Actor != "ann" {
		t.Errorf("notes = %+v, want only that of ann", v.Notes)
	}

	b.accepted(b.post("/v1/sagas/"+id+"/cancel", `{"by":"ann","note":"after all"}`))
	b.post("/v1/sagas/"+id+"/approve", "").wantProblem(t, "approve", http.StatusConflict, "",
		"is to be cancelled: asked for by ann: after all")
}

// TestLateApprovalNamesTheEarlierDecision: the problem names the decision that was made
// before.
func TestLateApprovalNamesTheEarlierDecision(t *testing.T) {
	for name, before := range map[string]struct {
		decide func(b bench, id string) error
		reason string
		cancel int // what a cancel then answers
	}{
		"expired": {func(b bench, id string) error {
			return b.Store.Decide(t.Context(), id, orderstore.Expired, orderstore.Note{
				Actor: "saga", Action: orderstore.NoteExpire,
				Text: "nobody approved it within 1h0m0s",
			})
		}, "the approval expired at 20", http.StatusConflict},
		"rejected": {func(b bench, id string) error {
			return b.Store.Decide(t.Context(), id, orderstore.Rejected, orderstore.Note{Actor: "ann", Action: orderstore.NoteReject})
		}, "the order was rejected before by ann", http.StatusConflict},
		"cancelled": {func(b bench, id string) error {
			return b.Store.RequestCancel(t.Context(), id, orderstore.Note{Actor: "ann", Action: orderstore.NoteCancel, Text: "dear"})
		}, "is to be cancelled: asked for by ann: dear", http.StatusAccepted},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			id := b.put(order.StatusAwaitingApproval)
			if err := before.decide(b, id); err != nil {
				t.Fatalf("unexpected error: %v", err)
			}
			// Looked at a moment before, it seemed possible: the condition rejects it.
			for _, d := range []orderstore.Decision{orderstore.Approved, orderstore.Expired} {
				if err := b.Store.Decide(t.Context(), id, d, orderstore.Note{}); !errors.Is(err, orderstore.ErrFinished) {
					t.Errorf("%s: error = %v, want %v", d, err, orderstore.ErrFinished)
				}
			}
			b.post("/v1/sagas/"+id+"/approve", "").wantProblem(t, "approve", http.StatusConflict, "", before.reason)
			if a := b.post("/v1/sagas/"+id+"/cancel", ""); a.status != before.cancel {
				t.Errorf("cancel: status = %d, want %d: %s", a.status, before.cancel, a.body)
			}
			if v := b.view(id); len(v.Notes) != 1 || v.Cancellable != (before.cancel == http.StatusAccepted) {
				t.Errorf("saga = %+v, want 1 note and cancellable %t", v, before.cancel == http.StatusAccepted)
			}
		})
	}
}

// TestApprovalIsRefusedWhileTheSagaCompensates: a saga that a durable-task client has
// cancelled past the API accepts no approval.
func TestApprovalIsRefusedWhileTheSagaCompensates(t *testing.T) {
	b := newBench(t)
	id := b.put(order.StatusAwaitingApproval)
	b.undoing = true
	b.post("/v1/sagas/"+id+"/approve", "").wantProblem(t, "approve", http.StatusConflict, "", "is being cancelled already")
	if b.raised != nil || b.view(id).Decision != "" {
		t.Errorf("events raised = %v, want none, and no decision in the record", b.raised)
	}
}

// TestCancelAndShipmentExcludeEachOther: exactly one of them holds, however close they are.
func TestCancelAndShipmentExcludeEachOther(t *testing.T) {
	b := newBench(t)
	for n := range 40 {
		id := b.put(order.StatusPaid)
		var shipped error
		var both sync.WaitGroup
		both.Go(func() { shipped = b.Store.MarkShipmentRequested(t.Context(), id, "shp") })
		a := b.post("/v1/sagas/"+id+"/cancel", "")
		both.Wait()
		if cancelled := a.status == http.StatusAccepted; cancelled == (shipped == nil) {
			t.Errorf("round %d: cancel answers %d, shipment %v, want exactly one of them accepted", n, a.status, shipped)
		}
	}
}

func TestResolveWorksWithoutASaga(t *testing.T) {
	b := newBench(t)
	id := b.put(order.StatusNeedsAttention)
	b.unknown = true
	b.accepted(b.post("/v1/sagas/"+id+"/resolve", `{"action":"compensate","by":"ann"}`))
	if !slices.Equal(b.lost, []string{id + " compensate"}) || b.raised != nil || len(b.view(id).Notes) != 1 {
		t.Errorf("resolutions carried out = %v, events raised = %v, want compensate of %s, no event and 1 note", b.lost, b.raised, id)
	}
	b.failLost = fmt.Errorf("start saga %s: %w", id, engine.ErrInMemory)
	b.post("/v1/sagas/"+id+"/resolve", "").wantProblem(t, "retry", http.StatusConflict, "", "restart the workers' sidecars")
}

func TestResolveIsRefusedWhileAnotherIsCarriedOut(t *testing.T) {
	b := newBench(t)
	id := b.put(order.StatusNeedsAttention)
	b.busy = true
	b.post("/v1/sagas/"+id+"/resolve", "").wantProblem(t, "retry", http.StatusConflict, "", "is being carried out")
	if b.raised != nil || b.view(id).Notes != nil {
		t.Errorf("events raised = %v, want none, and no note", b.raised)
	}
}

// TestContradictingResolutionIsRefused: two operators resolve one incident with contradicting
// actions, and one action is accepted, however close they are. After the next incident the
// choice is free again.
func TestContradictingResolutionIsRefused(t *testing.T) {
	b := newBench(t)
	id := b.put(order.StatusNeedsAttention)
	for range 10 {
		answers := make(chan answer, 2)
		for _, action := range []string{"skip", "compensate"} {
			go func() { answers <- b.post("/v1/sagas/"+id+"/resolve", `{"by":"ann","action":"`+action+`"}`) }()
		}
		one, two := <-answers, <-answers
		if min(one.status, two.status) != http.StatusAccepted || max(one.status, two.status) != http.StatusConflict {
			t.Errorf("first status = %d, body = %s, second status = %d, body = %s, want %d and %d, in any order",
				one.status, one.body, two.status, two.body, http.StatusAccepted, http.StatusConflict)
		}
		rec, err := b.Store.Get(t.Context(), id)
		if err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
		b.accepted(b.post("/v1/sagas/"+id+"/resolve", `{"action":"`+rec.Resolution+`"}`)) // the saga is notified again
		b.post("/v1/sagas/"+id+"/resolve", `{"action":"resolve"}`).wantProblem(t, "resolve", http.StatusConflict, "",
			rec.Resolution+" was decided before by ann")
		if err := b.Store.MarkNeedsAttention(t.Context(), id, "again"); err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
	}
}

// TestResolveIsRefusedOnceTheRefundHasStarted: a shipment by an operator does not keep the
// money.
func TestResolveIsRefusedOnceTheRefundHasStarted(t *testing.T) {
	b := newBench(t)
	id := b.put(order.StatusNeedsAttention)
	if _, err := b.Store.MarkRefunding(t.Context(), id); err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	for _, b.step = range []string{"ship", "confirm"} {
		b.post("/v1/sagas/"+id+"/resolve", `{"action":"resolve"}`).wantProblem(t, b.step, http.StatusConflict, "", "a refund has started")
	}
	b.unknown = true
	b.post("/v1/sagas/"+id+"/resolve", `{"action":"resolve"}`).wantProblem(t, "without a saga", http.StatusConflict, "",
		"saga is lost, and the order is being compensated: only retry")
	if b.raised != nil || b.lost != nil || b.view(id).Notes != nil {
		t.Errorf("events raised = %v, resolutions carried out = %v, want neither, and no note", b.raised, b.lost)
	}
}

// TestDecisionIsRefusedIfTheSagaEndsMeanwhile: a saga may end after it was read and before the
// event is raised.
func TestDecisionIsRefusedIfTheSagaEndsMeanwhile(t *testing.T) {
	b := newBench(t)
	held, waiting, stuck := b.put(order.StatusReserved), b.put(order.StatusAwaitingApproval), b.put(order.StatusNeedsAttention)
	b.failRaise = engine.ErrEnded
	if v := b.accepted(b.post("/v1/sagas/"+held+"/cancel", "")); !v.CancelRequested {
		t.Error("the cancellation is not persisted, so the order might ship, want it persisted")
	}
	b.post("/v1/sagas/"+waiting+"/approve", "").wantProblem(t, "approve", http.StatusConflict, "", "ended")
	b.post("/v1/sagas/"+stuck+"/resolve", "").wantProblem(t, "retry", http.StatusConflict, "", "ended")
}

// TestTerminatedSagaAcceptsOnlyCancelAndRetry: the saga was terminated, and its order is still
// open.
func TestTerminatedSagaAcceptsOnlyCancelAndRetry(t *testing.T) {
	b := newBench(t)
	b.ended = true
	held, waiting, stuck := b.put(order.StatusReserved), b.put(order.StatusAwaitingApproval), b.put(order.StatusNeedsAttention)
	b.post("/v1/sagas/"+waiting+"/approve", "").wantProblem(t, "approve", http.StatusConflict, "", "has ended TERMINATED")
	b.post("/v1/sagas/"+stuck+"/resolve", `{"action":"resolve"}`).wantProblem(t, "resolve", http.StatusConflict, "", "only retry")
	for _, id := range []string{waiting, stuck} {
		if v := b.view(id); v.Notes != nil || v.Decision != "" {
			t.Errorf("saga = %+v, want no note and no decision of a refused action", v)
		}
	}
	b.accepted(b.post("/v1/sagas/"+held+"/cancel", ""))
	b.accepted(b.post("/v1/sagas/"+stuck+"/resolve", ""))
	if !slices.Equal(b.lost, []string{stuck + " retry"}) || b.raised != nil {
		t.Errorf("resolutions carried out = %v, events raised = %v, want retry of %s and no event", b.lost, b.raised, stuck)
	}
}

// TestInternalErrorsAreLoggedAndNotShown: the response has the request id, and the log has the
// cause.
func TestInternalErrorsAreLoggedAndNotShown(t *testing.T) {
	b := newBench(t)
	id := b.put(order.StatusReserved)
	body := newOrder("new", nil)
	b.fail = errors.New("secret cause")
	for _, request := range []string{
		"POST /v1/orders", "POST /v1/sagas", "POST /v1/sagas/" + id + "/cancel",
		"GET /v1/sagas/" + id + "/history",
	} {
		method, path, _ := strings.Cut(request, " ")
		b.log.Reset()
		sent := ""
		if strings.HasSuffix(path, "s") {
			sent = body
		}
		a := b.do(method, path, sent, "X-Request-Id", "req-1")
		a.wantProblem(t, request, http.StatusInternalServerError, "", "req-1")
		if strings.Contains(a.body, "secret") || !strings.Contains(b.log.String(), "secret cause") || !strings.Contains(b.log.String(), "req-1") {
			t.Errorf("%s answers %s and logs %s, want the secret cause and req-1 in the log, no secret in the answer", request, a.body, b.log)
		}
	}
	// Operators learn why the reconciler fails.
	b.log.Reset()
	b.post("/v1/reconcile", "").wantProblem(t, "reconcile", http.StatusInternalServerError, "", "): secret cause")
	if !strings.Contains(b.log.String(), "secret cause") {
		t.Errorf("log = %s, want the secret cause in it", b.log)
	}
	if m := b.get("/metrics").body; !strings.Contains(m, "\nordersaga_sagas_live -1\n") || !strings.Contains(m,
		"\nordersaga_sagas_waiting -1\n") {
		t.Errorf("metrics without an engine = %s, want -1 sagas live and -1 waiting", m)
	}
	b.fail = fmt.Errorf("read: %w", engine.ErrUnavailable)
	b.get("/v1/sagas/"+id).wantProblem(t, "no sidecar", http.StatusServiceUnavailable, "",
		"the engine does not respond at the moment; retry later")
	b.fail = context.DeadlineExceeded
	b.post("/v1/orders", body).wantProblem(t, "too slow", http.StatusServiceUnavailable, "", "took too long; retry")

	// What was recorded and not published is published by the repetition.
	b.fail = nil
	b.accepted(b.post("/v1/orders", body))
	if err := b.Store.End(t.Context(), "new", order.StatusCompleted, ""); err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	b.accepted(b.post("/v1/orders", body))
	if !slices.Equal(b.published, []string{"new"}) {
		t.Errorf("published %v, want only [new]: not again once the order has moved on", b.published)
	}

	b.panics = true
	b.log.Reset()
	b.do("POST", "/v1/orders", newOrder("boom", nil), "X-Request-Id", "req-2").wantProblem(t, "panic",
		http.StatusInternalServerError, "", "req-2")
	if !strings.Contains(b.log.String(), "handler panicked") {
		t.Errorf("log = %s, want \"handler panicked\" in it", b.log)
	}
	if a := b.get("/healthz"); a.status != http.StatusOK {
		t.Errorf("after a panic: status = %d, want %d", a.status, http.StatusOK)
	}
}

// TestStalledSagaNamesTheRemedy: a saga that Dapr has stalled accepts no action, and each
// response names the remedy.
func TestStalledSagaNamesTheRemedy(t *testing.T) {
	b := newBench(t)
	if _, _, err := b.store.Accept(t.Context(), order.Order{
		OrderID: "o", CustomerID: "c", Currency: "EUR",
		Lines: []order.Line{{SKU: "A", Quantity: 1}},
	}); err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	if err := b.store.MarkNeedsAttention(t.Context(), "o", "why"); err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	b.stalled = true
	for _, action := range []string{"resolve", "retry", "cancel", "approve", "reject", "suspend", "resume", "terminate"} {
		b.post("/v1/sagas/o/"+action, "").wantProblem(t, action, http.StatusConflict, "", "max-body-size, raise that and restart the sidecars")
	}
	b.post("/v1/sagas/o/resolve", `{"action":"skip"}`).wantProblem(t, "skip", http.StatusConflict, "", "stalled")
	rec, err := b.store.Get(t.Context(), "o")
	if err != nil || len(rec.Notes) != 0 || len(b.raised) != 0 {
		t.Errorf("order = %+v, error = %v, raised %v, want no note, no error and no event", rec, err, b.raised)
	}
	if v := b.view("o"); v.RuntimeStatus != "STALLED" {
		t.Errorf("saga = %+v, want runtime status STALLED", v)
	}
	if a := b.get("/v1/sagas?stuck=true"); !strings.Contains(a.body, `"STALLED"`) || !strings.Contains(a.body, "too large for 4194304 bytes") {
		t.Errorf("stuck sagas = %s, want one STALLED that is too large for 4194304 bytes", a.body)
	}
	if a := b.get("/metrics"); !strings.Contains(a.body, "ordersaga_sagas_stalled 1\n") {
		t.Errorf("metrics = %s, want ordersaga_sagas_stalled 1", a.body)
	}
	b.stalled = false
	if a := b.get("/metrics"); !strings.Contains(a.body, "ordersaga_sagas_stalled 0\n") {
		t.Errorf("metrics = %s, want ordersaga_sagas_stalled 0", a.body)
	}
	// It stalls just now.
	b.failRaise = engine.ErrStalled
	b.post("/v1/sagas/o/resolve", "").wantProblem(t, "retry", http.StatusConflict, "", "stalled")
}

// TestStalledSagaIsStuckAtEveryStep: no saga here has waited for long, and an approval or the
// carrier may take a day.
func TestStalledSagaIsStuckAtEveryStep(t *testing.T) {
	b := newBench(t)
	b.found = []string{"never-was"}
	var live []string
	for _, st := range order.Statuses() {
		id := b.put(st)
		b.found = append(b.found, id)
		if !st.Terminal() {
			live = append(live, id)
		}
	}
	shipping := b.put(order.StatusPaid)
	if err := b.Store.MarkShipmentRequested(t.Context(), shipping, "shp"); err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	stuck := func(query string) (ids []string, next string) {
		t.Helper()
		var page struct {
			Sagas []struct{ OrderID, RuntimeStatus, LastError string }
			Next  string
		}
		b.get("/v1/sagas?stuck=true"+query).json(t, &page)
		for _, s := range page.Sagas {
			ids = append(ids, s.OrderID)
			if b.stalled && (s.RuntimeStatus != "STALLED" || !strings.Contains(s.LastError, "too large")) {
				t.Errorf("saga = %+v, want STALLED with a last error that contains \"too large\"", s)
			}
		}
		return ids, page.Next
	}
	if ids, _ := stuck(""); len(ids) != 1 || ids[0] != "o-NEEDS_ATTENTION" {
		t.Errorf("stuck sagas = %v, want only o-NEEDS_ATTENTION while none is stalled", ids)
	}
	b.stalled = true
	ids, _ := stuck("")
	slices.Sort(ids)
	slices.Sort(live)
	if len(live) != 5 || !slices.Equal(ids, live) {
		t.Errorf("%v, want %v", ids, live)
	}
	if a := b.get("/metrics"); !strings.Contains(a.body, "ordersaga_sagas_stalled 5\n") || !strings.Contains(a.body,
		`ordersaga_sagas_stuck{status="AWAITING_APPROVAL"`) {
		t.Errorf("metrics = %s, want 5 sagas stalled, and AWAITING_APPROVAL among the stuck", a.body)
	}
	var paged []string
	for cursor, more := "", true; more; more = cursor != "" {
		var some []string
		some, cursor = stuck("&limit=2" + from(cursor))
		paged = append(paged, some...)
	}
	slices.Sort(paged)
	if !slices.Equal(paged, live) {
		t.Errorf("page by page %v, want %v", paged, live)
	}
	for query, n := range map[string]int{
		"&status=AWAITING_APPROVAL": 1, "&customer=nobody": 0, "&sku=B": 0,
		"&sku=A&since=1h": 5, "&before=1h": 0,
	} {
		if ids, _ := stuck(query); len(ids) != n {
			t.Errorf("%s: ids = %v, want %d", query, ids, n)
		}
	}
}
