// Package auth says who asks and what they may do, by the JSON Web Tokens of
// an OpenID Connect issuer: bearer tokens for programs, and for people in a
// browser the issuer's sign-in.
package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
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
)

// Role is what somebody may do.
type Role string

// The roles. An operator may do all that the others may.
const (
	Viewer   Role = "viewer"   // look at everything
	Shop     Role = "shop"     // place orders and start sagas, and look at one
	Operator Role = "operator" // act
)

// Person is who asks: somebody, or a program of theirs.
type Person struct {
	Subject string // the issuer's name for them, which never changes
	Name    string // what people call them; the subject if the token does not say
	Roles   []Role
	Until   time.Time // when the token expires
}

// May reports whether the person has one of the roles, or is an operator.
func (p Person) May(roles ...Role) bool {
	return slices.ContainsFunc(p.Roles, func(has Role) bool { return has == Operator || slices.Contains(roles, has) })
}

var (
	// ErrToken says that a token is not accepted, and why.
	ErrToken = errors.New("the token is not accepted")
	// ErrIssuer says that tokens cannot be checked, for the issuer does not
	// answer.
	ErrIssuer = errors.New("the issuer of tokens does not answer")
)

// Options say whose tokens are accepted.
type Options struct {
	Issuer    string   // URL, under which /.well-known/openid-configuration is
	Audiences []string // of which a token must name one
	// RolesClaim is where a token has the roles: a list, or words in a string.
	// A path with dots leads into objects, as in Keycloak's realm_access.roles.
	RolesClaim string
	// Prefix is what the roles' names have in front in tokens, such as
	// "ordersaga-".
	Prefix string
	// ClientID and ClientSecret are the console's at the issuer; without an id
	// nobody can sign in with a browser. PublicURL is where people find the
	// console; the issuer must allow PublicURL + SignedInPath as a redirect.
	ClientID, ClientSecret, PublicURL string
	Logger                            zerolog.Logger
}

// Validate says all that is wrong with the options.
func (o Options) Validate() error {
	var faults []error
	u, err := url.Parse(o.Issuer)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		faults = append(faults, fmt.Errorf("issuer %q must be a URL such as https://id.example.com", o.Issuer))
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		faults = append(faults, fmt.Errorf("issuer %q must be an https URL: whoever changes its answers on the way can sign in as anybody", o.Issuer))
	}
	if len(o.Audiences) == 0 && o.ClientID == "" {
		faults = append(faults, errors.New("an audience is missing: without one, tokens for any other application of the issuer would be accepted"))
	}
	if o.RolesClaim == "" {
		faults = append(faults, errors.New("the claim that has the roles is missing"))
	}
	if o.ClientID != "" {
		u, err := url.Parse(o.PublicURL)
		switch {
		case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
			faults = append(faults, fmt.Errorf("public URL %q must be the URL at which people find the console: the issuer sends them back to it", o.PublicURL))
		case u.Scheme == "http" && !isLoopback(u.Hostname()):
			faults = append(faults, fmt.Errorf("public URL %q must be an https URL: whoever listens on the way has the session of who signs in", o.PublicURL))
		}
	}
	return errors.Join(faults...)
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// issuerTimeout bounds each question to the issuer; after one that failed,
// issuerPause passes before the next.
const (
	issuerTimeout = 10 * time.Second
	issuerPause   = 5 * time.Second
	// keyFetches may follow each other at once, then one in each issuerPause:
	// anybody can send a token whose key is not known.
	keyFetches = 4
)

// Issuer checks tokens. The issuer's keys are fetched when first needed and
// again when a token names one that is not known, so that keys can be rotated.
type Issuer struct {
	options Options
	client  *http.Client

	mu       sync.Mutex
	provider *oidc.Provider // nil until it has answered
	keys     keys
	failure  error
	failed   time.Time
}

// New needs no answer of the issuer: sagas go on, and the API opens as soon as
// the issuer is there.
func New(o Options) (*Issuer, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return &Issuer{options: o, client: &http.Client{Timeout: issuerTimeout, Transport: healthy{&http.Transport{Proxy: http.ProxyFromEnvironment}}}}, nil
}

// Close lets go of idle connections.
func (i *Issuer) Close() { i.client.CloseIdleConnections() }

func (i *Issuer) discovered() (*oidc.Provider, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.provider != nil {
		return i.provider, nil
	}
	if time.Since(i.failed) < issuerPause {
		return nil, i.failure
	}
	// The provider keeps this context for its keys, beyond any request.
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
	fetch := &http.Client{Timeout: issuerTimeout, Transport: &paced{next: i.client.Transport, limit: rate.NewLimiter(rate.Every(issuerPause), keyFetches)}}
	i.provider, i.keys = p, keys{oidc.NewRemoteKeySet(oidc.ClientContext(ctx, fetch), location.URL)}
	return p, nil
}

// algorithms are those of public keys. A token cannot be signed with what
// everybody knows, nor not at all.
var algorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA}

