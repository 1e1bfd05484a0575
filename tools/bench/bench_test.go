package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/tools/bench/measure"
)

// at returns a system that runs a number of sagas per second.
func at(name string, rate float64) system {
	m := measure.System{Many: measure.Counted{Rate: rate}, Lone: measure.Counted{Took: []time.Duration{2 * time.Millisecond}}}
	return system{name: name, measure: func(context.Context, string, int, time.Duration) (measure.System, error) { return m, nil }}
}

func TestSystemThatFailsIsReportedAndTheOthersAreMeasured(t *testing.T) {
	t.Parallel()
	broken := system{name: dbosName, measure: peerSystem(func(_ context.Context, dir string) (peer, error) {
		err := os.WriteFile(filepath.Join(dir, "server.log"), []byte("port in use"), 0o600)
		return peer{}, errors.Join(errors.New("server exited"), err)
	})}
	all := []system{at(ours, 9000), at(baselineName("72b77bd"), 4000), broken, at(restateName, 1000)}
	r := report{
		options: options{rounds: 2, dir: t.TempDir(), baseline: "72b77bd", inFlight: 64},
		results: make([]result, len(all)), began: time.Now(),
	}
	if err := r.measure(t.Context(), all); err != nil {
		t.Fatalf("measure = %v, want no error", err)
	}
	systems, waiting := r.markdown()
	fsync := short(measure.Percentile(r.fsyncs, .99))
	for _, want := range []string{
		"| " + dbosName + " |  | did not run: server exited |",
		"| at least 12 × " + dbosName + " | | did not run |",
		"| at least 1.8 × embedded at 72b77bd, fsync=group | 2.25 × (2.25–2.25) | reached |",
		"| at least 12 × " + restateName + " | 9.00 × (9.00–9.00) | **missed** |",
		"| a lone saga's p99 at most 3 ms | 2.00 ms (2 sagas; one write with fsync: " + fsync + ") | reached |",
	} {
		if !strings.Contains(systems, want) {
			t.Errorf("report has no line %q, want one:\n%s", want, systems)
		}
	}
	if !strings.Contains(waiting, "Did not run: `-waiting 0`") {
		t.Errorf("part about waiting sagas is %q, want that they were not measured", waiting)
	}
	if err := r.results[2].failed; err == nil || !strings.Contains(err.Error(), "server.log:\nport in use") {
		t.Errorf("error of the broken system is %v, want one with its log", err)
	}
}

func TestPageWithoutMarksIsNotChanged(t *testing.T) {
	t.Parallel()
	if _, err := between("# Page\n", "systems", "table\n"); err == nil {
		t.Error("between = nil, want an error that names the marks")
	}
	page, err := os.ReadFile("../../docs/benchmarks.md")
	if err != nil {
		t.Fatalf("read the page: %v", err)
	}
	for _, part := range []string{"systems", "waiting sagas"} {
		if _, err := between(string(page), part, "table\n"); err != nil {
			t.Errorf("docs/benchmarks.md: %v, want the marks of both parts", err)
		}
	}
}
