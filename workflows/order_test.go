package workflows_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/embedded"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeActivities are the saga's activities with given outcomes. These tests are about
// what the saga decides; package activities tests its own work.
type fakeActivities struct {
	mu      sync.Mutex
	calls   []string
	fail    map[string]int // how many more calls of an activity fail; -1: all
	stop    map[string]*saga.Stop
	hold    map[string]chan struct{} // a call waits until its channel is closed
	started chan string              // the activities, as they are called
	version string                   // of the workflow; "" is Version
}

// call runs an activity: it returns the given outcome.
func (s *fakeActivities) call(ctx context.Context, name string) error {
	s.mu.Lock()
	hold := s.hold[name]
	s.mu.Unlock()
	s.started <- name
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail[name] != 0 {
		s.fail[name]--
		return errors.New("down")
	}
	if stop := s.stop[name]; stop != nil {
		return stop
	}
	s.calls = append(s.calls, name)
	return nil
}

// effects returns the activities that were done, in order.
func (s *fakeActivities) effects() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.calls, " ")
}

// registry registers the workflow and the activities.
func (s *fakeActivities) registry(t *testing.T) *task.TaskRegistry {
	t.Helper()
	r := task.NewTaskRegistry()
	errs := []error{r.AddWorkflowN(workflows.OrderSaga, versions[cmp.Or(s.version, workflows.Version)])}
	for _, name := range []string{
		workflows.ReserveStock, workflows.ChargePayment, workflows.RequestShipment, workflows.ConfirmShipment, workflows.CompleteByHand,
	} {
		errs = append(errs, r.AddActivityN(name, saga.Do(func(ctx context.Context, _ workflows.State) (workflows.State, error) {
			return workflows.State{}, s.call(ctx, name)
		})))
	}
	for _, name := range []string{workflows.ReleaseStock, workflows.RefundPayment} {
		errs = append(errs, r.AddActivityN(name, saga.Undo(func(ctx context.Context, _ workflows.State, _ saga.Stop) error {
			return s.call(ctx, name)
		})))
	}
	settle := func(ctx context.Context, in workflows.State) (workflows.State, error) {
		if err := s.call(ctx, workflows.SettleApproval); err != nil {
			return workflows.State{}, err
		}
		if stop, elsewhere := s.stop[workflows.SettleApproval]; elsewhere && stop == nil {
			return workflows.State{Approved: true}, nil
		}
		if in.Approval == nil {
			return workflows.State{}, &saga.Stop{Status: "CANCELLED", Reason: in.Terms.ApprovalExpired()}
		}
		if !in.Approval.Approved {
			return workflows.State{}, &saga.Stop{Status: "CANCELLED", Reason: workflows.ApprovalRefused(in.Approval.By, in.Approval.Note)}
		}
		return workflows.State{Approved: true}, nil
	}
	errs = append(errs, r.AddActivityN(workflows.SettleApproval, saga.Do(settle)))
	errs = append(errs, r.AddActivityN(workflows.VerifyRefusal, saga.Do(func(ctx context.Context, _ workflows.State) (workflows.State, error) {
		return workflows.State{}, s.call(ctx, workflows.VerifyRefusal)
	})))
	errs = append(errs, r.AddActivityN(workflows.ParkSaga, saga.OnStuck(func(ctx context.Context, _ workflows.State, _, _ string) error {
		return s.call(ctx, workflows.ParkSaga)
	})))
	require.NoError(t, errs...)
	return r
}

// open runs an embedded engine with the activities until the test ends.
func open(t *testing.T, s *fakeActivities) *embedded.Engine {
	t.Helper()
	s.started = make(chan string, 10_000)
	e, err := embedded.Open(embedded.Options{Logger: zerolog.Nop()})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	registry := s.registry(t)
	go func() { ran <- e.Run(ctx, registry) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ran, e.Close()); err != nil {
			t.Errorf("run and close the engine: %v", err)
		}
	})
	return e
}

