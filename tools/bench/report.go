package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ordersaga/ordersaga/tools/bench/measure"
)

// result holds the measurements of a system.
type result struct {
	system

	rounds []measure.System
	failed error // why it did not run; it is not measured again after that
}

// last returns the latest measurement as text.
func (r result) last() string {
	if r.failed != nil {
		return "did not run: " + r.reason()
	}
	m := r.rounds[len(r.rounds)-1]
	return fmt.Sprintf("%.0f sagas/s, a single one %s", m.Many.Rate, short(measure.Percentile(m.Lone.Took, .5)))
}

// reason returns the first line of why the system did not run.
func (r result) reason() string {
	line, _, _ := strings.Cut(r.failed.Error(), "\n")
	return line
}

// rates returns the sagas per second of each round, with many in flight.
func (r result) rates() (v []float64) {
	for _, m := range r.rounds {
		v = append(v, m.Many.Rate)
	}
	return v
}

// lone returns the latencies with one saga in flight.
func (r result) lone() (v []time.Duration) {
	for _, m := range r.rounds {
		v = append(v, m.Lone.Took...)
	}
	return v
}

// many returns the latencies with many sagas in flight.
func (r result) many() (v []time.Duration) {
	for _, m := range r.rounds {
		v = append(v, m.Many.Took...)
	}
	return v
}

// allocations returns the allocations per saga, with many in flight.
func (r result) allocations() float64 {
	var v []float64
	for _, m := range r.rounds {
		v = append(v, m.Many.Alloc)
	}
	return measure.Median(v)
}

// report holds the results of a run.
type report struct {
	options

	machine, commit string
	began           time.Time
	took            time.Duration
	fsyncs          []time.Duration // of the disk, in all rounds
	results         []result
	allocations     map[string]float64 // of BenchmarkThreeActivities/group/64, by system
	memory          waiting
	memoryFailed    error // why memory was not measured
}

// markdown returns the report as Markdown, in the parts between the marks of benchmarks.md.
func (r report) markdown() (systems, waiting string) {
	var b bytes.Buffer
	r.heading(&b)
	r.speed(&b)
	b.WriteString("\nWhere the second column comes from:\n\n")
	for _, s := range r.results {
		if s.source != "" {
			fmt.Fprintf(&b, "- %s: %s\n", strings.Trim(s.name, "*"), s.source)
		}
	}
	b.WriteString("\n### Targets of the embedded engine\n\nAre its targets reached, in the same run?\n\n")
	r.targets(&b)
	systems = b.String()
	b.Reset()
	r.heading(&b)
	r.waitingSagas(&b)
	return systems, b.String()
}

// heading writes when, where and how the report was made.
func (r report) heading(b *bytes.Buffer) {
	fmt.Fprintf(b, "| date | commit | command | machine |\n|---|---|---|---|\n"+
		"| %s | `%s` | `make bench-engine`, %d rounds in %s | %s; one 4 KiB write with fsync takes %s (p99 %s) |\n\n",
		r.began.Format(time.DateOnly), r.commit, r.rounds, r.took.Round(time.Second), r.machine,
		short(measure.Percentile(r.fsyncs, .5)), short(measure.Percentile(r.fsyncs, .99)))
}

// speed writes the table of all systems.
func (r report) speed(b *bytes.Buffer) {
	fmt.Fprintf(b, "| | on disk when acknowledged | %d in flight, sagas/s | min–max | p50 | p99 | one in flight, p50 | p99 "+
		"| allocations per saga | the first is | it is, of `%s` |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n", r.inFlight, r.baseline)
	for _, s := range r.results {
		if len(s.rounds) == 0 {
			fmt.Fprintf(b, "| %s | %s | did not run: %s | | | | | | | | |\n", s.name, s.syncs, strings.ReplaceAll(s.reason(), "|", "\\|"))
			continue
		}
		allocs := ""
		if strings.Contains(s.name, "embedded") {
			allocs = fmt.Sprintf("%.0f", s.allocations())
		}
		fmt.Fprintf(b, "| %s | %s | %.0f | %s | %s | %s | %s | %s | %s | %s | %s |\n", s.name, s.syncs,
			measure.Median(s.rates()), spread(s.rates()),
			short(measure.Percentile(s.many(), .5)), short(measure.Percentile(s.many(), .99)),
			short(measure.Percentile(s.lone(), .5)), short(measure.Percentile(s.lone(), .99)),
			allocs, times(r.ratios(ours, s.name)), times(r.ratios(s.name, baselineName(r.baseline))))
	}
}

