package saga_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/embedded"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/text"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Trip is the state of the second saga in this repository, which books a trip:
// the package is not specific to orders.
type Trip struct {
	Traveller string `json:"traveller,omitempty"`
	Flight    string `json:"flight,omitempty"`
	Hotel     string `json:"hotel,omitempty"`
	Paid      bool   `json:"paid,omitempty"`
	Visa      string `json:"visa,omitempty"`
	Issued    bool   `json:"issued,omitempty"`
}

var (
	quick    = saga.Policy{MaxAttempts: 3, First: time.Millisecond, Max: 4 * time.Millisecond, Factor: 2}
	visaTime = 20 * time.Millisecond
	budgeted = saga.Policy{Budget: 20 * time.Millisecond, MinAttempts: 3, First: time.Millisecond, Max: time.Millisecond, Factor: 1}
)

func booking() saga.Saga[Trip] {
	return saga.Saga[Trip]{
		Done: "BOOKED", Failed: "FAILED", Cancelled: "CANCELLED", OnStuck: "Park",
		Steps: []saga.Step[Trip]{
			{Name: "flight", Do: "BookFlight", Undo: "CancelFlight", Retry: budgeted, UndoRetry: quick},
			{Name: "hotel", Do: "BookHotel", Undo: "CancelHotel", Retry: quick, UndoRetry: quick},
			{Name: "consent", When: func(t Trip) bool { return t.Traveller == "minor" }, Wait: &saga.Wait[Trip]{
				Signal:  "consent",
				Timeout: func(Trip) time.Duration { return time.Hour },
				Received: func(_ *Trip, payload json.RawMessage) *saga.Stop {
					var yes bool
					if json.Unmarshal(payload, &yes) != nil || !yes {
						return &saga.Stop{Status: "REFUSED", Reason: "no consent"}
					}
					return nil
				},
				TimedOut: func(Trip) *saga.Stop { return &saga.Stop{Status: "REFUSED"} },
			}},
			{Name: "visa", When: func(t Trip) bool { return t.Traveller == "abroad" }, Wait: &saga.Wait[Trip]{
				Signal:   "visa",
				Timeout:  func(Trip) time.Duration { return visaTime },
				Received: func(t *Trip, payload json.RawMessage) *saga.Stop { t.Visa = string(payload); return nil },
				Settle:   "SettleVisa",
			}},
			{Name: "pay", Do: "Pay", Undo: "Refund", Retry: quick, UndoRetry: quick, AlreadyStarted: func(t Trip) bool { return t.Paid }},
			{Name: "ticket", Do: "IssueTicket", Retry: quick, PointOfNoReturn: true, AlreadyStarted: func(t Trip) bool { return t.Issued }},
		},
	}
}

// agency implements the activities. It records their effects, and each activity can
// be made to fail, stop or wait.
type agency struct {
	mu      sync.Mutex
	log     []string
	failing map[string]int           // how many more calls fail, by activity; negative: all
	stops   map[string]*saga.Stop    // what an activity returns
	entered chan string              // every call, as it begins
	hold    map[string]chan struct{} // an activity waits until it is closed
	fixed   atomic.Bool              // the workflow code no longer panics
	visa    atomic.Bool              // granted, whether or not the saga has received the signal
	down    error                    // error of a call that fails; nil means errDown
}

var errDown = errors.New("service is down")

func (a *agency) call(ctx context.Context, name string) error {
	a.mu.Lock()
	hold := a.hold[name]
	a.mu.Unlock()
	a.entered <- name
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failing[name] != 0 {
		a.failing[name]--
		return cmp.Or(a.down, errDown)
	}
	if stop := a.stops[name]; stop != nil {
		return stop
	}
	a.log = append(a.log, name)
	return nil
}

func (a *agency) effects() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.log)
}

func (a *agency) stopFailing(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.failing, name)
}

