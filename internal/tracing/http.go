package tracing

import (
	"net/http"

	"github.com/go-chi/chi/v5"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"
	"go.opentelemetry.io/otel/trace"
)

// Handler starts a span for each request. GET and HEAD get one only as part of the client's
// trace: the console and probes send one every second.
func Handler(h http.Handler) http.Handler {
	return otelhttp.NewHandler(h, "", otelhttp.WithSpanNameFormatter(method), otelhttp.WithFilter(func(r *http.Request) bool {
		return r.Method != http.MethodGet && r.Method != http.MethodHead || r.Header.Get(Attribute) != ""
	}))
}

// Route is middleware that names the request's span after its route. It must run inside the
// router, which sets the route.
func Route(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		span := trace.SpanFromContext(r.Context())
		if route := chi.RouteContext(r.Context()).RoutePattern(); route != "" && span.IsRecording() {
			span.SetName(r.Method + " " + route)
			span.SetAttributes(semconv.HTTPRoute(route))
		}
	})
}

// Transport starts a client span for each request and sends its context along.
func Transport(t http.RoundTripper) http.RoundTripper {
	return otelhttp.NewTransport(t, otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string {
		return r.Method + " " + r.URL.Path
	}))
}

func method(_ string, r *http.Request) string { return r.Method }
