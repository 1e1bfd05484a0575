package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Paths of the sign-in with a browser: OpenID Connect's code flow with PKCE.
const (
	SignInPath   = "/console/sign-in"
	SignedInPath = "/console/signed-in" // where the issuer sends people back to
	SignOutPath  = "/console/sign-out"
)

const (
	session    = "ordersaga-session" // cookie with the ID token; nothing is kept here
	attempt    = "ordersaga-sign-in" // cookie of a sign-in that is under way
	patience   = 10 * time.Minute    // with somebody who signs in
	cookieSize = 4000                // browsers drop larger ones without a word (RFC 6265: 4096 with name and attributes)
)

// SignsIn reports whether people can sign in with a browser.
func (i *Issuer) SignsIn() bool { return i.options.ClientID != "" }

// Bear turns the session of a browser into the bearer token that it stands
// for. A token that the request brings itself goes first.
func Bear(r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		return
	}
	if c, err := r.Cookie(session); err == nil && c.Value != "" {
		r.Header.Set("Authorization", "Bearer "+c.Value)
	}
}

// underway is what must be known again when the issuer sends somebody back.
type underway struct {
	State, Nonce, Verifier, To string
}

// SignIn sends a browser to the issuer. ?to= is the page that it comes back to.
func (i *Issuer) SignIn(w http.ResponseWriter, r *http.Request) error {
	o, err := i.oauth()
	if err != nil {
		return err
	}
	u := underway{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), To: local(r.URL.Query().Get("to"))}
	kept, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("keep the sign-in: %w", err)
	}
	i.cookie(w, r, attempt, base64.RawURLEncoding.EncodeToString(kept), time.Now().Add(patience))
	http.Redirect(w, r, o.AuthCodeURL(u.State, oidc.Nonce(u.Nonce), oauth2.S256ChallengeOption(u.Verifier)), http.StatusFound)
	return nil
}

// SignedIn takes a browser back from the issuer.
func (i *Issuer) SignedIn(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	if e := q.Get("error"); e != "" {
		return fmt.Errorf("%w: the issuer says %s %s", ErrToken, e, q.Get("error_description"))
	}
	u, err := begun(r)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(u.State), []byte(q.Get("state"))) != 1 {
		return fmt.Errorf("%w: this is the answer to another sign-in", ErrToken)
	}
	i.cookie(w, r, attempt, "", time.Time{})
	raw, until, err := i.exchange(r.Context(), q.Get("code"), u)
	if err != nil {
		return err
	}
	if len(raw) > cookieSize {
		return fmt.Errorf("%w: it has %d bytes, of which a browser keeps %d; have the issuer put fewer claims into it", ErrToken, len(raw), cookieSize)
	}
	i.cookie(w, r, session, raw, until)
	http.Redirect(w, r, u.To, http.StatusFound)
	return nil
}

// begun reads what SignIn has left.
func begun(r *http.Request) (underway, error) {
	var u underway
	c, err := r.Cookie(attempt)
	if err == nil {
		var kept []byte
		if kept, err = base64.RawURLEncoding.DecodeString(c.Value); err == nil {
			err = json.Unmarshal(kept, &u)
		}
	}
	if err != nil || u.State == "" {
		return underway{}, fmt.Errorf("%w: no sign-in is under way in this browser; it may have taken longer than %s", ErrToken, patience)
	}
	u.To = local(u.To)
	return u, nil
}

// exchange gets the token for the issuer's code.
func (i *Issuer) exchange(ctx context.Context, code string, u underway) (raw string, until time.Time, err error) {
	o, err := i.oauth()
	if err != nil {
		return "", time.Time{}, err
	}
	t, err := o.Exchange(oidc.ClientContext(ctx, i.client), code, oauth2.VerifierOption(u.Verifier))
	if err != nil {
		if _, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
			return "", time.Time{}, fmt.Errorf("%w: %w", ErrToken, err)
		}
		return "", time.Time{}, fmt.Errorf("%w: %w", ErrIssuer, err)
	}
	raw, _ = t.Extra("id_token").(string)
	id, err := i.verify(ctx, raw, oidc.Config{ClientID: i.options.ClientID})
	if err != nil {
		return "", time.Time{}, err
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(u.Nonce)) != 1 {
		return "", time.Time{}, fmt.Errorf("%w: it was issued for another sign-in", ErrToken)
	}
	return raw, id.Expiry, nil
}

// SignOut forgets the session here; the issuer's own goes on.
func (i *Issuer) SignOut(w http.ResponseWriter, r *http.Request) {
	i.cookie(w, r, session, "", time.Time{})
}

// Secure reports whether cookies for r must not travel without TLS: it has come
// by TLS itself, a proxy says that it has (X-Forwarded-Proto), or people find the
// console at an https address. i is nil where nobody signs in. Who lies about it
// keeps only cookies from himself.
func (i *Issuer) Secure(r *http.Request) bool {
	said, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",") // of several proxies the first is the client's
	return r.TLS != nil || strings.EqualFold(strings.TrimSpace(said), "https") || i != nil && strings.HasPrefix(strings.ToLower(i.options.PublicURL), "https:")
}

// cookie sets one that scripts cannot read and other sites' requests do not
// carry; without a value it takes it away.
func (i *Issuer) cookie(w http.ResponseWriter, r *http.Request, name, value string, until time.Time) {
	c := &http.Cookie{ //nolint:gosec // Secure wherever the console is served over TLS
		Name: name, Value: value, Path: "/", Expires: until, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: i.Secure(r),
	}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// local keeps a redirect on this site.
func local(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") {
		return "/"
	}
	return to
}