func (a *agency) registry(t *testing.T) *task.TaskRegistry {
	t.Helper()
	r := task.NewTaskRegistry()
	sg := booking()
	sg.Steps[1].When = func(t Trip) bool {
		if strings.HasPrefix(t.Traveller, "bug") && !a.fixed.Load() {
			panic(t.Traveller)
		}
		return true
	}
	errs := []error{sg.Validate(), r.AddWorkflowN("Booking", sg.Workflow)}
	do := func(name string, set func(*Trip)) {
		errs = append(errs, r.AddActivityN(name, saga.Do(func(ctx context.Context, _ Trip) (Trip, error) {
			var changed Trip
			err := a.call(ctx, name)
			if set != nil {
				set(&changed)
			}
			return changed, err
		})))
	}
	undo := func(name string) {
		errs = append(errs, r.AddActivityN(name, saga.Undo(func(ctx context.Context, _ Trip, _ saga.Stop) error {
			return a.call(ctx, name)
		})))
	}
	errs = append(errs, r.AddActivityN("SettleVisa", saga.Do(func(ctx context.Context, trip Trip) (Trip, error) {
		if err := a.call(ctx, "SettleVisa"+trip.Visa); err != nil {
			return Trip{}, err
		}
		if !a.visa.Load() {
			return Trip{}, &saga.Stop{Status: "REFUSED", Reason: "no visa"}
		}
		return Trip{Paid: true}, nil
	})))
	do("BookFlight", func(t *Trip) { t.Flight = "F1" })
	do("BookHotel", func(t *Trip) { t.Hotel = "H1" })
	do("Pay", nil)
	do("IssueTicket", nil)
	undo("CancelFlight")
	undo("CancelHotel")
	undo("Refund")
	errs = append(errs, r.AddActivityN("Park", saga.OnStuck(func(ctx context.Context, _ Trip, step, _ string) error {
		return a.call(ctx, "Park "+step)
	})))
	require.NoError(t, errors.Join(errs...))
	return r
}

// env is an engine that runs the booking saga with an agency.
type env struct {
	*agency
	engine *embedded.Engine
}

func start(t *testing.T, a *agency) env {
	t.Helper()
	a.entered = make(chan string, 1000)
	if a.failing == nil {
		a.failing = map[string]int{}
	}
	e, err := embedded.Open(embedded.Options{Logger: zerolog.Nop()})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	registry := a.registry(t)
	go func() { ran <- e.Run(ctx, registry) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ran, e.Close()); err != nil {
			t.Errorf("stop the engine: %v", err)
		}
	})
	return env{agency: a, engine: e}
}

func (b env) book(t *testing.T, trip Trip) {
	t.Helper()
	require.NoError(t, b.engine.Start(t.Context(), "Booking", "trip", trip))
}

func (b env) send(t *testing.T, kind string, payload any) {
	t.Helper()
	require.NoError(t, saga.Send(t.Context(), b.engine, "trip", kind, payload))
}

// until waits until an activity is called.
func (b env) until(t *testing.T, name string) {
	t.Helper()
	for {
		select {
		case got := <-b.entered:
			if got == name {
				return
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s was not called within 10 s, want a call; effects so far: %v", name, b.effects())
		}
	}
}

func (b env) report(t *testing.T) saga.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	i, err := b.engine.Wait(ctx, "trip")
	require.NoError(t, err)
	if i.Status != engine.Completed {
		t.Fatalf("the workflow ended as %s (%s), want COMPLETED", i.Status, i.Failure)
	}
	var r saga.Report
	require.NoError(t, json.Unmarshal(i.Output, &r))
	return r
}

func expect(t *testing.T, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Errorf("%s = %s, want %s", what, g, w)
	}
}

func TestHappyPathRunsEachStepOnce(t *testing.T) {
	t.Parallel()
	b := start(t, &agency{})
	b.book(t, Trip{})
	expect(t, "status", b.report(t).Status, "BOOKED")
	expect(t, "effects", b.effects(), "[BookFlight BookHotel Pay IssueTicket]")
}

func TestAFailedStepIsCompensatedToo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ fails, want string }{
		{"BookFlight", "[CancelFlight]"},
		{"BookHotel", "[BookFlight CancelHotel CancelFlight]"},
		{"Pay", "[BookFlight BookHotel Refund CancelHotel CancelFlight]"},
	} {
		t.Run(tt.fails, func(t *testing.T) {
			b := start(t, &agency{failing: map[string]int{tt.fails: -1}})
			b.book(t, Trip{})
			expect(t, "status", b.report(t).Status, "FAILED")
			expect(t, "effects", b.effects(), tt.want)
		})
	}
}

func TestBusinessOutcomeIsNeitherRetriedNorCompensated(t *testing.T) {
	t.Parallel()
	b := start(t, &agency{stops: map[string]*saga.Stop{"Pay": {Status: "DECLINED", Reason: "no money"}}})
	b.book(t, Trip{})
	r := b.report(t)
	expect(t, "outcome", r.Status+" "+r.Reason, "DECLINED no money")
	expect(t, "effects", b.effects(), "[BookFlight BookHotel CancelHotel CancelFlight]")
	expect(t, "compensated", r.Compensated, "[hotel flight]")
}