// terms are those of most tests: retries take milliseconds.
func terms(change func(*workflows.Terms)) workflows.Terms {
	t := workflows.Terms{TimeScale: 0.0005, CompensationTimeout: 20 * time.Millisecond, ApprovalTimeout: time.Hour, CarrierTimeout: time.Hour}
	if change != nil {
		change(&t)
	}
	return t
}

func needApproval(t *workflows.Terms) { t.ApprovalAbove = 1 }

func awaitCarrier(t *workflows.Terms) { t.AwaitCarrier = true }

func approvalTimesOut(t *workflows.Terms) { t.ApprovalAbove, t.ApprovalTimeout = 1, 5*time.Millisecond }

func carrierTimesOut(t *workflows.Terms) { t.AwaitCarrier, t.CarrierTimeout = true, 5*time.Millisecond }

// input is the saga's input for an order o.
func input(t workflows.Terms) workflows.State {
	return workflows.State{Terms: t, Order: order.Order{
		OrderID: "o", CustomerID: "c", Currency: "EUR", Lines: []order.Line{{SKU: "A", Quantity: 1, UnitPrice: 100}},
	}}
}

// waitForCall waits for the next call of an activity.
func waitForCall(t *testing.T, s *fakeActivities, name string) {
	t.Helper()
	for {
		select {
		case got := <-s.started:
			if got == name {
				return
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s was not called within 20s, want a call; done so far: %q", name, s.effects())
		}
	}
}

// report waits for the end of the saga and returns its report.
func report(t *testing.T, e *embedded.Engine) saga.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	i, err := e.Wait(ctx, "o")
	if err != nil || i.Status != engine.Completed {
		t.Fatalf("saga = %+v, %v, want one that has completed", i, err)
	}
	var r saga.Report
	require.NoError(t, json.Unmarshal(i.Output, &r))
	// Lists of sagas show the outcome by the custom status.
	if want := strings.TrimSuffix(r.Status+": "+r.Reason, ": "); i.CustomStatus != want {
		t.Errorf("custom status = %q, want %q", i.CustomStatus, want)
	}
	return r
}

// signal is sent to the saga once an activity was called.
type signal struct {
	after   string // the activity; "": send it at once
	kind    string
	payload any
}

