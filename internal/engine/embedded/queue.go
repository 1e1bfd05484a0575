package embedded

import (
	"context"
	"slices"
	"sync"
)

// queue is a FIFO that wakes its readers, so that they do not poll. It has no
// limit of its own: the live instances and their activities bound its length.
// It is safe for concurrent use. Create it with newQueue.
type queue[T any] struct {
	mu    sync.Mutex
	items []T
	head  int
	ready chan struct{} // holds a token while items may be waiting
}

func newQueue[T any]() *queue[T] { return &queue[T]{ready: make(chan struct{}, 1)} }

func (q *queue[T]) push(v T) {
	q.mu.Lock()
	q.items = append(q.items, v)
	q.mu.Unlock()
	q.wake()
}

func (q *queue[T]) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// pop removes and returns the first item. It waits for one, until ctx ends.
func (q *queue[T]) pop(ctx context.Context) (T, error) {
	for {
		if err := ctx.Err(); err != nil {
			return *new(T), err
		}
		q.mu.Lock()
		if q.head < len(q.items) {
			v := q.items[q.head]
			q.items[q.head] = *new(T) // release what it points to
			q.head++
			if q.head == len(q.items) {
				q.items, q.head = q.items[:0], 0
			} else if q.head > 1024 && q.head > len(q.items)/2 {
				q.items, q.head = slices.Delete(q.items, 0, q.head), 0 // also clears the items after the new end
			}
			more := q.head < len(q.items)
			q.mu.Unlock()
			if more {
				q.wake() // for other readers
			}
			return v, nil
		}
		q.mu.Unlock()
		select {
		case <-q.ready:
		case <-ctx.Done():
		}
	}
}
