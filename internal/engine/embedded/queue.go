package embedded

import (
	"context"
	"slices"
	"sync"
)

// queue is a FIFO that hands items to waiting readers, so that they do not poll.
// It has no limit of its own: the live instances and their activities bound its
// length. It is safe for concurrent use. The zero value is an empty queue.
type queue[T any] struct {
	mu    sync.Mutex
	items []T
	head  int
	idle  []chan T // of readers that wait; the latest is served first, because its stack is still warm
}

func (q *queue[T]) push(v T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	last := len(q.idle) - 1
	if last < 0 {
		q.items = append(q.items, v)
		return
	}
	q.idle[last] <- v // has room
	q.idle = q.idle[:last]
}

// pop removes and returns the first item, and waits for one. ok is false after
// ctx has ended and release was called. own is the reader's channel, with room
// for one item; a reader uses it for all its calls.
func (q *queue[T]) pop(ctx context.Context, own chan T) (v T, ok bool) {
	q.mu.Lock()
	if ctx.Err() != nil {
		q.mu.Unlock()
		return v, false
	}
	if q.head == len(q.items) {
		q.idle = append(q.idle, own)
		q.mu.Unlock()
		v, ok = <-own
		return v, ok
	}
	defer q.mu.Unlock()
	v = q.items[q.head]
	q.items[q.head] = *new(T) // release what it points to
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	} else if q.head > 1024 && q.head > len(q.items)/2 {
		q.items, q.head = slices.Delete(q.items, 0, q.head), 0 // also clears the items after the new end
	}
	return v, true
}

// release makes waiting readers return. Call it after their context has ended.
func (q *queue[T]) release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, own := range q.idle {
		close(own)
	}
	q.idle = nil
}
