package conformance

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of docs/aws-fidelity.md")

// deviation is what an emulator does otherwise than AWS documents.
type deviation struct {
	emulator, behaviour string
	does                string // and why, if it is known; what begins with "sometimes" may not be seen
	sees                sees   // parts of what the check reports: each of them, and nothing else
}

func (d *deviation) sometimes() bool { return strings.HasPrefix(d.does, "sometimes") }

func deviationOf(emulator, behaviour string) *deviation {
	for _, d := range deviations {
		if d.emulator == emulator && d.behaviour == behaviour {
			return &d
		}
	}
	return nil
}

func TestDeviationsAreOfWhatIsTested(t *testing.T) {
	t.Parallel()
	known := map[string]int{}
	for _, b := range behaviours() {
		known[b.name]++
		if known[b.name] > 1 || docs[b.service()] == "" || b.says == "" || b.page == "" {
			t.Errorf("behaviour %q: is there twice, or lacks a service, what AWS says, or where", b.name)
		}
	}
	seen := map[string]bool{}
	for _, d := range deviations {
		key := d.emulator + " " + d.behaviour
		if known[d.behaviour] == 0 || seen[key] || len(d.sees) == 0 ||
			!slices.ContainsFunc(emulators, func(e emulator) bool { return e.name == d.emulator }) {
			t.Errorf("deviation %q: there is no such emulator or behaviour, it is there twice, or says nothing", key)
		}
		seen[key] = true
	}
}

// TestFidelityTable keeps the table of docs/aws-fidelity.md as the tests have
// found it.
func TestFidelityTable(t *testing.T) {
	t.Parallel()
	path := filepath.Join(root, "docs", "aws-fidelity.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- table -->\n", "<!-- end of table -->\n"
	before, rest, ok1 := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for the table, between %q and %q", path, begin, end)
	}
	want := before + begin + table() + end + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Errorf("the table of %s is not what deviations_test.go says: go test ./integration/conformance -run TestFidelityTable -update", path)
	}
}

func table() string {
	var b strings.Builder
	b.WriteString("| behaviour | AWS documents |")
	for _, e := range emulators {
		b.WriteString(" " + e.name + " |")
	}
	b.WriteString("\n|" + strings.Repeat("---|", 2+len(emulators)) + "\n")
	for _, of := range behaviours() {
		if !slices.ContainsFunc(deviations, func(d deviation) bool { return d.behaviour == of.name }) {
			continue
		}
		fmt.Fprintf(&b, "| %s | %s ([%s](%s%s.html)) |", of.name, of.says, of.page[strings.LastIndex(of.page, "/")+1:], docs[of.service()], of.page)
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
