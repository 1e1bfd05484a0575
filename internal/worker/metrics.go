package worker

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/activities"
	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/reconcile"
)

// metrics are the worker's own metrics; docs/operations.md lists them with the
// API's.
type metrics struct {
	messages, ended, aws *prometheus.CounterVec
	lag                  *prometheus.GaugeVec
	sagas, activities    *prometheus.HistogramVec
	stalledTurns         prometheus.Counter
	recent               *recentStats
}

func newMetrics(reg *prometheus.Registry) metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	m := metrics{
		messages: counter("ordersaga_intake_messages_total", "Messages handled, by queue and outcome (done, poison, retry).", "queue", "outcome"),
		ended: counter("ordersaga_sagas_ended_total",
			"Sagas that this worker has ended, by the order's status; a step that is repeated after a crash may count one twice.", "status"),
		aws: counter("ordersaga_aws_calls_total",
			"Requests to AWS, retries included, by service, operation and outcome (done, refused, throttled, failed).",
			"service", "operation", "outcome"),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ordersaga_intake_lag_seconds", Help: "Age of the oldest message in the latest receive, by queue; 0 when the queue was empty.",
		}, []string{"queue"}),
		sagas: histogram("ordersaga_saga_seconds", "Time from accepting an order to ending it on this worker, by the order's status.",
			prometheus.ExponentialBuckets(0.01, 4, 11), "status"),
		activities: histogram("ordersaga_activity_seconds",
			"Duration of attempts, by activity and outcome (done, stopped: a business outcome, failed: to be retried).",
			prometheus.ExponentialBuckets(0.001, 2.5, 11), "activity", "outcome"),
		stalledTurns: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ordersaga_stalled_turns_total",
			Help: "Turns that this worker did not run, because another program began their saga: it has another version or other steps. " +
				"The saga is stalled.",
		}),
		recent: newRecentStats(time.Now),
	}
	reg.MustRegister(m.messages, m.ended, m.aws, m.lag, m.sagas, m.activities, m.stalledTurns)
	return m
}

func (m metrics) call(c cloud.Call) {
	m.aws.WithLabelValues(c.Service, c.Operation, string(c.Outcome)).Inc()
}

func (m metrics) attempt(a activities.Attempt) {
	m.activities.WithLabelValues(a.Activity, a.Outcome()).Observe(a.Took.Seconds())
	m.recent.attempt(a)
}

func (m metrics) end(e activities.End) {
	status := "other" // each value of a label stays until the process exits
	if slices.Contains(order.Statuses(), e.Status) {
		status = string(e.Status)
	}
	m.ended.WithLabelValues(status).Inc()
	if e.Took > 0 {
		m.sagas.WithLabelValues(status).Observe(e.Took.Seconds())
	}
	m.recent.end(e)
}

// stalled counts and logs the turns that this program cannot run.
func (m metrics) stalled(log zerolog.Logger) engine.OnStalled {
	return func(id, why string) {
		m.stalledTurns.Inc()
		log.Error().Str("saga", id).Str("why", why).Msg("saga stalled: another program began it; run the release that did, " +
			"or one that has its version (docs/operations.md, Stalled sagas)")
	}
}

func (m metrics) outcome(queue string) func(string) {
	return func(o string) { m.messages.WithLabelValues(queue, o).Inc() }
}

func (m metrics) age(queue string) func(time.Duration) {
	gauge := m.lag.WithLabelValues(queue)
	return func(d time.Duration) { gauge.Set(d.Seconds()) }
}

// unpaidMetric counts what this worker's reconciler has found; other workers have their own.
func unpaidMetric(u *reconcile.Unpaid) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ordersaga_unpaid_orders",
		Help: "Orders that are PAID or COMPLETED without an unrefunded charge in the provider's ledger, " +
			"have ended otherwise with a charge and without a refund, or are contradicted by the ledger, " +
			"as the latest run of this process's reconciler has found.",
	}, func() float64 { return float64(u.Count()) })
}

// reconciledMetric shows how current unpaidMetric is.
func reconciledMetric(u *reconcile.Unpaid) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ordersaga_reconcile_last_success_timestamp_seconds",
		Help: "When this process's reconciler last completed a run that read everything, in seconds since 1970; 0 if none has.",
	}, func() float64 {
		if at := u.Succeeded(); !at.IsZero() {
			return float64(at.Unix())
		}
		return 0
	})
}

// queueMetric reads the queues whenever it is collected.
type queueMetric struct {
	queues func(context.Context) ([]api.Queue, error)
}

var queueDesc = prometheus.NewDesc("ordersaga_queue_messages",
	"Messages in a queue as SQS estimates them, by state (visible, in_flight, dead); absent if SQS does not answer.",
	[]string{"queue", "state"}, nil)

// Describe implements prometheus.Collector.
func (queueMetric) Describe(ch chan<- *prometheus.Desc) { ch <- queueDesc }

// Collect implements prometheus.Collector.
func (m queueMetric) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	queues, err := m.queues(ctx)
	if err != nil {
		return
	}
	for _, q := range queues {
		for state, n := range map[string]int{"visible": q.Visible, "in_flight": q.InFlight, "dead": q.Dead} {
			ch <- prometheus.MustNewConstMetric(queueDesc, prometheus.GaugeValue, float64(n), q.Name, state)
		}
	}
}
