package embedded

import (
	"context"
	"slices"
	"sync"
)

// queue is an unbounded FIFO whose readers are woken, never polling. What is
// in it is bounded by the live instances.
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

func (q *queue[T]) pop(ctx context.Context) (T, error) {
	for {
		if err := ctx.Err(); err != nil {
			return *new(T), err
		}
		q.mu.Lock()
		if q.head < len(q.items) {
			v := q.items[q.head]
			q.items[q.head] = *new(T) // let go of what it points to
			q.head++
			if q.head == len(q.items) {
				q.items, q.head = q.items[:0], 0
			} else if q.head > 1024 && q.head > len(q.items)/2 {
				q.items, q.head = slices.Delete(q.items, 0, q.head), 0 // clears what is behind, too
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
