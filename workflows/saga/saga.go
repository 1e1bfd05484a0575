// Package saga turns a table of steps into a durable workflow. Each step has an
// activity that does it and one that compensates it, each with a retry policy.
// When a step fails, the completed steps are compensated in reverse order.
//
//	var booking = saga.Saga[Trip]{
//		Steps: []saga.Step[Trip]{
//			{Name: "flight", Do: "BookFlight", Undo: "CancelFlight", Retry: quick, UndoRetry: patient},
//			{Name: "hotel", Do: "BookHotel", Undo: "CancelHotel", Retry: quick, UndoRetry: patient},
//		},
//		Done: "BOOKED", Failed: "FAILED", Cancelled: "CANCELLED",
//	}
//	err := errors.Join(
//		booking.Validate(),
//		registry.AddWorkflowN("Booking", booking.Workflow),
//		registry.AddActivityN("BookFlight", saga.Do(bookFlight)),
//		registry.AddActivityN("CancelFlight", saga.Undo(cancelFlight)),
//		// …
//	)
//
// The package uses durabletask-go's task package, so a saga runs on the embedded
// engine and on Dapr. Its guarantees:
//
//   - A compensation is registered before its step is called. A step whose outcome
//     is unknown (time-out, lost response) is compensated too. Compensating a step
//     without an effect must therefore be harmless.
//   - A business outcome (Stop) is never retried, and its own step is not
//     compensated, because it means that the step had no effect. Every other error
//     is technical, and is retried with back-off until the policy is exhausted.
//   - A compensation whose policy is exhausted parks the saga until an operator
//     sends a Resolution. So does a step after the point of no return, where
//     compensating is not safe.
//   - A cancel takes effect between steps, in waits and in back-off, until the
//     point of no return.
//   - A saga is continued only by the table that began it. Its first action records
//     the table: of each step the name, the activities, the signal, and which
//     functions it has. A program with another table leaves the saga as it is,
//     stalled (engine.Stalled); its custom status names the first step that differs.
//     It continues by itself once a program with its table runs. So does a saga
//     whose functions have come to decide differently, as soon as that calls another
//     activity than its history has. To change a table, register the new one as a
//     new version of the workflow, beside the old one. Retry policies, statuses and
//     texts may change at any time.
package saga

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/dapr/durabletask-go/task"

	"github.com/ordersaga/ordersaga/internal/replay"
	"github.com/ordersaga/ordersaga/internal/text"
)

// Saga is a table of steps over a state S. The state is passed on as JSON. A step's
// result is merged into it, so its fields should be omitempty: a field without
// that is reset by every later step. The functions in the table must be
// deterministic, because the engine replays them. A Saga is safe for concurrent
// use once it is registered.
type Saga[S any] struct {
	Steps []Step[S]
	// Done, Failed and Cancelled are the statuses in the report of a saga that
	// completed all steps, was compensated because a step failed, and was
	// compensated because of a cancel.
	Done, Failed, Cancelled string
	// OnStuck is the name of the activity that reports a parked saga; see func
	// OnStuck. It is retried until it succeeds. With "" only the saga's custom
	// status shows that it is parked.
	OnStuck string
	// WithAttempt records the number of the attempt in an activity's input, from
	// the second attempt on. nil disables it.
	WithAttempt func(s *S, attempt int)
	// Brief removes from an activity's input what the activity can read elsewhere,
	// because all inputs stay in the history. It applies to compensations, to
	// OnStuck, and to every second and later attempt. nil removes nothing.
	Brief func(s *S)
}

