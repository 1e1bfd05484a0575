package api

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"mime"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
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

// requestID uses the client's request id if it has at most 64 printable characters, or
// else a new one. The request's logger (zerolog.Ctx) adds it to each line.
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

// withoutPersonalPath replaces the path in the request's span, which started with the
// whole path, by the one in the audit log.
func withoutPersonalPath(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if span := trace.SpanFromContext(r.Context()); span.IsRecording() {
			span.SetAttributes(semconv.URLPath(loggedPath(r)))
		}
		next.ServeHTTP(w, r)
	})
}

// annotate adds the order to the request's span and to its log lines.
func annotate(ctx huma.Context, next func(huma.Context)) {
	if strings.HasPrefix(ctx.Operation().Path, "/v1/sagas/{id}") {
		tracing.Concerns(ctx.Context(), ctx.Param("id"))
	}
	next(ctx)
}

// recover responds to a panic with a problem document.
func (s *server) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil {
				zerolog.Ctx(r.Context()).Error().Interface("panic", v).Bytes("stack", debug.Stack()).Msg("handler panicked")
				problem(w, http.StatusInternalServerError, "", internalError(r.Context()))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// secured sets the security headers and forbids shared caching.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; frame-ancestors 'none'")
		// The response depends on the caller, and changes often.
		h.Set("Cache-Control", "private, no-cache")
		h.Set("Vary", "Authorization, Cookie")
		next.ServeHTTP(w, r)
	})
}

// sameOrigin rejects actions of other sites' pages in the browser of a user who can reach
// the API. Listening on loopback does not protect from those. OnLoopback rejects pages
// that seem to have the API's origin.
func (s *server) sameOrigin() func(http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.refused(r, http.StatusForbidden)
		problem(w, http.StatusForbidden, "", "the request comes from a page of another origin")
	}))
	return protection.Handler
}

// maxBodyOf returns how many bytes the body of a request may have. A corrected
// dead letter is a JSON string, in which a character takes up to six bytes.
func maxBodyOf(r *http.Request) int {
	if strings.HasPrefix(r.URL.Path, "/v1/dead-letters/") {
		return 6*maxDeadLetter + 1<<10
	}
	return maxBody
}

// unreadableBody is the detail of the 400 for a body that is cut off.
const unreadableBody = "the body cannot be read to its end"

// bounded limits the duration of a request and the size of its body. It reads the body,
// so that one that is too large, cut off or not UTF-8 is rejected on every route, with and
// without a Content-Length.
func bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limit := maxBodyOf(r)
		body, err := io.ReadAll(io.LimitReader(r.Body, int64(limit)+1))
		switch {
		case len(body) > limit:
			// Read a little more: a client that is cut off while it sends gets a broken
			// connection instead of the response.
			_, _ = io.CopyN(io.Discard, r.Body, 4*maxBody)
			problem(w, http.StatusRequestEntityTooLarge, "body", "the body has more than "+strconv.Itoa(limit)+" bytes")
			return
		case err != nil:
			problem(w, http.StatusBadRequest, "body", unreadableBody)
			return
		case !utf8.Valid(body):
			problem(w, http.StatusBadRequest, "body", "the body is not UTF-8")
			return
		}
		if t := r.Header.Get("Content-Type"); len(body) > 0 && t != "" {
			kind, _, err := mime.ParseMediaType(t)
			if err != nil || kind != "application/json" {
				problem(w, http.StatusUnsupportedMediaType, "header.Content-Type", "Content-Type is "+t+", it must be application/json")
				return
			}
			r.Header.Set("Content-Type", "application/json") // huma compares it as text
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		if isStream(r) { // a stream has a limit of its own
			next.ServeHTTP(w, r)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// allowed returns the Allow header of a 405: the methods that the path has.
func allowed(r *http.Request) string {
	var methods []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if !chi.RouteContext(r.Context()).Routes.Match(chi.NewRouteContext(), m, cmp.Or(r.URL.RawPath, r.URL.Path)) {
			continue
		}
		methods = append(methods, m)
		if m == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
	}
	return strings.Join(methods, ", ")
}