// verify checks a token by the issuer's keys. The error is ErrToken or
// ErrIssuer.
func (i *Issuer) verify(ctx context.Context, token string, c oidc.Config) (*oidc.IDToken, error) {
	if _, err := i.discovered(); err != nil {
		return nil, err
	}
	c.SupportedSigningAlgs = algorithms
	var away error
	t, err := oidc.NewVerifier(i.options.Issuer, i.keys, &c).Verify(context.WithValue(ctx, awayKey{}, &away), token)
	if away != nil {
		return nil, fmt.Errorf("%w: %w", ErrIssuer, away)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrToken, err)
	}
	return t, nil
}

// keys tells a key that cannot be fetched from one that is wrong: the library
// makes text of both.
type keys struct{ *oidc.RemoteKeySet }

type awayKey struct{}

func (k keys) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := k.RemoteKeySet.VerifySignature(ctx, token)
	if fetch, ok := errors.AsType[*url.Error](err); ok && !errors.Is(err, errPaced) {
		*ctx.Value(awayKey{}).(*error) = fetch //nolint:forcetypeassert // verify has put it there
	}
	return payload, err
}

// errPaced says that the keys are not fetched again so soon. Those that are
// known are good, so the token is not.
var errPaced = errors.New("its key is not known; should it be a new one, try again in a moment")

// paced bounds how often the keys are fetched.
type paced struct {
	next  http.RoundTripper
	limit *rate.Limiter

	mu   sync.Mutex
	last error // of the latest fetch
}

func (p *paced) RoundTrip(req *http.Request) (*http.Response, error) {
	p.mu.Lock() // the key set fetches one at a time anyway
	defer p.mu.Unlock()
	if !p.limit.Allow() {
		return nil, cmp.Or(p.last, errPaced)
	}
	var res *http.Response
	res, p.last = p.next.RoundTrip(req)
	return res, p.last
}

// healthy makes an error of an answer that says the issuer is broken, or is
// elsewhere. What the keys prove is all that a token is worth, so they come from
// the address that was configured and from the one that its discovery names, not
// from where somebody on the way points to, be it the same host over http; and
// the client's secret goes nowhere else.
type healthy struct{ *http.Transport }

func (h healthy) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := h.Transport.RoundTrip(req)
	if err == nil {
		if err := httpcall.Refuse(res); err != nil {
			return nil, err
		}
	}
	if err == nil && res.StatusCode >= http.StatusInternalServerError {
		_ = res.Body.Close() // it is broken anyway
		return nil, fmt.Errorf("it answers %s", res.Status)
	}
	return res, err
}

// Who tells whose token it is. The error is ErrToken or ErrIssuer.
func (i *Issuer) Who(ctx context.Context, token string) (Person, error) {
	t, err := i.verify(ctx, token, oidc.Config{SkipClientIDCheck: true}) // person sees to the audience: there may be more than one
	if err != nil {
		return Person{}, err
	}
	return i.person(t)
}

func (i *Issuer) person(t *oidc.IDToken) (Person, error) {
	if !slices.ContainsFunc(t.Audience, func(a string) bool {
		return slices.Contains(i.options.Audiences, a) || i.options.ClientID != "" && a == i.options.ClientID
	}) {
		return Person{}, fmt.Errorf("%w: it is for %s", ErrToken, strings.Join(t.Audience, ", "))
	}
	var claims map[string]any
	if err := t.Claims(&claims); err != nil {
		return Person{}, fmt.Errorf("%w: its claims cannot be read: %w", ErrToken, err)
	}
	p := Person{Subject: t.Subject, Name: t.Subject, Until: t.Expiry}
	for _, claim := range []string{"email", "name", "preferred_username"} {
		if name, _ := claims[claim].(string); name != "" {
			p.Name = name
		}
	}
	for _, name := range words(find(claims, i.options.RolesClaim)) {
		if r, ok := strings.CutPrefix(name, i.options.Prefix); ok && slices.Contains([]Role{Viewer, Shop, Operator}, Role(r)) {
			p.Roles = append(p.Roles, Role(r))
		}
	}
	return p, nil
}

// find follows a path of claims; a claim whose own name has dots, as with
// Auth0's, comes first.
func find(claims map[string]any, path string) any {
	if v, ok := claims[path]; ok {
		return v
	}
	first, rest, ok := strings.Cut(path, ".")
	if !ok {
		return nil
	}
	inner, _ := claims[first].(map[string]any)
	return find(inner, rest)
}

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

// oauth is the console at the issuer.
func (i *Issuer) oauth() (oauth2.Config, error) {
	p, err := i.discovered()
	if err != nil {
		return oauth2.Config{}, err
	}
	return oauth2.Config{
		ClientID: i.options.ClientID, ClientSecret: i.options.ClientSecret, Endpoint: p.Endpoint(),
		RedirectURL: strings.TrimSuffix(i.options.PublicURL, "/") + SignedInPath,
		Scopes:      []string{oidc.ScopeOpenID, "profile", "email"},
	}, nil
}

type personKey struct{}

// With keeps who asks in the context.
func With(ctx context.Context, p Person) context.Context {
	return context.WithValue(ctx, personKey{}, p)
}

// From tells who asks; false where nobody had to say.
func From(ctx context.Context) (Person, bool) {
	p, ok := ctx.Value(personKey{}).(Person)
	return p, ok
}
