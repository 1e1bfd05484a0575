package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// result holds the measurements of a system.
type result struct {
	system

	rates      []float64       // sagas per second of each round, with many in flight
	lone, many []time.Duration // latencies with one in flight, and with many
	failed     error           // the first error, after which it is not measured again
}

// last returns the latest measurement as text.
func (r result) last() string {
	if r.failed != nil {
		line, _, _ := strings.Cut(r.failed.Error(), "\n")
		return line
	}
	return fmt.Sprintf("%.0f sagas/s, a single one %s", r.rates[len(r.rates)-1], short(percentile(r.lone, .5)))
}

// report holds the results of a run.
type report struct {
	options

	began   time.Time
	fsyncs  []float64 // of the disk, per second, in each round
	results []result
}

// target is the number of times that fsync=group should be faster than another system.
type target struct {
	over  string
	times float64
}

var targets = []target{{over: dbosName, times: 8}, {over: dtmName, times: 12}, {over: sqliteName, times: 100}}

// loneTarget is the target for the p99 of a single saga with fsync=group.
const loneTarget = 5 * time.Millisecond

// markdown returns the report as Markdown.
func (r report) markdown() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s, %d cores, %s; %d rounds in %s; the disk made %.0f single 4 KiB writes with fsync per second (%s).\n\n",
		r.began.Format(time.DateOnly), runtime.NumCPU(), runtime.Version(), r.rounds,
		time.Since(r.began).Round(time.Second), median(r.fsyncs), spread(r.fsyncs))
	fmt.Fprintf(&b, "| | on disk when acknowledged | %d in flight, sagas/s | min–max | p50 | p99 "+
		"| one in flight, p50 | p99 | fsync=group is |\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n", r.inFlight)
	for _, s := range r.results {
		if len(s.rates) == 0 {
			line, _, _ := strings.Cut(s.failed.Error(), "\n")
			fmt.Fprintf(&b, "| %s | %s | %s | | | | | | |\n", s.name, s.syncs, line)
			continue
		}
		times := ""
		if ratio := r.ratios(s.name); ratio != nil && s.name != ours {
			times = fmt.Sprintf("%.2g ×", median(ratio))
			if median(ratio) >= 10 {
				times = fmt.Sprintf("%.0f ×", median(ratio))
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %.0f | %s | %s | %s | %s | %s | %s |\n", s.name, s.syncs, median(s.rates), spread(s.rates),
			short(percentile(s.many, .5)), short(percentile(s.many, .99)),
			short(percentile(s.lone, .5)), short(percentile(s.lone, .99)), times)
	}
	b.WriteString("\n| target, with fsync=group | this run (min–max over the rounds) | |\n|---|--:|---|\n")
	for _, t := range targets {
		if ratio := r.ratios(t.over); ratio != nil {
			fmt.Fprintf(&b, "| at least %.0f × %s | %.1f × (%.1f–%.1f) | %s |\n",
				t.times, t.over, median(ratio), slices.Min(ratio), slices.Max(ratio), reached(median(ratio) >= t.times))
		}
	}
	if i := slices.IndexFunc(r.results, func(s result) bool { return s.name == ours && len(s.rates) > 0 }); i >= 0 {
		p99 := percentile(r.results[i].lone, .99)
		fmt.Fprintf(&b, "| a single saga's p99 under %s | %s (%d sagas) | %s |\n",
			short(loneTarget), short(p99), len(r.results[i].lone), reached(p99 < loneTarget))
	}
	b.WriteString("\nSources for the durability column:\n\n")
	for _, s := range r.results {
		if s.source != "" {
			fmt.Fprintf(&b, "- %s: %s\n", strings.Trim(s.name, "*"), s.source)
		}
	}
	return b.String()
}

// reached formats whether a target is reached.
func reached(ok bool) string {
	if ok {
		return "reached"
	}
	return "**missed**"
}

// ratios returns how many times faster than another system fsync=group was in each round. A
// slow period of the machine affects both, so ratios vary less than rates.
func (r report) ratios(other string) (times []float64) {
	find := func(name string) result {
		i := slices.IndexFunc(r.results, func(s result) bool { return s.name == name })
		if i < 0 {
			return result{}
		}
		return r.results[i]
	}
	a, b := find(ours), find(other)
	for i := range min(len(a.rates), len(b.rates)) {
		times = append(times, a.rates[i]/b.rates[i])
	}
	return times
}

// spread formats the range of values.
func spread(v []float64) string { return fmt.Sprintf("%.0f–%.0f", slices.Min(v), slices.Max(v)) }

const (
	beginMark = "<!-- make bench-engine writes from here -->\n"
	endMark   = "<!-- to here -->\n"
)

// write writes the tables between the marks in benchmarks.md, and the charts into the directory
// assets beside it.
func (r report) write() error {
	file := filepath.Join(r.docs, "benchmarks.md")
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the document: %w", err)
	}
	before, rest, ok := strings.Cut(string(text), beginMark)
	_, after, ok2 := strings.Cut(rest, endMark)
	if !ok || !ok2 {
		return fmt.Errorf("%s does not have the marks %q and %q around the results", file, beginMark, endMark)
	}
	if err := os.WriteFile(file, []byte(before+beginMark+r.markdown()+endMark+after), 0o644); err != nil { //nolint:gosec // a document
		return fmt.Errorf("write the document: %w", err)
	}
	assets := filepath.Join(r.docs, "assets")
	return errors.Join(
		r.plotRates(filepath.Join(assets, "bench-engine.svg")),
		r.plotLatency(filepath.Join(assets, "bench-engine-latency.svg")),
	)
}
