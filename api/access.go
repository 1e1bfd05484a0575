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

// isProtected reports whether a path needs a token. Health, metrics and the OpenAPI
// document do not: they are for probes, Prometheus and clients without one.
func isProtected(path string) bool { return strings.HasPrefix(path, "/v1/") }

// authenticated rejects requests without a valid token, and those that the roles of the
// token do not allow.
func (s *server) authenticated(next http.Handler) http.Handler {
	if s.Auth == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isProtected(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") { // RFC 9110, 11.1: in any case
			if s.limit.refused(w, r) {
				return
			}
			w.Header().Set("WWW-Authenticate", `Bearer`)
			problem(w, http.StatusUnauthorized, "header.Authorization", "a bearer token is required")
			return
		}
		p, err := s.Auth.Authenticate(r.Context(), strings.TrimLeft(token, " "))
		switch {
		case errors.Is(err, auth.ErrIssuer):
			if s.limit.refused(w, r) {
				return
			}
			problem(w, http.StatusServiceUnavailable, "", "tokens cannot be verified now: "+auth.ErrIssuer.Error()+"; retry later")
			s.Logger.Error().Err(err).Msg("cannot verify a token")
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
			problem(w, http.StatusForbidden, "", r.Method+" "+r.URL.Path+" requires the role "+joined(append(need, auth.Operator), " or ")+
				"; "+p.Name+" has "+cmp.Or(joined(p.Roles, " or "), "none"))
			return
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// needed returns the roles, besides operator, that allow a request.
func needed(r *http.Request) []auth.Role {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	one := strings.HasPrefix(r.URL.Path, "/v1/sagas/")
	switch {
	case r.URL.Path == whoPath, reads && one:
		return []auth.Role{auth.Viewer, auth.Shop}
	case r.URL.Path == reconcilePath: // its errors are not filtered
		return nil
	case reads:
		return []auth.Role{auth.Viewer}
	case placesOrder(r):
		return []auth.Role{auth.Shop}
	}
	return nil
}

// placesOrder reports whether r places an order or starts its saga.
func placesOrder(r *http.Request) bool {
	return r.Method == http.MethodPost && (r.URL.Path == "/v1/orders" || r.URL.Path == "/v1/sagas")
}

// Who is the identity and the roles of a caller.
type Who struct {
	Name    string      `json:"name,omitempty" doc:"Name that the caller's actions are noted under." example:"ann"`
	Subject string      `json:"subject,omitempty" doc:"The issuer's identifier of the caller."`
	Roles   []auth.Role `json:"roles,omitempty" doc:"viewer: may read. shop: may place orders. operator: may act."`
	Until   *time.Time  `json:"until,omitempty" doc:"When the token expires."`
	Open    bool        `json:"open" doc:"No authentication: any client that reaches this address can act."`
}

const whoPath = "/v1/whoami"

func (s *server) whoAmI(h huma.API) {
	huma.Register(h, huma.Operation{
		OperationID: "whoAmI", Method: http.MethodGet, Path: whoPath, Tags: []string{"access"},
		Summary: "Read the caller's identity and roles",
	},
		func(ctx context.Context, _ *struct{}) (*struct{ Body Who }, error) {
			out := &struct{ Body Who }{Body: Who{Open: s.Auth == nil}}
			if p, ok := auth.FromContext(ctx); ok {
				out.Body = Who{Name: p.Name, Subject: p.Subject, Roles: p.Roles, Until: &p.Until}
			}
			return out, nil
		})
}

// secure adds the authentication to the OpenAPI document.
func (s *server) secure(c *huma.Config) {
	if s.Auth == nil {
		return
	}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {
			Type: "http", Scheme: "bearer", BearerFormat: "JWT",
			Description: "Token of the worker's OpenID Connect issuer. Reading requires the role viewer, placing orders shop, acting operator.",
		},
	}
	c.Security = []map[string][]string{{"token": {}}}
}