// Step is one row of the table.
type Step[S any] struct {
	// Name is unique in the table. It appears in statuses and reports.
	Name string
	// Do is the name of the step's activity (see func Do), or "" for a Wait.
	Do string
	// Undo is the name of the activity that compensates (see func Undo), or "" for a
	// step that needs no compensation.
	Undo string
	// Manual is the name of the activity (see func Do) that is called in place of Do
	// once an operator has skipped or resolved the step. It is for a step that does
	// more than what an operator does manually; "" calls nothing. It is retried, and
	// parks the saga, as Do does. A later retry, skip or resolve calls it again.
	Manual      string
	Retry       Policy // of Do
	ManualRetry Policy // of Manual
	UndoRetry   Policy // of Undo
	// When reports whether the step applies; nil means always. It must depend on
	// the state alone.
	When func(S) bool
	// Wait makes the step wait for a signal. It requires Do to be "".
	Wait *Wait[S]
	// AlreadyStarted reports, by the saga's input, whether an earlier run of the
	// saga has started this step. The step is then compensated even if this run
	// does not reach it. nil means no.
	AlreadyStarted func(S) bool
	// PointOfNoReturn marks the point of no return. Once this step starts, a cancel
	// is ignored, and a step whose retries are exhausted parks the saga instead of
	// being compensated. A Stop is still compensated.
	PointOfNoReturn bool
}

// Wait configures a step that waits for a signal.
type Wait[S any] struct {
	// Signal is the kind of the signal; see Send.
	Signal string
	// Timeout returns how long to wait.
	Timeout func(S) time.Duration
	// Received applies the signal's payload to the state, or returns a Stop that
	// ends the saga.
	Received func(s *S, payload json.RawMessage) *Stop
	// TimedOut returns the Stop that ends the saga after the time-out; nil parks
	// the saga. It is required without Settle, and invalid with it.
	TimedOut func(S) *Stop
	// Settle is the name of the activity (see func Do) that decides the outcome once
	// the signal was Received, or after the time-out; "" disables it. It is for a
	// signal that another system may have accepted already, so that the time-out
	// must not decide against it. The activity records the outcome on condition
	// that none was recorded before, and returns the one on record: a result, with
	// which the saga continues, or a Stop. A state without the signal's data means
	// the time-out. The activity is retried until it succeeds, so that its being
	// unreachable decides nothing.
	Settle string
	// Verify is the name of the activity (see func Do) that is called before a
	// signal that was Received stops the saga; "" disables it. It is for a sender
	// whose identity is not certain. If it returns a Stop, that ends the saga;
	// otherwise the signal is dropped and the wait continues. It is retried until
	// it succeeds.
	Verify string
	// AcceptLate accepts a signal that arrives while the saga is parked because of
	// its absence. The saga then continues without an operator.
	AcceptLate bool
}

