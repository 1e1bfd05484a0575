package embedded

import (
	"bytes"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

func init() { assertions = true } // before any test opens an engine

// violate makes a change after which the given invariant does not hold.
func violate(t *testing.T, s *store, n invariant) {
	t.Helper()
	i := newInstance("a")
	s.instances.Set(i.id, i)
	switch n {
	case countersNotNegative:
		s.waiting = -2
	case publishedIsApplied:
		i.metaSeq = 2
	case inFlightIsDecoded:
		i.inFlight, i.compacted = true, []byte{}
	default: // logInOrder
		s.appended = 5
		_, err := s.commit(op{kind: opPurge, id: i.id})
		require.NoError(t, err)
		return
	}
	s.count(i)
}

func TestViolatedInvariantsAreCountedAndLoggedOnce(t *testing.T) {
	t.Parallel()
	for n := range numInvariants {
		t.Run(n.String(), func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			s := newStore(zerolog.New(&log))
			j, err := journal.Open("", journal.Options{}, nil)
			require.NoError(t, err)
			s.journal, s.violations.panics = j, false
			violate(t, s, n)
			violate(t, s, n)
			if got := s.violations.counts[n].Load(); got != 2 {
				t.Errorf("%d violations are counted, want 2", got)
			}
			if lines := strings.Count(log.String(), "\n"); lines != 1 || !strings.Contains(log.String(), n.String()) {
				t.Errorf("the log is %q, want one line that names %s", log.String(), n)
			}
			s.violations.panics = true
			defer func() {
				if v := recover(); v == nil {
					t.Error("the violation does not panic in tests, want a panic")
				}
			}()
			violate(t, s, n)
		})
	}
}

// TestMetricsHaveTheFilesAndTheViolations: the values are those of the store.
func TestMetricsHaveTheFilesAndTheViolations(t *testing.T) {
	e := run(t, enginetest.NewWorld(), Options{Dir: t.TempDir()})
	e.end(t, "ended", 1)
	e.archiveNow(t)
	e.store.violations.counts[logInOrder].Store(3)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(e)
	families, err := registry.Gather()
	require.NoError(t, err)
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, label := range m.GetLabel() {
				got[f.GetName()+" "+label.GetValue()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	for name, want := range map[string]float64{
		"ordersaga_engine_disk_bytes journal":                               float64(e.store.journal.Size()),
		"ordersaga_engine_disk_bytes archive":                               float64(e.store.archive.size()),
		"ordersaga_engine_invariant_violations_total log_in_order":          3,
		"ordersaga_engine_invariant_violations_total counters_not_negative": 0,
	} {
		if value, is := got[name]; !is || value != want || strings.Contains(name, "disk") && value == 0 {
			t.Errorf("%s = %v (present: %v), want %v", name, value, is, want)
		}
	}
}
