package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

type requestKey struct{}

func requestIDOf(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}

const requestIDHeader = "X-Request-Id"

// requestID takes over the caller's id if it is a sane one.
func (s *server) requestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(requestIDHeader)
		if id == "" || len(id) > 64 || strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c > '~' }) {
			id = uuid.NewString()
		}
		w.Header().Set(requestIDHeader, id)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestKey{}, id)))
	})
}

// recover turns a panic into a problem document.
func (s *server) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil {
				s.Logger.Error().Interface("panic", v).Str("request", requestIDOf(r.Context())).Bytes("stack", debug.Stack()).Msg("handler panicked")
				problem(w, http.StatusInternalServerError, "something failed here; the log has the reason under request "+requestIDOf(r.Context()))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; frame-ancestors 'none'")
		next.ServeHTTP(w, r)
	})
}

// bounded limits how long a request may take and what it may send.
func bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > maxBody {
			// Read on a little: a client cut off while it sends sees a broken
			// connection instead of the answer.
			_, _ = io.CopyN(io.Discard, r.Body, 4*maxBody)
			problem(w, http.StatusRequestEntityTooLarge, "the body has "+strconv.FormatInt(r.ContentLength, 10)+" bytes, at most "+strconv.Itoa(maxBody)+" are read")
			return
		}
		if t := r.Header.Get("Content-Type"); r.ContentLength != 0 && t != "" && !strings.HasPrefix(t, "application/json") {
			problem(w, http.StatusUnsupportedMediaType, "Content-Type is "+t+", it must be application/json")
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// problem answers outside of huma's handlers.
func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail}) // the client may be gone
}

type metrics struct{ requests *prometheus.HistogramVec }

func newMetrics(reg *prometheus.Registry, sagas Sagas) metrics {
	m := metrics{prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "ordersaga_http_request_seconds", Help: "Duration of API requests, by route and status.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 10),
	}, []string{"method", "route", "status"})}
	stat := func(name, help string, pick func(live, waiting int) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			st, err := sagas.Stats(ctx)
			if err != nil {
				return -1
			}
			return float64(pick(st.Live, st.Waiting))
		})
	}
	reg.MustRegister(m.requests,
		stat("ordersaga_sagas_live", "Sagas that have not ended; -1 if the engine does not answer.", func(l, _ int) int { return l }),
		stat("ordersaga_sagas_waiting", "Of those, sagas that wait for an event or a timer.", func(_, w int) int { return w }))
	return m
}

func (m metrics) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		next.ServeHTTP(ww, r)
		route := chi.RouteContext(r.Context()).RoutePattern()
		if route == "" {
			route = "none"
		}
		m.requests.WithLabelValues(r.Method, route, strconv.Itoa(max(ww.Status(), http.StatusOK))).Observe(time.Since(began).Seconds())
	})
}