// Stop ends a saga for a business reason. It is an error that means that the step
// which returns it had no effect; the steps before it are compensated.
type Stop struct {
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// Error implements error.
func (s *Stop) Error() string { return s.Status + ": " + s.Reason }

// Report is the workflow's output.
type Report struct {
	Status      string   `json:"status"` // Saga.Done, Failed or Cancelled, or that of a Stop
	Reason      string   `json:"reason,omitempty"`
	Compensated []string `json:"compensated,omitempty"` // compensated steps, in the order of compensation
	Skipped     []string `json:"skipped,omitempty"`     // steps and compensations that an operator skipped or did manually
}

// reply is what Do activities return through the engine.
type reply struct {
	State json.RawMessage `json:"state,omitempty"`
	Stop  *Stop           `json:"stop,omitempty"`
}

// call is the input of Undo and OnStuck activities.
type call[S any] struct {
	State S    `json:"state"`
	Stop  Stop `json:"stop"`
	Step  string
	Error string `json:",omitempty"`
}

// Workflow is the saga's workflow function; it runs the saga with the workflow's
// input as its state. Register it under a name that never changes.
func (sg Saga[S]) Workflow(ctx *task.WorkflowContext) (any, error) {
	var state S
	if err := ctx.GetInput(&state); err != nil {
		return nil, fmt.Errorf("decode saga input: %w", err)
	}
	return sg.Run(ctx, state)
}

// Run runs the saga for a workflow function that has decoded its input itself. It
// returns a Report. The table may depend on the input. Only what the function calls
// first is protected against another table.
//
// A panic in the table's functions stops the saga where it is, and is shown in its
// custom status. A fixed program continues it at its next event, or at a Nudge.
// Failing the saga would leave its steps done and never compensated. On Dapr the
// panic would end the worker, and each further worker that gets the saga.
func (sg Saga[S]) Run(ctx *task.WorkflowContext, state S) (any, error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		switch v := v.(type) {
		case mismatch:
			ctx.SetCustomStatus(replay.Changed(string(v)))
		default:
			if v != any(task.ErrTaskBlocked) { // the SDK panics with this to make the workflow wait
				ctx.SetCustomStatus(text.Cut(fmt.Sprint("panicked: ", v), text.Max))
			}
		}
		panic(task.ErrTaskBlocked)
	}()
	past, recorded := compareTable(ctx, sg.rows())
	r := run[S]{
		saga: sg, state: state, ctx: ctx, past: past, inbox: inbox{ctx: ctx, old: !recorded},
		toCompensate: make([]bool, len(sg.Steps)),
	}
	for i := range sg.Steps {
		if step := &sg.Steps[i]; step.AlreadyStarted != nil && step.AlreadyStarted(r.state) {
			r.toCompensate[i] = true
			r.pastNoReturn = r.pastNoReturn || step.PointOfNoReturn
		}
	}
	for i := range sg.Steps {
		step := &sg.Steps[i]
		if step.When != nil && !step.When(r.state) {
			continue
		}
		if i > 0 && !r.pastNoReturn { // before the first step there is nothing to compensate
			if stop := r.cancelled(); stop != nil {
				return r.compensate(*stop), nil
			}
		}
		r.pastNoReturn = r.pastNoReturn || step.PointOfNoReturn
		if stop := r.step(i); stop != nil {
			return r.compensate(*stop), nil
		}
	}
	return r.end(Report{Status: sg.Done}), nil
}

// run is one execution of a saga. Like all workflow code it is replayed from the
// start at each event, so it must be deterministic: no clock, no randomness.
type run[S any] struct {
	saga         Saga[S]
	ctx          *task.WorkflowContext
	past         []string // activities that the history has and that have not been called again yet
	inbox        inbox
	state        S
	pastNoReturn bool
	toCompensate []bool // by step: whether it is compensated if the saga stops
	skipped      []string
}

// step runs a step until it is done, or returns why the saga stops.
func (r *run[S]) step(i int) *Stop {
	step := &r.saga.Steps[i]
	if step.Wait != nil {
		return r.wait(i)
	}
	r.toCompensate[i] = true
	do, policy := step.Do, step.Retry
	for {
		r.ctx.SetCustomStatus(step.Name)
		var out reply
		stop, err := r.attempt(do, policy, func(n int) any { return r.activityInput(n) }, &out, !r.pastNoReturn)
		if stop != nil {
			return stop
		}
		if err == nil {
			return r.accept(i, out)
		}
		if !r.pastNoReturn {
			return &Stop{Status: r.saga.Failed, Reason: step.Name + ": " + err.Error()}
		}
		res, _ := r.park(step.Name, Stop{Status: r.saga.Failed}, err, "")
		switch res.Action {
		case ActionRetry:
		case ActionCompensate:
			return &Stop{Status: r.saga.Failed, Reason: res.Reason()}
		case ActionSkip, ActionResolve:
			if do == step.Do {
				r.skipped = append(r.skipped, step.Name)
			}
			if step.Manual == "" {
				return nil
			}
			do, policy = step.Manual, step.ManualRetry
		}
	}
}

// accept applies the result of a step's activity.
func (r *run[S]) accept(i int, out reply) *Stop {
	step := &r.saga.Steps[i]
	if out.Stop != nil {
		r.toCompensate[i] = false
		return out.Stop
	}
	if len(out.State) > 0 {
		if err := json.Unmarshal(out.State, &r.state); err != nil {
			return &Stop{Status: r.saga.Failed, Reason: step.Name + ": result cannot be read: " + err.Error()}
		}
	}
	return nil
}

