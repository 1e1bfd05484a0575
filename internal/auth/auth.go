// Package auth authenticates API clients and console users with the JSON Web Tokens of an
// OpenID Connect issuer, and reads their roles. Programs send bearer tokens; users of the
// console sign in at the issuer.
package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/rs/zerolog"
	"golang.org/x/oauth2"
	"golang.org/x/time/rate"

	"github.com/ordersaga/ordersaga/internal/httpcall"
	"github.com/ordersaga/ordersaga/internal/httpserve"
)

// Role is a set of permissions that a token grants.
type Role string

// The roles. An operator has the permissions of the others too.
const (
	Viewer   Role = "viewer"   // read everything
	Shop     Role = "shop"     // place orders and start sagas, read one of them
	Operator Role = "operator" // change everything
)

// Principal is the authenticated user or program that sends a request.
type Principal struct {
	Subject string // the issuer's id of the principal, which never changes
	Name    string // for display; the subject if the token has no name
	Roles   []Role
	Until   time.Time // when the token expires
}

// May reports whether the principal has one of the roles, or is an operator.
func (p Principal) May(roles ...Role) bool {
	return slices.ContainsFunc(p.Roles, func(has Role) bool { return has == Operator || slices.Contains(roles, has) })
}

var (
	// ErrToken is wrapped by the error of a token that is not accepted.
	ErrToken = errors.New("the token is not accepted")
	// ErrIssuer is wrapped by the error of a token that cannot be verified because the
	// issuer does not answer.
	ErrIssuer = errors.New("the issuer of tokens does not answer")
)

// Options configure an Issuer. Issuer, RolesClaim, and one of Audiences and ClientID are
// required.
type Options struct {
	// Issuer is the issuer's URL; its discovery document is at
	// /.well-known/openid-configuration under it.
	Issuer string
	// Audiences are the accepted audiences: a token must contain one of them.
	Audiences []string
	// RolesClaim is the claim with the roles: a list, or a string of words. Dots lead into
	// objects, as in Keycloak's realm_access.roles.
	RolesClaim string
	// Prefix precedes the names of the roles in tokens, such as "ordersaga-".
	Prefix string
	// ClientID and ClientSecret are the console's credentials at the issuer. Without an
	// id, sign-in with a browser is disabled.
	ClientID, ClientSecret string
	// PublicURL is the console's URL for browsers. It is required with ClientID; the
	// issuer must allow PublicURL + SignedInPath as a redirect.
	PublicURL string
	Logger    zerolog.Logger
}

// Validate returns an error that lists everything that is wrong with the options.
func (o Options) Validate() error {
	var faults []error
	u, err := url.Parse(o.Issuer)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		faults = append(faults, fmt.Errorf("issuer %q must be a URL such as https://id.example.com", o.Issuer))
	case u.Scheme == "http" && !httpserve.IsLoopback(u.Hostname()):
		faults = append(
			faults,
			fmt.Errorf("issuer %q must be an https URL: over http, its responses can be forged on the way, and with them every identity", o.Issuer),
		)
	}
	if len(o.Audiences) == 0 && o.ClientID == "" {
		faults = append(
			faults,
			errors.New("an audience is missing: without one, tokens for any other application of the issuer would be accepted"),
		)
	}
	if o.RolesClaim == "" {
		faults = append(faults, errors.New("the claim that contains the roles is missing"))
	}
	if o.ClientID != "" {
		u, err := url.Parse(o.PublicURL)
		switch {
		case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
			faults = append(
				faults,
				fmt.Errorf("public URL %q must be the http or https URL of the console: the issuer redirects browsers to it", o.PublicURL),
			)
		case u.Scheme == "http" && !httpserve.IsLoopback(u.Hostname()):
			faults = append(
				faults,
				fmt.Errorf("public URL %q must be an https URL: over http, the user's session can be read on the way", o.PublicURL),
			)
		}
	}
	return errors.Join(faults...)
}

const (
	// issuerTimeout is the timeout of each request to the issuer.
	issuerTimeout = 10 * time.Second
	// issuerPause is the minimum time between a failed request to the issuer and the next.
	issuerPause = 5 * time.Second
	// keyFetches is the number of fetches of keys that may follow each other without
	// pause; then there is one in each issuerPause. Any client can send a token with an
	// unknown key.
	keyFetches = 4
)

