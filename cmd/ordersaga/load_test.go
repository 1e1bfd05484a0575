package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/api/loadgen"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestLoadCountsEveryOutcome checks that each kind of order has its expected
// outcome, in an open and in a closed loop, and that the counts add up.
func TestLoadCountsEveryOutcome(t *testing.T) {
	t.Parallel()
	s := shell{t, testkit.NewSystem(t, nil, nil)}
	s.SetStock(t, map[string]int64{"A": 1000})
	mix := "--mix=ok=4;twice=1;flaky=1;lost=1;declined=1;short=1;refused=1;invalid=1"
	for _, loop := range []string{"--rate=100", "--concurrency=4"} {
		status, out, errs := s.run("load", loop, "--orders=60", "--sku=A", mix, "--output=json")
		var r loadgen.Report
		if err := json.Unmarshal([]byte(out), &r); err != nil || status != 0 {
			t.Fatalf("load %s: status %d, output %s, errors %s (%v), want status 0 and a report in JSON", loop, status, out, errs, err)
		}
		ended := 0
		for _, n := range r.Ended {
			ended += n
		}
		invalid := r.Refused["422"]
		if r.Sent != 60 || invalid == 0 || r.Accepted+invalid != 60 || ended != r.Accepted || r.Open != 0 ||
			len(r.Unexpected) != 0 || len(r.Ended) != 4 {
			t.Errorf("load %s: report %+v, want 60 sent, all accepted ones ended, and 4 outcomes", loop, r)
		}
		inBuckets := int64(0)
		for _, b := range r.End.Buckets {
			inBuckets += b.Count
		}
		if l := r.End; l.Count != int64(ended) || inBuckets != l.Count || l.P50 <= 0 || l.P50 > l.P99 || l.P99 > l.Max {
			t.Errorf("load %s: latencies %+v, want %d of them in ascending quantiles", loop, l, ended)
		}
	}
	_, out, _ := s.run("load", "--concurrency=2", "--orders=10", "--sku=A", "--mix=ok=1")
	for _, part := range []string{"closed loop, 2 concurrent: 10 orders", "COMPLETED", "until ended: p50", "█"} {
		if !strings.Contains(out, part) {
			t.Errorf("want %q in the report: %s", part, out)
		}
	}
	// An unexpected outcome is an error.
	status, out, errs := s.run("load", "--concurrency=1", "--orders=2", "--sku=UNKNOWN", "--mix=ok=1")
	if status != 1 || !strings.Contains(out, "ok: REJECTED") || !strings.Contains(errs, "had unexpected outcomes") {
		t.Errorf("load of an unknown SKU: status %d, output %s, errors %s, want an unexpected REJECTED", status, out, errs)
	}
	s.fails("either --rate", "load", "--orders=1")
	s.fails("either --rate", "load", "--rate=1", "--concurrency=1")
	s.fails("one of ok, twice", "load", "--rate=1", "--mix=tea=1")
}

// TestShellCompletesAnIncompleteLine maps an incomplete line of the shell to its completions.
func TestShellCompletesAnIncompleteLine(t *testing.T) {
	var out, errs bytes.Buffer
	status := run(t.Context(), []string{"completion", "bash", "--code"}, &out, &errs)
	if status != 0 || !strings.HasPrefix(out.String(), "complete ") {
		t.Errorf("completion bash: status %d, output %s, errors %s, want 0 and output that begins with complete", status, &out, &errs)
	}
	for line, want := range map[string]string{
		"ordersaga dl": "dlq", "ordersaga saga app": "approve", "ordersaga saga list --sta": "--status",
		"ordersaga stock list --output ": "json table",
	} {
		t.Setenv("COMP_LINE", line)
		t.Setenv("COMP_POINT", strconv.Itoa(len(line)))
		out.Reset()
		status := run(t.Context(), nil, &out, &errs)
		got := strings.Join(slices.Sorted(slices.Values(strings.Fields(out.String()))), " ")
		if status != 0 || got != want {
			t.Errorf("completions of %q = %q, want %q (status %d, errors %s)", line, got, want, status, &errs)
		}
	}
}

func TestCompletionHelpIsOurs(t *testing.T) {
	t.Parallel()
	_, out, _ := ordersaga(t, "completion", "--help")
	if !strings.Contains(out, "Prints a command that activates tab completion") || strings.Contains(out, "in order activate") {
		t.Errorf("completion --help, want our text and not the library's:\n%s", out)
	}
}
