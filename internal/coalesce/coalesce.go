// Package coalesce makes one request of calls that are made at the same time. It
// never waits for more to come: a call that is alone goes out at once, and those
// that are made meanwhile go out together when all that is under way has been
// answered, or as soon as they are as many as fit into a request. So batches
// grow with the load, and an idle system answers as fast as before.
package coalesce

import (
	"context"
	"sync"
	"time"
)

// patience is how long calls wait for the answers to others. What has not been
// answered by then may be stuck, and nothing waits for it any more.
const patience = 50 * time.Millisecond

// Caller makes the calls. It is safe for concurrent use; its fields must not
// change any more once it is used.
type Caller[In, Out any] struct {
	// Max is how many fit into a request, 2 or more.
	Max int
	// One makes a call alone.
	One func(context.Context, In) (Out, error)
	// Many makes 2 to Max calls in one request; answers are in the order of the
	// calls. What it leaves out, and everything if it fails, is asked for again
	// by One, so that no call fails for its neighbour's sake: it need not try
	// again itself. Its context is that of the first call, but ends when nobody
	// waits any more, and not before.
	Many func(context.Context, []In) ([]Answer[Out], error)

	mu       sync.Mutex
	turn     int // begins anew when what is under way no longer counts
	underWay int // requests of this turn
	next     *request[In, Out]
}

// Answer is what came of a call that was made with others.
type Answer[Out any] struct {
	Out  Out
	Done bool
}

// request is calls that gather, and then are under way.
type request[In, Out any] struct {
	ctx      context.Context //nolint:containedctx // of the request, not of any one call
	cancel   context.CancelCauseFunc
	overdue  *time.Timer // sends it after patience
	calls    []In
	waiting  int
	turn     int // in which it went out
	answered chan struct{}
	// Once answered:
	alone    bool // its one call is to be made by who waits for it
	answers  []Answer[Out]
	panicked any
}

// Do makes a call, alone or with others.
func (c *Caller[In, Out]) Do(ctx context.Context, in In) (out Out, err error) {
	if err := ctx.Err(); err != nil {
		return out, err
	}
	c.mu.Lock()
	if c.underWay == 0 {
		c.underWay++
		turn := c.turn
		c.mu.Unlock()
		defer c.landed(turn)
		return c.One(ctx, in)
	}
	if c.next == nil {
		c.next = c.gather(ctx)
	}
	r, place := c.next, len(c.next.calls)
	r.calls = append(r.calls, in)
	r.waiting++
	if len(r.calls) == c.Max {
		c.start()
	}
	c.mu.Unlock()

	select {
	case <-r.answered:
	case <-ctx.Done():
		c.leave(r, ctx.Err())
		return out, ctx.Err()
	}
	switch a := r.answers; {
	case r.panicked != nil:
		panic(r.panicked)
	case r.alone:
		defer c.landed(r.turn)
	case len(a) > place && a[place].Done:
		return a[place].Out, nil
	}
	return c.One(ctx, in)
}

func (c *Caller[In, Out]) gather(ctx context.Context) *request[In, Out] {
	r := &request[In, Out]{answered: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	r.overdue = time.AfterFunc(patience, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.next == r {
			c.turn, c.underWay = c.turn+1, 0
			c.start()
		}
	})
	return r
}

// start sends what has gathered. The goroutine ends with the request, and the
// request at the latest when nobody waits for it.
func (c *Caller[In, Out]) start() {
	r := c.next
	r.overdue.Stop()
	r.turn = c.turn
	c.next = nil
	c.underWay++
	if len(r.calls) == 1 {
		r.alone = true
		r.cancel(nil)
		close(r.answered)
		return
	}
	go func() {
		defer c.landed(r.turn)
		defer r.cancel(nil)
		defer close(r.answered)
		defer func() { r.panicked = recover() }() // for whoever waits, as if it had made the call itself
		if answers, err := c.Many(r.ctx, r.calls); err == nil {
			r.answers = answers
		}
	}()
}

// landed sends what has gathered behind a request, if that was the last one.
func (c *Caller[In, Out]) landed(turn int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.land(turn)
}

func (c *Caller[In, Out]) land(turn int) {
	if turn != c.turn {
		return
	}
	c.underWay--
	if c.underWay == 0 && c.next != nil {
		c.start()
	}
}

// leave ends a request for which nobody waits any more.
func (c *Caller[In, Out]) leave(r *request[In, Out], why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.waiting--
	if r.waiting > 0 {
		return
	}
	r.cancel(why)
	if r.alone { // and was not made
		c.land(r.turn)
	} else if c.next == r {
		r.overdue.Stop()
		c.next = nil
	}
}
