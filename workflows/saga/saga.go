// Package saga turns a table of steps into a durable workflow: each step has
// an activity that does it and one that undoes it, with a retry policy each;
// when a step fails, what was done before is undone in reverse.
//
//	var booking = saga.Saga[Trip]{
//		Steps: []saga.Step[Trip]{
//			{Name: "flight", Do: "BookFlight", Undo: "CancelFlight", Retry: quick, UndoRetry: patient},
//			{Name: "hotel", Do: "BookHotel", Undo: "CancelHotel", Retry: quick, UndoRetry: patient},
//		},
//		Failed: "FAILED", Done: "BOOKED",
//	}
//	registry.AddWorkflowN("Booking", booking.Workflow)
//	registry.AddActivityN("BookFlight", saga.Do(bookFlight))
//
// It is written against durabletask-go's task package and so runs embedded and
// on Dapr alike. What it promises:
//
//   - A compensation is registered before its step is called: a step whose
//     outcome is unknown (time-out, lost answer) is undone too. Undoing what
//     never happened must therefore be harmless.
//   - A business outcome (Stop) is never retried, and its own step is not
//     undone: it says that the step had no effect. Every other error is
//     technical and is retried with back-off until the policy's budget ends.
//   - A compensation whose budget ends parks the saga until an operator sends
//     a Resolution. So does a step after the point of no return, where going
//     back is not safe and only going on is left.
//   - Cancel is honoured between steps, in waits and in back-off, until the
//     point of no return.
package saga

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/dapr/durabletask-go/task"

	"github.com/ordersaga/ordersaga/internal/text"
)

// Saga is a table of steps over a state S. S travels as JSON; a step's result
// is merged into it, so its fields should be omitempty.
type Saga[S any] struct {
	Steps []Step[S]
	// Done, Failed and Cancelled are the outcomes' statuses in the report.
	Done, Failed, Cancelled string
	// Park is the activity that makes a parked saga visible; see Parked. It is
	// retried until it succeeds. Without it a parked saga only shows its
	// custom status.
	Park string
	// Numbered notes in an activity's input which attempt it is, from the
	// second on; nil if they need not know.
	Numbered func(s *S, attempt int)
	// Brief leaves out of an activity's input what it can read elsewhere: of those
	// of compensations and of Park, and of any from the second try on. All of them
	// stay in the history. Nil leaves nothing out.
	Brief func(s *S)
}

// Step is one row of the table.
type Step[S any] struct {
	Name string
	// Do is the activity (see func Do), or "" for a step that waits.
	Do string
	// Undo is the activity that compensates (see func Undo), or "".
	Undo string
	// ByHand is the activity (see func Do) that is called in place of Do once an
	// operator has skipped or resolved the step, or "": for a step that brings
	// about more than what an operator does by hand. It is tried, and parks, as
	// Do is; a later retry, skip or resolve calls it again.
	ByHand    string
	Retry     Policy // of Do
	HandRetry Policy // of ByHand
	UndoRetry Policy // of Undo
	// When says whether the step applies; nil means always. It must depend on
	// the state alone.
	When func(S) bool
	// Wait is for a step without Do: which signal it waits for.
	Wait *Wait[S]
	// Began reports, by the saga's input, that an earlier run of it has begun
	// this step. It is then undone even if this run does not come to it.
	Began func(S) bool
	// NoReturn marks the point of no return: from when this step begins,
	// cancel is ignored, and a step that runs out of retries parks the saga
	// instead of being compensated. A Stop is still compensated.
	NoReturn bool
}

