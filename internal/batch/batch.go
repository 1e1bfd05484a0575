// Package batch makes one request of calls that are made at the same time. It
// never waits for more to come: a call that is alone goes out at once, and those
// that are made meanwhile go out together when an answer is there, or as soon as
// they are as many as fit into a request. So batches grow with the load, and an
// idle system answers as fast as before.
package batch

import (
	"context"
	"sync"
	"time"
)

// patience is how long calls wait for the answer to another, which may be stuck.
const patience = 50 * time.Millisecond

// Caller makes the calls. It is safe for concurrent use; its fields must not
// change any more once it is used.
type Caller[In, Out any] struct {
	// Max is how many fit into a request.
	Max int
	// One makes a call alone.
	One func(context.Context, In) (Out, error)
	// Many makes 2 to Max calls in one request; answers are in the order of the
	// calls. What it leaves out, and everything if it fails, is asked for again
	// by One, so that no call fails for its neighbour's sake.
	Many func(context.Context, []In) ([]Answer[Out], error)

	mu       sync.Mutex
	underWay int // requests
	next     *request[In, Out]
}

// Answer is what came of a call that was made with others.
type Answer[Out any] struct {
	Out  Out
	Done bool
}

// request is what is, or will be, under way.
type request[In, Out any] struct {
	ctx     context.Context //nolint:containedctx // of the request: that of its first call, but ended when nobody waits any more
	cancel  context.CancelFunc
	late    *time.Timer // sends it after patience
	calls   []In
	waiting int
	done    chan struct{}
	alone   bool          // once done: its one call is to be made by who waits for it
	answers []Answer[Out] // once done
}

// Do makes a call, alone or with others.
func (c *Caller[In, Out]) Do(ctx context.Context, in In) (out Out, err error) {
	c.mu.Lock()
	if c.underWay == 0 {
		c.underWay++
		c.mu.Unlock()
		defer c.landed()
		return c.One(ctx, in)
	}
	r := c.next
	if r == nil {
		r = &request[In, Out]{done: make(chan struct{})}
		r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx)) //nolint:gosec // start and leave call it
		r.late = time.AfterFunc(patience, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.next == r {
				c.start()
			}
		})
		c.next = r
	}
	place := len(r.calls)
	r.calls = append(r.calls, in)
	r.waiting++
	if len(r.calls) == c.Max {
		c.start()
	}
	c.mu.Unlock()

	select {
	case <-r.done:
	case <-ctx.Done():
		c.leave(r)
		return out, ctx.Err()
	}
	if r.alone {
		defer c.landed()
	} else if a := r.answers; len(a) > place && a[place].Done {
		return a[place].Out, nil
	}
	return c.One(ctx, in)
}

// start sends what has gathered. The goroutine ends with the request, and the
// request at the latest when nobody waits for it.
func (c *Caller[In, Out]) start() {
	r := c.next
	r.late.Stop()
	c.next = nil
	c.underWay++
	if len(r.calls) == 1 {
		r.alone = true
		r.cancel()
		close(r.done)
		return
	}
	go func() {
		defer c.landed()
		defer r.cancel()
		defer close(r.done)
		if answers, err := c.Many(r.ctx, r.calls); err == nil {
			r.answers = answers
		}
	}()
}

// landed sends what has gathered behind a request, if that was the last one.
func (c *Caller[In, Out]) landed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.land()
}

func (c *Caller[In, Out]) land() {
	c.underWay--
	if c.underWay == 0 && c.next != nil {
		c.start()
	}
}

// leave ends a request for which nobody waits any more.
func (c *Caller[In, Out]) leave(r *request[In, Out]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.waiting--
	if r.waiting > 0 {
		return
	}
	r.cancel()
	if r.alone { // and was not made
		c.land()
	} else if c.next == r {
		r.late.Stop()
		c.next = nil
	}
}
