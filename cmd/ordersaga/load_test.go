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

// TestLoad: each kind of order becomes what it should, in an open loop and in a
// closed one, and the numbers add up.
func TestLoad(t *testing.T) {
	s := shell{t, testkit.NewSystem(t, nil, nil)}
	s.SetStock(t, map[string]int64{"A": 1000})
	mix := "--mix=ok=4;twice=1;flaky=1;lost=1;declined=1;short=1;refused=1;invalid=1"
	for _, loop := range []string{"--rate=100", "--concurrency=4"} {
		status, out, errs := s.run("load", loop, "--orders=60", "--sku=A", mix, "--output=json")
		var r loadgen.Report
		if err := json.Unmarshal([]byte(out), &r); err != nil || status != 0 {
			t.Fatalf("%s: %d %s %s %v", loop, status, out, errs, err)
		}
		ended := 0
		for _, n := range r.Ended {
			ended += n
		}
		if r.Sent != 60 || r.Accepted+r.Refused["422"] != 60 || ended != r.Accepted || r.Open != 0 || len(r.Unexpected) != 0 || r.Refused["422"] == 0 || len(r.Ended) != 4 {
			t.Errorf("%s: %+v", loop, r)
		}
		counted := int64(0)
		for _, b := range r.End.Buckets {
			counted += b.Count
		}
		if l := r.End; l.Count != int64(ended) || counted != l.Count || l.P50 <= 0 || l.P50 > l.P99 || l.P99 > l.Max {
			t.Errorf("%s: latencies %+v", loop, l)
		}
	}
	_, out, _ := s.run("load", "--concurrency=2", "--orders=10", "--sku=A", "--mix=ok=1")
	for _, part := range []string{"closed loop, 2 at once: 10 orders", "COMPLETED", "until ended: p50", "█"} {
		if !strings.Contains(out, part) {
			t.Errorf("the report does not say %q: %s", part, out)
		}
	}
	// What should not have been is told.
	status, out, errs := s.run("load", "--concurrency=1", "--orders=2", "--sku=UNKNOWN", "--mix=ok=1")
	if status != 1 || !strings.Contains(out, "ok: REJECTED") || !strings.Contains(errs, "did not become what they should") {
		t.Errorf("%d %s %s", status, out, errs)
	}
	s.refuses("either --rate", "load", "--orders=1")
	s.refuses("either --rate", "load", "--rate=1", "--concurrency=1")
	s.refuses("one of ok, twice", "load", "--rate=1", "--mix=tea=1")
}

// TestCompletion: what the shell's line has so far, to what can follow.
func TestCompletion(t *testing.T) {
	var out, errs bytes.Buffer
	if status := run(t.Context(), []string{"completion", "bash", "--code"}, &out, &errs); status != 0 || !strings.HasPrefix(out.String(), "complete ") {
		t.Errorf("%d %s %s", status, &out, &errs)
	}
	for line, want := range map[string]string{
		"ordersaga dl": "dlq", "ordersaga saga app": "approve", "ordersaga saga list --sta": "--status",
		"ordersaga stock list --output ": "json table",
	} {
		t.Setenv("COMP_LINE", line)
		t.Setenv("COMP_POINT", strconv.Itoa(len(line)))
		out.Reset()
		if status := run(t.Context(), nil, &out, &errs); status != 0 || strings.Join(slices.Sorted(slices.Values(strings.Fields(out.String()))), " ") != want {
			t.Errorf("%q is completed with %q, want %q (%d %s)", line, &out, want, status, &errs)
		}
	}
}
