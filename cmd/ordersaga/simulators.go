package main

import (
	"fmt"

	"github.com/ordersaga/ordersaga/internal/devenv"
)

// localAWSCmd runs the local AWS endpoint.
type localAWSCmd struct {
	stateFlags

	Listen   string  `default:"127.0.0.1:4566" env:"ORDERSAGA_LOCAL_AWS_LISTEN,ORDERSAGA_LISTEN" help:"Address of the local AWS endpoint."`
	Anywhere bool    `help:"${anywhere_help}"`
	Region   string  `default:"us-east-1" help:"Region in ARNs."`
	Throttle float64 `default:"0" help:"Fraction of requests to throttle, 0 to 1."`
	Conflict float64 `default:"0" help:"Fraction of DynamoDB transactions to cancel with TransactionConflict, 0 to 1."`
	Seed     uint64  `default:"1" help:"Random seed of the injected faults."`
}

func (c localAWSCmd) Run(e env) error {
	if c.Throttle < 0 || c.Throttle > 1 {
		return fmt.Errorf("--throttle must be 0 to 1, is %v", c.Throttle)
	}
	if c.Conflict < 0 || c.Conflict > 1 {
		return fmt.Errorf("--conflict must be 0 to 1, is %v", c.Conflict)
	}
	l, err := listenLoopback(e.ctx, c.Listen, c.Anywhere)
	if err != nil {
		return err
	}
	e.logger.Info().Str("endpoint", "http://"+l.Addr().String()).Msg("local AWS is up")
	return devenv.LocalAWS{
		DataDir: c.dir(), Region: c.Region, Listener: l,
		Throttle: c.Throttle, Conflict: c.Conflict, Seed: c.Seed, Logger: e.logger,
	}.Run(e.ctx)
}

// paymentCmd runs the payment simulator.
type paymentCmd struct {
	stateFlags

	Listen   string `default:"127.0.0.1:8090" env:"ORDERSAGA_PAYMENT_LISTEN,ORDERSAGA_LISTEN" help:"Address of the payment simulator."`
	Anywhere bool   `help:"${anywhere_help}"`
	Key      string `placeholder:"KEY" help:"API key that callers must send. Empty: none is required."`
}

func (c paymentCmd) Run(e env) error {
	l, err := listenLoopback(e.ctx, c.Listen, c.Anywhere)
	if err != nil {
		return err
	}
	e.logger.Info().Str("payment", "http://"+l.Addr().String()).Msg("payment simulator is up")
	return e.traced("payment", func() error {
		return devenv.Payment{DataDir: c.dir(), Listener: l, Key: c.Key, Logger: e.logger}.Run(e.ctx)
	})
}

// carrierCmd runs the carrier simulator.
type carrierCmd struct {
	stateFlags
	awsFlags

	Listen   string `default:"127.0.0.1:8091" env:"ORDERSAGA_CARRIER_LISTEN,ORDERSAGA_LISTEN" help:"Address of the carrier simulator."`
	Anywhere bool   `help:"${anywhere_help}"`
	Pushed   bool   `help:"Receive shipment requests from a Dapr sidecar instead of the queue."`
	Token    string `name:"app-api-token" env:"ORDERSAGA_APP_API_TOKEN,APP_API_TOKEN" placeholder:"TOKEN" help:"Token that the sidecar must send with each request. Empty: none is required."`
}

func (c carrierCmd) Run(e env) error {
	l, err := listenLoopback(e.ctx, c.Listen, c.Anywhere)
	if err != nil {
		return err
	}
	e.logger.Info().Str("carrier", "http://"+l.Addr().String()).Msg("carrier simulator is up")
	return e.traced("carrier", func() error {
		return devenv.Carrier{DataDir: c.dir(), AWS: c.options(e), Listener: l, Pushed: c.Pushed, Token: c.Token, Logger: e.logger}.Run(e.ctx)
	})
}
