package testkit

import (
	"testing"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/auth"
	"github.com/ordersaga/ordersaga/internal/auth/authtest"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// RequireTokens makes a worker, which must not have started, require tokens of the issuer that
// it returns. Users of the console sign in at that issuer. It ends with the test.
func RequireTokens(t testing.TB, w *worker.Worker) *authtest.Issuer {
	t.Helper()
	home := "http://" + w.Listener.Addr().String()
	issuer := authtest.New(t, home+auth.SignedInPath)
	var err error
	w.Auth, err = auth.New(auth.Options{
		Issuer: issuer.URL, Audiences: []string{authtest.Audience}, RolesClaim: "roles", Prefix: "ordersaga-",
		ClientID: authtest.ClientID, ClientSecret: authtest.Secret, PublicURL: home, Logger: zerolog.Nop(),
	})
	require.NoError(t, err)
	t.Cleanup(w.Auth.Close)
	return issuer
}