func TestOrderSaga(t *testing.T) {
	t.Parallel()
	decline := map[string]*saga.Stop{workflows.ChargePayment: {Status: "DECLINED", Reason: "no"}}
	refusal := map[string]*saga.Stop{workflows.VerifyRefusal: {Status: "FAILED", Reason: "island"}}
	retry := saga.Resolution{Action: saga.ActionRetry, By: "ann"}
	for _, c := range []struct {
		name    string
		terms   func(*workflows.Terms)
		fail    map[string]int
		stop    map[string]*saga.Stop
		signals []signal
		heal    bool // activities stop failing once the saga is stuck
		status  string
		effects string
	}{
		{name: "three steps", status: "COMPLETED", effects: "ReserveStock ChargePayment RequestShipment"},
		{
			name: "out of stock", stop: map[string]*saga.Stop{workflows.ReserveStock: {Status: "REJECTED"}},
			status: "REJECTED",
		},
		{name: "declined", stop: decline, status: "DECLINED", effects: "ReserveStock ReleaseStock"},
		{
			name: "each step recovers", terms: awaitCarrier,
			fail: map[string]int{
				workflows.ReserveStock: 2, workflows.ChargePayment: 2, workflows.RequestShipment: 2, workflows.ConfirmShipment: 2,
			},
			signals: []signal{{workflows.RequestShipment, workflows.EventCarrier, workflows.CarrierAnswer{Dispatched: true}}},
			status:  "COMPLETED", effects: "ReserveStock ChargePayment RequestShipment ConfirmShipment",
		},
		{
			name: "reserving never works", fail: map[string]int{workflows.ReserveStock: -1},
			status: "FAILED", effects: "ReleaseStock",
		},
		{
			name: "charge, outcome unknown", fail: map[string]int{workflows.ChargePayment: -1},
			status: "FAILED", effects: "ReserveStock RefundPayment ReleaseStock",
		},
		{
			name: "compensations recover", stop: decline, fail: map[string]int{workflows.ReleaseStock: 2},
			status: "DECLINED", effects: "ReserveStock ReleaseStock",
		},
		{
			name: "refund stuck, retried", fail: map[string]int{workflows.ChargePayment: -1, workflows.RefundPayment: -1},
			heal:    true,
			signals: []signal{{workflows.ParkSaga, workflows.EventResolve, retry}},
			status:  "FAILED", effects: "ReserveStock ParkSaga RefundPayment ReleaseStock",
		},
		{
			name: "refund stuck, done by hand", fail: map[string]int{workflows.ChargePayment: -1, workflows.RefundPayment: -1},
			signals: []signal{{workflows.ParkSaga, workflows.EventResolve, saga.Resolution{Action: saga.ActionResolve}}},
			status:  "FAILED", effects: "ReserveStock ParkSaga ReleaseStock",
		},
		{
			name: "shipment stuck, retried", fail: map[string]int{workflows.RequestShipment: -1}, heal: true,
			signals: []signal{{workflows.ParkSaga, workflows.EventResolve, retry}},
			status:  "COMPLETED", effects: "ReserveStock ChargePayment ParkSaga RequestShipment",
		},
		{
			name: "shipment stuck, given up", fail: map[string]int{workflows.RequestShipment: -1},
			signals: []signal{{workflows.ParkSaga, workflows.EventResolve, saga.Resolution{Action: saga.ActionCompensate}}},
			status:  "FAILED", effects: "ReserveStock ChargePayment ParkSaga RefundPayment ReleaseStock",
		},
		{
			name: "order was not paid after all", stop: map[string]*saga.Stop{workflows.RequestShipment: {Status: "FAILED"}},
			status: "FAILED", effects: "ReserveStock ChargePayment RefundPayment ReleaseStock",
		},
		{
			name: "approved", terms: needApproval,
			signals: []signal{{workflows.ReserveStock, workflows.EventApproval, workflows.Approval{Approved: true}}},
			status:  "COMPLETED", effects: "ReserveStock SettleApproval ChargePayment RequestShipment",
		},
		{
			name: "approved, decision recorded on retry", terms: needApproval, fail: map[string]int{workflows.SettleApproval: 1},
			signals: []signal{{workflows.ReserveStock, workflows.EventApproval, workflows.Approval{Approved: true}}},
			status:  "COMPLETED", effects: "ReserveStock SettleApproval ChargePayment RequestShipment",
		},
		{
			name: "approval refused", terms: needApproval,
			signals: []signal{{workflows.ReserveStock, workflows.EventApproval, workflows.Approval{By: "bob", Note: "no"}}},
			status:  "CANCELLED", effects: "ReserveStock SettleApproval ReleaseStock",
		},
		{
			name: "approval times out", terms: approvalTimesOut,
			status: "CANCELLED", effects: "ReserveStock SettleApproval ReleaseStock",
		},
		{
			name: "approved in the record before the time-out", terms: approvalTimesOut,
			stop:   map[string]*saga.Stop{workflows.SettleApproval: nil},
			status: "COMPLETED", effects: "ReserveStock SettleApproval ChargePayment RequestShipment",
		},
		{
			name: "cancelled in the record before the time-out", terms: approvalTimesOut,
			stop:   map[string]*saga.Stop{workflows.SettleApproval: {Status: "CANCELLED"}},
			status: "CANCELLED", effects: "ReserveStock ReleaseStock",
		},
		{
			name: "cancelled while waiting for approval", terms: needApproval,
			signals: []signal{{workflows.ReserveStock, workflows.EventCancel, workflows.Cancellation{By: "c"}}},
			status:  "CANCELLED", effects: "ReserveStock ReleaseStock",
		},
		{
			name: "approval that cannot be decoded", terms: needApproval,
			signals: []signal{{workflows.ReserveStock, workflows.EventApproval, "yes"}},
			status:  "FAILED", effects: "ReserveStock ReleaseStock",
		},
		{
			name: "carrier dispatches", terms: awaitCarrier,
			signals: []signal{{workflows.RequestShipment, workflows.EventCarrier, workflows.CarrierAnswer{Dispatched: true, TrackingID: "t"}}},
			status:  "COMPLETED", effects: "ReserveStock ChargePayment RequestShipment ConfirmShipment",
		},
		{
			name: "carrier refuses", terms: awaitCarrier, stop: refusal,
			signals: []signal{{workflows.RequestShipment, workflows.EventCarrier, workflows.CarrierAnswer{Reason: "island"}}},
			status:  "FAILED", effects: "ReserveStock ChargePayment RequestShipment RefundPayment ReleaseStock",
		},
		{
			name: "unverified refusal before the shipment request", terms: awaitCarrier,
			signals: []signal{
				{"", workflows.EventCarrier, workflows.CarrierAnswer{Reason: "early"}},
				{workflows.VerifyRefusal, workflows.EventCarrier, workflows.CarrierAnswer{Dispatched: true}},
			},
			status: "COMPLETED", effects: "ReserveStock ChargePayment RequestShipment VerifyRefusal ConfirmShipment",
		},
		{
			name: "unverified refusal while the saga is stuck", terms: carrierTimesOut,
			signals: []signal{
				{workflows.ParkSaga, workflows.EventCarrier, workflows.CarrierAnswer{Reason: "early"}},
				{workflows.VerifyRefusal, workflows.EventResolve, saga.Resolution{Action: saga.ActionResolve}},
			},
			status: "COMPLETED", effects: "ReserveStock ChargePayment RequestShipment ParkSaga VerifyRefusal ConfirmShipment",
		},
		{
			name: "carrier silent, then found to have shipped", terms: carrierTimesOut,
			signals: []signal{{workflows.ParkSaga, workflows.EventResolve, saga.Resolution{Action: saga.ActionResolve}}},
			status:  "COMPLETED", effects: "ReserveStock ChargePayment RequestShipment ParkSaga ConfirmShipment",
		},
		{
			name: "carrier silent, given up", terms: carrierTimesOut,
			signals: []signal{{workflows.ParkSaga, workflows.EventResolve, saga.Resolution{Action: saga.ActionCompensate}}},
			status:  "FAILED", effects: "ReserveStock ChargePayment RequestShipment ParkSaga RefundPayment ReleaseStock",
		},
		{
			name: "carrier dispatches late", terms: carrierTimesOut,
			signals: []signal{{workflows.ParkSaga, workflows.EventCarrier, workflows.CarrierAnswer{Dispatched: true}}},
			status:  "COMPLETED", effects: "ReserveStock ChargePayment RequestShipment ParkSaga ConfirmShipment",
		},
		{
			name: "carrier refuses late", terms: carrierTimesOut, stop: refusal,
			signals: []signal{{workflows.ParkSaga, workflows.EventCarrier, workflows.CarrierAnswer{Reason: "island"}}},
			status:  "FAILED", effects: "ReserveStock ChargePayment RequestShipment ParkSaga RefundPayment ReleaseStock",
		},
		{
			name: "confirmed by hand", terms: awaitCarrier, fail: map[string]int{workflows.ConfirmShipment: -1},
			signals: []signal{
				{"", workflows.EventCarrier, workflows.CarrierAnswer{Dispatched: true}},
				{workflows.ParkSaga, workflows.EventResolve, saga.Resolution{Action: saga.ActionResolve}},
			},
			status: "COMPLETED", effects: "ReserveStock ChargePayment RequestShipment ParkSaga CompleteByHand",
		},
		{
			name: "sent by hand", fail: map[string]int{workflows.RequestShipment: -1},
			signals: []signal{
				{workflows.ParkSaga, workflows.EventResolve, saga.Resolution{Action: saga.ActionSkip}},
			},
			status: "COMPLETED", effects: "ReserveStock ChargePayment ParkSaga CompleteByHand",
		},
		{
			name: "sent by hand, to be confirmed", terms: awaitCarrier, fail: map[string]int{workflows.RequestShipment: -1},
			signals: []signal{
				{workflows.ParkSaga, workflows.EventResolve, saga.Resolution{Action: saga.ActionResolve}},
				{"", workflows.EventCarrier, workflows.CarrierAnswer{Dispatched: true}},
			},
			status: "COMPLETED", effects: "ReserveStock ChargePayment ParkSaga ConfirmShipment",
		},
		{
			name: "sent by hand, then refused", fail: map[string]int{workflows.RequestShipment: -1},
			stop:    map[string]*saga.Stop{workflows.CompleteByHand: {Status: "FAILED"}},
			signals: []signal{{workflows.ParkSaga, workflows.EventResolve, saga.Resolution{Action: saga.ActionResolve}}},
			status:  "FAILED", effects: "ReserveStock ChargePayment ParkSaga RefundPayment ReleaseStock",
		},
		{
			name: "sent by hand, cannot complete, given up",
			fail: map[string]int{workflows.RequestShipment: -1, workflows.CompleteByHand: -1},
			signals: []signal{
				{workflows.ParkSaga, workflows.EventResolve, saga.Resolution{Action: saga.ActionResolve}},
				{workflows.ParkSaga, workflows.EventResolve, saga.Resolution{Action: saga.ActionSkip}},
				{workflows.ParkSaga, workflows.EventResolve, saga.Resolution{Action: saga.ActionCompensate}},
			},
			status:  "FAILED",
			effects: "ReserveStock ChargePayment" + strings.Repeat(" ParkSaga", 3) + " RefundPayment ReleaseStock",
		},
		{
			name: "cancel after the shipment request is ignored", terms: awaitCarrier,
			signals: []signal{
				{workflows.RequestShipment, workflows.EventCancel, workflows.Cancellation{}},
				{"", workflows.EventCarrier, workflows.CarrierAnswer{Dispatched: true}},
			},
			status: "COMPLETED", effects: "ReserveStock ChargePayment RequestShipment ConfirmShipment",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := &fakeActivities{fail: c.fail, stop: c.stop}
			if s.fail == nil {
				s.fail = map[string]int{}
			}
			e := open(t, s)
			require.NoError(t, e.Start(t.Context(), workflows.OrderSaga, "o", input(terms(c.terms))))
			for _, sig := range c.signals {
				if sig.after != "" {
					waitForCall(t, s, sig.after)
				}
				if c.heal {
					s.mu.Lock()
					s.fail = map[string]int{}
					s.mu.Unlock()
				}
				require.NoError(t, saga.Send(t.Context(), e, "o", sig.kind, sig.payload))
			}
			r := report(t, e)
			if got := s.effects(); r.Status != c.status || got != c.effects {
				t.Errorf("status = %s (%s) after %q, want %s after %q", r.Status, r.Reason, got, c.status, c.effects)
			}
		})
	}
}