func TestTechnicalErrorIsRetriedWithinTheBudget(t *testing.T) {
	t.Parallel()
	b := start(t, &agency{failing: map[string]int{"BookHotel": 2, "Pay": 2}})
	b.book(t, Trip{})
	expect(t, "status", b.report(t).Status, "BOOKED")
}

func TestStopAfterThePointOfNoReturnIsCompensated(t *testing.T) {
	t.Parallel()
	b := start(t, &agency{stops: map[string]*saga.Stop{"IssueTicket": {Status: "SOLD_OUT"}}})
	b.book(t, Trip{})
	expect(t, "status", b.report(t).Status, "SOLD_OUT")
	expect(t, "effects", b.effects(), "[BookFlight BookHotel Pay Refund CancelHotel CancelFlight]")
}

func TestFailingCompensationParksUntilAResolution(t *testing.T) {
	t.Parallel()
	for action, want := range map[saga.Action]string{
		saga.ActionRetry:   "[BookFlight Park hotel CancelHotel CancelFlight]",
		saga.ActionSkip:    "[BookFlight Park hotel CancelFlight]",
		saga.ActionResolve: "[BookFlight Park hotel CancelFlight]",
	} {
		t.Run(string(action), func(t *testing.T) {
			b := start(t, &agency{failing: map[string]int{"BookHotel": -1, "CancelHotel": -1}})
			b.book(t, Trip{})
			b.until(t, "Park hotel")
			b.stopFailing("CancelHotel")
			b.send(t, "resolve", "not a resolution") // is ignored
			b.send(t, "resolve", saga.Resolution{Action: action})
			r := b.report(t)
			expect(t, "effects", b.effects(), want)
			if skipped := len(r.Skipped) == 1; skipped != (action != saga.ActionRetry) {
				t.Errorf("Skipped after %s = %v, want the step unless it was retried", action, r.Skipped)
			}
		})
	}
}

func TestFailingStepAfterThePointOfNoReturnParks(t *testing.T) {
	t.Parallel()
	for action, want := range map[saga.Action]string{
		saga.ActionRetry:      "BOOKED [BookFlight BookHotel Pay Park ticket IssueTicket]",
		saga.ActionSkip:       "BOOKED [BookFlight BookHotel Pay Park ticket]",
		saga.ActionCompensate: "FAILED [BookFlight BookHotel Pay Park ticket Refund CancelHotel CancelFlight]",
	} {
		t.Run(string(action), func(t *testing.T) {
			b := start(t, &agency{failing: map[string]int{"IssueTicket": -1}})
			b.book(t, Trip{})
			b.until(t, "Park ticket")
			b.stopFailing("IssueTicket")
			b.send(t, "resolve", saga.Resolution{Action: action})
			expect(t, "outcome", b.report(t).Status+" "+fmt.Sprint(b.effects()), want)
		})
	}
}

func TestCancelTakesEffectUntilThePointOfNoReturn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ during, want string }{
		{"BookFlight", "CANCELLED [BookFlight CancelFlight]"},
		{"Pay", "CANCELLED [BookFlight BookHotel Pay Refund CancelHotel CancelFlight]"},
		{"IssueTicket", "BOOKED [BookFlight BookHotel Pay IssueTicket]"},
	} {
		t.Run(tt.during, func(t *testing.T) {
			held := make(chan struct{})
			b := start(t, &agency{hold: map[string]chan struct{}{tt.during: held}})
			b.book(t, Trip{})
			b.until(t, tt.during)
			b.send(t, "cancel", map[string]string{"by": "ann", "reason": "ill"})
			close(held)
			r := b.report(t)
			expect(t, "outcome", r.Status+" "+fmt.Sprint(b.effects()), tt.want)
			if r.Status == "CANCELLED" {
				expect(t, "reason", r.Reason, "cancelled by ann: ill")
			}
		})
	}
}