// Wait is a step that waits for a signal.
type Wait[S any] struct {
	Signal  string
	Timeout func(S) time.Duration
	// Received takes the signal's payload into the state, or stops the saga.
	Received func(s *S, payload json.RawMessage) *Stop
	// TimedOut decides what no answer means; nil result parks the saga. It is for
	// a Wait without Settle.
	TimedOut func(S) *Stop
	// Settle is the activity (see func Do) that decides what holds, once the
	// signal was Received or the time is over, or "": whoever sends the signal may
	// have had it accepted elsewhere, and the time-out must not decide past that.
	// It writes down what came (nothing, as the state shows, is the time-out) on
	// condition that nothing else was decided before, and goes by what stands:
	// its result is taken into the state and the saga goes on, its Stop ends it.
	// It is retried until it succeeds: that it cannot be reached decides nothing.
	Settle string
	// Verify is the activity (see func Do) that is asked before a signal that was
	// Received stops the saga, or "": the sender may not be who it claims to be. Its
	// Stop ends the saga. Without one the signal is dropped, and the wait goes
	// on. It is retried until it succeeds.
	Verify string
	// Late lets a signal that comes while the saga is parked for want of it still
	// be received: the saga goes on, and needs nobody any more.
	Late bool
}

// Stop ends a saga for a business reason: the step that returns it did
// nothing, and what was done before is undone.
type Stop struct {
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

func (s *Stop) Error() string { return s.Status + ": " + s.Reason }

// Report is the workflow's output.
type Report struct {
	Status      string   `json:"status"`
	Reason      string   `json:"reason,omitempty"`
	Compensated []string `json:"compensated,omitempty"` // steps undone, in the order they were
	Skipped     []string `json:"skipped,omitempty"`     // steps and compensations an operator left out or did by hand
}

// reply is what Do activities return through the engine.
type reply struct {
	State json.RawMessage `json:"state,omitempty"`
	Stop  *Stop           `json:"stop,omitempty"`
}

// call is the input of Undo and Park activities.
type call[S any] struct {
	State S    `json:"state"`
	Stop  Stop `json:"stop"`
	Step  string
	Error string `json:",omitempty"`
}

// Workflow runs the saga on the workflow's input; register it under a name
// that never changes.
func (sg Saga[S]) Workflow(ctx *task.WorkflowContext) (any, error) {
	var state S
	if err := ctx.GetInput(&state); err != nil {
		return nil, fmt.Errorf("decode saga input: %w", err)
	}
	return sg.Run(ctx, state)
}

// Run runs the saga, for a workflow that has decoded its input already.
//
// A panic in the table's functions leaves the saga where it stands, and shows
// in its custom status: at its next event, or a Nudge, a mended program goes
// on with it. Failing it would leave its steps done and never undone; on Dapr
// it would end the worker, and the next one that is given the saga.
func (sg Saga[S]) Run(ctx *task.WorkflowContext, state S) (any, error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if v != any(task.ErrTaskBlocked) { // the SDK's way to say that it waits
			ctx.SetCustomStatus(text.Cut(fmt.Sprint("panicked: ", v), text.Max))
		}
		panic(task.ErrTaskBlocked)
	}()
	r := run[S]{saga: sg, state: state, ctx: ctx, inbox: inbox{ctx: ctx}, begun: make([]bool, len(sg.Steps))}
	for i := range sg.Steps {
		if step := &sg.Steps[i]; step.Began != nil && step.Began(r.state) {
			r.begun[i] = true
			r.noReturn = r.noReturn || step.NoReturn
		}
	}
	for i := range sg.Steps {
		step := &sg.Steps[i]
		if step.When != nil && !step.When(r.state) {
			continue
		}
		if i > 0 && !r.noReturn { // before the first step there is nothing to undo, and nothing to tell
			if stop := r.cancelled(); stop != nil {
				return r.compensate(*stop), nil
			}
		}
		r.noReturn = r.noReturn || step.NoReturn
		if stop := r.step(i); stop != nil {
			return r.compensate(*stop), nil
		}
	}
	return r.end(Report{Status: sg.Done}), nil
}

// run is one execution of a saga. Like all workflow code it is replayed from
// the start at each event, so nothing here may depend on time or chance.
type run[S any] struct {
	saga     Saga[S]
	ctx      *task.WorkflowContext
	inbox    inbox
	state    S
	noReturn bool
	begun    []bool // by step: whether it is to be undone
	skipped  []string
}

