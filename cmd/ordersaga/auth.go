package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/ordersaga/ordersaga/internal/auth"
	"github.com/ordersaga/ordersaga/internal/httpserve"
)

// authFlags configure who may use the API and the console.
type authFlags struct {
	Issuer       string   `group:"access" name:"oidc-issuer" placeholder:"URL" help:"OpenID Connect issuer of the API's tokens. Its keys are fetched when first needed."`
	Audience     []string `group:"access" name:"oidc-audience" placeholder:"NAME" help:"Audience that tokens must have. Repeat the flag to accept several."`
	RolesClaim   string   `group:"access" name:"oidc-roles-claim" default:"roles" help:"${roles_claim_help}"`
	RolesPrefix  string   `group:"access" name:"oidc-roles-prefix" placeholder:"PREFIX" help:"Prefix of the role names at the issuer, such as ordersaga-."`
	ClientID     string   `group:"access" name:"oidc-client-id" placeholder:"ID" help:"${client_id_help}"`
	ClientSecret string   `group:"access" name:"oidc-client-secret" placeholder:"SECRET" help:"Client secret of the console, if the issuer requires one."`
	PublicURL    string   `group:"access" placeholder:"URL" help:"${public_url_help}"`
	Open         bool     `group:"access" help:"${open_help}"`
}

// issuer returns the issuer that authenticates requests, or nil for none: on
// loopback, and with --open.
func (f authFlags) issuer(e env, listenAddress string) (*auth.Issuer, error) {
	if f.Issuer != "" {
		if f.Open {
			return nil, errors.New("--open is not allowed with --oidc-issuer")
		}
		i, err := auth.New(auth.Options{
			Issuer: f.Issuer, Audiences: f.Audience, RolesClaim: f.RolesClaim, Prefix: f.RolesPrefix,
			ClientID: f.ClientID, ClientSecret: f.ClientSecret, PublicURL: f.PublicURL, Logger: e.logger,
		})
		if err != nil {
			return nil, fmt.Errorf("configure --oidc-issuer: %w", err)
		}
		return i, nil
	}
	if len(f.Audience) > 0 || f.ClientID != "" {
		return nil, errors.New("--oidc-audience and --oidc-client-id require --oidc-issuer")
	}
	host, _, err := net.SplitHostPort(listenAddress)
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	if !httpserve.IsLoopback(host) {
		if !f.Open {
			return nil, fmt.Errorf("--listen %s is not loopback and requests are not authenticated: set --oidc-issuer, or --open to allow it",
				listenAddress)
		}
		e.logger.Warn().Str("listen", listenAddress).Msg("no authentication: anyone who can reach the API and the console can act")
	}
	return nil, nil
}