// TestRestartedSagaCompensatesStepsOfAnEarlierRun: a step that an earlier run has
// started is compensated even if this run does not reach it. The earlier run's
// point of no return holds.
func TestRestartedSagaCompensatesStepsOfAnEarlierRun(t *testing.T) {
	t.Parallel()
	b := start(t, &agency{failing: map[string]int{"BookHotel": -1}})
	b.book(t, Trip{Paid: true})
	expect(t, "outcome", b.report(t).Status+" "+fmt.Sprint(b.effects()), "FAILED [BookFlight Refund CancelHotel CancelFlight]")

	held := make(chan struct{})
	b = start(t, &agency{hold: map[string]chan struct{}{"BookFlight": held}})
	b.book(t, Trip{Paid: true, Issued: true})
	b.until(t, "BookFlight")
	b.send(t, "cancel", nil)
	close(held)
	expect(t, "outcome", b.report(t).Status+" "+fmt.Sprint(b.effects()), "BOOKED [BookFlight BookHotel Pay IssueTicket]")
}

// TestPanicStopsTheSagaUntilTheProgramIsFixed also checks the custom status.
func TestPanicStopsTheSagaUntilTheProgramIsFixed(t *testing.T) {
	t.Parallel()
	b := start(t, &agency{})
	b.book(t, Trip{Traveller: "bug"})
	testkit.Eventually(t, "the custom status shows the panic", func() error {
		i, err := b.engine.Get(t.Context(), "trip")
		if err != nil || i.Status != engine.Running || i.CustomStatus != "panicked: bug" {
			return fmt.Errorf("the saga is %+v: %w", i, err)
		}
		return nil
	})
	b.fixed.Store(true)
	b.send(t, saga.Nudge, nil)
	expect(t, "outcome", b.report(t).Status+" "+fmt.Sprint(b.effects()), "BOOKED [BookFlight BookHotel Pay IssueTicket]")
}

// TestResolutionAppliesToOnePark: a surplus resolution of an earlier park does not
// resolve the next.
func TestResolutionAppliesToOnePark(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	b := start(t, &agency{
		failing: map[string]int{"BookHotel": -1, "CancelHotel": -1, "CancelFlight": -1},
		hold:    map[string]chan struct{}{"CancelFlight": held},
	})
	b.book(t, Trip{})
	b.until(t, "Park hotel")
	b.send(t, "resolve", saga.Resolution{Action: saga.ActionSkip})
	b.send(t, "resolve", saga.Resolution{Action: saga.ActionSkip})
	close(held)
	b.until(t, "Park flight")
	b.stopFailing("CancelFlight")
	b.send(t, "resolve", saga.Resolution{Action: saga.ActionRetry})
	expect(t, "skipped", b.report(t).Skipped, []string{"hotel"})
	expect(t, "effects", b.effects(), "[BookFlight Park hotel Park flight CancelFlight]")
}

func TestCancelReachesASagaThatWaitsForSomethingElse(t *testing.T) {
	t.Parallel()
	b := start(t, &agency{})
	b.book(t, Trip{Traveller: "minor"})
	b.until(t, "BookHotel")
	b.send(t, "cancel", nil)
	expect(t, "status", b.report(t).Status, "CANCELLED")
	expect(t, "effects", b.effects(), "[BookFlight BookHotel CancelHotel CancelFlight]")
}

// TestSettleDecidesAWait: neither the signal nor the time-out decides by itself,
// and an unreachable Settle activity decides nothing.
func TestSettleDecidesAWait(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		signal, granted bool
		down            int
		want            string
	}{
		"signal, granted":                {true, true, 0, "BOOKED [BookFlight BookHotel SettleVisa1 Pay IssueTicket]"},
		"signal, refused elsewhere":      {true, false, 0, "REFUSED [BookFlight BookHotel SettleVisa1 CancelHotel CancelFlight]"},
		"time-out, not granted":          {false, false, 0, "REFUSED [BookFlight BookHotel SettleVisa CancelHotel CancelFlight]"},
		"time-out, granted, signal lost": {false, true, 1, "BOOKED [BookFlight BookHotel SettleVisa Pay IssueTicket]"},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, &agency{failing: map[string]int{"SettleVisa": c.down}})
			b.visa.Store(c.granted)
			if c.signal {
				held := make(chan struct{})
				b.hold = map[string]chan struct{}{"BookFlight": held}
				b.book(t, Trip{Traveller: "abroad"})
				b.until(t, "BookFlight")
				b.send(t, "visa", 1)
				close(held)
			} else {
				b.book(t, Trip{Traveller: "abroad"})
			}
			expect(t, "outcome", b.report(t).Status+" "+fmt.Sprint(b.effects()), c.want)
		})
	}
}

func TestSignalBeforeItsWaitIsKept(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	b := start(t, &agency{hold: map[string]chan struct{}{"BookFlight": held}})
	b.book(t, Trip{Traveller: "minor"})
	b.until(t, "BookFlight")
	b.send(t, "consent", true)
	close(held)
	expect(t, "status", b.report(t).Status, "BOOKED")
}