// waitingSagas writes the table of the memory that waiting sagas take.
func (r report) waitingSagas(b *bytes.Buffer) {
	w := r.memory
	if w.Sagas == 0 {
		fmt.Fprintf(b, "Did not run: %s.\n", r.whyNoMemory())
		return
	}
	fmt.Fprintf(b, "| %d sagas wait for approval, with %d bytes of state each | |\n|---|--:|\n", w.Sagas, w.StateBytes)
	for _, row := range [][2]string{
		{"heap per saga, after it ran", fmt.Sprintf("%.0f bytes", w.HeapRan)},
		{"heap per saga, after a restart", fmt.Sprintf("%.0f bytes", w.HeapRestarted)},
		{"resident memory at most, with the collector's headroom", fmt.Sprintf("%.2f GB", w.Resident)},
		{"restart until all are loaded", short(w.Restart)},
		{"on disk, in a snapshot", fmt.Sprintf("%.2f GB", float64(w.DiskBytes)/1e9)},
		{"snapshot, beside reads and starts", short(w.Snapshot)},
		{"longest read of a saga during the snapshot (before it)", besideAlone(w.Read)},
		{"longest pause of a loop that does the same without the engine", besideAlone(w.Machine)},
		{"longest start of a saga, with its fsync (before it)", besideAlone(w.Start)},
	} {
		fmt.Fprintf(b, "| %s | %s |\n", row[0], row[1])
	}
}

// besideAlone formats the longest of the calls during a snapshot, and of those before it.
func besideAlone(p pauses) string { return short(p.Beside) + " (" + short(p.Alone) + ")" }

// whyNoMemory returns why the memory was not measured.
func (r report) whyNoMemory() string {
	if r.memoryFailed == nil {
		return "`-waiting 0`"
	}
	line, _, _ := strings.Cut(r.memoryFailed.Error(), "\n")
	return line
}

// ratios returns how many times faster one system was than another in each round. A slow period
// of the machine affects both, so ratios vary less than rates.
func (r report) ratios(one, other string) (v []float64) {
	a, b := r.find(one).rates(), r.find(other).rates()
	for i := range min(len(a), len(b)) {
		v = append(v, a[i]/b[i])
	}
	return v
}

// find returns the result of a system, which is empty if it was not measured.
func (r report) find(name string) result {
	i := slices.IndexFunc(r.results, func(s result) bool { return s.name == name })
	if i < 0 {
		return result{}
	}
	return r.results[i]
}

// times formats the median of ratios with two significant digits.
func times(ratios []float64) string {
	if len(ratios) == 0 {
		return ""
	}
	switch m := measure.Median(ratios); {
	case m >= 10:
		return fmt.Sprintf("%.0f ×", m)
	case m >= 1:
		return fmt.Sprintf("%.1f ×", m)
	default:
		return fmt.Sprintf("%.2g ×", m)
	}
}

// spread formats the range of values.
func spread(v []float64) string { return fmt.Sprintf("%.0f–%.0f", slices.Min(v), slices.Max(v)) }

// short formats a duration with three significant digits, in ms or s.
func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + " s"
	case d >= 100*time.Millisecond:
		return strconv.FormatFloat(d.Seconds()*1e3, 'f', 0, 64) + " ms"
	}
	return strconv.FormatFloat(d.Seconds()*1e3, 'f', 2, 64) + " ms"
}

// write writes the tables between their marks in benchmarks.md, and the charts into the
// directory assets beside it.
func (r report) write() error {
	file := filepath.Join(r.docs, "benchmarks.md")
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the document: %w", err)
	}
	systems, waiting := r.markdown()
	page, err1 := between(string(text), "systems", systems)
	page, err2 := between(page, "waiting sagas", waiting)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	if err := os.WriteFile(file, []byte(page), 0o644); err != nil { //nolint:gosec // a document
		return fmt.Errorf("write the document: %w", err)
	}
	assets := filepath.Join(r.docs, "assets")
	return errors.Join(
		r.plotRates(filepath.Join(assets, "bench-engine.svg")),
		r.plotLatency(filepath.Join(assets, "bench-engine-latency.svg")),
	)
}

// between replaces what is between the marks of a part of a page.
func between(page, part, text string) (string, error) {
	begin, end := "<!-- make bench-engine: "+part+" -->\n", "<!-- make bench-engine: end of "+part+" -->\n"
	before, rest, ok := strings.Cut(page, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return page, fmt.Errorf("the marks %q and %q are missing", begin, end)
	}
	return before + begin + text + end + after, nil
}
