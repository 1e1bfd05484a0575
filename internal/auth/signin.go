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
	SignInPath   = "/console/sign-in"   // redirects to the issuer
	SignedInPath = "/console/signed-in" // the issuer redirects back to it
	SignOutPath  = "/console/sign-out"
)

const (
	session    = "ordersaga-session" // cookie with the ID token; the server keeps no session
	attempt    = "ordersaga-sign-in" // cookie of a sign-in in progress
	signInTime = 10 * time.Minute    // maximum duration of a sign-in
	cookieSize = 4000                // browsers silently drop larger cookies (RFC 6265: 4096 with name and attributes)
)

// SignsIn reports whether users can sign in with a browser.
func (i *Issuer) SignsIn() bool { return i.options.ClientID != "" }

// UseSession sets the request's bearer token to that of its session cookie. A bearer token
// that the request has already takes precedence.
func UseSession(r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		return
	}
	if c, err := r.Cookie(session); err == nil && c.Value != "" {
		r.Header.Set("Authorization", "Bearer "+c.Value)
	}
}

// signIn is the state of a sign-in in progress. The browser keeps it, in a cookie, until
// the issuer redirects back.
type signIn struct {
	State, Nonce, Verifier string
	To                     string // the page to return to
}

// SignIn redirects a browser to the issuer. The query parameter "to" is the page to return
// to. If it returns an error it has written nothing.
func (i *Issuer) SignIn(w http.ResponseWriter, r *http.Request) error {
	o, err := i.oauth()
	if err != nil {
		return err
	}
	u := signIn{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), To: localPath(r.URL.Query().Get("to"))}
	kept, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("encode the state of the sign-in: %w", err)
	}
	i.cookie(w, r, attempt, base64.RawURLEncoding.EncodeToString(kept), time.Now().Add(signInTime))
	http.Redirect(w, r, o.AuthCodeURL(u.State, oidc.Nonce(u.Nonce), oauth2.S256ChallengeOption(u.Verifier)), http.StatusFound)
	return nil
}

// SignedIn completes a sign-in when the issuer redirects back: it exchanges the issuer's
// code for a token, stores that as the session cookie, and redirects to the page that the
// sign-in started from. Its error wraps ErrToken or ErrIssuer; it has written no response
// then.
func (i *Issuer) SignedIn(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	if e := q.Get("error"); e != "" {
		return fmt.Errorf("%w: the issuer returned %s %s", ErrToken, e, q.Get("error_description"))
	}
	u, err := inProgress(r)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(u.State), []byte(q.Get("state"))) != 1 {
		return fmt.Errorf("%w: this is the response to another sign-in; sign in again", ErrToken)
	}
	i.cookie(w, r, attempt, "", time.Time{})
	raw, until, err := i.exchange(r.Context(), q.Get("code"), u)
	if err != nil {
		return err
	}
	if len(raw) > cookieSize {
		return fmt.Errorf(
			"%w: it has %d bytes, and a browser stores %d; configure the issuer to include fewer claims",
			ErrToken,
			len(raw),
			cookieSize,
		)
	}
	i.cookie(w, r, session, raw, until)
	http.Redirect(w, r, u.To, http.StatusFound)
	return nil
}

// inProgress reads the state that SignIn stored in the browser.
func inProgress(r *http.Request) (signIn, error) {
	var u signIn
	c, err := r.Cookie(attempt)
	if err == nil {
		u, err = decode(c.Value)
	}
	if err != nil || u.State == "" {
		return signIn{}, fmt.Errorf(
			"%w: no sign-in is in progress in this browser; it may have taken longer than %s; sign in again",
			ErrToken,
			signInTime,
		)
	}
	u.To = localPath(u.To)
	return u, nil
}

func decode(cookie string) (u signIn, err error) {
	stored, err := base64.RawURLEncoding.DecodeString(cookie)
	if err == nil {
		err = json.Unmarshal(stored, &u)
	}
	return u, err
}

// exchange exchanges the issuer's code for a token and verifies it.
func (i *Issuer) exchange(ctx context.Context, code string, u signIn) (raw string, until time.Time, err error) {
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

// SignOut deletes the session cookie. The session at the issuer continues.
func (i *Issuer) SignOut(w http.ResponseWriter, r *http.Request) {
	i.cookie(w, r, session, "", time.Time{})
}

// Secure reports whether cookies for r must be sent over TLS only: r came over TLS, a
// proxy reports that it did (X-Forwarded-Proto), or the console's public URL is an https
// URL. A client that forges the header only loses its own cookies. i may be nil.
func (i *Issuer) Secure(r *http.Request) bool {
	proto, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",") // the first of several proxies is the client's
	if r.TLS != nil || strings.EqualFold(strings.TrimSpace(proto), "https") {
		return true
	}
	return i != nil && strings.HasPrefix(strings.ToLower(i.options.PublicURL), "https:")
}

// cookie sets a cookie that scripts cannot read and that requests of other sites do not
// carry. An empty value deletes it.
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

// localPath returns to if it is a path on this site, else "/": a redirect must not leave
// the site.
func localPath(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || u.Host != "" {
		return "/"
	}
	if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") {
		return "/"
	}
	return to
}
