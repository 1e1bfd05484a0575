package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordersaga/ordersaga/internal/auth"
)

// Auth verifies bearer tokens. Its errors wrap auth.ErrToken or auth.ErrIssuer.
type Auth interface {
	Authenticate(ctx context.Context, token string) (auth.Principal, error)
}

// guarded reports whether a path shows or does anything about orders. Health,
// metrics and the API's own description are for probes, Prometheus and clients
// without a token.
func guarded(path string) bool { return strings.HasPrefix(path, "/v1/") }

// authenticated lets only those through who may do what they ask.
func (s *server) authenticated(next http.Handler) http.Handler {
	if s.Auth == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !guarded(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") { // RFC 9110, 11.1: in any case
			if s.limit.refused(w, r) {
				return
			}
			w.Header().Set("WWW-Authenticate", `Bearer`)
			problem(w, http.StatusUnauthorized, "header.Authorization", "a bearer token is missing")
			return
		}
		p, err := s.Auth.Authenticate(r.Context(), strings.TrimLeft(token, " "))
		switch {
		case errors.Is(err, auth.ErrIssuer):
			if s.limit.refused(w, r) {
				return
			}
			problem(w, http.StatusServiceUnavailable, "", "nobody can be let in now: "+auth.ErrIssuer.Error())
			s.Logger.Error().Err(err).Msg("cannot check a token")
			return
		case err != nil:
			if s.limit.refused(w, r) {
				return
			}
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			problem(w, http.StatusUnauthorized, "header.Authorization", err.Error())
			return
		}
		ctx := auth.NewContext(r.Context(), p)
		if need := needed(r); !p.May(need...) {
			s.refused(r.WithContext(ctx), http.StatusForbidden)
			w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope"`)
			problem(w, http.StatusForbidden, "", r.Method+" "+r.URL.Path+" needs the role "+roles(append(need, auth.Operator))+"; "+p.Name+" has "+cmp.Or(roles(p.Roles), "none"))
			return
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// needed is which roles, beside operators, may do what r asks.
func needed(r *http.Request) []auth.Role {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	one := strings.HasPrefix(r.URL.Path, "/v1/sagas/")
	switch {
	case r.URL.Path == whoPath, reads && one:
		return []auth.Role{auth.Viewer, auth.Shop}
	case r.URL.Path == reconcilePath: // says what went wrong in our own words
		return nil
	case reads:
		return []auth.Role{auth.Viewer}
	case places(r):
		return []auth.Role{auth.Shop}
	}
	return nil
}

// places reports whether r places an order or starts its saga.
func places(r *http.Request) bool {
	return r.Method == http.MethodPost && (r.URL.Path == "/v1/orders" || r.URL.Path == "/v1/sagas")
}

func roles(all []auth.Role) string {
	names := make([]string, len(all))
	for i, r := range all {
		names[i] = string(r)
	}
	return strings.Join(names, " or ")
}

// Who is the answer to the question who one is.
type Who struct {
	Name    string      `json:"name,omitempty" doc:"What actions are noted under." example:"ann"`
	Subject string      `json:"subject,omitempty" doc:"The issuer's name for them."`
	Roles   []auth.Role `json:"roles,omitempty" doc:"viewer: looks. shop: places orders. operator: acts."`
	Until   *time.Time  `json:"until,omitempty" doc:"When the token expires."`
	Open    bool        `json:"open" doc:"Nobody needs a token: whoever reaches this address can act."`
}

const whoPath = "/v1/whoami"

func (s *server) who(h huma.API) {
	huma.Register(h, huma.Operation{OperationID: "whoAmI", Method: http.MethodGet, Path: whoPath, Tags: []string{"access"}, Summary: "Says whose token it is and what it allows"},
		func(ctx context.Context, _ *struct{}) (*struct{ Body Who }, error) {
			out := &struct{ Body Who }{Who{Open: s.Auth == nil}}
			if p, ok := auth.FromContext(ctx); ok {
				out.Body = Who{Name: p.Name, Subject: p.Subject, Roles: p.Roles, Until: &p.Until}
			}
			return out, nil
		})
}

// secure says in the document what is asked for.
func (s *server) secure(c *huma.Config) {
	if s.Auth == nil {
		return
	}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "Of the OpenID Connect issuer that the worker was given. Reading needs the role viewer, placing orders shop, acting operator."},
	}
	c.Security = []map[string][]string{{"token": {}}}
}
