package embedded

import (
	"container/heap"
	"context"
	"sync"
	"time"
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
				q.items = append(q.items[:0], q.items[q.head:]...)
				q.head = 0
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

// alarm is a durable timer, or, with timer -1, the time of a scheduled start
// or of another try.
type alarm struct {
	at    time.Time
	inst  *instance
	timer int32 // id
}

type alarms []alarm

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a alarms) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *alarms) Push(x any)        { *a = append(*a, x.(alarm)) } //nolint:forcetypeassert // heap.Push is called below only
func (a *alarms) Pop() any {
	old := *a
	x := old[len(old)-1]
	old[len(old)-1] = alarm{}
	*a = old[:len(old)-1]
	return x
}

func (a *alarms) add(x alarm)    { heap.Push(a, x) }
func (a *alarms) take() alarm    { return heap.Pop(a).(alarm) } //nolint:forcetypeassert // only alarms are in it
func (a alarms) next() time.Time { return a[0].at }
