package embedded

import "github.com/prometheus/client_golang/prometheus"

var (
	diskDesc = prometheus.NewDesc("ordersaga_engine_disk_bytes",
		"Bytes of the embedded engine's files, by part (journal, archive).", []string{"part"}, nil)
	violationsDesc = prometheus.NewDesc("ordersaga_engine_invariant_violations_total",
		"Violated invariants of the embedded engine, by invariant; each is an error in this program.", []string{"invariant"}, nil)
)

var _ prometheus.Collector = (*Engine)(nil)

// Describe implements prometheus.Collector.
func (e *Engine) Describe(ch chan<- *prometheus.Desc) { ch <- diskDesc; ch <- violationsDesc }

// Collect implements prometheus.Collector.
func (e *Engine) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(diskDesc, prometheus.GaugeValue, float64(e.store.journal.Size()), "journal")
	ch <- prometheus.MustNewConstMetric(diskDesc, prometheus.GaugeValue, float64(e.store.archive.size()), "archive")
	for n := range numInvariants {
		count := e.store.violations.counts[n].Load()
		ch <- prometheus.MustNewConstMetric(violationsDesc, prometheus.CounterValue, float64(count), n.String())
	}
}

// size returns the size of the archive's file in bytes, or 0 if it cannot be read.
func (a *archive) size() int64 {
	if a == nil {
		return 0
	}
	bytes, err := archiveSize(a.db.Path())
	if err != nil {
		return 0
	}
	return bytes
}
