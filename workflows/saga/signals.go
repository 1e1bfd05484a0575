package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dapr/durabletask-go/task"
)

// SignalEvent is the name of the only external event that sagas wait for. The SDK
// cannot wait for one of several events (it has no WhenAny). So all signals share
// this name and differ by Signal.Kind, and a saga that waits for an approval
// receives a cancel at once.
const SignalEvent = "signal"

// Nudge is the kind of a signal without a meaning. Sending it makes the engine run
// the saga's workflow code again.
const Nudge = "nudge"

const (
	signalCancel  = "cancel"
	signalResolve = "resolve"
)

// Signal is the payload of SignalEvent.
type Signal struct {
	Kind string          `json:"kind"` // "cancel", "resolve", Nudge, or a Wait's signal
	Data json.RawMessage `json:"data,omitempty"`
}

// Raiser sends an event to a workflow instance. Engines implement it.
type Raiser interface {
	// Raise sends an event with a JSON payload to the instance with the given id.
	Raise(ctx context.Context, id, event string, payload any) error
}

// Send sends a signal to the saga with the given id. kind is "cancel", "resolve",
// Nudge, or a Wait's signal; payload is encoded as JSON. A signal that the saga
// does not wait for yet is kept. Errors are those of r.
func Send(ctx context.Context, r Raiser, id, kind string, payload any) error {
	data, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("encode %s signal for saga %s: %w", kind, id, err)
	}
	return r.Raise(ctx, id, SignalEvent, Signal{Kind: kind, Data: data})
}

// inbox keeps the signals that have arrived, by kind.
type inbox struct {
	ctx    *task.WorkflowContext
	old    bool // an older release may have begun the saga; see seeStale
	byKind map[string][]json.RawMessage
	// stale has the timers of waits that a signal ended early. The SDK
	// (dapr/durabletask-go v0.12.1, WaitForSingleEvent) does not cancel them. When
	// such a timer fires, it unregisters the wait for the same event that is pending
	// then, and that wait would never receive its event. So no wait here spans the
	// firing of a stale timer; after it, collect reads what has arrived.
	stale []staleTimer
}

type staleTimer struct {
	due  time.Time
	seen time.Time // of the first turn after it was due; zero before
}

// A stale timer may fire late: for staleGrace from the first turn after it was due, no
// wait is longer than staleChunk. That turn may be long after: while no worker runs no
// timer fires, and those that are overdue then fire in any order.
const (
	staleGrace = time.Minute
	staleChunk = 5 * time.Second
)

// capAtStale shortens a wait during which a stale timer may fire. A negative wait has
// no limit.
func (b *inbox) capAtStale(left time.Duration) time.Duration {
	b.seeStale()
	for _, t := range b.stale {
		part := max(t.due.Sub(b.ctx.CurrentTimeUtc)+10*time.Millisecond, staleChunk)
		if left < 0 || part < left {
			left = part
		}
	}
	return left
}

// seeStale notes which stale timers are due, and forgets those that have fired. Older
// releases counted staleGrace from when the timer was due, so their sagas replay with that.
func (b *inbox) seeStale() {
	now := b.ctx.CurrentTimeUtc
	for i := range b.stale {
		if t := &b.stale[i]; t.seen.IsZero() && !now.Before(t.due) {
			t.seen = now
			if b.old {
				t.seen = t.due
			}
		}
	}
	b.stale = slices.DeleteFunc(b.stale, func(t staleTimer) bool { return !t.seen.IsZero() && now.After(t.seen.Add(staleGrace)) })
}

// discard drops the signals of a kind that have arrived so far.
func (b *inbox) discard(kind string) {
	b.collect()
	delete(b.byKind, kind)
}

func (b *inbox) put(s Signal) {
	if s.Kind == Nudge {
		return
	}
	if b.byKind == nil {
		b.byKind = map[string][]json.RawMessage{}
	}
	b.byKind[s.Kind] = append(b.byKind[s.Kind], s.Data)
}

// collect reads the signals that have arrived, without waiting.
func (b *inbox) collect() {
	b.seeStale()
	for {
		var s Signal
		err := b.ctx.WaitForSingleEvent(SignalEvent, 0).Await(&s)
		if errors.Is(err, task.ErrTaskCanceled) {
			return
		}
		if err == nil {
			b.put(s)
		}
	}
}

// receive waits for a signal of one of the kinds or, if cancellable, for a cancel.
// It returns its payload and kind, or "" after the time-out; a negative time-out
// has no limit. Without kinds it only waits. Signals of other kinds that arrive
// meanwhile are kept for later calls.
func (b *inbox) receive(timeout time.Duration, cancellable bool, kinds ...string) (payload json.RawMessage, got string) {
	deadline := b.ctx.CurrentTimeUtc.Add(timeout)
	b.collect()
	for {
		if cancellable && len(b.byKind[signalCancel]) > 0 {
			return nil, signalCancel
		}
		for _, kind := range kinds {
			if q := b.byKind[kind]; len(q) > 0 {
				b.byKind[kind] = q[1:]
				return q[0], kind
			}
		}
		left := time.Duration(-1)
		if timeout >= 0 {
			left = deadline.Sub(b.ctx.CurrentTimeUtc)
			if left <= 0 {
				return nil, ""
			}
		}
		left = b.capAtStale(left)
		until := b.ctx.CurrentTimeUtc.Add(left)
		var s Signal
		err := b.ctx.WaitForSingleEvent(SignalEvent, left).Await(&s)
		if errors.Is(err, task.ErrTaskCanceled) {
			b.collect()
			continue
		}
		if err != nil && !ofTask(err) {
			panic(mismatch(err.Error()))
		}
		if left >= 0 {
			b.stale = append(b.stale, staleTimer{due: until})
		}
		if err == nil { // an event that is not a Signal is dropped
			b.put(s)
		}
	}
}
