package worker

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ordersaga/ordersaga/activities"
	"github.com/ordersaga/ordersaga/internal/fleet"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/workflows"
)

// lately counts what this worker did in the last stock.RecentTime, for the
// overview: orders end in any of the workers, and long after they were
// accepted, so no reader could find them by the orders' records.
type lately struct {
	mu    sync.Mutex
	now   func() time.Time
	at    int64            // of the span that goes on
	spans []fleet.Interval // those in which something was done
	took  *hdrhistogram.WindowedHistogram
}

const spans = int64(fleet.RecentTime / fleet.HeartbeatInterval)

func newLately(now func() time.Time) *lately {
	l := &lately{now: now, took: hdrhistogram.NewWindowed(int(spans), 1, fleet.MaxDuration.Milliseconds(), fleet.DurationDigits)}
	l.at = l.spanNow()
	return l
}

func (l *lately) spanNow() int64 {
	beat := int64(fleet.HeartbeatInterval / time.Second)
	return l.now().Unix() / beat * beat
}

// span is the one that goes on. The caller holds mu.
func (l *lately) span() *fleet.Interval {
	l.turn()
	if n := len(l.spans); n == 0 || l.spans[n-1].At != l.at {
		l.spans = append(l.spans, fleet.Interval{At: l.at, Ended: map[order.Status]int{}})
	}
	return &l.spans[len(l.spans)-1]
}

// turn forgets what is not recent any more. The caller holds mu.
func (l *lately) turn() {
	now := l.spanNow()
	passed := (now - l.at) / int64(fleet.HeartbeatInterval/time.Second)
	if passed < 0 { // somebody has set the clock back: when the others were is not known
		passed, l.spans = spans, nil
	}
	for range min(passed, spans) {
		l.took.Rotate()
	}
	l.at = now
	oldest := l.at - int64(fleet.RecentTime/time.Second)
	l.spans = slices.DeleteFunc(l.spans, func(s fleet.Interval) bool { return s.At <= oldest })
}

// attempt counts the sagas that have begun: those whose first step is done.
func (l *lately) attempt(a activities.Attempt) {
	if a.Activity != workflows.ReserveStock || a.Outcome() == "failed" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.span().Started++
}

func (l *lately) end(e activities.End) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.span()
	s.Ended[e.Status]++
	if e.Refunded {
		s.Refunded++
	}
	if e.Took > 0 {
		_ = l.took.Current.RecordValue(max(min(e.Took, fleet.MaxDuration).Milliseconds(), 1)) // fails only outside of these
	}
}

// say tells what was counted.
func (l *lately) say(w *fleet.Worker) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn()
	w.Recent, w.Durations = slices.Clone(l.spans), nil
	for i := range w.Recent {
		w.Recent[i].Ended = maps.Clone(w.Recent[i].Ended)
	}
	if all := l.took.Merge(); all.TotalCount() > 0 {
		w.Durations = all.Clone()
	}
}
