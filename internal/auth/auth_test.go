package auth_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/auth"
	"github.com/ordersaga/ordersaga/internal/auth/authtest"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newIssuer(t *testing.T, change func(*auth.Options)) (*authtest.Issuer, *auth.Issuer) {
	t.Helper()
	issuer := authtest.New(t, "http://127.0.0.1/console/signed-in")
	o := auth.Options{
		Issuer:     issuer.URL,
		Audiences:  []string{authtest.Audience},
		RolesClaim: "roles",
		Prefix:     "ordersaga-",
		Logger:     zerolog.Nop(),
	}
	if change != nil {
		change(&o)
	}
	i, err := auth.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return issuer, i
}

func TestAuthenticateReadsNameAndRoles(t *testing.T) {
	t.Parallel()
	issuer, i := newIssuer(t, nil)
	for program, may := range map[string][]auth.Role{
		"viewer": {auth.Viewer}, "shop": {auth.Shop}, "operator": {auth.Viewer, auth.Shop, auth.Operator}, "nobody": nil,
	} {
		p, err := i.Authenticate(context.Background(), issuer.Token(program))
		if err != nil {
			t.Errorf("Authenticate the token of %s: %v", program, err)
			continue
		}
		if p.Subject != program || p.Name != program || p.Until.IsZero() {
			t.Errorf("the token of %s has the principal %+v, want this name and subject, and an expiry", program, p)
		}
		for _, r := range []auth.Role{auth.Viewer, auth.Shop, auth.Operator} {
			if want := slices.Contains(may, r); p.May(r) != want {
				t.Errorf("%s: May(%s) = %v, want %v", program, r, p.May(r), want)
			}
		}
	}
}

func TestInvalidTokensAreRejected(t *testing.T) {
	t.Parallel()
	issuer, i := newIssuer(t, nil)
	good := issuer.Token("operator")
	header, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	other := authtest.New(t, "http://127.0.0.1/")
	none := "eyJhbGciOiJub25lIn0." + payload + "."
	for name, token := range map[string]string{
		"expired": issuer.Token("late"), "for another audience": issuer.Token("stranger"), "of another issuer": other.Token("operator"),
		"changed": header + "." + strings.Replace(payload, payload[10:12], "AA", 1) + "." + signature, "not signed": none, "no token": "x",
		"empty": "",
	} {
		if p, err := i.Authenticate(context.Background(), token); !errors.Is(err, auth.ErrToken) {
			t.Errorf("token that is %s: principal %+v, error %v, want ErrToken", name, p, err)
		}
	}
	if _, err := i.Authenticate(context.Background(), good); err != nil {
		t.Errorf("Authenticate a valid token: %v", err)
	}
}

func TestRotatedKeysAreAccepted(t *testing.T) {
	t.Parallel()
	issuer, i := newIssuer(t, nil)
	before := issuer.Token("viewer")
	// The library verifies with fetched keys slightly before it stores them.
	soon := func(token string, accepted bool) {
		t.Helper()
		testkit.Eventually(t, "the keys are known", func() error {
			if _, err := i.Authenticate(context.Background(), token); (err == nil) != accepted {
				return fmt.Errorf("token accepted: %v, want %v: %w", err == nil, accepted, err)
			}
			return nil
		})
	}
	soon(before, true)
	issuer.Rotate()
	soon(issuer.Token("viewer"), true)
	if _, err := i.Authenticate(context.Background(), before); err != nil { // its key is still published
		t.Errorf("Authenticate a token of the previous key: %v", err)
	}
	issuer.Rotate()
	soon(issuer.Token("viewer"), true)
	soon(before, false) // its key is withdrawn now
}

// TestUnknownKeysAreNotFetchedEachTime: tokens with unknown keys neither cause a request
// to the issuer each, nor make the known keys invalid.
func TestUnknownKeysAreNotFetchedEachTime(t *testing.T) {
	t.Parallel()
	issuer, i := newIssuer(t, nil)
	other := authtest.New(t, "http://127.0.0.1/")
	good := issuer.Token("viewer")
	_, rest, _ := strings.Cut(good, ".")
	header, _, _ := strings.Cut(other.Token("viewer"), ".") // which names the other's key
	for range 50 {
		if _, err := i.Authenticate(context.Background(), header+"."+rest); !errors.Is(err, auth.ErrToken) || errors.Is(err, auth.ErrIssuer) {
			t.Fatalf("token with an unknown key: error = %v, want ErrToken", err)
		}
	}
	if n := issuer.Fetches(); n == 0 || n > 6 {
		t.Errorf("the keys were fetched %d times, want 1 to 6", n)
	}
	if _, err := i.Authenticate(context.Background(), good); err != nil {
		t.Errorf("Authenticate a valid token afterwards: %v", err)
	}
	issuer.Stop()
	if _, err := i.Authenticate(context.Background(), good); err != nil {
		t.Errorf("Authenticate a token with a known key while the issuer is down: %v", err)
	}
}

func TestKnownKeysWorkWhileTheIssuerIsDown(t *testing.T) {
	t.Parallel()
	issuer, i := newIssuer(t, nil)
	token := issuer.Token("viewer")
	issuer.Stop()
	if _, err := i.Authenticate(context.Background(), token); !errors.Is(err, auth.ErrIssuer) {
		t.Errorf("issuer that never answered: error = %v, want ErrIssuer", err)
	}

	issuer, i = newIssuer(t, nil)
	token = issuer.Token("viewer")
	if _, err := i.Authenticate(context.Background(), token); err != nil {
		t.Fatal(err)
	}
	issuer.Rotate()
	rotated := issuer.Token("viewer")
	issuer.Stop()
	if _, err := i.Authenticate(context.Background(), token); err != nil {
		t.Errorf("token with a known key: error = %v, want nil", err)
	}
	if _, err := i.Authenticate(context.Background(), rotated); !errors.Is(err, auth.ErrIssuer) {
		t.Errorf("token with an unknown key: error = %v, want ErrIssuer", err)
	}
}

func TestValidateRejectsIncompleteOptions(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*auth.Options){
		"issuer":     func(o *auth.Options) { o.Issuer = "id.example.com" },
		"https":      func(o *auth.Options) { o.Issuer = "http://id.example.com" },
		"audience":   func(o *auth.Options) { o.Audiences = nil },
		"claim":      func(o *auth.Options) { o.RolesClaim = "" },
		"public URL": func(o *auth.Options) { o.ClientID = "console" },
		"session":    func(o *auth.Options) { o.ClientID, o.PublicURL = "console", "http://orders.example.com" },
		"https URL":  func(o *auth.Options) { o.Issuer = "http://127.0.0.1.example.com" },
	} {
		o := auth.Options{Issuer: "https://id.example.com", Audiences: []string{"a"}, RolesClaim: "roles"}
		if err := o.Validate(); err != nil {
			t.Fatal(err)
		}
		o.ClientID, o.PublicURL = "console", "http://127.0.0.1:8080"
		if err := o.Validate(); err != nil {
			t.Errorf("valid options with a client: %v", err)
		}
		o.ClientID, o.PublicURL = "", ""
		change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want one with %q", err, want)
		}
	}
}
