// Package coalesce combines concurrent calls into one request. A call that is
// alone is sent at once, so an idle system has no extra latency. Calls that arrive
// while a request is in flight gather, and are sent together when every request in
// flight has returned, or as soon as they fill a request. So batches grow with the
// load.
package coalesce

import (
	"context"
	"sync"
	"time"
)

// maxWait is how long calls gather behind requests in flight. A request that has
// not returned by then may be stuck, and later calls no longer wait for it.
const maxWait = 50 * time.Millisecond

// Batcher combines calls. It is safe for concurrent use. Its fields must be set
// before the first call, and must not change afterwards.
type Batcher[In, Out any] struct {
	// Max is the number of calls that fit into a request. It must be at least 2.
	Max int
	// Single makes one call by itself.
	Single func(context.Context, In) (Out, error)
	// Batch makes 2 to Max calls in one request, and returns their results in the
	// order of the calls. A call that it leaves out, and every call if it fails, is
	// made again by Single, so that no call fails because of another one. Batch
	// therefore need not retry. Its context has the values of the first call's, and
	// ends when no caller waits any more.
	Batch func(context.Context, []In) ([]Result[Out], error)

	mu       sync.Mutex
	epoch    int // incremented when requests in flight are no longer waited for
	inFlight int // requests of this epoch
	next     *request[In, Out]
}

// Result is the result of one call of a batch. The zero value means that the batch
// did not make the call.
type Result[Out any] struct {
	Out  Out
	Done bool
}

// request holds calls that gather, and then are in flight.
type request[In, Out any] struct {
	ctx      context.Context //nolint:containedctx // of the request, not of any one call
	cancel   context.CancelCauseFunc
	overdue  *time.Timer // sends the request after maxWait
	calls    []In
	waiting  int
	epoch    int // in which it was sent
	returned chan struct{}
	// Valid once returned is closed:
	alone    bool // its caller makes its only call by itself
	results  []Result[Out]
	panicked any
}

// Do makes a call, by itself or in a batch.
func (b *Batcher[In, Out]) Do(ctx context.Context, in In) (out Out, err error) {
	if err := ctx.Err(); err != nil {
		return out, err
	}
	b.mu.Lock()
	if b.inFlight == 0 {
		b.inFlight++
		epoch := b.epoch
		b.mu.Unlock()
		defer b.done(epoch)
		return b.Single(ctx, in)
	}
	if b.next == nil {
		b.next = b.gather(ctx)
	}
	r, place := b.next, len(b.next.calls)
	r.calls = append(r.calls, in)
	r.waiting++
	if len(r.calls) == b.Max {
		b.send()
	}
	b.mu.Unlock()

	select {
	case <-r.returned:
	case <-ctx.Done():
		b.abandon(r, ctx.Err())
		return out, ctx.Err()
	}
	switch {
	case r.panicked != nil:
		panic(r.panicked)
	case r.alone:
		defer b.done(r.epoch)
	case len(r.results) > place && r.results[place].Done:
		return r.results[place].Out, nil
	}
	return b.Single(ctx, in)
}

func (b *Batcher[In, Out]) gather(ctx context.Context) *request[In, Out] {
	r := &request[In, Out]{returned: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	r.overdue = time.AfterFunc(maxWait, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.next == r {
			b.epoch, b.inFlight = b.epoch+1, 0
			b.send()
		}
	})
	return r
}

// send sends the calls that have gathered. The goroutine ends with the request, and
// the request at the latest when no caller waits for it.
func (b *Batcher[In, Out]) send() {
	r := b.next
	r.overdue.Stop()
	r.epoch = b.epoch
	b.next = nil
	b.inFlight++
	if len(r.calls) == 1 {
		r.alone = true
		r.cancel(nil)
		close(r.returned)
		return
	}
	go func() {
		defer b.done(r.epoch)
		defer r.cancel(nil)
		defer close(r.returned)
		defer func() { r.panicked = recover() }() // each caller panics with it, as if it had made the call itself
		if results, err := b.Batch(r.ctx, r.calls); err == nil {
			r.results = results
		}
	}()
}

// done ends a request. If it was the last one in flight, done sends the calls that
// have gathered behind it.
func (b *Batcher[In, Out]) done(epoch int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.doneLocked(epoch)
}

func (b *Batcher[In, Out]) doneLocked(epoch int) {
	if epoch != b.epoch {
		return
	}
	b.inFlight--
	if b.inFlight == 0 && b.next != nil {
		b.send()
	}
}

// abandon removes a caller from a request, and cancels the request if no caller is
// left.
func (b *Batcher[In, Out]) abandon(r *request[In, Out], why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r.waiting--
	if r.waiting > 0 {
		return
	}
	r.cancel(why)
	if r.alone { // its call was not made
		b.doneLocked(r.epoch)
	} else if b.next == r {
		r.overdue.Stop()
		b.next = nil
	}
}