func (r *run[S]) step(i int) *Stop {
	step := &r.saga.Steps[i]
	if step.Wait != nil {
		return r.wait(i)
	}
	r.begun[i] = true
	do, policy := step.Do, step.Retry
	for {
		r.ctx.SetCustomStatus(step.Name)
		var out reply
		stop, err := r.attempt(do, policy, func(n int) any { return r.numbered(n) }, &out, !r.noReturn)
		if stop != nil {
			return stop
		}
		if err == nil {
			return r.accept(i, out)
		}
		if !r.noReturn {
			return &Stop{Status: r.saga.Failed, Reason: step.Name + ": " + err.Error()}
		}
		switch res, _ := r.park(step.Name, Stop{Status: r.saga.Failed}, err); res.Action {
		case ActionRetry:
		case ActionCompensate:
			return &Stop{Status: r.saga.Failed, Reason: res.Reason()}
		case ActionSkip, ActionResolve:
			if do == step.Do {
				r.skipped = append(r.skipped, step.Name)
			}
			if step.ByHand == "" {
				return nil
			}
			do, policy = step.ByHand, step.HandRetry
		}
	}
}

// accept takes over the result of a step that went through.
func (r *run[S]) accept(i int, out reply) *Stop {
	step := &r.saga.Steps[i]
	if out.Stop != nil {
		r.begun[i] = false
		return out.Stop
	}
	if len(out.State) > 0 {
		if err := json.Unmarshal(out.State, &r.state); err != nil {
			return &Stop{Status: r.saga.Failed, Reason: step.Name + ": result cannot be read: " + err.Error()}
		}
	}
	return nil
}

