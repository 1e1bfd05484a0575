package main

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/ordersaga/ordersaga/tools/bench/measure"
)

// target is a goal for the embedded engine with fsync=group, and what a run has shown.
type target struct {
	goal    string
	shown   string // "" if it was not measured
	reached bool
}

// targets writes the table of the goals.
func (r report) targets(b *bytes.Buffer) {
	b.WriteString("| target | this run (min–max over the rounds) | |\n|---|--:|---|\n")
	all := []target{
		r.faster(1.8, baselineName(r.baseline)),
		r.faster(12, dbosName),
		r.faster(12, restateName),
		r.faster(12, serviceName),
	}
	allocs := target{goal: "at most 450 allocations per saga of `BenchmarkThreeActivities/group/64`"}
	if n := r.allocations[ours]; n > 0 {
		allocs.shown, allocs.reached = fmt.Sprintf("%.0f", n), n <= 450
		if before := r.allocations[baselineName(r.baseline)]; before > 0 {
			allocs.shown += fmt.Sprintf(" (%s: %.0f)", r.baseline, before)
		}
	}
	p99 := target{goal: "a lone saga's p99 at most 3 ms"}
	if us := r.find(ours); len(us.rounds) > 0 {
		took := measure.Percentile(us.lone(), .99)
		p99.shown = fmt.Sprintf("%s (%d sagas; one write with fsync: %s)", short(took), len(us.lone()), short(measure.Percentile(r.fsyncs, .99)))
		p99.reached = took <= 3*time.Millisecond
	}
	heap := target{goal: "at most 1.2 KB of heap per saga that waits for approval"}
	restart := target{goal: "a million waiting sagas restarted in at most 8 s"}
	pause := target{goal: "a snapshot pauses others for at most 5 ms"}
	if w := r.memory; w.Sagas > 0 {
		bytes := max(w.HeapRan, w.HeapRestarted)
		heap.shown, heap.reached = fmt.Sprintf("%.2f KB", bytes/1000), bytes <= 1200
		if w.Sagas >= 1_000_000 {
			restart.shown, restart.reached = short(w.Restart), w.Restart <= 8*time.Second
		}
		pause.shown = fmt.Sprintf("reads: %s (without the engine: %s)", short(w.Read.Beside), short(w.Machine.Beside))
		pause.reached = w.Read.Beside <= 5*time.Millisecond
	}
	for _, t := range append(all, allocs, p99, heap, restart, pause) {
		fmt.Fprintf(b, "| %s | %s |\n", t.goal, t.outcome())
	}
}

// faster returns the target of being a number of times faster than another system.
func (r report) faster(by float64, than string) target {
	t := target{goal: fmt.Sprintf("at least %g × %s", by, than)}
	if ratios := r.ratios(ours, than); len(ratios) > 0 {
		m := measure.Median(ratios)
		t.shown = fmt.Sprintf("%.2f × (%.2f–%.2f)", m, slices.Min(ratios), slices.Max(ratios))
		t.reached = m >= by
	}
	return t
}

// outcome formats what was measured, and whether it reaches the target.
func (t target) outcome() string {
	switch {
	case t.shown == "":
		return "| did not run"
	case t.reached:
		return t.shown + " | reached"
	}
	return t.shown + " | **missed**"
}
