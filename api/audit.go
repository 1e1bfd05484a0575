package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5/middleware"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/activities/stock"
	"github.com/ordersaga/ordersaga/internal/auth"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// acts reports whether r is an operator's action: placing orders is none.
func acts(r *http.Request) bool {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
	return !reads && !places(r) && (guarded(r.URL.Path) || strings.HasPrefix(r.URL.Path, "/console/"))
}

// audited logs what operators do.
func (s *server) audited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !acts(r) {
			next.ServeHTTP(w, r)
			return
		}
		said, err := io.ReadAll(r.Body)
		if err != nil {
			problem(w, http.StatusBadRequest, "body", "the body cannot be read to its end")
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(said))
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		next.ServeHTTP(ww, r)
		audit(r, cmp.Or(ww.Status(), http.StatusOK), said)
	})
}

// refused logs an action that comes no further than here.
func (s *server) refused(r *http.Request, status int) {
	if !acts(r) {
		return
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/v1/sagas/"); ok {
		id, _, _ := strings.Cut(rest, "/")
		tracing.Concerns(r.Context(), id)
	}
	audit(r, status, nil)
}

// maxSaid bounds what of a request is in the audit log.
const maxSaid = 2 << 10

// audit writes one line that says who asked for what, and what came of it. What
// was said with it is there too, but for dead letters: they have customers'
// addresses in them.
func audit(r *http.Request, status int, said []byte) {
	line := zerolog.Ctx(r.Context()).Info().Bool("audit", true).Str("method", r.Method).Str("path", loggedPath(r)).
		Int("status", status)
	if p, ok := auth.From(r.Context()); ok {
		line = line.Str("subject", p.Subject).Str("name", p.Name)
	}
	if q := r.URL.RawQuery; q != "" && len(q) <= maxSaid {
		line = line.Str("query", q)
	}
	letters := strings.HasPrefix(r.URL.Path, "/v1/dead-letters/")
	if len(said) <= maxSaid && json.Valid(said) && !letters {
		line = line.RawJSON("said", said)
	}
	line.Str("from", r.RemoteAddr).Msg("operator action")
}

// loggedPath is a request's path without the id of a customer: that it was to be
// forgotten is what such a request says.
func loggedPath(r *http.Request) string {
	for _, before := range []string{customersPath, "/console" + strings.TrimPrefix(customersPath, "/v1")} {
		if rest, ok := strings.CutPrefix(r.URL.Path, before); ok {
			_, action, _ := strings.Cut(rest, "/")
			return before + "{id}/" + action
		}
	}
	return r.URL.Path
}

// heard is what somebody says with an action. Who has signed in cannot act in
// another's name.
func heard(ctx context.Context, in *Said) Said {
	said := deref(in)
	if p, ok := auth.From(ctx); ok {
		said.By = p.Name
	}
	return said
}

// noteOf is what is kept with the order of an action.
func noteOf(ctx context.Context, action string, said Said) stock.Note {
	n := stock.Note{Actor: cmp.Or(said.By, stock.Anonymous), Action: action, Text: said.Note}
	if p, ok := auth.From(ctx); ok {
		n.Subject = p.Subject
	}
	return n
}
