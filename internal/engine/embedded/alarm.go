package embedded

import (
	"container/heap"
	"context"
	"slices"
	"time"
)

// alarm is a durable timer, or, with timer -1, the time of a scheduled start
// or of another try.
type alarm struct {
	at    time.Time
	inst  *instance
	timer int32 // id

	place      int32  // in the heap
	prev, next *alarm // of the same instance
}

// alarms is a heap, the earliest on top, in which each knows its place: most
// are of time-outs longer than the saga that sets them, and must not stay
// when it has ended.
type alarms []*alarm

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a alarms) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].place, a[j].place = int32(i), int32(j)
}

func (a *alarms) Push(x any) {
	v := x.(*alarm) //nolint:forcetypeassert // heap.Push is called below only
	v.place = int32(len(*a))
	*a = append(*a, v)
}

func (a *alarms) Pop() any {
	last := len(*a) - 1
	v := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	return v
}

// add takes over x.
func (a *alarms) add(x *alarm) {
	heap.Push(a, x)
	if x.next = x.inst.alarms; x.next != nil {
		x.next.prev = x
	}
	x.inst.alarms = x
}

func (a *alarms) remove(x *alarm) {
	heap.Remove(a, int(x.place))
	if x.prev != nil {
		x.prev.next = x.next
	} else {
		x.inst.alarms = x.next
	}
	if x.next != nil {
		x.next.prev = x.prev
	}
	x.prev, x.next = nil, nil
}

// silence removes all alarms of an instance; mu is held.
func (s *store) silence(i *instance) {
	for i.alarms != nil {
		s.alarms.remove(i.alarms)
	}
}

// setAlarm plans a durable timer; mu is held.
func (s *store) setAlarm(a alarm) {
	if a.at.Year() < neverYear {
		s.addAlarm(a)
	}
}

func (s *store) addAlarm(a alarm) {
	s.alarms.add(&a)
	if s.alarms[0] == &a {
		select {
		case s.alarmSet <- struct{}{}:
		default:
		}
	}
}

// ring fires alarms until ctx ends.
func (s *store) ring(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.alarmSet:
		case <-timer.C:
		}
		s.mu.Lock()
		// A bounded lot at a time: ten thousand due timers must not hold the
		// lock while others wait for it.
		now, next := time.Now(), time.Hour
		for n := 0; len(s.alarms) > 0; n++ {
			if next = s.alarms[0].at.Sub(now); next > 0 {
				break
			}
			if n == 256 {
				next = 0
				break
			}
			a := s.alarms[0]
			s.alarms.remove(a)
			s.fire(a)
		}
		s.mu.Unlock()
		timer.Reset(next)
	}
}

// fire gives an instance a timer that is due.
func (s *store) fire(a *alarm) {
	if a.timer >= 0 {
		a.inst.unpack()
		e, ok := a.inst.timers[a.timer]
		if ok && e.GetTimerFired().GetFireAt().AsTime().Equal(a.at) && !slices.Contains(a.inst.fired, e) {
			a.inst.fired = append(a.inst.fired, e)
		}
	}
	s.enqueue(a.inst)
	a.inst.pack()
}
