package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dapr/durabletask-go/task"
)

// SignalEvent is the one external event that sagas wait for. The SDK cannot
// wait for one of several events (it has no WhenAny), so all that is sent to a
// saga shares one name, and Signal.Kind tells what it is: a saga that waits for
// an approval sees a cancel at once.
const SignalEvent = "signal"

// Nudge is a signal that means nothing to a saga; sending it makes the engine
// look at the saga again.
const Nudge = "nudge"

const (
	signalCancel  = "cancel"
	signalResolve = "resolve"
)

// Signal is the payload of SignalEvent.
type Signal struct {
	Kind string          `json:"kind"`
	Data json.RawMessage `json:"data,omitempty"`
}

// Raiser is the engine's way to send an event to an instance.
type Raiser interface {
	Raise(ctx context.Context, id, event string, payload any) error
}

// Send signals a saga: kind is "cancel", "resolve", or a Wait's signal.
func Send(ctx context.Context, r Raiser, id, kind string, payload any) error {
	data, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("encode %s signal for saga %s: %w", kind, id, err)
	}
	return r.Raise(ctx, id, SignalEvent, Signal{Kind: kind, Data: data})
}

// inbox sorts the signals that have arrived by kind.
type inbox struct {
	ctx   *task.WorkflowContext
	stash map[string][]json.RawMessage
	// stale holds the deadlines of waits that a signal ended early. The SDK
	// (dapr/durabletask-go v0.12.1, WaitForSingleEvent) does not cancel their
	// timers, and when such a timer fires it unregisters whatever wait for the
	// same event is then pending: that wait would never see its event. So no
	// wait here spans a stale deadline; after it, the buffer is looked through.
	stale []time.Time
}

// A stale timer may fire late; for so long after its deadline waits stay short.
const (
	staleGrace = time.Minute
	staleChunk = 5 * time.Second
)

// untilStale shortens a wait (negative: endless) that would span a stale
// deadline.
func (b *inbox) untilStale(left time.Duration) time.Duration {
	now := b.ctx.CurrentTimeUtc
	for _, at := range b.stale {
		if now.After(at.Add(staleGrace)) {
			continue
		}
		part := max(at.Sub(now)+10*time.Millisecond, staleChunk)
		if left < 0 || part < left {
			left = part
		}
	}
	return left
}

// discard forgets the signals of a kind that have arrived so far.
func (b *inbox) discard(kind string) {
	b.drain()
	delete(b.stash, kind)
}

func (b *inbox) put(s Signal) {
	if s.Kind == Nudge {
		return
	}
	if b.stash == nil {
		b.stash = map[string][]json.RawMessage{}
	}
	b.stash[s.Kind] = append(b.stash[s.Kind], s.Data)
}

// drain takes in what has arrived, without waiting.
func (b *inbox) drain() {
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

// receive waits for a signal of one of the kinds (none: it just passes the
// time) or, if cancellable, for a cancel, and says which came: "" for neither
// within the time. A negative time-out waits for ever. Other kinds that arrive
// meanwhile are kept for who waits for them later.
func (b *inbox) receive(timeout time.Duration, cancellable bool, kinds ...string) (payload json.RawMessage, got string) {
	deadline := b.ctx.CurrentTimeUtc.Add(timeout)
	b.drain()
	for {
		if cancellable && len(b.stash[signalCancel]) > 0 {
			return nil, signalCancel
		}
		for _, kind := range kinds {
			if q := b.stash[kind]; len(q) > 0 {
				b.stash[kind] = q[1:]
				return q[0], kind
			}
		}
		left := time.Duration(-1)
		if timeout >= 0 {
			if left = deadline.Sub(b.ctx.CurrentTimeUtc); left <= 0 {
				return nil, ""
			}
		}
		left = b.untilStale(left)
		until := b.ctx.CurrentTimeUtc.Add(left)
		var s Signal
		err := b.ctx.WaitForSingleEvent(SignalEvent, left).Await(&s)
		if errors.Is(err, task.ErrTaskCanceled) {
			b.drain()
			continue
		}
		if left >= 0 {
			b.stale = append(b.stale, until)
		}
		if err == nil { // an event that is no Signal is dropped
			b.put(s)
		}
	}
}
