package bench_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/bench"
	"github.com/ordersaga/ordersaga/internal/devenv"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestJobWritesARowForEachInFlight checks the rows, and that warm-up sagas run besides the measured
// ones.
func TestJobWritesARowForEachInFlight(t *testing.T) {
	s := testkit.NewSystem(t, bench.Configure, nil)
	s.SetStock(t, devenv.Catalogue())
	var out bytes.Buffer
	require.NoError(t, bench.Job{Sagas: 20, InFlight: []int{1, 8}, Label: "here", Out: &out}.Run(t.Context(), s.Worker, s.Simulators))
	for _, row := range []string{"| here | 1 | ", "| here | 8 | "} {
		if !strings.Contains(out.String(), row) {
			t.Errorf("output = %s\nwant a row that begins with %q", &out, row)
		}
	}
	page, err := s.Store.List(t.Context(), orderstore.Query{Limit: 1000})
	require.NoError(t, err)
	if n, want := len(page.Records), 20+2+20+8; n != want {
		t.Errorf("orders = %d, want %d: the measured ones and those of the warm-up", n, want)
	}
}
