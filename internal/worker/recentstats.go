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

// recentStats counts what this worker did in the last fleet.RecentTime, for the
// overview: orders end in any of the workers, and long after they were accepted, so
// no query of the orders' records could find them. It is safe for concurrent use.
type recentStats struct {
	mu        sync.Mutex
	now       func() time.Time
	current   int64            // Unix seconds at which the current interval began
	intervals []fleet.Interval // those in which something was done, oldest first
	took      *hdrhistogram.WindowedHistogram
}

const (
	// intervalSeconds is the length of an interval.
	intervalSeconds = int64(fleet.HeartbeatInterval / time.Second)
	// maxIntervals is how many intervals are recent.
	maxIntervals = int64(fleet.RecentTime / fleet.HeartbeatInterval)
)

func newRecentStats(now func() time.Time) *recentStats {
	s := &recentStats{
		now:  now,
		took: hdrhistogram.NewWindowed(int(maxIntervals), 1, fleet.MaxDuration.Milliseconds(), fleet.DurationDigits),
	}
	s.current = s.intervalStart()
	return s
}

func (s *recentStats) intervalStart() int64 {
	return s.now().Unix() / intervalSeconds * intervalSeconds
}

// interval returns the current interval. The caller holds mu.
func (s *recentStats) interval() *fleet.Interval {
	s.rotate()
	if n := len(s.intervals); n == 0 || s.intervals[n-1].At != s.current {
		s.intervals = append(s.intervals, fleet.Interval{At: s.current, Ended: map[order.Status]int{}})
	}
	return &s.intervals[len(s.intervals)-1]
}

// rotate drops what is not recent any more. The caller holds mu.
func (s *recentStats) rotate() {
	start := s.intervalStart()
	passed := (start - s.current) / intervalSeconds
	if passed < 0 { // the clock was set back: the times of the other intervals are unknown
		passed, s.intervals = maxIntervals, nil
	}
	for range min(passed, maxIntervals) {
		s.took.Rotate()
	}
	s.current = start
	oldest := s.current - int64(fleet.RecentTime/time.Second)
	s.intervals = slices.DeleteFunc(s.intervals, func(i fleet.Interval) bool { return i.At <= oldest })
}

// attempt counts the sagas that have started: those whose first step is done.
func (s *recentStats) attempt(a activities.Attempt) {
	if a.Activity != workflows.ReserveStock || a.Outcome() == "failed" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interval().Started++
}

// end counts a saga that has ended.
func (s *recentStats) end(e activities.End) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.interval()
	i.Ended[e.Status]++
	if e.Refunded {
		i.Refunded++
	}
	if e.Took > 0 {
		_ = s.took.Current.RecordValue(max(min(e.Took, fleet.MaxDuration).Milliseconds(), 1)) // fails only outside of these limits
	}
}

// snapshot copies the recent intervals and durations into a heartbeat.
func (s *recentStats) snapshot(w *fleet.Worker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rotate()
	w.Recent, w.Durations = slices.Clone(s.intervals), nil
	for i := range w.Recent {
		w.Recent[i].Ended = maps.Clone(w.Recent[i].Ended)
	}
	if all := s.took.Merge(); all.TotalCount() > 0 {
		w.Durations = all.Clone()
	}
}
