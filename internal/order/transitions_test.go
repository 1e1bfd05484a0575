package order_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/order"
)

var update = flag.Bool("update", false, "write the generated parts of docs")

// TestTransitionsAreAllowedOnlyFromTheirStatuses tries every event in every status, the zero status among them.
func TestTransitionsAreAllowedOnlyFromTheirStatuses(t *testing.T) {
	t.Parallel()
	seen := map[order.Event]bool{}
	for _, tr := range order.Transitions() {
		if seen[tr.Event] {
			t.Errorf("event %q has two rows, want one", tr.Event)
		}
		seen[tr.Event] = true
		if got := order.From(tr.Event); !slices.Equal(got, tr.From) || len(got) == 0 {
			t.Errorf("From(%q) = %v, want %v and at least one status", tr.Event, got, tr.From)
		}
		for _, from := range append(order.Statuses(), "") {
			to, ok := order.Next(from, tr.Event)
			if want := slices.Contains(tr.From, from); ok != want || from.Allows(tr.Event) != want {
				t.Errorf("Next(%q, %q) = %q, %v, want allowed = %v", from, tr.Event, to, ok, want)
			}
			if !ok {
				if to != "" {
					t.Errorf("Next(%q, %q) = %q for what cannot happen, want an empty status", from, tr.Event, to)
				}
				continue
			}
			want := tr.To
			if want == "" {
				want = from
			}
			if to != want || !to.Valid() {
				t.Errorf("Next(%q, %q) = %q, want %q, and one of the ten", from, tr.Event, to, want)
			}
			if from.Terminal() && to != from && tr.Event != order.SaleReopened {
				t.Errorf("Next(%q, %q) = %q, want %q: a terminal status is final", from, tr.Event, to, from)
			}
			if from == "" && tr.Event != order.Accepted {
				t.Errorf("Next(%q, %q) = %q, want none: the first event of an order is %q", from, tr.Event, to, order.Accepted)
			}
		}
	}
	if to, ok := order.Next(order.StatusPaid, "no event"); ok || len(order.From("no event")) != 0 {
		t.Errorf("Next of an unknown event = %q, %v, want none", to, ok)
	}
}

// TestEveryStatusIsReachableAndEnds checks the graph: an order can come to every status,
// and from every one it can end in each way that compensates, or has ended.
func TestEveryStatusIsReachableAndEnds(t *testing.T) {
	t.Parallel()
	reached := reachable("")
	for _, s := range order.Statuses() {
		if !slices.Contains(reached, s) {
			t.Errorf("statuses that an order can reach = %q, want %q among them", reached, s)
		}
		if s.Terminal() {
			continue
		}
		ends := reachable(s)
		for _, want := range []order.Status{order.StatusCompleted, order.StatusFailed, order.StatusCancelled, order.StatusNeedsAttention} {
			if !slices.Contains(ends, want) {
				t.Errorf("statuses that an order can reach from %q = %q, want %q among them", s, ends, want)
			}
		}
	}
}

// reachable returns the statuses to which events lead from s, s itself only if some do.
func reachable(s order.Status) (found []order.Status) {
	for next := []order.Status{s}; len(next) > 0; next = next[1:] {
		for _, tr := range order.Transitions() {
			if to, ok := order.Next(next[0], tr.Event); ok && !slices.Contains(found, to) {
				found, next = append(found, to), append(next, to)
			}
		}
	}
	return found
}

// TestEndedAsAndResumedAs: the event for a status leads to that status.
func TestEndedAsAndResumedAs(t *testing.T) {
	t.Parallel()
	for _, s := range append(order.Statuses(), "") {
		end, ends := order.EndedAs(s)
		if want := s.Terminal() && s != order.StatusCompleted; ends != want {
			t.Errorf("EndedAs(%q) = %q, %v, want %v", s, end, ends, want)
		}
		if to, ok := order.Next(order.StatusPending, end); ends && (!ok || to != s) {
			t.Errorf("after EndedAs(%q) = %q the status is %q, want %q", s, end, to, s)
		}
		if got := slices.Contains(order.CompensatedStatuses(), s); got != ends {
			t.Errorf("CompensatedStatuses() contains %q = %v, want %v", s, got, ends)
		}
		resume, resumes := order.ResumedAs(s)
		if want := s != "" && !s.Terminal() && s != order.StatusNeedsAttention; resumes != want {
			t.Errorf("ResumedAs(%q) = %q, %v, want %v", s, resume, resumes, want)
		}
		if to, ok := order.Next(order.StatusNeedsAttention, resume); resumes && (!ok || to != s) {
			t.Errorf("after ResumedAs(%q) = %q the status is %q, want %q", s, resume, to, s)
		}
	}
}

