package auth_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/auth"
	"github.com/ordersaga/ordersaga/internal/auth/authtest"
	"github.com/ordersaga/ordersaga/internal/httpcall"
)

// TestIssuerRedirectsAreRejected: neither the discovery document nor the keys are read from
// the target of a redirect, even if they are right.
func TestIssuerRedirectsAreRejected(t *testing.T) {
	t.Parallel()
	target := authtest.New(t, "http://127.0.0.1/console/signed-in")
	token := target.Token("viewer")
	for _, redirected := range []string{"/.well-known/openid-configuration", "/keys"} {
		var at string
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == redirected {
				http.Redirect(w, r, target.URL+"/elsewhere", http.StatusFound)
				return
			}
			// The real discovery with this server's name for issuer and keys.
			res, err := http.Get(target.URL + r.URL.Path)
			if err != nil {
				t.Error(err)
				return
			}
			b, err := io.ReadAll(res.Body)
			if err := errors.Join(err, res.Body.Close()); err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(w, strings.ReplaceAll(string(b), target.URL, at))
		}))
		at = front.URL
		i, err := auth.New(
			auth.Options{Issuer: at, Audiences: []string{authtest.Audience}, RolesClaim: "roles", Prefix: "ordersaga-", Logger: zerolog.Nop()},
		)
		if err != nil {
			t.Fatal(err)
		}
		_, err = i.Authenticate(t.Context(), token)
		if r, ok := errors.AsType[*httpcall.RedirectedError](err); !errors.Is(err, auth.ErrIssuer) || !ok || r.To != target.URL+"/elsewhere" {
			t.Errorf("redirect of %s: error = %v, want ErrIssuer with the redirect", redirected, err)
		}
		i.Close()
		http.DefaultClient.CloseIdleConnections()
		front.Close()
	}
}