func TestCancelDuringEachStep(t *testing.T) {
	t.Parallel()
	for during, want := range map[string]string{
		workflows.ReserveStock:    "CANCELLED ReserveStock ReleaseStock",
		workflows.ChargePayment:   "CANCELLED ReserveStock ChargePayment RefundPayment ReleaseStock",
		workflows.RequestShipment: "COMPLETED ReserveStock ChargePayment RequestShipment",
	} {
		t.Run(during, func(t *testing.T) {
			t.Parallel()
			held := make(chan struct{})
			s := &fakeActivities{fail: map[string]int{}, hold: map[string]chan struct{}{during: held}}
			e := open(t, s)
			require.NoError(t, e.Start(t.Context(), workflows.OrderSaga, "o", input(terms(nil))))
			waitForCall(t, s, during)
			require.NoError(t, saga.Send(t.Context(), e, "o", workflows.EventCancel, workflows.Cancellation{By: "c", Reason: "r"}))
			close(held)
			r := report(t, e)
			if got := r.Status + " " + s.effects(); got != want {
				t.Errorf("status and effects = %s, want %s", got, want)
			}
			if r.Status == "CANCELLED" && r.Reason != "cancelled by c: r" {
				t.Errorf("reason = %q, want \"cancelled by c: r\"", r.Reason)
			}
		})
	}
}

