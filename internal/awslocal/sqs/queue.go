package sqs

import (
	"container/heap"
	"container/list"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// queue is one queue with its messages. Lock order: Service.mu before queue.mu, and
// never the locks of two queues together.
type queue struct {
	id      uint64
	name    string
	arn     string
	created int64 // Unix nanoseconds, like all times here

	settings atomic.Pointer[settings] // replaced with mu held, read without

	mu       sync.Mutex // guards the fields below
	tags     map[string]string
	deleted  bool
	msgs     map[uuid.UUID]*message
	ready    messageList // visible messages
	timed    dueHeap     // delayed messages and those in flight
	counts   [3]int      // messages by state
	waiters  list.List   // of *waiter, the longest-waiting first
	timer    *time.Timer // runs while there are waiters and timed messages
	armedFor int64       // when timer fires; 0 while it is stopped
	swept    int64       // the last sweep
	purged   int64       // the last PurgeQueue; lost at a restart
}

func (q *queue) init() { q.msgs = make(map[uuid.UUID]*message) }

// waiter is a waiting long poll. Its channel is buffered for one wake-up, so that
// waking never blocks.
type waiter struct{ wake chan struct{} }

// place puts m, which is in no list, into the heap with timedState if its due time is
// in the future, and otherwise into the list of visible messages.
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

// detach takes m out of its list or heap.
func (q *queue) detach(m *message) {
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

// remove deletes a message.
func (q *queue) remove(m *message) {
	q.detach(m)
	delete(q.msgs, m.id)
}

// advance makes the messages visible that are due.
func (q *queue) advance(now int64) {
	for len(q.timed) > 0 && q.timed[0].due <= now {
		m := q.timed[0]
		q.detach(m)
		m.due = 0
		q.place(m, now, visible)
	}
}

// expired reports whether the retention period of m has passed.
func (q *queue) expired(m *message, now int64) bool {
	return m.sent+int64(q.settings.Load().retention) < now
}

// sweep removes expired messages and calls removed for each, unless the last sweep was
// less than sweepEvery ago.
func (q *queue) sweep(now int64, removed func(*message)) {
	if now-q.swept < int64(sweepEvery) {
		return
	}
	q.swept = now
	for _, m := range q.msgs {
		if q.expired(m, now) {
			q.remove(m)
			removed(m)
		}
	}
}

// wakePolls wakes one long poll for each visible message. For the long polls that
// remain it starts the timer, which fires when the next timed message is due.
func (q *queue) wakePolls(now int64) {
	for n := q.ready.n; n > 0 && q.waiters.Len() > 0; n-- {
		w := q.waiters.Remove(q.waiters.Front()).(*waiter) //nolint:forcetypeassert // the list holds only waiters
		w.wake <- struct{}{}
	}
	if q.waiters.Len() == 0 || len(q.timed) == 0 || q.deleted {
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
	q.wakePolls(now)
}

// addWaiter registers a long poll.
func (q *queue) addWaiter() (*waiter, *list.Element) {
	w := &waiter{wake: make(chan struct{}, 1)}
	return w, q.waiters.PushBack(w)
}

// removeWaiter ends a long poll that stopped waiting. If the poll was woken at the same
// moment, the wake-up passes to the next one.
func (q *queue) removeWaiter(w *waiter, e *list.Element) {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-w.wake:
		q.wakePolls(time.Now().UnixNano())
	default:
		q.waiters.Remove(e)
	}
}

// close marks the queue as deleted, wakes all long polls and stops the timer.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.deleted = true
	for q.waiters.Len() > 0 {
		w := q.waiters.Remove(q.waiters.Front()).(*waiter) //nolint:forcetypeassert // the list holds only waiters
		w.wake <- struct{}{}
	}
	if q.timer != nil {
		q.timer.Stop()
	}
}
