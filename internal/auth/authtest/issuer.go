// Package authtest runs a real OpenID Connect issuer, zitadel's library, for tests.
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

// Configuration that the issuer and the system under test share.
const (
	Audience = "ordersaga"  // of the programs' tokens
	ClientID = "console"    // of the console
	Secret   = "secret"     // of the console and of the programs
	Password = "verysecure" // of the users ann and bob
)

// Issuer is a running OpenID Connect issuer. It has programs that are named after their
// roles, and two users: ann, an operator, and bob, a viewer. It is safe for concurrent use.
type Issuer struct {
	URL string // base URL, the issuer's name in tokens

	t      testing.TB
	server *httptest.Server

	mu   sync.Mutex
	keys []key // the last one signs
	// fetches counts the requests for the keys.
	fetches int
}

// New starts an issuer, and stops it when the test ends. redirect is the URL to which it
// may redirect browsers after the sign-in.
func New(t testing.TB, redirect string) *Issuer {
	t.Helper()
	i := &Issuer{t: t}
	i.Rotate()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	i.URL = "http://" + l.Addr().String()
	clients := map[string]*storage.Client{ClientID: storage.WebClient(ClientID, Secret, redirect)}
	s := store{Storage: storage.NewStorageWithClients(users{}, clients), issuer: i}
	i.server = httptest.NewUnstartedServer(exampleop.SetupServer(i.URL, s, slog.New(slog.DiscardHandler), false))
	_ = i.server.Listener.Close() // replaced by l, whose address is in URL
	i.server.Listener = l
	i.server.Start()
	t.Cleanup(i.server.Close)
	return i
}

// Stop stops the issuer before the test ends.
func (i *Issuer) Stop() { i.server.Close() }

// Rotate makes the issuer sign with a new key. The previous key stays published, older ones
// do not.
func (i *Issuer) Rotate() {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		i.t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys[max(0, len(i.keys)-1):], key{id: rand.Text(), private: private})
}

// Fetches returns the number of requests for the keys so far.
func (i *Issuer) Fetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

// Token returns a bearer token of a program. The program's name is its role: viewer, shop
// or operator. Three more are late, whose tokens have expired; stranger, whose tokens are for
// another audience; and one without a role, see roles.
func (i *Issuer) Token(program string) string {
	i.t.Helper()
	// Without a client library: those reject expired tokens.
	res, err := http.PostForm(i.URL+"/oauth/token", url.Values{ //nolint:noctx // a test ends by itself
		"grant_type": {"client_credentials"}, "client_id": {program}, "client_secret": {Secret},
	})
	if err != nil {
		i.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // it is read to the end
	var t struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&t); err != nil || t.Token == "" {
		i.t.Fatalf("request a token for %s: status %s, token %q, error %v", program, res.Status, t.Token, err)
	}
	return t.Token
}

// SignIn signs a user in with a browser: it opens start, a page that requires a sign-in,
// submits the issuer's form, and follows all redirects. It returns the last response, whose
// body is closed when the test ends.
func (i *Issuer) SignIn(browser *http.Client, start, user string) *http.Response {
	i.t.Helper()
	form := i.get(browser, start)
	if form.Request.URL.Host != i.server.Listener.Addr().String() {
		i.t.Fatalf("%s leads to %s (%s), want a redirect to the issuer %s", start, form.Request.URL, form.Status, i.URL)
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

// key is a signing key.
type key struct {
	id      string
	private *rsa.PrivateKey
}

func (k key) ID() string                                { return k.id }
func (key) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k key) Key() any                                  { return k.private }

// published is the public half of a key.
type published struct{ key }

func (published) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (published) Use() string                        { return "sig" }
func (p published) Key() any                         { return &p.private.PublicKey }

// store is the storage of zitadel's example, with rotating keys, roles and programs.
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
		all = append(all, published{key: k})
	}
	return all, nil
}

// roles returns the roles claim of a user or program.
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
	return console{Client: c}, err
}

// console is a client whose ID tokens contain the roles.
type console struct{ op.Client }

func (console) IDTokenUserinfoClaimsAssertion() bool { return true }

// program is a client that gets JWTs, not opaque tokens.
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
	return program{Client: c, id: id}, err
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

// users is the issuer's user directory.
type users struct{}

func (users) GetUserByID(id string) *storage.User {
	if id != "ann" && id != "bob" {
		return nil
	}
	return &storage.User{ID: id, Username: id, Password: Password}
}

func (u users) GetUserByUsername(name string) *storage.User { return u.GetUserByID(name) }
func (users) ExampleClientID() string                       { return "unused" }
