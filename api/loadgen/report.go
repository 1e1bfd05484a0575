package loadgen

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ordersaga/ordersaga/internal/order"
)

// Report is the result of a run.
type Report struct {
	Loop        string               `json:"loop"` // open or closed
	Rate        float64              `json:"rate,omitempty"`
	Concurrency int                  `json:"concurrency,omitempty"`
	Mix         Mix                  `json:"mix"`     // null for Templates
	Seconds     float64              `json:"seconds"` // until the last order was sent
	All         float64              `json:"allSeconds"`
	Sent        int                  `json:"sent"`
	Accepted    int                  `json:"accepted"`
	Refused     map[string]int       `json:"refused"` // by HTTP status, "no answer" without one
	Ended       map[order.Status]int `json:"ended"`
	Open        int                  `json:"open"`
	// Unexpected counts orders whose outcome is not that of their kind.
	Unexpected map[string]int `json:"unexpected"`
	SentRate   float64        `json:"sentPerSecond"`
	EndRate    float64        `json:"endedPerSecond"`
	// Accept is the time from when an order was due until the API had accepted it.
	// End adds the time until its saga ended, by the system's clock.
	Accept Latency `json:"accept"`
	End    Latency `json:"end"`
	Last   string  `json:"lastError,omitempty"`
}

// Latency is a distribution in seconds.
type Latency struct {
	Count   int64    `json:"count"`
	Mean    float64  `json:"mean"`
	P50     float64  `json:"p50"`
	P90     float64  `json:"p90"`
	P99     float64  `json:"p99"`
	P999    float64  `json:"p999"`
	Max     float64  `json:"max"`
	Buckets []Bucket `json:"buckets"`
}

// Bucket counts the latencies up to Le that are above the previous bucket's Le.
type Bucket struct {
	Le    float64 `json:"le"`
	Count int64   `json:"count"`
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, time.Hour.Microseconds(), 3)
}

func record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(d.Microseconds(), 1), time.Hour.Microseconds())) // cannot fail: the value is in range
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	s := func(us int64) float64 { return float64(us) / 1e6 }
	l := Latency{
		Count: h.TotalCount(), Mean: h.Mean() / 1e6, Max: s(h.Max()), Buckets: []Bucket{},
		P50: s(h.ValueAtQuantile(50)), P90: s(h.ValueAtQuantile(90)), P99: s(h.ValueAtQuantile(99)), P999: s(h.ValueAtQuantile(99.9)),
	}
	var counts []int64 // by the number of the bucket's limit
	for _, bar := range h.Distribution() {
		if bar.Count == 0 {
			continue
		}
		n := 0
		for limit(n) < bar.To {
			n++
		}
		counts = append(counts, make([]int64, max(n+1-len(counts), 0))...)
		counts[n] += bar.Count
	}
	for n, c := range counts {
		if c > 0 || len(l.Buckets) > 0 { // from the first bucket that is not empty
			l.Buckets = append(l.Buckets, Bucket{Le: s(limit(n)), Count: c})
		}
	}
	return l
}

// limit returns the upper limit of the n-th bucket in microseconds, three per
// decade.
func limit(n int) int64 {
	return []int64{1, 2, 5}[n%3] * int64(math.Pow10(n/3))
}

// result returns the report so far.
func (r *run) result(placing time.Duration) Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	rep := r.report
	rep.Refused, rep.Ended, rep.Unexpected = maps.Clone(rep.Refused), maps.Clone(rep.Ended), maps.Clone(rep.Unexpected)
	rep.Seconds, rep.All, rep.Open, rep.Last = placing.Seconds(), time.Since(r.start).Seconds(), len(r.open), r.lastErr
	rep.SentRate = float64(rep.Sent) / rep.Seconds
	rep.Accept, rep.End = latencyOf(r.accepts), latencyOf(r.ends)
	rep.EndRate = float64(rep.End.Count) / rep.All
	return rep
}

// Line returns the report on one line, to show progress.
func (r Report) Line() string {
	return fmt.Sprintf("%5.0fs  %6d sent  %6.1f/s  %6d ended  %6.1f/s  %5d open  p50 %-8s p99 %-8s %s",
		r.All, r.Sent, r.SentRate, r.End.Count, r.EndRate, r.Open, seconds(r.End.P50), seconds(r.End.P99), spark(r.End.Buckets))
}

// spark draws a histogram with one character per bucket.
func spark(buckets []Bucket) string {
	most := int64(1)
	for _, b := range buckets {
		most = max(most, b.Count)
	}
	var s strings.Builder
	for _, b := range buckets {
		s.WriteRune([]rune(" ▁▂▃▄▅▆▇█")[int(math.Ceil(float64(b.Count)/float64(most)*8))])
	}
	return s.String()
}

// Text writes the report as text.
func (r Report) Text(w io.Writer) error {
	var s strings.Builder
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(&s, format, args...) } // never fails
	loop := fmt.Sprintf("open loop, %g orders/s", r.Rate)
	if r.Loop == "closed" {
		loop = fmt.Sprintf("closed loop, %d concurrent", r.Concurrency)
	}
	p("%s: %d orders in %.1fs, %.1f/s; %d sagas ended in %.1fs, %.1f/s; %d open\n",
		loop, r.Sent, r.Seconds, r.SentRate, r.End.Count, r.All, r.EndRate, r.Open)
	counts := func(label string, m map[string]int) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			p("  %-12s %-24s %7d\n", label, k, m[k])
		}
	}
	for _, st := range order.Statuses() {
		if n := r.Ended[st]; n > 0 {
			p("  %-12s %-24s %7d\n", "ended", st, n)
		}
	}
	counts("refused", r.Refused)
	counts("UNEXPECTED", r.Unexpected)
	for _, l := range []struct {
		name string
		Latency
	}{{"until accepted", r.Accept}, {"until ended", r.End}} {
		if l.Count == 0 {
			continue
		}
		p("\n%s: p50 %s  p90 %s  p99 %s  p99.9 %s  max %s\n",
			l.name, seconds(l.P50), seconds(l.P90), seconds(l.P99), seconds(l.P999), seconds(l.Max))
		most := int64(1)
		for _, b := range l.Buckets {
			most = max(most, b.Count)
		}
		for _, b := range l.Buckets {
			p("  ≤ %-8s %7d  %s\n", seconds(b.Le), b.Count, strings.Repeat("█", int(math.Ceil(float64(b.Count)/float64(most)*50))))
		}
	}
	if r.Last != "" {
		p("\nlast error: %s\n", r.Last)
	}
	if _, err := io.WriteString(w, s.String()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.String()
}