// wait runs a step that waits for a signal.
func (r *run[S]) wait(i int) *Stop {
	step := &r.saga.Steps[i]
	w := step.Wait
	for {
		deadline, over := r.ctx.CurrentTimeUtc.Add(w.Timeout(r.state)), false
		for !over {
			r.ctx.SetCustomStatus(step.Name)
			payload, got := r.inbox.receive(max(deadline.Sub(r.ctx.CurrentTimeUtc), 0), !r.pastNoReturn, w.Signal)
			if got == signalCancel {
				return r.cancelled()
			}
			over = got != w.Signal
			if !over {
				stop, dropped := r.received(i, payload)
				if !dropped && (stop != nil || w.Settle == "") {
					return stop
				}
				over = !dropped
			}
		}
		if w.Settle != "" {
			return r.decideWait(i, w.Settle)
		}
		if stop := w.TimedOut(r.state); stop != nil {
			return stop
		}
		late := ""
		if w.AcceptLate {
			late = w.Signal
		}
		cause := fmt.Errorf("no %s within %s", w.Signal, w.Timeout(r.state))
		res, payload := r.park(step.Name, Stop{Status: r.saga.Failed}, cause, late)
		for payload != nil {
			if stop, dropped := r.received(i, payload); !dropped {
				return stop
			}
			r.ctx.SetCustomStatus(parkedStatus + step.Name)
			res, payload = r.resolution(late)
		}
		switch res.Action {
		case ActionRetry:
		case ActionCompensate:
			return &Stop{Status: r.saga.Failed, Reason: res.Reason()}
		case ActionSkip, ActionResolve:
			r.skipped = append(r.skipped, step.Name)
			return nil
		}
	}
}

// received applies the signal of a wait. dropped means that Wait.Verify rejected
// the signal.
func (r *run[S]) received(i int, payload json.RawMessage) (stop *Stop, dropped bool) {
	w := r.saga.Steps[i].Wait
	stop = w.Received(&r.state, payload)
	if stop == nil || w.Verify == "" {
		return stop, false
	}
	stop = r.decideWait(i, w.Verify)
	return stop, stop == nil
}

// decideWait calls the activity that decides the outcome of a wait.
func (r *run[S]) decideWait(i int, activity string) *Stop {
	r.ctx.SetCustomStatus(settleStatus + r.saga.Steps[i].Name)
	var out reply
	stop, err := r.attempt(activity, unlimitedRetries, func(n int) any { return r.activityInput(n) }, &out, !r.pastNoReturn)
	if err != nil {
		panic(err) // a policy without limits is never exhausted
	}
	if stop != nil {
		return stop
	}
	return r.accept(i, out)
}

// activityInput returns the input of the n-th attempt of a step's activity.
func (r *run[S]) activityInput(n int) S {
	if n > 1 {
		return r.briefInput(n)
	}
	return r.state
}

// briefInput returns the state in the input of the n-th attempt of a compensation
// or of OnStuck, and of the second and later attempts of a step.
func (r *run[S]) briefInput(n int) S {
	s := r.state
	if n > 1 && r.saga.WithAttempt != nil {
		r.saga.WithAttempt(&s, n)
	}
	if r.saga.Brief != nil {
		r.saga.Brief(&s)
	}
	return s
}

// attempt calls an activity until it succeeds or the policy is exhausted. It
// returns a Stop if a cancel arrives in between.
func (r *run[S]) attempt(activity string, p Policy, input func(n int) any, out any, cancellable bool) (*Stop, error) {
	began := r.ctx.CurrentTimeUtc
	for n := 1; ; n++ {
		r.comparePast(activity)
		err := r.ctx.CallActivity(activity, task.WithActivityInput(input(n))).Await(out)
		if err == nil {
			return nil, nil
		}
		if !ofTask(err) {
			panic(mismatch(err.Error()))
		}
		delay := p.delay(string(r.ctx.ID)+activity, n, requestedPauseOf(err))
		if p.exhausted(n, r.ctx.CurrentTimeUtc.Add(delay).Sub(began)) {
			return nil, fmt.Errorf("%s failed %d times in %s: %w", activity, n, r.ctx.CurrentTimeUtc.Sub(began).Round(time.Millisecond), err)
		}
		if _, got := r.inbox.receive(delay, cancellable); got == signalCancel {
			return r.cancelled(), nil
		}
	}
}

