package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"

	"github.com/alecthomas/kong"

	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/httpserve"
	"github.com/ordersaga/ordersaga/internal/orderstore"
)

// given returns the flags on the command line. Those that only the environment sets
// are not among them: commands share its variables.
func given(command *kong.Context) []*kong.Flag {
	var flags []*kong.Flag
	for _, p := range command.Path {
		if p.Flag != nil {
			flags = append(flags, p.Flag)
		}
	}
	return flags
}

// typed returns a flag as it is on the command line, without its value.
func typed(f *kong.Flag) string {
	if f.Negated {
		return "--no-" + f.Name
	}
	return "--" + f.Name
}

// checkEngine rejects flags of the engine that is not selected.
func checkEngine(command *kong.Context, engine string) error {
	foreign, owner := groupDapr, "dapr"
	if engine == owner {
		foreign, owner = groupEngine, "embedded"
	}
	for _, f := range given(command) {
		if f.Group != nil && f.Group.Key == foreign {
			return fmt.Errorf("%s is valid only with --engine %s", typed(f), owner)
		}
	}
	return nil
}

// dataDirFlag is the directory of a process that keeps its state on disk.
type dataDirFlag struct {
	DataDir string `default:".ordersaga" help:"Directory for state." type:"path"`
}

// stateFlags select where state is kept, or that none is.
type stateFlags struct {
	dataDirFlag

	Ephemeral bool `help:"Keep state in memory only. It is lost at exit."`
}

// dir returns "" if no state is kept.
func (f stateFlags) dir() string {
	if f.Ephemeral {
		return ""
	}
	return f.DataDir
}

// awsFlags select the AWS account or local endpoint, and the tables in it.
type awsFlags struct {
	Region      string `group:"aws" default:"us-east-1" env:"ORDERSAGA_REGION,AWS_REGION" help:"AWS region."`
	AWSEndpoint string `group:"aws" name:"aws-endpoint" env:"ORDERSAGA_AWS_ENDPOINT,AWS_ENDPOINT_URL" placeholder:"URL" help:"Endpoint URL instead of AWS, such as http://127.0.0.1:4566."`
	TablePrefix string `group:"aws" placeholder:"PREFIX" help:"Prefix of the table names."`
}

func (f awsFlags) options(e env) cloud.Options {
	return cloud.Options{Region: f.Region, Endpoint: f.AWSEndpoint, Logger: e.logger}
}

// logConnecting logs the endpoint before the first call, because the SDK
// retries for a while if nothing listens there.
func (f awsFlags) logConnecting(e env) {
	e.logger.Info().Str("endpoint", cmp.Or(f.AWSEndpoint, "AWS")).Str("region", f.Region).Msg("looking for queues and topics")
}

func (f awsFlags) store(e env) (*cloud.Clients, *orderstore.Store, error) {
	clients, err := cloud.New(e.ctx, f.options(e))
	if err != nil {
		return nil, nil, err
	}
	return clients, orderstore.New(clients.DynamoDB, orderstore.TablesWithPrefix(f.TablePrefix), nil), nil
}

// engineListenFlag opens the embedded engine to durable-task clients.
type engineListenFlag struct {
	EngineListen string `group:"engine" placeholder:"HOST:PORT" help:"${engine_listen_help}"`
}

// listen returns nil without the flag. The caller closes the listener.
func (f engineListenFlag) listen(e env, engine string) (net.Listener, error) {
	if f.EngineListen == "" {
		return nil, nil
	}
	if engine == "dapr" {
		return nil, errors.New("--engine-listen is valid only with --engine embedded; with dapr, use the sidecar's gRPC port")
	}
	host, _, err := net.SplitHostPort(f.EngineListen)
	if err != nil {
		return nil, fmt.Errorf("--engine-listen: %w", err)
	}
	if !httpserve.IsLoopback(host) {
		return nil, fmt.Errorf("--engine-listen %s: only loopback addresses are allowed, because the protocol has no authentication",
			f.EngineListen)
	}
	l, err := listen(e.ctx, f.EngineListen)
	if err != nil {
		return nil, fmt.Errorf("--engine-listen: %w", err)
	}
	return l, nil
}

// installationFlag must be the same in all processes that share tables.
type installationFlag struct {
	Installation string `group:"payment" placeholder:"NAME" help:"${installation_help}"`
}

// storeStateFlags select Dapr's state store.
type storeStateFlags struct {
	StateAddress string `group:"dapr" placeholder:"ADDRESS" help:"${state_address_help}"`
	Components   string `group:"dapr" type:"existingdir" placeholder:"DIR" help:"${components_help}"`
}

// check returns an error if the address and the store do not match. store is
// "" for the default, which needs no address.
func (f storeStateFlags) check(store string) error {
	needsAddress := store == "redis" || store == "postgresql"
	if needsAddress && f.StateAddress == "" {
		return fmt.Errorf("--state-address is required with --state %s", store)
	}
	if !needsAddress && f.StateAddress != "" {
		return errors.New("--state-address is valid only with --state redis or postgresql")
	}
	return nil
}
