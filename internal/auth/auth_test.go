package auth_test

import (
	"context"
	"errors"
	"fmt"
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
	real := authtest.New(t, "http://127.0.0.1/console/signed-in")
	o := auth.Options{Issuer: real.URL, Audiences: []string{authtest.Audience}, RolesClaim: "roles", Prefix: "ordersaga-", Logger: zerolog.Nop()}
	if change != nil {
		change(&o)
	}
	i, err := auth.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return real, i
}

func TestWho(t *testing.T) {
	real, i := newIssuer(t, nil)
	for program, may := range map[string][]auth.Role{
		"viewer": {auth.Viewer}, "shop": {auth.Shop}, "operator": {auth.Viewer, auth.Shop, auth.Operator}, "nobody": nil,
	} {
		p, err := i.Who(context.Background(), real.Token(program))
		if err != nil {
			t.Errorf("%s: %v", program, err)
			continue
		}
		if p.Subject != program || p.Name != program || p.Until.IsZero() {
			t.Errorf("%s is taken for %+v", program, p)
		}
		for _, r := range []auth.Role{auth.Viewer, auth.Shop, auth.Operator} {
			want := false
			for _, m := range may {
				want = want || m == r
			}
			if p.May(r) != want {
				t.Errorf("%s may %s: %v, want %v", program, r, p.May(r), want)
			}
		}
	}
}

func TestTokensNotAccepted(t *testing.T) {
	real, i := newIssuer(t, nil)
	good := real.Token("operator")
	header, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	other := authtest.New(t, "http://127.0.0.1/")
	none := "eyJhbGciOiJub25lIn0." + payload + "."
	for name, token := range map[string]string{
		"expired": real.Token("late"), "for another audience": real.Token("stranger"), "of another issuer": other.Token("operator"),
		"changed": header + "." + strings.Replace(payload, payload[10:12], "AA", 1) + "." + signature, "not signed": none, "no token": "x", "empty": "",
	} {
		if p, err := i.Who(context.Background(), token); !errors.Is(err, auth.ErrToken) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if _, err := i.Who(context.Background(), good); err != nil {
		t.Error(err)
	}
}

func TestKeysAreRotated(t *testing.T) {
	real, i := newIssuer(t, nil)
	before := real.Token("viewer")
	// The library answers from the keys it fetches a moment before it keeps them.
	soon := func(token string, accepted bool) {
		t.Helper()
		testkit.Eventually(t, "the keys are known", func() error {
			if _, err := i.Who(context.Background(), token); (err == nil) != accepted {
				return fmt.Errorf("accepted: %v, want %v: %w", err == nil, accepted, err)
			}
			return nil
		})
	}
	soon(before, true)
	real.Rotate()
	soon(real.Token("viewer"), true)
	if _, err := i.Who(context.Background(), before); err != nil { // its key is still published
		t.Error(err)
	}
	real.Rotate()
	soon(real.Token("viewer"), true)
	soon(before, false) // and now withdrawn
}

// TestGuessesDoNotFetchKeys: who sends tokens with keys that nobody knows does
// not have the issuer asked each time, nor those known forgotten.
func TestGuessesDoNotFetchKeys(t *testing.T) {
	real, i := newIssuer(t, nil)
	other := authtest.New(t, "http://127.0.0.1/")
	good := real.Token("viewer")
	_, rest, _ := strings.Cut(good, ".")
	header, _, _ := strings.Cut(other.Token("viewer"), ".") // which names the other's key
	for range 50 {
		if _, err := i.Who(context.Background(), header+"."+rest); !errors.Is(err, auth.ErrToken) || errors.Is(err, auth.ErrIssuer) {
			t.Fatal(err)
		}
	}
	if n := real.Fetches(); n == 0 || n > 6 {
		t.Errorf("the keys were fetched %d times", n)
	}
	if _, err := i.Who(context.Background(), good); err != nil {
		t.Error(err)
	}
	real.Stop()
	if _, err := i.Who(context.Background(), good); err != nil {
		t.Errorf("a key that is known: %v", err)
	}
}

func TestIssuerAway(t *testing.T) {
	real, i := newIssuer(t, nil)
	token := real.Token("viewer")
	real.Stop()
	if _, err := i.Who(context.Background(), token); !errors.Is(err, auth.ErrIssuer) {
		t.Errorf("before it was ever there: %v", err)
	}

	real, i = newIssuer(t, nil)
	token = real.Token("viewer")
	if _, err := i.Who(context.Background(), token); err != nil {
		t.Fatal(err)
	}
	real.Rotate()
	rotated := real.Token("viewer")
	real.Stop()
	if _, err := i.Who(context.Background(), token); err != nil {
		t.Errorf("the keys are known, and yet: %v", err)
	}
	if _, err := i.Who(context.Background(), rotated); !errors.Is(err, auth.ErrIssuer) {
		t.Errorf("with a key that is not known: %v", err)
	}
}

func TestOptions(t *testing.T) {
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
			t.Error(err)
		}
		o.ClientID, o.PublicURL = "", ""
		change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