// TestCarrierAnswerAfterAStaleTimer: an approval that arrives before its time-out leaves
// the SDK's timer armed (dapr/durabletask-go v0.12.1). When the timer fires, it unregisters
// the wait that is then current. The saga must receive the carrier's answer all the same.
func TestCarrierAnswerAfterAStaleTimer(t *testing.T) {
	t.Parallel()
	s := &fakeActivities{fail: map[string]int{}}
	e := open(t, s)
	in := input(terms(func(t *workflows.Terms) { needApproval(t); awaitCarrier(t); t.ApprovalTimeout = time.Second }))
	require.NoError(t, e.Start(t.Context(), workflows.OrderSaga, "o", in))
	waitForCall(t, s, workflows.ReserveStock)
	waitForTimer(t, e, 1)
	require.NoError(t, saga.Send(t.Context(), e, "o", workflows.EventApproval, workflows.Approval{Approved: true}))
	waitForCall(t, s, workflows.RequestShipment)
	fired := func() bool {
		h, err := e.History(t.Context(), "o")
		return err == nil && slices.ContainsFunc(h, func(ev engine.Event) bool {
			// waits of length 0, for a signal that has arrived, fire at once
			return ev.Type == "TimerFired" && ev.At.Sub(h[0].At) > 900*time.Millisecond
		})
	}
	require.Eventually(t, "the stale timer has fired", 20*time.Second, fired)
	require.NoError(t, saga.Send(t.Context(), e, "o", workflows.EventCarrier, workflows.CarrierAnswer{Dispatched: true}))
	if r := report(t, e); r.Status != "COMPLETED" {
		t.Errorf("report = %+v, want COMPLETED", r)
	}
}

