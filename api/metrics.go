package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
)

// gaugeTimeout limits the reads of a gauge: a scrape is not to wait for what does not
// respond.
const gaugeTimeout = 5 * time.Second

type metrics struct{ requests *prometheus.HistogramVec }

// newMetrics registers the API's metrics.
func newMetrics(s *server) metrics {
	m := metrics{requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "ordersaga_http_request_seconds", Help: "Duration of API requests, by route and status.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 10),
	}, []string{"method", "route", "status"})}
	s.Registry.MustRegister(m.requests, stuckMetric{server: s},
		gauge("ordersaga_orders_needing_attention", "Orders that await an operator's decision; -1 if DynamoDB does not respond.",
			func(ctx context.Context) (int, error) {
				n, err := s.Orders.CountByStatus(ctx, order.StatusNeedsAttention)
				return n[order.StatusNeedsAttention], err
			}),
		gauge("ordersaga_sagas_live", "Sagas that have not ended; -1 if the engine does not respond.",
			func(ctx context.Context) (int, error) {
				return stat(ctx, s.Sagas, func(st engine.Stats) int { return st.Live })
			}),
		gauge("ordersaga_sagas_waiting", "Sagas that have not ended and wait for an event or a timer; -1 if the engine does not respond.",
			func(ctx context.Context) (int, error) {
				return stat(ctx, s.Sagas, func(st engine.Stats) int { return st.Waiting })
			}))
	return m
}

// gauge returns a metric that is read when it is scraped, and is -1 on an error.
func gauge(name, help string, read func(context.Context) (int, error)) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), gaugeTimeout)
		defer cancel()
		n, err := read(ctx)
		if err != nil {
			return -1
		}
		return float64(n)
	})
}

func stat(ctx context.Context, sagas Sagas, pick func(engine.Stats) int) (int, error) {
	st, err := sagas.Stats(ctx)
	return pick(st), err
}

// otherLabel replaces label values that are not among the known ones: each value that a
// client invents would stay in memory until the process exits.
const otherLabel = "other"

// methodLabel returns the request's method as a label.
func methodLabel(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return otherLabel
}

// observe measures requests.
func (m metrics) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		next.ServeHTTP(ww, r)
		route := chi.RouteContext(r.Context()).RoutePattern()
		if route == "" {
			route = "none"
		}
		status := strconv.Itoa(max(ww.Status(), http.StatusOK))
		m.requests.WithLabelValues(methodLabel(r), route, status).Observe(time.Since(started).Seconds())
	})
}
