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

// TestJobWritesARowPerInFlight also verifies that it runs sagas to warm up, beside
// those that it measures.
func TestJobWritesARowPerInFlight(t *testing.T) {
	s := testkit.NewSystem(t, bench.Configure, nil)
	s.SetStock(t, devenv.Catalogue())
	var out bytes.Buffer
	job := bench.Job{Sagas: 20, InFlight: []int{1, 8}, Label: "here", Out: &out}
	require.NoError(t, job.Run(t.Context(), s.Worker, s.Simulators))
	for _, row := range []string{"| here | 1 | ", "| here | 8 | "} {
		if !strings.Contains(out.String(), row) {
			t.Errorf("output has no row that contains %q, want one:\n%s", row, &out)
		}
	}
	page, err := s.Store.List(t.Context(), orderstore.Query{Limit: 1000})
	require.NoError(t, err)
	if got, want := len(page.Records), 20+2+20+8; got != want {
		t.Errorf("%d orders ran, want %d", got, want)
	}
}
