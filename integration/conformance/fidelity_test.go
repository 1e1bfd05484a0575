package conformance

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

var update = flag.Bool("update", false, "update the table in docs/aws-fidelity.md")

// deviation is a behaviour of an emulator that differs from AWS's documentation.
type deviation struct {
	behaviour string
	does      string  // what the emulator does; one that begins with "sometimes" need not occur
	reports   reports // a part of every failure that the check reports
}

// sometimes reports whether the deviation does not always occur.
func (d *deviation) sometimes() bool { return strings.HasPrefix(d.does, "sometimes") }

// deviationOf returns the deviation of an emulator from a behaviour, or nil.
func deviationOf(emulator, behaviour string) *deviation {
	for _, d := range deviations[emulator] {
		if d.behaviour == behaviour {
			return &d
		}
	}
	return nil
}

func TestBehavioursAndDeviationsAreComplete(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, b := range behaviours() {
		if known[b.name] {
			t.Errorf("behaviour %q occurs twice, want it once", b.name)
		}
		if docs[b.service()] == "" || b.documented == "" || b.page == "" {
			t.Errorf("behaviour %q: documented %q on page %q, want both and a known service", b.name, b.documented, b.page)
		}
		known[b.name] = true
	}
	for name, all := range deviations {
		if !slices.ContainsFunc(emulators, func(e emulator) bool { return e.name == name }) {
			t.Errorf("deviations of %q, want only those of emulators", name)
		}
		seen := map[string]bool{}
		for _, d := range all {
			if seen[d.behaviour] {
				t.Errorf("deviation of %s: %q occurs twice, want it once", name, d.behaviour)
			}
			if !known[d.behaviour] || len(d.reports) == 0 {
				t.Errorf("deviation of %s: %q reports %q, want a known behaviour and at least one report", name, d.behaviour, d.reports)
			}
			seen[d.behaviour] = true
		}
	}
}

// TestFidelityTable checks that the table in docs/aws-fidelity.md lists the behaviours and
// deviations of this package. With -update it writes the table.
func TestFidelityTable(t *testing.T) {
	t.Parallel()
	path := filepath.Join(root, "docs", "aws-fidelity.md")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	const begin, end = "<!-- table -->\n", "<!-- end of table -->\n"
	before, rest, ok1 := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s lacks the lines %q and %q around the table, want both", path, begin, end)
	}
	want := before + begin + table() + end + after
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o644))
	} else if want != string(text) {
		t.Errorf("the table in %s is not up to date, want it generated: go test ./integration/conformance -run TestFidelityTable -update", path)
	}
}

// table returns the behaviours from which an emulator deviates, as a Markdown table.
func table() string {
	var b strings.Builder
	b.WriteString("| behaviour | AWS documents |")
	for _, e := range emulators {
		b.WriteString(" " + e.name + " |")
	}
	b.WriteString("\n|" + strings.Repeat("---|", 2+len(emulators)) + "\n")
	for _, of := range behaviours() {
		if !slices.ContainsFunc(emulators, func(e emulator) bool { return deviationOf(e.name, of.name) != nil }) {
			continue
		}
		title := of.page[strings.LastIndex(of.page, "/")+1:]
		fmt.Fprintf(&b, "| %s | %s ([%s](%s%s.html)) |", of.name, of.documented, title, docs[of.service()], of.page)
		for _, e := range emulators {
			cell := "✓"
			if d := deviationOf(e.name, of.name); d != nil {
				cell = "✗ " + d.does
			} else if strings.Contains(e.lacks, of.service()) {
				cell = "–"
			}
			b.WriteString(" " + cell + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}