// TestDiagram compares docs/order-states.md, and the diagram in docs/architecture.md,
// with the state machine; -update writes them.
func TestDiagram(t *testing.T) {
	t.Parallel()
	const begin, end = "<!-- order states: generated as order-states.md -->\n", "<!-- end -->"
	for name, render := range map[string]func(old string) string{
		"order-states.md": func(string) string { return page() },
		"architecture.md": func(old string) string {
			before, rest, _ := strings.Cut(old, begin)
			_, after, found := strings.Cut(rest, end)
			if !found {
				t.Fatalf("docs/architecture.md has no place for the diagram, want one between %q and %q", begin, end)
			}
			return before + begin + "```mermaid\n" + diagram() + "```\n" + end + after
		},
	} {
		path := filepath.Join("..", "..", "docs", name)
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := render(string(got))
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if string(got) != want {
			t.Errorf("%s differs from what transitions.go generates, want the same: run go test ./internal/order -run TestDiagram -update", path)
		}
	}
}

// page is docs/order-states.md.
func page() string {
	var b strings.Builder
	b.WriteString("# Order states\n\n" +
		"<!-- Generated from internal/order/transitions.go by `go test ./internal/order -run TestDiagram -update`. Do not edit. -->\n\n" +
		"An order has one of ten statuses. `internal/order/transitions.go` has the state machine as data: which event is allowed\n" +
		"in which status, and which status follows. Every conditional write of the store is built from it. A status is *terminal* if\n" +
		"the saga has ended (COMPLETED, REJECTED, DECLINED, CANCELLED, FAILED), else *open*.\n\n")
	b.WriteString("```mermaid\n" + diagram() + "```\n\n")
	b.WriteString("## Events\n\n" +
		"*Also required* is what the store checks besides the status, in the same conditional write or transaction.\n\n" +
		"| event | in status | next status | also required |\n|--|--|--|--|\n")
	for _, tr := range order.Transitions() {
		to := string(tr.To)
		if to == "" {
			to = "unchanged"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", tr.Event, list(tr.From), to, tr.Also)
	}
	return b.String()
}

// list names the statuses of a row; sets that have a name are named.
func list(from []order.Status) string {
	switch {
	case slices.Equal(from, []order.Status{""}):
		return "(new)"
	case slices.Equal(from, order.Statuses()):
		return "every status"
	case slices.Equal(from, order.OpenStatuses()):
		return "every open status"
	case slices.Equal(from, order.TerminalStatuses()):
		return "every terminal status"
	case len(from) == len(order.Statuses())-1:
		for _, s := range order.Statuses() {
			if !slices.Contains(from, s) {
				return "every status but " + string(s)
			}
		}
	}
	names := make([]string, len(from))
	for i, s := range from {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

// diagram draws the events that change the status, in Mermaid. Those that can happen in
// every open status start at one box: arrows from each of them would hide the rest.
func diagram() string {
	var b strings.Builder
	b.WriteString("stateDiagram-v2\n    direction TB\n    state \"every open status\" as open\n")
	for _, tr := range order.Transitions() {
		if tr.To == "" {
			continue
		}
		if slices.Equal(tr.From, order.OpenStatuses()) {
			fmt.Fprintf(&b, "    open --> %s: %s\n", tr.To, label(tr.Event))
			continue
		}
		for _, from := range tr.From {
			name := string(from)
			if from == "" {
				name = "[*]"
			}
			if from != tr.To {
				fmt.Fprintf(&b, "    %s --> %s: %s\n", name, tr.To, label(tr.Event))
			}
		}
	}
	for _, s := range order.TerminalStatuses() {
		fmt.Fprintf(&b, "    %s --> [*]\n", s)
	}
	return b.String()
}

// label is the event as Mermaid takes it: it ends a label at a colon.
func label(e order.Event) string { return strings.ReplaceAll(string(e), ":", " –") }