// Issuer verifies tokens of an OpenID Connect issuer. It fetches the issuer's keys when
// they are first needed, and again for a token with an unknown key, so that the issuer can
// rotate them. It is safe for concurrent use.
type Issuer struct {
	options Options
	client  *http.Client

	mu       sync.Mutex
	provider *oidc.Provider // nil until discovery has succeeded
	keys     keys
	failure  error     // of the latest discovery, if it has failed
	failed   time.Time // when that was
}

// New returns an Issuer. It sends no request to the issuer: sagas run without it, and the
// API starts to accept tokens as soon as the issuer answers. The caller must call Close.
func New(o Options) (*Issuer, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return &Issuer{
		options: o,
		client:  &http.Client{Timeout: issuerTimeout, Transport: errorTransport{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment}}},
	}, nil
}

// Close closes idle connections to the issuer.
func (i *Issuer) Close() { i.client.CloseIdleConnections() }

// discover returns the issuer's provider, and reads its discovery document if no call
// has succeeded so far.
func (i *Issuer) discover() (*oidc.Provider, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.provider != nil {
		return i.provider, nil
	}
	if time.Since(i.failed) < issuerPause {
		return nil, i.failure
	}
	// The provider keeps this context for its keys, so it must outlive the request.
	ctx := oidc.ClientContext(context.Background(), i.client)
	p, err := oidc.NewProvider(ctx, i.options.Issuer)
	var location struct {
		URL string `json:"jwks_uri"`
	}
	if err == nil {
		err = p.Claims(&location)
	}
	if err != nil {
		i.failure, i.failed = fmt.Errorf("%w: %w", ErrIssuer, err), time.Now()
		i.options.Logger.Error().Err(err).Str("issuer", i.options.Issuer).Msg("cannot check tokens")
		return nil, i.failure
	}
	fetch := &http.Client{
		Timeout:   issuerTimeout,
		Transport: &paced{next: i.client.Transport, limit: rate.NewLimiter(rate.Every(issuerPause), keyFetches)},
	}
	i.provider, i.keys = p, keys{RemoteKeySet: oidc.NewRemoteKeySet(oidc.ClientContext(ctx, fetch), location.URL)}
	return p, nil
}

// algorithms are the accepted signature algorithms: those with public keys. Tokens
// without a signature, or signed with the public key as an HMAC secret, are rejected.
var algorithms = []string{
	oidc.RS256,
	oidc.RS384,
	oidc.RS512,
	oidc.ES256,
	oidc.ES384,
	oidc.ES512,
	oidc.PS256,
	oidc.PS384,
	oidc.PS512,
	oidc.EdDSA,
}

// verify verifies a token with the issuer's keys. Its error wraps ErrToken or ErrIssuer.
func (i *Issuer) verify(ctx context.Context, token string, c oidc.Config) (*oidc.IDToken, error) {
	if _, err := i.discover(); err != nil {
		return nil, err
	}
	c.SupportedSigningAlgs = algorithms
	var fetchError error
	t, err := oidc.NewVerifier(i.options.Issuer, i.keys, &c).Verify(context.WithValue(ctx, fetchErrorKey{}, &fetchError), token)
	if fetchError != nil {
		return nil, fmt.Errorf("%w: %w", ErrIssuer, fetchError)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrToken, err)
	}
	return t, nil
}

// keys is a key set that reports a failed fetch separately from a wrong signature: the
// library's errors contain both only as text.
type keys struct{ *oidc.RemoteKeySet }

type fetchErrorKey struct{}

func (k keys) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := k.RemoteKeySet.VerifySignature(ctx, token)
	if fetch, ok := errors.AsType[*url.Error](err); ok && !errors.Is(err, errPaced) {
		*ctx.Value(fetchErrorKey{}).(*error) = fetch //nolint:forcetypeassert // verify sets it
	}
	return payload, err
}

// errPaced is the error of a token with an unknown key while the keys are not fetched
// again. The known keys are valid, so the token is not accepted.
var errPaced = errors.New("its key is not known; if the key is new, retry in a few seconds")

// paced limits how often the keys are fetched.
type paced struct {
	next  http.RoundTripper
	limit *rate.Limiter

	mu   sync.Mutex
	last error // of the latest fetch
}

