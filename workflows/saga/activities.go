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

// Do returns the activity of a step. fn returns the fields of the state that it
// has set (the others zero, and omitempty in JSON). It returns a *Stop for a
// business outcome, and any other error to be retried. Their texts are cut to
// text.Max, because they may quote a third party and stay in the history. An error
// with a method RetryAfter() time.Duration requests the pause before the next
// attempt; see Policy. fn must be idempotent: it may run more than once.
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
			return nil, retryError(err)
		}
		patch, err := json.Marshal(changed)
		if err != nil {
			return nil, fmt.Errorf("encode activity result: %w", err)
		}
		return reply{State: patch}, nil
	}
}

// Undo returns the activity of a compensation. why is the reason for which the
// saga ends. Every error is retried, and cut as in Do. Undoing twice must be
// harmless, and so must undoing a step that had no effect.
func Undo[S any](fn func(ctx context.Context, state S, why Stop) error) task.Activity {
	return func(ctx task.ActivityContext) (any, error) {
		var in call[S]
		if err := ctx.GetInput(&in); err != nil {
			return nil, fmt.Errorf("decode compensation input: %w", err)
		}
		return nil, retryError(fn(ctx.Context(), in.State, in.Stop))
	}
}

// retryError returns err in the form in which the workflow can read the requested
// pause. The engine transports only the text, so the pause is its beginning.
// Workers of older versions ignore it.
func retryError(err error) error {
	request, ok := errors.AsType[interface {
		error
		RetryAfter() time.Duration
	}](err)
	if ok && request.RetryAfter() > 0 {
		err = fmt.Errorf("%s%s: %s%w", retryAfter, request.RetryAfter(), uncapped, err)
	}
	return text.Err(err)
}

const (
	taskFailed = "task failed with an error: "    // the SDK's prefix of an activity's error
	unreadable = "failed to decode task result: " // the SDK's prefix of the error of a result or payload of another type
	retryAfter = "retry after "                   // prefix of an error that requests a pause
	uncapped   = "at least: "                     // after the pause: it may exceed Policy.Max
)

// requestedPauseOf reads the pause from an activity's error. The text of a third
// party cannot request one, because it is never at the beginning of the error.
func requestedPauseOf(err error) requestedPause {
	rest, ok := strings.CutPrefix(err.Error(), taskFailed+retryAfter)
	if !ok {
		return requestedPause{}
	}
	pause, rest, _ := strings.Cut(rest, ": ")
	d, err := time.ParseDuration(pause)
	if err != nil {
		return requestedPause{}
	}
	return requestedPause{pause: d, uncapped: strings.HasPrefix(rest, uncapped)}
}

// OnStuck returns the activity of Saga.OnStuck. step is the name of the parked
// step, and cause the text of its last error. Every error is retried.
func OnStuck[S any](fn func(ctx context.Context, state S, step, cause string) error) task.Activity {
	return func(ctx task.ActivityContext) (any, error) {
		var in call[S]
		if err := ctx.GetInput(&in); err != nil {
			return nil, fmt.Errorf("decode park input: %w", err)
		}
		return nil, text.Err(fn(ctx.Context(), in.State, in.Step, in.Error))
	}
}
