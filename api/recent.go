package api

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ordersaga/ordersaga/internal/fleet"
	"github.com/ordersaga/ordersaga/internal/order"
)

// maxClockSkew is how far ahead a worker's clock may be. Later records are ignored.
const maxClockSkew = time.Minute

// intervals is how many intervals Recent covers. The last two may still change.
const intervals = int(fleet.RecentTime/fleet.HeartbeatInterval) - 2

func alive(workers []fleet.Worker, at time.Time) []Worker {
	all := []Worker{}
	for _, w := range workers {
		if w.Alive(at) {
			all = append(all, Worker{ID: w.ID, Sagas: w.Sagas, SeenAt: w.LastSeen})
		}
	}
	return all
}

// newRecent adds up what the workers recorded since five minutes before now.
func newRecent(workers []fleet.Worker, now time.Time) Recent {
	r := Recent{
		Since: now.Add(-fleet.RecentTime).Truncate(fleet.HeartbeatInterval).Add(fleet.HeartbeatInterval), Ended: map[order.Status]int{},
		Starts: make([]float64, intervals), Ends: make([]float64, intervals), EndsByStatus: map[order.Status][]float64{},
	}
	durations := hdrhistogram.New(1, fleet.MaxDuration.Milliseconds(), fleet.DurationDigits)
	for _, w := range workers {
		ended := 0
		for _, interval := range w.Recent {
			if interval.At >= r.Since.Unix() && interval.At <= now.Add(maxClockSkew).Unix() {
				ended += r.add(interval)
			}
		}
		if ended > 0 && w.Durations != nil { // those of a stopped worker can be from before the period
			durations.Merge(w.Durations)
		}
	}
	r.P50, r.P99 = float64(durations.ValueAtQuantile(50))/1000, float64(durations.ValueAtQuantile(99))/1000
	r.Latency = latencyBuckets(durations)
	return r
}

// add adds an interval of a worker and returns how many orders ended in it.
func (r *Recent) add(interval fleet.Interval) (ended int) {
	seconds := fleet.HeartbeatInterval.Seconds()
	at := int((interval.At - r.Since.Unix()) / int64(seconds))
	for status, n := range interval.Ended {
		ended += n
		r.Ended[status] += n
		if r.EndsByStatus[status] == nil {
			r.EndsByStatus[status] = make([]float64, intervals)
		}
		if at < intervals {
			r.EndsByStatus[status][at] += float64(n) / seconds
		}
		if status != order.StatusCompleted && status != order.StatusRejected { // then nothing was reserved
			r.Undone += n
		}
	}
	r.Started += interval.Started
	r.Refunds += interval.Refunded
	if at < intervals {
		r.Starts[at] += float64(interval.Started) / seconds
		r.Ends[at] += float64(ended) / seconds
	}
	return ended
}
