package sqs

import (
	"container/heap"
	"container/list"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// queue is one queue. Lock order: Service.mu before queue.mu, and never two
// queues at once.
type queue struct {
	id      uint64
	name    string
	arn     string
	created int64

	set atomic.Pointer[settings] // replaced under mu, read without

	mu       sync.Mutex
	tags     map[string]string
	gone     bool
	msgs     map[uuid.UUID]*message
	ready    messageList
	timed    dueHeap // delayed and in flight
	counts   [3]int  // by state
	waiters  list.List
	timer    *time.Timer // runs while somebody waits and something is timed
	armedFor int64       // when timer fires; 0 when it is not running
	swept    int64
	purged   int64 // when that was asked for last; not kept over restarts
}

func (q *queue) init() { q.msgs = make(map[uuid.UUID]*message) }

// waiter is a long poll. Its channel has room for one wake-up, so that waking
// never blocks.
type waiter struct{ wake chan struct{} }

// place puts m, which is in no list, where its due time says.
func (q *queue) place(m *message, now int64, timedState state) {
	if m.due > now {
		m.state = timedState
		heap.Push(&q.timed, m)
	} else {
		m.state = visible
		m.due = 0
		q.ready.push(m)
	}
	q.counts[m.state]++
}

// lift takes m out of its list or heap.
func (q *queue) lift(m *message) {
	q.counts[m.state]--
	if m.state == visible {
		q.ready.remove(m)
	} else {
		heap.Remove(&q.timed, m.heapAt)
	}
}

// add stores a new message.
func (q *queue) add(m *message, now int64) {
	q.msgs[m.id] = m
	q.place(m, now, delayed)
}

// drop forgets a message.
func (q *queue) drop(m *message) {
	q.lift(m)
	delete(q.msgs, m.id)
}

// advance makes visible what is due.
func (q *queue) advance(now int64) {
	for len(q.timed) > 0 && q.timed[0].due <= now {
		m := q.timed[0]
		q.lift(m)
		m.due = 0
		q.place(m, now, visible)
	}
}

// expired reports whether the retention period of m is over.
func (q *queue) expired(m *message, now int64) bool {
	return m.sent+int64(q.set.Load().retention) < now
}

// sweep drops expired messages and hands them to gone.
func (q *queue) sweep(now int64, gone func(*message)) {
	if now-q.swept < int64(sweepEvery) {
		return
	}
	q.swept = now
	for _, m := range q.msgs {
		if q.expired(m, now) {
			q.drop(m)
			gone(m)
		}
	}
}

// wakeUp tells as many long polls as there are messages for them, and sees
// that the timer runs for the rest.
func (q *queue) wakeUp(now int64) {
	for n := q.ready.n; n > 0 && q.waiters.Len() > 0; n-- {
		w := q.waiters.Remove(q.waiters.Front()).(*waiter) //nolint:forcetypeassert // only waiters are in it
		w.wake <- struct{}{}
	}
	if q.waiters.Len() == 0 || len(q.timed) == 0 || q.gone {
		return
	}
	due := q.timed[0].due
	if q.armedFor != 0 && q.armedFor <= due {
		return
	}
	q.armedFor = due
	wait := time.Duration(due - now)
	if q.timer == nil {
		q.timer = time.AfterFunc(wait, q.onTimer)
	} else {
		q.timer.Reset(wait)
	}
}

func (q *queue) onTimer() {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now().UnixNano()
	q.armedFor = 0
	q.advance(now)
	q.wakeUp(now)
}

// wait registers a long poll.
func (q *queue) wait() (*waiter, *list.Element) {
	w := &waiter{wake: make(chan struct{}, 1)}
	return w, q.waiters.PushBack(w)
}

// leave ends a long poll that was not woken. If it was, at the same moment, the
// wake-up goes to the next in line.
func (q *queue) leave(w *waiter, e *list.Element) {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-w.wake:
		q.wakeUp(time.Now().UnixNano())
	default:
		q.waiters.Remove(e)
	}
}

// close wakes everybody who waits and stops the timer; later calls find gone.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gone = true
	for q.waiters.Len() > 0 {
		w := q.waiters.Remove(q.waiters.Front()).(*waiter) //nolint:forcetypeassert // only waiters are in it
		w.wake <- struct{}{}
	}
	if q.timer != nil {
		q.timer.Stop()
	}
}
