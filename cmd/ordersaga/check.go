package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/api/client"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/devenv"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/invariants"
)

// checkCmd verifies the invariants of a system at rest.
type checkCmd struct {
	awsFlags
	installationFlag

	PaymentURL string `group:"payment" default:"http://127.0.0.1:8090" help:"Base URL of the payment provider: the simulator, or one that serves GET /v1/charges."`
	PaymentKey string `group:"payment" placeholder:"KEY" help:"API key for the payment provider."`
	CarrierURL string `default:"http://127.0.0.1:8091" help:"Base URL of the carrier's ledger: the simulator, or a service that serves GET /v1/shipments."`
	API        string `default:"http://127.0.0.1:8080" help:"Base URL of a running worker's API, which reports the sagas of open orders."`
	Token      string `name:"api-token" placeholder:"TOKEN" help:"Bearer token for the API."`
	Offline    bool   `help:"No worker runs. An open order is then a violation unless it waits for an operator or the carrier."`
	Accepted   string `type:"existingfile" placeholder:"FILE" help:"File with the ids of accepted orders, one per line. Each must have a record and have ended."`
}

// apiSagas reads from the API which orders have a saga.
type apiSagas struct {
	apiFlags

	env env
}

// Get implements invariants.Sagas.
func (s apiSagas) Get(_ context.Context, id string) (engine.Instance, error) {
	var found api.Saga
	err := s.call(s.env, http.MethodGet, "/v1/sagas/"+url.PathEscape(id), nil, &found)
	if err == nil && found.Runtime == "" || client.IsNotFound(err) {
		return engine.Instance{}, engine.ErrNotFound
	}
	if err != nil {
		err = fmt.Errorf("%w (if no worker runs, use --offline)", err)
	}
	return engine.Instance{ID: id, Status: found.Runtime, CustomStatus: found.Step}, err
}

func (c checkCmd) accepted() (ids []string, err error) {
	if c.Accepted == "" {
		return nil, nil
	}
	b, err := os.ReadFile(c.Accepted)
	return strings.Fields(string(b)), err // ids have no spaces
}

func (c checkCmd) Run(e env) error { return cloud.WithHint(c.run(e)) }

func (c checkCmd) run(e env) error {
	accepted, err := c.accepted()
	if err != nil {
		return err
	}
	_, store, err := c.store(e)
	if err != nil {
		return err
	}
	installation := payment.Installation(c.Installation)
	if err := installation.Validate(); err != nil {
		return err
	}
	if _, err := store.Installed(e.ctx, c.Installation); err != nil {
		return err
	}
	payments := payment.New(payment.Options{URL: c.PaymentURL, Key: c.PaymentKey, Installation: installation})
	defer payments.Close()
	books := invariants.Sources{
		Orders: store, Charges: payments, Settled: devenv.CheckSettled,
		Shipments: devenv.Simulators{PaymentURL: c.PaymentURL, CarrierURL: c.CarrierURL, PaymentKey: c.PaymentKey},
	}
	if !c.Offline {
		books.Sagas = apiSagas{apiFlags: apiFlags{API: c.API, Token: c.Token, Timeout: 30 * time.Second}, env: e}
	}
	res, err := invariants.Run(e.ctx, books, accepted)
	if err != nil {
		return err
	}
	if err := printJSON(e.out, res); err != nil {
		return err
	}
	if n := len(res.Violations); n > 0 {
		return fmt.Errorf("violations found: %d", n)
	}
	return nil
}
