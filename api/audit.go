package api

import (
	"bytes"
	"cmp"
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
	"github.com/ordersaga/ordersaga/internal/text"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// isOperatorAction reports whether r is an operator's action. Placing an order is none.
func isOperatorAction(r *http.Request) bool {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
	return !reads && !placesOrder(r) && (isProtected(r.URL.Path) || strings.HasPrefix(r.URL.Path, "/console/"))
}

// audited writes operators' actions to the audit log.
func (s *server) audited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isOperatorAction(r) {
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			problem(w, http.StatusBadRequest, "body", unreadableBody)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		next.ServeHTTP(ww, r)
		audit(r, cmp.Or(ww.Status(), http.StatusOK), body)
	})
}

// refused writes an action to the audit log that is rejected before it reaches its handler.
func (s *server) refused(r *http.Request, status int) {
	if !isOperatorAction(r) {
		return
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/v1/sagas/"); ok {
		id, _, _ := strings.Cut(rest, "/")
		tracing.Concerns(r.Context(), id)
	}
	audit(r, status, nil)
}

// maxAudited is how many characters of a request's query and of its body are in the
// audit log. A valid action is shorter.
const maxAudited = 2 << 10

// audit writes one line to the audit log: the caller, the request, its status and its
// body without personal data (see redacted). It cuts what is longer than maxAudited and
// marks the line as cut.
func audit(r *http.Request, status int, body []byte) {
	line := zerolog.Ctx(r.Context()).Info().Bool("audit", true).Str("method", r.Method).Str("path", loggedPath(r)).
		Int("status", status)
	if p, ok := auth.FromContext(r.Context()); ok {
		line = line.Str("subject", p.Subject).Str("name", p.Name)
	}
	long := func(s string) bool { return utf8.RuneCountInString(s) > maxAudited }
	cut := long(r.URL.RawQuery)
	if q := r.URL.RawQuery; q != "" {
		line = line.Str("query", text.Cut(q, maxAudited))
	}
	deadLetter := strings.HasPrefix(r.URL.Path, "/v1/dead-letters/")
	if json.Valid(body) && !deadLetter {
		body = redacted(body)
		if long(string(body)) {
			cut = true
			line = line.Str("said", text.Cut(string(body), maxAudited)) // cut JSON is not valid
		} else {
			line = line.RawJSON("said", body)
		}
	}
	if cut {
		line = line.Bool("cut", true)
	}
	line.Str("from", r.RemoteAddr).Msg("operator action")
}

// loggedPath returns a request's path without the id of a customer, whose data the
// request is to erase.
func loggedPath(r *http.Request) string {
	for _, before := range []string{customersPath, "/console" + strings.TrimPrefix(customersPath, "/v1")} {
		if rest, ok := strings.CutPrefix(r.URL.Path, before); ok {
			_, action, _ := strings.Cut(rest, "/")
			return before + "{id}/" + action
		}
	}
	return r.URL.Path
}

// hidden replaces in the audit log what may be personal data.
const hidden = `"…"`

// personal are the names of an order's fields about the payer and the recipient.
var personal = func() map[string]bool {
	names := map[string]bool{}
	for _, t := range []reflect.Type{reflect.TypeFor[order.Payment](), reflect.TypeFor[order.Address]()} {
		for field := range t.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			names[strings.ToLower(name)] = true
		}
	}
	return names
}()

// redacted returns the body of an action as it is logged: compact, whatever its padding
// and escapes. A client may send an order to any path, by mistake or inside another
// value. Actions have only short texts and numbers. So redacted hides objects and lists,
// texts that contain one, and fields with the name of a payment's or an address's. body
// must be valid JSON.
func redacted(body []byte) []byte {
	dec := json.NewDecoder(bytes.NewReader(body))
	open, err := dec.Token()
	if err != nil || open != json.Delim('{') {
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
		b.Write(encoded(key))
		b.WriteByte(':')
		var s string
		switch {
		case personal[strings.ToLower(key)], structured(value):
			b.WriteString(hidden)
		case value[0] != '"':
			b.Write(value)
		case json.Unmarshal(value, &s) != nil, structured([]byte(s)):
			b.WriteString(hidden)
		default:
			b.Write(encoded(s))
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

// encoded returns text as JSON, with no more escapes than necessary.
func encoded(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string can always be encoded
	return bytes.TrimSpace(b.Bytes())
}