// cancelled returns the Stop for a cancel that has arrived, or nil.
func (r *run[S]) cancelled() *Stop {
	r.inbox.collect()
	c, ok := r.inbox.byKind[signalCancel]
	if !ok {
		return nil
	}
	var by struct{ By, Reason string }
	_ = json.Unmarshal(c[0], &by) // clients may send anything; without a reason the cancel still holds
	return &Stop{Status: r.saga.Cancelled, Reason: Reason("cancelled", by.By, by.Reason)}
}

// Reason returns a sentence with what was done, by whom and why; by and why may be
// "". It is cut to text.Max, because by and why come from clients.
func Reason(what, by, why string) string {
	if by != "" {
		what += " by " + by
	}
	if why != "" {
		what += ": " + why
	}
	return text.Cut(what, text.Max)
}

// compensate compensates the started steps in reverse order.
func (r *run[S]) compensate(stop Stop) Report {
	stop.Reason = text.Cut(stop.Reason, text.Max) // it is in the input of every attempt of every compensation
	report := Report{Status: stop.Status, Reason: stop.Reason}
	for i := len(r.saga.Steps) - 1; i >= 0; i-- {
		step := &r.saga.Steps[i]
		if !r.toCompensate[i] || step.Undo == "" {
			continue
		}
		for {
			r.ctx.SetCustomStatus(undoStatus + step.Name)
			in := func(n int) any { return call[S]{State: r.briefInput(n), Stop: stop, Step: step.Name} }
			_, err := r.attempt(step.Undo, step.UndoRetry, in, nil, false)
			if err == nil {
				report.Compensated = append(report.Compensated, step.Name)
				break
			}
			res, _ := r.park(step.Name, stop, err, "")
			if res.Action == ActionSkip || res.Action == ActionResolve {
				r.skipped = append(r.skipped, step.Name)
				break
			}
		}
	}
	return r.end(report)
}

// end sets the outcome as the workflow's custom status: the runtime status of every
// saga that ran to its end is COMPLETED.
func (r *run[S]) end(report Report) Report {
	outcome := report.Status
	if report.Reason != "" {
		outcome += ": " + report.Reason
	}
	r.ctx.SetCustomStatus(text.Cut(outcome, text.Max))
	report.Skipped = r.skipped
	return report
}

// park reports the saga as stuck and waits for a Resolution, or for the signal
// late, whose payload it then returns; "" waits for none.
func (r *run[S]) park(step string, stop Stop, cause error, late string) (Resolution, json.RawMessage) {
	r.inbox.discard(signalResolve) // resolutions of an earlier park
	r.ctx.SetCustomStatus(parkedStatus + step)
	if r.saga.OnStuck != "" {
		in := func(n int) any {
			return call[S]{State: r.briefInput(n), Stop: stop, Step: step, Error: text.Cut(cause.Error(), text.Max)}
		}
		if _, err := r.attempt(r.saga.OnStuck, unlimitedRetries, in, nil, false); err != nil {
			panic(err) // a policy without limits is never exhausted
		}
	}
	return r.resolution(late)
}

// resolution waits for a valid Resolution, or for the signal late; see park.
func (r *run[S]) resolution(late string) (Resolution, json.RawMessage) {
	kinds := []string{signalResolve}
	if late != "" {
		kinds = []string{late, signalResolve}
	}
	for {
		payload, got := r.inbox.receive(-1, false, kinds...)
		if got != signalResolve {
			return Resolution{}, payload
		}
		var res Resolution
		if err := json.Unmarshal(payload, &res); err != nil || !res.Action.Valid() {
			continue // the API validates; other clients may send anything
		}
		return res, nil
	}
}
