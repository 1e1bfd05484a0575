package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/ordersaga/ordersaga/internal/tracing"
)

type requestKey struct{}

func requestIDOf(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}

const requestIDHeader = "X-Request-Id"

// requestID takes over the caller's id if it is a sane one. The request's
// logger (zerolog.Ctx) says it.
func (s *server) requestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(requestIDHeader)
		if id == "" || len(id) > 64 || strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c > '~' }) {
			id = uuid.NewString()
		}
		w.Header().Set(requestIDHeader, id)
		log := tracing.Fields(r.Context(), s.Logger.With().Str("request", id)).Logger()
		next.ServeHTTP(w, r.WithContext(context.WithValue(log.WithContext(r.Context()), requestKey{}, id)))
	})
}

// discreetly has the request's span say the path as the audit log does: the
// span was begun with all of it.
func discreetly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if span := trace.SpanFromContext(r.Context()); span.IsRecording() {
			span.SetAttributes(semconv.URLPath(loggedPath(r)))
		}
		next.ServeHTTP(w, r)
	})
}

// concerning has the request's span and its log lines name the order.
func concerning(ctx huma.Context, next func(huma.Context)) {
	if strings.HasPrefix(ctx.Operation().Path, "/v1/sagas/{id}") {
		tracing.Concerns(ctx.Context(), ctx.Param("id"))
	}
	next(ctx)
}

// recover turns a panic into a problem document.
func (s *server) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil {
				zerolog.Ctx(r.Context()).Error().Interface("panic", v).Bytes("stack", debug.Stack()).Msg("handler panicked")
				problem(w, http.StatusInternalServerError, "", "something failed here; the log has the reason under request "+requestIDOf(r.Context()))
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
		// What one may see is not what another may, and changes all the time.
		h.Set("Cache-Control", "private, no-cache")
		h.Set("Vary", "Authorization, Cookie")
		next.ServeHTTP(w, r)
	})
}

// sameOrigin keeps web pages from elsewhere from acting through the browser of
// somebody who can reach the API: loopback is no protection from those. Pages
// that only seem to be from here OnLoopback keeps out.
func (s *server) sameOrigin() func(http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.refused(r, http.StatusForbidden)
		problem(w, http.StatusForbidden, "", "the request comes from another web page")
	}))
	return protection.Handler
}

// mostOf is how large the body of a request may be. A dead letter is mended in a
// JSON string, in which a character takes up to six.
func mostOf(r *http.Request) int {
	if strings.HasPrefix(r.URL.Path, "/v1/dead-letters/") {
		return 6*maxLetter + 1<<10
	}
	return maxBody
}