// waitForTimer waits until the saga has armed n timers of more than 100 ms.
func waitForTimer(t *testing.T, e *embedded.Engine, n int) {
	t.Helper()
	require.Eventually(t, fmt.Sprint(n, " timers are armed"), 20*time.Second, func() bool {
		h, err := e.History(t.Context(), "o")
		armed := 0
		for _, ev := range h {
			if ev.FireAt != nil && ev.FireAt.Sub(ev.At) > 100*time.Millisecond {
				armed++
			}
		}
		return err == nil && armed >= n
	})
}

// TestHistoryOfRetriesStaysSmall: the history keeps each retry, and Dapr sends all of it
// at each turn. docs/operations.md has the bound.
func TestHistoryOfRetriesStaysSmall(t *testing.T) {
	t.Parallel()
	const tries = 60
	s := &fakeActivities{fail: map[string]int{workflows.ChargePayment: -1, workflows.RefundPayment: tries}}
	e := open(t, s)
	in := input(terms(func(t *workflows.Terms) { t.TimeScale, t.CompensationTimeout = 0.000002, time.Hour }))
	for n := range 2000 { // 200 KB
		in.Order.Lines = append(in.Order.Lines, order.Line{SKU: fmt.Sprintf("SKU-%060d", n), Quantity: 1, UnitPrice: 1})
	}
	require.NoError(t, e.Start(t.Context(), workflows.OrderSaga, "o", in))
	report(t, e)
	res, err := e.Hub.GetInstanceHistory(t.Context(), api.InstanceID("o"))
	require.NoError(t, err)
	undone, all := 0, 0
	for _, ev := range res.GetEvents() {
		all += proto.Size(ev)
		if task := ev.GetTaskScheduled(); task.GetName() == workflows.RefundPayment {
			undone++
			if n := proto.Size(ev); n > 1000 {
				t.Errorf("attempt %d of the compensation has an input of %d bytes, want at most 1000", undone, n)
			}
		}
	}
	order, err := json.Marshal(in)
	require.NoError(t, err)
	t.Logf("%d attempts, %d bytes of history for an order of %d bytes: %d bytes per attempt beside the order",
		undone, all, len(order), (all-3*len(order))/undone)
	// The order is in the saga's input and in the first attempts of its steps.
	if most := 4*len(order) + undone*2000; undone != tries+1 || all > most {
		t.Errorf("history has %d attempts in %d bytes, want %d attempts in at most %d bytes", undone, all, tries+1, most)
	}
}
