package orderstore_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestFirstInstallationNameHolds: the first name holds. The empty name counts as one as soon
// as there are orders.
func TestFirstInstallationNameHolds(t *testing.T) {
	t.Parallel()
	type start struct {
		name    string
		refused bool
	}
	for what, c := range map[string]struct {
		orders bool // before the first start
		starts []start
	}{
		"a name":                 {false, []start{{"a", false}, {"a", false}, {"b", true}, {"", true}, {"a", false}}},
		"no name, then a name":   {false, []start{{"", false}, {"", false}, {"a", false}, {"", true}}},
		"orders before any name": {true, []start{{"a", true}, {"", false}, {"a", true}, {"", false}}},
	} {
		t.Run(what, func(t *testing.T) {
			s := testkit.NewAWS(t, nil).Store
			if c.orders {
				accept(t, s, newOrder("o"))
			}
			for i, start := range c.starts {
				_, looked := s.Installed(t.Context(), start.name)
				err := s.Install(t.Context(), start.name)
				_, other := errors.AsType[*orderstore.OtherInstallationError](err)
				_, otherLooked := errors.AsType[*orderstore.OtherInstallationError](looked)
				if other != start.refused || otherLooked != start.refused || !other && (err != nil || looked != nil) {
					t.Errorf("start %d as %q: Install = %v, Installed = %v, want refused = %t for both",
						i, start.name, err, looked, start.refused)
				}
				named := start.name
				if named == "" {
					named = "a"
				}
				if other && !strings.Contains(err.Error(), "--installation "+named) {
					t.Errorf("start %d: error = %v, want it to name --installation %s", i, err, named)
				}
			}
		})
	}
}