// bounded limits how long a request may take and what it may send. It reads
// the body, so that one that is too large, cut off or no text is the caller's
// fault on every route, whether or not its length was said beforehand.
func bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		most := mostOf(r)
		body, err := io.ReadAll(io.LimitReader(r.Body, int64(most)+1))
		switch {
		case len(body) > most:
			// Read on a little: a client cut off while it sends sees a broken
			// connection instead of the answer.
			_, _ = io.CopyN(io.Discard, r.Body, 4*maxBody)
			problem(w, http.StatusRequestEntityTooLarge, "body", "the body has more than "+strconv.Itoa(most)+" bytes")
			return
		case err != nil:
			problem(w, http.StatusBadRequest, "body", "the body cannot be read to its end")
			return
		case !utf8.Valid(body):
			problem(w, http.StatusBadRequest, "body", "the body is not UTF-8")
			return
		}
		if t := r.Header.Get("Content-Type"); len(body) > 0 && t != "" {
			if kind, _, err := mime.ParseMediaType(t); err != nil || kind != "application/json" {
				problem(w, http.StatusUnsupportedMediaType, "header.Content-Type", "Content-Type is "+t+", it must be application/json")
				return
			}
			r.Header.Set("Content-Type", "application/json") // huma compares it letter by letter
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		if isStream(r) { // they have a limit of their own
			next.ServeHTTP(w, r)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// onceEach refuses what net/url would drop without a word: a query that cannot
// be read, and all but the first of a parameter's values. It refuses a parameter
// without a value, too, which huma takes for one that was not given: of a filter
// that somebody left empty everything would pass.
func onceEach(h huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		u := ctx.URL()
		values, err := url.ParseQuery(u.RawQuery)
		if err != nil {
			_ = huma.WriteErr(h, ctx, http.StatusBadRequest, "the query cannot be read", &huma.ErrorDetail{Location: "query", Message: err.Error()})
			return
		}
		var faults []error
		for _, name := range slices.Sorted(maps.Keys(values)) {
			switch {
			case len(values[name]) > 1:
				faults = append(faults, &huma.ErrorDetail{Location: "query." + name, Message: "is given more than once"})
			case values.Get(name) == "":
				faults = append(faults, &huma.ErrorDetail{Location: "query." + name, Message: "is empty; leave it out, or give it a value"})
			case isNumeric(ctx.Operation(), name) && !json.Valid([]byte(values.Get(name))):
				faults = append(faults, &huma.ErrorDetail{Location: "query." + name, Message: "is no number such as 2 or 0.5"})
			}
		}
		if faults != nil {
			_ = huma.WriteErr(h, ctx, http.StatusUnprocessableEntity, "validation failed", faults...)
			return
		}
		next(ctx)
	}
}

// isNumeric reports whether a query parameter of an operation is a number with
// fractions. Huma reads it as Go writes numbers, 1_0 among them.
func isNumeric(op *huma.Operation, name string) bool {
	return slices.ContainsFunc(op.Parameters, func(p *huma.Param) bool {
		return p.In == "query" && p.Name == name && p.Schema.Type == huma.TypeNumber
	})
}

// tidied makes huma's problems like ours: one about the body says so, and none
// repeats what was sent, which may be long or secret.
func tidied(_ huma.Context, _ string, v any) (any, error) {
	if p, ok := v.(*huma.ErrorModel); ok {
		for _, e := range p.Errors {
			e.Value = nil
		}
		if p.Status == http.StatusBadRequest && len(p.Errors) == 0 {
			p.Errors = []*huma.ErrorDetail{{Location: "body", Message: p.Detail}}
		}
	}
	return v, nil
}

// problem answers outside of huma's handlers; location may be "".
func problem(w http.ResponseWriter, status int, location, detail string) {
	p := huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail}
	if location != "" {
		p.Errors = []*huma.ErrorDetail{{Location: location, Message: detail}}
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(p) // the client may be gone
}

// allowed is what a 405 must say: the methods that the path has.
func allowed(r *http.Request) string {
	var methods []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if chi.RouteContext(r.Context()).Routes.Match(chi.NewRouteContext(), m, cmp.Or(r.URL.RawPath, r.URL.Path)) {
			if methods = append(methods, m); m == http.MethodGet {
				methods = append(methods, http.MethodHead)
			}
		}
	}
	return strings.Join(methods, ", ")
}

type metrics struct{ requests *prometheus.HistogramVec }

func newMetrics(reg *prometheus.Registry, sagas Sagas, stuck func(ctx context.Context) (int, error)) metrics {
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
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "ordersaga_orders_needing_attention", Help: "Orders that wait for an operator's decision; -1 if DynamoDB does not answer.",
		}, func() float64 {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			n, err := stuck(ctx)
			if err != nil {
				return -1
			}
			return float64(n)
		}),
		stat("ordersaga_sagas_live", "Sagas that have not ended; -1 if the engine does not answer.", func(l, _ int) int { return l }),
		stat("ordersaga_sagas_waiting", "Of those, sagas that wait for an event or a timer.", func(_, w int) int { return w }))
	return m
}

// otherwise is the value of a label for all that is not one of its known values:
// each value that somebody invents would stay for the life of the process.
const otherwise = "other"

// methodOf is the request's method as a label.
func methodOf(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return otherwise
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
		m.requests.WithLabelValues(methodOf(r), route, strconv.Itoa(max(ww.Status(), http.StatusOK))).Observe(time.Since(began).Seconds())
	})
}
