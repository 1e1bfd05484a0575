package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/go-chi/chi/v5/middleware"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/auth"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/text"
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

// maxSaid is how many characters of a request are in the audit log. What an
// action takes is shorter.
const maxSaid = 2 << 10

// audit writes one line that says who asked for what, and what came of it. What
// was said with it is there too, but for what may be of a customer: see heardAs.
// What is longer than maxSaid is cut, and the line says so.
func audit(r *http.Request, status int, said []byte) {
	line := zerolog.Ctx(r.Context()).Info().Bool("audit", true).Str("method", r.Method).Str("path", loggedPath(r)).
		Int("status", status)
	if p, ok := auth.FromContext(r.Context()); ok {
		line = line.Str("subject", p.Subject).Str("name", p.Name)
	}
	long := func(s string) bool { return utf8.RuneCountInString(s) > maxSaid }
	cut := long(r.URL.RawQuery)
	if q := r.URL.RawQuery; q != "" {
		line = line.Str("query", text.Cut(q, maxSaid))
	}
	letters := strings.HasPrefix(r.URL.Path, "/v1/dead-letters/")
	if json.Valid(said) && !letters {
		said = heardAs(said)
		if long(string(said)) {
			cut, line = true, line.Str("said", text.Cut(string(said), maxSaid)) // it is no JSON any more
		} else {
			line = line.RawJSON("said", said)
		}
	}
	if cut {
		line = line.Bool("cut", true)
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

// hidden is in the audit log in the place of what may be of a customer.
const hidden = `"…"`

// private are the names of what an order has about whoever pays and gets it.
var private = func() map[string]bool {
	names := map[string]bool{}
	for _, t := range []reflect.Type{reflect.TypeFor[order.Payment](), reflect.TypeFor[order.Address]()} {
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			names[strings.ToLower(name)] = true
		}
	}
	return names
}()

// heardAs is the body of an action as it is logged: compact, however it was padded
// or escaped. An order may be sent to any address, by mistake or inside of
// something else. Actions have only short texts and numbers, so objects and lists
// are hidden, texts that are one too, and fields that have the name of a payment's
// or an address's. said must be valid JSON.
func heardAs(said []byte) []byte {
	dec := json.NewDecoder(bytes.NewReader(said))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return []byte(hidden)
	}
	var b bytes.Buffer
	b.WriteByte('{')
	for dec.More() {
		name, err := dec.Token()
		var value json.RawMessage
		if err != nil || dec.Decode(&value) != nil {
			return []byte(hidden)
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		key, _ := name.(string)
		b.Write(plain(key))
		b.WriteByte(':')
		var s string
		switch {
		case private[strings.ToLower(key)], structured(value):
			b.WriteString(hidden)
		case value[0] != '"':
			b.Write(value)
		case json.Unmarshal(value, &s) != nil, structured([]byte(s)):
			b.WriteString(hidden)
		default:
			b.Write(plain(s))
		}
	}
	b.WriteByte('}')
	return b.Bytes()
}

// structured reports whether JSON is an object or a list.
func structured(raw []byte) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) > 0 && (raw[0] == '{' || raw[0] == '[')
}

// plain is text as JSON, with no more escapes than it needs.
func plain(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string can always be encoded
	return bytes.TrimSpace(b.Bytes())
}

// heard is what somebody says with an action. Who has signed in cannot act in
// another's name.
func heard(ctx context.Context, in *Said) Said {
	said := deref(in)
	if p, ok := auth.FromContext(ctx); ok {
		said.By = p.Name
	}
	return said
}

// noteOf is what is kept with the order of an action.
func noteOf(ctx context.Context, action string, said Said) orderstore.Note {
	n := orderstore.Note{Actor: cmp.Or(said.By, orderstore.Anonymous), Action: action, Text: said.Note}
	if p, ok := auth.FromContext(ctx); ok {
		n.Subject = p.Subject
	}
	return n
}
