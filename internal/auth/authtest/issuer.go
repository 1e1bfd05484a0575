// Package authtest runs a real OpenID Connect issuer, zitadel's, for tests.
package authtest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// What the issuer and the system under test agree on.
const (
	Audience = "ordersaga" // of the programs' tokens
	ClientID = "console"
	Secret   = "secret"
	Password = "verysecure" // of Ann and Bob
)

// Issuer knows programs by the names of their roles, and two people: ann, an
// operator, and bob, a viewer.
type Issuer struct {
	URL string

	t      testing.TB
	server *httptest.Server

	mu   sync.Mutex
	keys []key // the latest signs
	// fetches counts how often the keys were asked for.
	fetches int
}

// New starts an issuer. It ends with the test.
func New(t testing.TB, redirect string) *Issuer {
	t.Helper()
	i := &Issuer{t: t}
	i.Rotate()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	i.URL = "http://" + l.Addr().String()
	s := store{storage.NewStorageWithClients(people{}, map[string]*storage.Client{
		ClientID: storage.WebClient(ClientID, Secret, redirect),
	}), i}
	i.server = httptest.NewUnstartedServer(exampleop.SetupServer(i.URL, s, slog.New(slog.DiscardHandler), false))
	_ = i.server.Listener.Close() // its own
	i.server.Listener = l
	i.server.Start()
	t.Cleanup(i.server.Close)
	return i
}

// Stop ends the issuer before the test does.
func (i *Issuer) Stop() { i.server.Close() }

// Rotate signs with a new key from now on. The one before is still published,
// those before that are not.
func (i *Issuer) Rotate() {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		i.t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys[max(0, len(i.keys)-1):], key{rand.Text(), private})
}

// Fetches is how often the keys were asked for.
func (i *Issuer) Fetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

// Token is a bearer token of the program of that name: viewer, shop, operator,
// nobody, who has no role, late, whose tokens have expired, or stranger, whose
// are for another audience.
func (i *Issuer) Token(program string) string {
	i.t.Helper()
	// By hand: the client libraries take no tokens that have expired.
	res, err := http.PostForm(i.URL+"/oauth/token", url.Values{ //nolint:noctx // a test ends by itself
		"grant_type": {"client_credentials"}, "client_id": {program}, "client_secret": {Secret},
	})
	if err != nil {
		i.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // it was read
	var t struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&t); err != nil || t.Token == "" {
		i.t.Fatalf("no token for %s: %s, %v", program, res.Status, err)
	}
	return t.Token
}

// SignIn follows a browser's way from start, a page that wants one to sign in,
// through the issuer's form and back, and returns where it ends.
func (i *Issuer) SignIn(browser *http.Client, start, user string) *http.Response {
	i.t.Helper()
	form := i.get(browser, start)
	if form.Request.URL.Host != i.server.Listener.Addr().String() {
		i.t.Fatalf("%s does not lead to the issuer, but to %s, %s", start, form.Request.URL, form.Status)
	}
	values := url.Values{"username": {user}, "password": {Password}, "id": {form.Request.URL.Query().Get("authRequestID")}}
	res, err := browser.PostForm(i.URL+"/login/username", values) //nolint:noctx // a test ends by itself
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func (i *Issuer) get(browser *http.Client, at string) *http.Response {
	i.t.Helper()
	res, err := browser.Get(at) //nolint:noctx // a test ends by itself
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

type key struct {
	id      string
	private *rsa.PrivateKey
}

func (k key) ID() string                                { return k.id }
func (key) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k key) Key() any                                  { return k.private }

type published struct{ key }

func (published) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (published) Use() string                        { return "sig" }
func (p published) Key() any                         { return &p.private.PublicKey }

// store is the example's, with keys that change, roles, and programs.
type store struct {
	*storage.Storage

	issuer *Issuer
}

func (s store) SigningKey(context.Context) (op.SigningKey, error) {
	s.issuer.mu.Lock()
	defer s.issuer.mu.Unlock()
	return s.issuer.keys[len(s.issuer.keys)-1], nil
}

func (s store) KeySet(context.Context) (all []op.Key, err error) {
	s.issuer.mu.Lock()
	defer s.issuer.mu.Unlock()
	s.issuer.fetches++
	for _, k := range s.issuer.keys {
		all = append(all, published{k})
	}
	return all, nil
}

// roles is what tokens say, in the issuer's own words.
func roles(who string) []string {
	switch who {
	case "ann":
		return []string{"staff", "ordersaga-operator"}
	case "bob":
		return []string{"ordersaga-viewer"}
	case "nobody":
		return []string{"staff"}
	}
	return []string{"ordersaga-" + who}
}

func (s store) SetUserinfoFromRequest(ctx context.Context, info *oidc.UserInfo, token op.IDTokenRequest, scopes []string) error {
	info.AppendClaims("roles", roles(token.GetSubject()))
	return s.Storage.SetUserinfoFromRequest(ctx, info, token, scopes)
}

func (s store) GetPrivateClaimsFromScopes(_ context.Context, user, _ string, _ []string) (map[string]any, error) {
	return map[string]any{"roles": roles(user)}, nil
}

func (s store) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := s.Storage.GetClientByClientID(ctx, id)
	return console{c}, err
}

// console has the roles in its ID tokens.
type console struct{ op.Client }

func (console) IDTokenUserinfoClaimsAssertion() bool { return true }

// program gets JWTs and not opaque tokens.
type program struct {
	op.Client

	id string
}

func (p program) GetID() string                     { return p.id }
func (program) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

func (s store) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	if secret != Secret {
		return nil, errors.New("wrong secret")
	}
	c, err := s.Storage.ClientCredentials(ctx, "sid1", "verysecret")
	return program{c, id}, err
}

func (s store) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	r := &oidc.JWTTokenRequest{Subject: id, Audience: []string{"other", Audience}, Scopes: scopes}
	if id == "stranger" {
		r.Audience = r.Audience[:1]
	}
	return r, nil
}

func (s store) CreateAccessToken(ctx context.Context, r op.TokenRequest) (string, time.Time, error) {
	id, until, err := s.Storage.CreateAccessToken(ctx, r)
	if r.GetSubject() == "late" {
		until = time.Now().Add(-time.Minute)
	}
	return id, until, err
}

type people struct{}

func (people) GetUserByID(id string) *storage.User {
	if id != "ann" && id != "bob" {
		return nil
	}
	return &storage.User{ID: id, Username: id, Password: Password}
}

func (p people) GetUserByUsername(name string) *storage.User { return p.GetUserByID(name) }
func (people) ExampleClientID() string                       { return "unused" }
