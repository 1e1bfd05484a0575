package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/ordersaga/ordersaga/internal/auth"
	"github.com/ordersaga/ordersaga/internal/httpserve"
)

// authFlags say who may use the API and the console.
type authFlags struct {
	Issuer       string   `name:"oidc-issuer" placeholder:"URL" help:"OpenID Connect issuer whose tokens the API wants; its keys are fetched when first needed."`
	Audience     []string `name:"oidc-audience" placeholder:"NAME" help:"Audience that a token must name; more than one may be given."`
	RolesClaim   string   `name:"oidc-roles-claim" default:"roles" help:"Claim that has the roles viewer, shop, operator; dots lead into objects, as in realm_access.roles."`
	RolesPrefix  string   `name:"oidc-roles-prefix" help:"What the roles' names begin with at the issuer, such as ordersaga-."`
	ClientID     string   `name:"oidc-client-id" help:"The console's at the issuer, so that people can sign in with a browser; without it only bearer tokens are taken."`
	ClientSecret string   `name:"oidc-client-secret" help:"Goes with it, if the issuer gave one."`
	PublicURL    string   `placeholder:"URL" help:"Where people find the console; the issuer must allow it with /console/signed-in behind it as a redirect URL. Without an issuer a worker on loopback answers as localhost and under this name only."`
	Open         bool     `help:"Let whoever reaches --listen do everything, also where that is not loopback: for a private network, or behind a proxy that asks for passwords."`
}

// issuer returns nil where nobody is asked who they are: on loopback, or where
// that is wanted.
func (f authFlags) issuer(e env, listens string) (*auth.Issuer, error) {
	if f.Issuer != "" {
		if f.Open {
			return nil, errors.New("--open: does not go with --oidc-issuer")
		}
		i, err := auth.New(auth.Options{
			Issuer: f.Issuer, Audiences: f.Audience, RolesClaim: f.RolesClaim, Prefix: f.RolesPrefix,
			ClientID: f.ClientID, ClientSecret: f.ClientSecret, PublicURL: f.PublicURL, Logger: e.logger,
		})
		if err != nil {
			return nil, fmt.Errorf("--oidc-…: %w", err)
		}
		return i, nil
	}
	if len(f.Audience) > 0 || f.ClientID != "" {
		return nil, errors.New("--oidc-audience and --oidc-client-id: go with --oidc-issuer")
	}
	host, _, err := net.SplitHostPort(listens)
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	if !httpserve.IsLoopback(host) {
		if !f.Open {
			return nil, fmt.Errorf("--listen %s: others can reach that address, and nothing asks who they are; give --oidc-issuer, or --open if that is wanted", listens)
		}
		e.logger.Warn().Str("listen", listens).Msg("the API and the console are open: whoever reaches them can act")
	}
	return nil, nil
}