func (p *paced) RoundTrip(req *http.Request) (*http.Response, error) {
	p.mu.Lock() // the key set has one fetch in flight anyway
	defer p.mu.Unlock()
	if !p.limit.Allow() {
		return nil, cmp.Or(p.last, errPaced)
	}
	var res *http.Response
	res, p.last = p.next.RoundTrip(req)
	return res, p.last
}

// errorTransport returns an error for a response with a server error or a redirect. Tokens
// are only as trustworthy as the signing keys. So these are read from the configured address and
// from the one in the discovery document only, and not from where a redirect points, even
// if that is the same host over http. The client's secret is not sent anywhere else either.
type errorTransport struct{ *http.Transport }

func (h errorTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := h.Transport.RoundTrip(req)
	if err == nil {
		if err := httpcall.Refuse(res); err != nil {
			return nil, err
		}
	}
	if err == nil && res.StatusCode >= http.StatusInternalServerError {
		_ = res.Body.Close() // its content does not matter
		return nil, fmt.Errorf("its response is %s", res.Status)
	}
	return res, err
}

// Authenticate verifies a token and returns its principal. The error wraps ErrToken or
// ErrIssuer.
func (i *Issuer) Authenticate(ctx context.Context, token string) (Principal, error) {
	// principal checks the audience: there may be more than one.
	t, err := i.verify(ctx, token, oidc.Config{SkipClientIDCheck: true})
	if err != nil {
		return Principal{}, err
	}
	return i.principal(t)
}

// principal reads the claims of a verified token.
func (i *Issuer) principal(t *oidc.IDToken) (Principal, error) {
	if !slices.ContainsFunc(t.Audience, func(a string) bool {
		return slices.Contains(i.options.Audiences, a) || i.options.ClientID != "" && a == i.options.ClientID
	}) {
		return Principal{}, fmt.Errorf("%w: it is for %s", ErrToken, strings.Join(t.Audience, ", "))
	}
	var claims map[string]any
	if err := t.Claims(&claims); err != nil {
		return Principal{}, fmt.Errorf("%w: its claims cannot be read: %w", ErrToken, err)
	}
	p := Principal{Subject: t.Subject, Name: t.Subject, Until: t.Expiry}
	for _, claim := range []string{"email", "name", "preferred_username"} {
		if name, _ := claims[claim].(string); name != "" {
			p.Name = name
		}
	}
	for _, name := range words(lookUp(claims, i.options.RolesClaim)) {
		if r, ok := strings.CutPrefix(name, i.options.Prefix); ok && slices.Contains([]Role{Viewer, Shop, Operator}, Role(r)) {
			p.Roles = append(p.Roles, Role(r))
		}
	}
	return p, nil
}

// lookUp follows a path of claims. A claim whose own name contains dots, as Auth0's do,
// takes precedence.
func lookUp(claims map[string]any, path string) any {
	if v, ok := claims[path]; ok {
		return v
	}
	first, rest, ok := strings.Cut(path, ".")
	if !ok {
		return nil
	}
	inner, _ := claims[first].(map[string]any)
	return lookUp(inner, rest)
}

// words returns the words of a claim that is a string, or the strings of a list.
func words(v any) (all []string) {
	switch v := v.(type) {
	case string:
		return strings.Fields(v)
	case []any:
		for _, e := range v {
			if s, ok := e.(string); ok {
				all = append(all, s)
			}
		}
	}
	return all
}

// oauth returns the console's OAuth client at the issuer.
func (i *Issuer) oauth() (oauth2.Config, error) {
	p, err := i.discover()
	if err != nil {
		return oauth2.Config{}, err
	}
	return oauth2.Config{
		ClientID: i.options.ClientID, ClientSecret: i.options.ClientSecret, Endpoint: p.Endpoint(),
		RedirectURL: strings.TrimSuffix(i.options.PublicURL, "/") + SignedInPath,
		Scopes:      []string{oidc.ScopeOpenID, "profile", "email"},
	}, nil
}

type principalKey struct{}

// NewContext returns a copy of ctx that carries the principal of a request.
func NewContext(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// FromContext returns the principal of a request; false if authentication is disabled.
func FromContext(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(principalKey{}).(Principal)
	return p, ok
}