func (r *run[S]) wait(i int) *Stop {
	step := &r.saga.Steps[i]
	w := step.Wait
	for {
		deadline, over := r.ctx.CurrentTimeUtc.Add(w.Timeout(r.state)), false
		for !over {
			r.ctx.SetCustomStatus(step.Name)
			payload, got := r.inbox.receive(max(deadline.Sub(r.ctx.CurrentTimeUtc), 0), !r.noReturn, w.Signal)
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
			return r.ask(i, w.Settle)
		}
		if stop := w.TimedOut(r.state); stop != nil {
			return stop
		}
		var late []string
		if w.Late {
			late = []string{w.Signal}
		}
		res, payload := r.park(step.Name, Stop{Status: r.saga.Failed}, fmt.Errorf("no %s within %s", w.Signal, w.Timeout(r.state)), late...)
		for payload != nil {
			if stop, dropped := r.received(i, payload); !dropped {
				return stop
			}
			r.ctx.SetCustomStatus(parkedStatus + step.Name)
			res, payload = r.decision(late...)
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

// received takes in what a wait waited for; dropped: it does not hold.
func (r *run[S]) received(i int, payload json.RawMessage) (stop *Stop, dropped bool) {
	w := r.saga.Steps[i].Wait
	stop = w.Received(&r.state, payload)
	if stop == nil || w.Verify == "" {
		return stop, false
	}
	stop = r.ask(i, w.Verify)
	return stop, stop == nil
}

// ask lets an activity decide about a wait.
func (r *run[S]) ask(i int, activity string) *Stop {
	r.ctx.SetCustomStatus(settleStatus + r.saga.Steps[i].Name)
	var out reply
	stop, err := r.attempt(activity, forever, func(n int) any { return r.numbered(n) }, &out, !r.noReturn)
	if err != nil {
		panic(err) // a policy without limits is never exhausted
	}
	if stop != nil {
		return stop
	}
	return r.accept(i, out)
}

// numbered is the state as the n-th attempt of a step's activity gets it.
func (r *run[S]) numbered(n int) S {
	if n > 1 {
		return r.brief(n)
	}
	return r.state
}

// brief is the state as a compensation gets it, and Park, and a second try.
func (r *run[S]) brief(n int) S {
	s := r.state
	if n > 1 && r.saga.Numbered != nil {
		r.saga.Numbered(&s, n)
	}
	if r.saga.Brief != nil {
		r.saga.Brief(&s)
	}
	return s
}

// attempt calls an activity until it succeeds or the policy's budget ends.
func (r *run[S]) attempt(activity string, p Policy, input func(n int) any, out any, cancellable bool) (*Stop, error) {
	began := r.ctx.CurrentTimeUtc
	for n := 1; ; n++ {
		err := r.ctx.CallActivity(activity, task.WithActivityInput(input(n))).Await(out)
		if err == nil {
			return nil, nil
		}
		delay := p.delay(string(r.ctx.ID)+activity, n, asked(err))
		if p.exhausted(n, r.ctx.CurrentTimeUtc.Add(delay).Sub(began)) {
			return nil, fmt.Errorf("%s failed %d times in %s: %w", activity, n, r.ctx.CurrentTimeUtc.Sub(began).Round(time.Millisecond), err)
		}
		if _, got := r.inbox.receive(delay, cancellable); got == signalCancel {
			return r.cancelled(), nil
		}
	}
}

// cancelled reports a cancel that has arrived.
func (r *run[S]) cancelled() *Stop {
	r.inbox.drain()
	c, ok := r.inbox.stash[signalCancel]
	if !ok {
		return nil
	}
	var by struct{ By, Reason string }
	_ = json.Unmarshal(c[0], &by) // any client may send anything
	return &Stop{Status: r.saga.Cancelled, Reason: Reason("cancelled", by.By, by.Reason)}
}

// Reason is how it reads what was done, by whom and why; by and why may be
// empty. It is cut to text.Max: by and why may be anybody's.
func Reason(what, by, why string) string {
	if by != "" {
		what += " by " + by
	}
	if why != "" {
		what += ": " + why
	}
	return text.Cut(what, text.Max)
}

// compensate undoes what was begun, in reverse.
func (r *run[S]) compensate(stop Stop) Report {
	stop.Reason = text.Cut(stop.Reason, text.Max) // it is in the input of each compensation, each time
	report := Report{Status: stop.Status, Reason: stop.Reason}
	for i := len(r.saga.Steps) - 1; i >= 0; i-- {
		step := &r.saga.Steps[i]
		if !r.begun[i] || step.Undo == "" {
			continue
		}
		for {
			r.ctx.SetCustomStatus(undoStatus + step.Name)
			in := func(n int) any { return call[S]{State: r.brief(n), Stop: stop, Step: step.Name} }
			_, err := r.attempt(step.Undo, step.UndoRetry, in, nil, false)
			if err == nil {
				report.Compensated = append(report.Compensated, step.Name)
				break
			}
			res, _ := r.park(step.Name, stop, err)
			if res.Action == ActionSkip || res.Action == ActionResolve {
				r.skipped = append(r.skipped, step.Name)
				break
			}
		}
	}
	return r.end(report)
}

// end leaves the outcome as the workflow's custom status: to engines and their
// clients every saga that has run to its end is COMPLETED.
func (r *run[S]) end(report Report) Report {
	outcome := report.Status
	if report.Reason != "" {
		outcome += ": " + report.Reason
	}
	r.ctx.SetCustomStatus(text.Cut(outcome, text.Max))
	report.Skipped = r.skipped
	return report
}

// park makes the saga visible as stuck and waits for an operator, or for one of
// the late signals, of which it gives back the payload.
func (r *run[S]) park(step string, stop Stop, cause error, late ...string) (Resolution, json.RawMessage) {
	r.inbox.discard(signalResolve) // decisions about an earlier park
	r.ctx.SetCustomStatus(parkedStatus + step)
	if r.saga.Park != "" {
		in := func(n int) any {
			return call[S]{State: r.brief(n), Stop: stop, Step: step, Error: text.Cut(cause.Error(), text.Max)}
		}
		if _, err := r.attempt(r.saga.Park, forever, in, nil, false); err != nil {
			panic(err) // a policy without limits is never exhausted
		}
	}
	return r.decision(late...)
}

// decision is what a parked saga waits for.
func (r *run[S]) decision(late ...string) (Resolution, json.RawMessage) {
	for {
		payload, got := r.inbox.receive(-1, false, append(late, signalResolve)...)
		if got != signalResolve {
			return Resolution{}, payload
		}
		var res Resolution
		if err := json.Unmarshal(payload, &res); err != nil || !res.Action.Valid() {
			continue // the API checks; another client may send anything
		}
		return res, nil
	}
}