func TestPolicyValidateRejectsFaults(t *testing.T) {
	t.Parallel()
	if err := (saga.Policy{First: -1, Max: -2, Factor: 0, Jitter: 2, Budget: -1, MaxAttempts: -1}).Validate(); err == nil {
		t.Error("Validate of a policy with six faults = nil, want an error")
	}
	if err := quick.Validate(); err != nil {
		t.Errorf("Validate of a valid policy = %v, want nil", err)
	}
}

// TestDowntimeDoesNotUseUpAttempts: the first attempt takes longer than the
// budget, as if the worker had been down. It is not the last.
func TestDowntimeDoesNotUseUpAttempts(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	b := start(t, &agency{hold: map[string]chan struct{}{"BookFlight": held}, failing: map[string]int{"BookFlight": 2}})
	b.book(t, Trip{})
	b.until(t, "BookFlight")
	<-time.After(2 * budgeted.Budget)
	close(held)
	expect(t, "status", b.report(t).Status, "BOOKED")
}

func TestValidateRejectsAFaultyTable(t *testing.T) {
	t.Parallel()
	bad := saga.Saga[Trip]{Steps: []saga.Step[Trip]{{}, {Name: "a", Do: "A"}, {Name: "a", Do: "A", Retry: quick, Undo: "B"}}}
	if err := bad.Validate(); err == nil {
		t.Error("Validate of a table with an empty and a repeated name = nil, want an error")
	}
}

// TestLongTextsAreCut: a long text of an error, a business outcome or an operator
// is shortened in history, status and report.
func TestLongTextsAreCut(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long \xff\x00", 60_000)
	small := func(t *testing.T, b env, r saga.Report) {
		t.Helper()
		if n := utf8.RuneCountInString(r.Reason); n > text.Max || !utf8.ValidString(r.Reason) || strings.Contains(r.Reason, "\x00") {
			t.Errorf("the report's reason has %d characters, want at most %d of valid UTF-8 without NUL", n, text.Max)
		}
		i, err := b.engine.Get(t.Context(), "trip")
		if n := utf8.RuneCountInString(i.CustomStatus); err != nil || n > text.Max || !strings.HasPrefix(i.CustomStatus, r.Status+": ") {
			t.Errorf("the custom status has %d characters (%v), want at most %d after the status", n, err, text.Max)
		}
		events, err := b.engine.History(t.Context(), "trip")
		require.NoError(t, err)
		for _, e := range events {
			if e.Type != "EventRaised" && len(e.Data)+len(e.Error) > 12*text.Max {
				t.Errorf("%s %s has %d bytes, want at most %d", e.Type, e.Name, len(e.Data)+len(e.Error), 12*text.Max)
			}
		}
	}
	t.Run("errors", func(t *testing.T) {
		b := start(t, &agency{failing: map[string]int{"BookHotel": -1, "CancelHotel": -1}, down: errors.New(long)})
		b.book(t, Trip{})
		b.until(t, "Park hotel")
		b.send(t, "resolve", saga.Resolution{Action: saga.ActionSkip, Note: long})
		small(t, b, b.report(t))
	})
	t.Run("outcome", func(t *testing.T) {
		b := start(t, &agency{stops: map[string]*saga.Stop{"Pay": {Status: "DECLINED", Reason: long}}})
		b.book(t, Trip{})
		small(t, b, b.report(t))
	})
	t.Run("cancel", func(t *testing.T) {
		b := start(t, &agency{})
		b.book(t, Trip{Traveller: "minor"})
		b.until(t, "BookHotel")
		b.send(t, "cancel", map[string]string{"by": long, "reason": long})
		small(t, b, b.report(t))
	})
	t.Run("panic", func(t *testing.T) {
		b := start(t, &agency{})
		b.book(t, Trip{Traveller: "bug" + long})
		testkit.Eventually(t, "the custom status shows the panic", func() error {
			i, err := b.engine.Get(t.Context(), "trip")
			if err != nil || !strings.HasPrefix(i.CustomStatus, "panicked: bug") || utf8.RuneCountInString(i.CustomStatus) > text.Max {
				return fmt.Errorf("%d bytes of custom status, %w", len(i.CustomStatus), err)
			}
			return nil
		})
		b.fixed.Store(true)
		b.send(t, saga.Nudge, nil)
		b.report(t)
	})
}
