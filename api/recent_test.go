package api

import (
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ordersaga/ordersaga/internal/fleet"
	"github.com/ordersaga/ordersaga/internal/order"
)

// TestRecentAddsUpEveryWorker: the records of all workers, stopped ones too, are added up by
// the time of the work.
func TestRecentAddsUpEveryWorker(t *testing.T) {
	now := time.Date(2026, 11, 25, 10, 0, 2, 0, time.UTC)
	span := func(ago time.Duration, started int, ended map[order.Status]int, refunded int) fleet.Interval {
		return fleet.Interval{At: now.Add(-ago).Truncate(fleet.HeartbeatInterval).Unix(), Started: started, Ended: ended, Refunded: refunded}
	}
	took := func(ms ...int64) *hdrhistogram.Histogram {
		h := hdrhistogram.New(1, fleet.MaxDuration.Milliseconds(), fleet.DurationDigits)
		for _, d := range ms {
			if err := h.RecordValue(d); err != nil {
				t.Fatalf("unexpected error: %v", err)
			}
		}
		return h
	}
	r := newRecent([]fleet.Worker{
		{Recent: []fleet.Interval{
			span(5*time.Minute, 1000, nil, 0), // is not recent any more
			span(5*time.Minute-fleet.HeartbeatInterval, 10, map[order.Status]int{order.StatusCompleted: 5}, 0),
			span(2*fleet.HeartbeatInterval, 0, map[order.Status]int{order.StatusCancelled: 2, order.StatusRejected: 1}, 1),
			span(fleet.HeartbeatInterval, 3, nil, 0), // other workers may still record it
		}, Durations: took(100, 100, 100)},
		{Stopped: true, Recent: []fleet.Interval{span(2*fleet.HeartbeatInterval, 15, map[order.Status]int{order.StatusFailed: 2},
			2)}, Durations: took(60_000)},
		{},
		{Recent: []fleet.Interval{span(-10*time.Second, 1, nil, 0)}}, // its clock is fast
		{Recent: []fleet.Interval{span(-time.Hour, 1000, nil, 0)}},   // that cannot be
		{
			Stopped: true, Recent: []fleet.Interval{span(6*time.Minute, 0, map[order.Status]int{order.StatusFailed: 9}, 0)},
			Durations: took(3_600_000),
		},
	}, now)
	if want := now.Add(-2*time.Second - fleet.RecentTime + fleet.HeartbeatInterval); !r.Since.Equal(want) {
		t.Errorf("since %s, want %s", r.Since, want)
	}
	if r.Started != 29 || r.Ended[order.StatusCompleted] != 5 || r.Ended[order.StatusFailed] != 2 || r.Undone != 4 || r.Refunds != 3 {
		t.Errorf("recent = %+v, want 29 started, 5 COMPLETED, 2 FAILED, 4 undone and 3 refunds", r)
	}
	if r.P50 != 0.1 || r.P99 < 59 || r.P99 > 61 {
		t.Errorf("p50 = %g s, p99 = %g s, want 0.1 s and 59 s to 61 s", r.P50, r.P99)
	}
	last := len(r.Starts) - 1
	if failed := r.EndsByStatus[order.StatusFailed]; len(failed) != last+1 || failed[last] != 0.4 ||
		r.EndsByStatus[order.StatusCompleted][0] != 1 {
		t.Errorf("ends by status %v, want 0.4 FAILED a second at the end, 1 COMPLETED at the start", r.EndsByStatus)
	}
	if n := len(r.Latency); n != 9 || r.Latency[0] != (LatencyBucket{UpTo: 0.1, Count: 3}) ||
		r.Latency[n-1] != (LatencyBucket{UpTo: 60, Count: 1}) || r.Latency[1].Count != 0 {
		t.Errorf("latency = %v, want 9 buckets: first 3 orders up to 0.1 s, then none, last 1 up to 60 s", r.Latency)
	}
	if last != 57 || r.Starts[0] != 2 || r.Ends[0] != 1 || r.Starts[last] != 3 || r.Ends[last] != 1 || r.Starts[1] != 0 {
		t.Errorf("starts %v\nends %v\nwant 58 values each: starts 2, 0, ... 3 and ends 1, ... 1", r.Starts, r.Ends)
	}
}
