package embedded

import (
	"container/heap"
	"context"
	"math"
	"slices"
	"time"

	"github.com/dapr/durabletask-go/api/protos"
)

// wakeUp is the timer id of an entry that is no durable timer: it wakes an
// instance for a scheduled start or for another attempt.
const wakeUp = -1

// timerEntry is a durable timer of an instance, or a wakeUp.
type timerEntry struct {
	at    int64 // in Unix nanoseconds, or never
	inst  *instance
	timer int32 // id, or wakeUp

	place      int32       // index in the heap
	prev, next *timerEntry // of the same instance
}

// never is the time of timers that stand for "wait without a time-out", and of
// others after the year 2261: Unix nanoseconds end in the next. The SDK gives the
// former the last instant of the year 9999.
const never = math.MaxInt64

// ringsAt returns when a timer of the given TimerFired event is due.
func ringsAt(e *protos.HistoryEvent) int64 { return ringing(e.GetTimerFired().GetFireAt().AsTime()) }

// ringing returns a time as timerEntry has it.
func ringing(at time.Time) int64 {
	switch year := at.Year(); {
	case year > 2261:
		return never
	case year < 1970:
		return 0
	}
	return at.UnixNano()
}

// timerHeap is a heap with the earliest entry on top. Each entry has its
// index, so that it can be removed: most entries are time-outs longer than the
// saga that sets them, and must not stay in memory when the saga has ended.
type timerHeap []*timerEntry

// Len implements heap.Interface, as do Less, Swap, Push and Pop.
func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = int32(i), int32(j)
}

func (h *timerHeap) Push(x any) {
	v := x.(*timerEntry) //nolint:forcetypeassert // heap.Push is called below only
	v.place = int32(len(*h))
	*h = append(*h, v)
}

func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	v := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return v
}

// add inserts x into the heap and into its instance's list. The heap owns x
// afterwards.
func (h *timerHeap) add(x *timerEntry) {
	heap.Push(h, x)
	x.next = x.inst.firstTimer
	if x.next != nil {
		x.next.prev = x
	}
	x.inst.firstTimer = x
}

func (h *timerHeap) remove(x *timerEntry) {
	heap.Remove(h, int(x.place))
	if x.prev != nil {
		x.prev.next = x.next
	} else {
		x.inst.firstTimer = x.next
	}
	if x.next != nil {
		x.next.prev = x.prev
	}
	x.prev, x.next = nil, nil
}

// cancelTimers removes all entries of an instance. The caller holds mu.
func (s *store) cancelTimers(i *instance) {
	for i.firstTimer != nil {
		s.timers.remove(i.firstTimer)
	}
}

// scheduleTimer adds a durable timer, unless it is never to fire. The caller
// holds mu.
func (s *store) scheduleTimer(t timerEntry) {
	if t.at != never {
		s.addTimer(t)
	}
}

// addTimer adds an entry and wakes fireTimers if it is the earliest. The caller
// holds mu.
func (s *store) addTimer(t timerEntry) {
	s.timers.add(&t)
	if s.timers[0] == &t {
		select {
		case s.timersChanged <- struct{}{}:
		default:
		}
	}
}

// fireTimers fires timers as they come due, until ctx ends.
func (s *store) fireTimers(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.timersChanged:
		case <-timer.C:
		}
		// Timers are due by the wall clock, which may be set, and goes on while the
		// machine is suspended. The clock that we sleep on does not.
		timer.Reset(min(s.fireDue(), time.Minute))
	}
}

// maxFired bounds how many timers fire under one hold of the lock: ten thousand
// due timers must not keep other callers waiting.
const maxFired = 256

// fireDue fires timers that are due, at most maxFired, and returns how long to
// wait for the next.
func (s *store) fireDue() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now().UnixNano()
	for range maxFired {
		if len(s.timers) == 0 {
			return time.Hour
		}
		t := s.timers[0]
		if wait := time.Duration(t.at - now); wait > 0 {
			return wait
		}
		s.timers.remove(t)
		s.fireTimer(t)
	}
	return 0
}

// fireTimer delivers a due timer to its instance. The caller holds mu.
func (s *store) fireTimer(t *timerEntry) {
	if t.timer != wakeUp {
		t.inst.decode()
		e, ok := t.inst.timers[t.timer]
		if ok && ringsAt(e) == t.at && !slices.Contains(t.inst.fired, e) {
			t.inst.fired = append(t.inst.fired, e)
		}
	}
	s.enqueue(t.inst)
}
