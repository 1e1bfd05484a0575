package api

import (
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// LatencyBucket is a bar of a histogram of durations. Its lower bound is the
// upper bound of the bucket before it.
type LatencyBucket struct {
	UpTo  float64 `json:"upToSeconds" doc:"Upper bound, included." example:"0.05"`
	Count int64   `json:"count" doc:"Orders that took no longer than this and longer than the bucket before." example:"12"`
}

// latencyBounds are the upper bounds of the buckets in milliseconds, apart from
// the last one, which has everything that took longer.
var latencyBounds = []int64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 60_000, 300_000, 3_600_000, 86_400_000}

// latencyBuckets sums up a histogram of milliseconds from its first bucket that
// has orders to its last. It returns an empty slice if there are none.
func latencyBuckets(h *hdrhistogram.Histogram) []LatencyBucket {
	all := make([]LatencyBucket, len(latencyBounds)+1)
	for i, bound := range latencyBounds {
		all[i].UpTo = float64(bound) / 1000
	}
	all[len(latencyBounds)].UpTo = float64(h.HighestTrackableValue()) / 1000
	for _, bar := range h.Distribution() {
		i, _ := slices.BinarySearch(latencyBounds, bar.From) // From is within 1 % of what was recorded
		all[i].Count += bar.Count
	}
	filled := func(b LatencyBucket) bool { return b.Count > 0 }
	first := slices.IndexFunc(all, filled)
	if first < 0 {
		return []LatencyBucket{}
	}
	last := len(all) - 1
	for !filled(all[last]) {
		last--
	}
	return all[first : last+1]
}
