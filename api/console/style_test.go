package console

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/order"
)

// TestStatusHasOneColour: labels, tiles and the chart with its key show a status that ends an
// order in the same colour.
func TestStatusHasOneColour(t *testing.T) {
	t.Parallel()
	sheet, err := files.ReadFile("assets/style.css")
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	rules := regexp.MustCompile(`(?m)^(\S[^{}]*) \{ (?:color|fill|background): var\(--(\w+)\); \}$`).FindAllStringSubmatch(string(sheet), -1)
	for _, status := range order.TerminalStatuses() {
		class := "." + statusClass(status)
		colours := map[string]string{} // by selector
		for _, rule := range rules {
			for selector := range strings.SplitSeq(rule[1], ", ") {
				switch selector {
				case ".status" + class, ".tile" + class + " b", ".chart rect" + class, ".key" + class + "::before":
					colours[selector] = rule[2]
				}
			}
		}
		distinct := slices.Compact(slices.Sorted(maps.Values(colours)))
		if len(colours) != 4 || len(distinct) != 1 {
			t.Errorf("colours of %s = %v, want the same one in a label, a tile, the chart and its key", status, colours)
		}
	}
}
