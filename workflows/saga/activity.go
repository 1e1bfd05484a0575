package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dapr/durabletask-go/task"

	"github.com/ordersaga/ordersaga/internal/text"
)

// Do adapts a step. fn returns the fields of the state that it has set (the
// others zero and omitempty), or a *Stop for a business outcome, or any other
// error to be tried again. The texts of both are cut to text.Max: they may quote
// somebody else, and each stays in the history. An error with a method
// RetryAfter() time.Duration chooses the pause before the next attempt; see
// Policy.
func Do[S any](fn func(ctx context.Context, state S) (S, error)) task.Activity {
	return func(ctx task.ActivityContext) (any, error) {
		var state S
		if err := ctx.GetInput(&state); err != nil {
			return nil, fmt.Errorf("decode activity input: %w", err)
		}
		changed, err := fn(ctx.Context(), state)
		if stop, ok := errors.AsType[*Stop](err); ok {
			return reply{Stop: &Stop{Status: stop.Status, Reason: text.Cut(stop.Reason, text.Max)}}, nil
		}
		if err != nil {
			return nil, again(err)
		}
		patch, err := json.Marshal(changed)
		if err != nil {
			return nil, fmt.Errorf("encode activity result: %w", err)
		}
		return reply{State: patch}, nil
	}
}

// Undo adapts a compensation. why says how the saga ends. Every error is
// tried again; undoing twice, or what never happened, must be harmless. It is
// treated as Do's is.
func Undo[S any](fn func(ctx context.Context, state S, why Stop) error) task.Activity {
	return func(ctx task.ActivityContext) (any, error) {
		var in call[S]
		if err := ctx.GetInput(&in); err != nil {
			return nil, fmt.Errorf("decode compensation input: %w", err)
		}
		return nil, again(fn(ctx.Context(), in.State, in.Stop))
	}
}

// again is an activity's error as its workflow gets it, of which only the text
// comes through the engine: the pause that it asks for goes before all else. A
// worker that knows nothing of it passes over that.
func again(err error) error {
	asks, ok := errors.AsType[interface {
		error
		RetryAfter() time.Duration
	}](err)
	if ok && asks.RetryAfter() > 0 {
		err = fmt.Errorf("%s%s: %s%w", retryAfter, asks.RetryAfter(), whole, err)
	}
	return text.Err(err)
}

const (
	taskFailed = "task failed with an error: " // the SDK's, before an activity's own
	retryAfter = "retry after "                // ours, before an error that asks for a pause
	whole      = "at least: "                  // ours, after the pause
)

// wish is the pause that a failed activity asks for, or 0. Without whole it
// stands in the history since before Policy.Max could be exceeded: a replay must
// decide as it was decided then.
type wish struct {
	pause time.Duration
	whole bool
}

// asked reads an activity's error. A text of somebody else's can't ask: it is
// never the beginning of an error of ours.
func asked(err error) wish {
	rest, ok := strings.CutPrefix(err.Error(), taskFailed+retryAfter)
	if !ok {
		return wish{}
	}
	pause, rest, _ := strings.Cut(rest, ": ")
	d, err := time.ParseDuration(pause)
	if err != nil {
		return wish{}
	}
	return wish{d, strings.HasPrefix(rest, whole)}
}

// Parked adapts the Saga.Park activity: step is stuck because of cause. An
// error's text is cut as Do's is.
func Parked[S any](fn func(ctx context.Context, state S, step, cause string) error) task.Activity {
	return func(ctx task.ActivityContext) (any, error) {
		var in call[S]
		if err := ctx.GetInput(&in); err != nil {
			return nil, fmt.Errorf("decode park input: %w", err)
		}
		return nil, text.Err(fn(ctx.Context(), in.State, in.Step, in.Error))
	}
}

// Validate joins all that is wrong with the table.
func (sg Saga[S]) Validate() error {
	var errs []error
	seen := map[string]bool{}
	for i, s := range sg.Steps {
		at := fmt.Sprintf("step %d (%s)", i, s.Name)
		if s.Name == "" || seen[s.Name] {
			errs = append(errs, fmt.Errorf("%s: needs a name of its own", at))
		}
		seen[s.Name] = true
		if (s.Do == "") == (s.Wait == nil) {
			errs = append(errs, fmt.Errorf("%s: needs either Do or Wait", at))
		}
		if s.ByHand != "" && (s.Do == "" || s.ByHand == s.Do) {
			errs = append(errs, fmt.Errorf("%s: ByHand needs a Do, and must be another activity", at))
		}
		if s.Do != "" {
			errs = append(errs, prefix(at+" Retry", s.Retry.Validate()))
		}
		if s.Undo != "" {
			errs = append(errs, prefix(at+" UndoRetry", s.UndoRetry.Validate()))
		}
		if w := s.Wait; w != nil && (w.Signal == "" || w.Timeout == nil || w.Received == nil || (w.TimedOut == nil) == (w.Settle == "")) {
			errs = append(errs, fmt.Errorf("%s: Wait needs Signal, Timeout, Received, and either TimedOut or Settle", at))
		}
	}
	return errors.Join(errs...)
}

func prefix(at string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", at, err)
}
