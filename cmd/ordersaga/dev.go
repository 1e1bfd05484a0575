package main

import (
	"errors"
	"fmt"

	"github.com/alecthomas/kong"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/devenv"
	"github.com/ordersaga/ordersaga/internal/engine/dapr"
	"github.com/ordersaga/ordersaga/internal/journal"
)

// devCmd runs the whole system in one process.
type devCmd struct {
	stateFlags
	engineListenFlag
	installationFlag
	storeStateFlags

	Engine string `default:"embedded" enum:"embedded,dapr" help:"Workflow engine: embedded (in this process) or dapr (child processes)."`
	Fsync  string `group:"engine" default:"group" enum:"group,always,off" help:"${fsync_help}"`

	Workers      int    `group:"dapr" default:"1" help:"Number of workers, each with its own sidecar."`
	State        string `group:"dapr" enum:",sqlite,redis,postgresql" default:"" placeholder:"NAME" help:"State store: sqlite (default), redis, postgresql."`
	MaxBodySize  int    `group:"dapr" name:"dapr-max-body-size" default:"16" placeholder:"MIB" help:"${max_body_help}"`
	OpenSidecars bool   `group:"dapr" help:"${open_sidecars_help}"`
	Verbose      bool   `group:"dapr" short:"v" help:"Print the logs of Dapr's processes, each line with the process name."`

	Demo int    `group:"demo" placeholder:"N" help:"Publish N test orders, act as customers and operators, and verify every outcome. Keeps running after it unless --exit."`
	Seed uint64 `group:"demo" default:"1" help:"Random seed of the demo."`
	Exit bool   `group:"demo" help:"Exit after the demo: status 0 if every outcome and invariant held, 1 otherwise."`

	Port        int `group:"network" default:"8080" help:"API port. 0: any free port; same for the ports below."`
	AWSPort     int `group:"network" name:"aws-port" default:"4566" help:"Port of the local AWS endpoint."`
	PaymentPort int `group:"network" default:"8090" help:"Port of the payment simulator."`
	CarrierPort int `group:"network" default:"8091" help:"Port of the carrier simulator."`
}

// check returns the first contradiction between flags.
func (c devCmd) check() error {
	maxBodySize := dapr.MaxBodySize >> 20
	switch {
	case c.Demo < 0:
		return fmt.Errorf("--demo must not be negative, is %d", c.Demo)
	case c.Exit && c.Demo == 0:
		return errors.New("--exit requires --demo")
	case c.Workers < 1:
		return fmt.Errorf("--workers must be 1 or more, is %d", c.Workers)
	case c.Workers > 1 && c.Engine != "dapr":
		return errors.New("--workers is valid only with --engine dapr")
	case c.MaxBodySize < 4 || c.MaxBodySize > maxBodySize:
		return fmt.Errorf("--dapr-max-body-size must be 4 to %d MiB, is %d; %[1]d MiB is the most that a worker receives",
			maxBodySize, c.MaxBodySize)
	case c.Components != "" && (c.State != "" || c.StateAddress != ""):
		return errors.New("--components is not allowed with --state and --state-address: the state store must be a file in that directory")
	case c.OpenSidecars && c.Engine != "dapr":
		return errors.New("--open-sidecars requires --engine dapr: the embedded engine has no sidecars")
	}
	return c.storeStateFlags.check(c.State)
}

func (c devCmd) Run(e env, command *kong.Context) error {
	relaxGC()
	if err := c.check(); err != nil {
		return err
	}
	fsync, err := journal.ParseSync(c.Fsync)
	if err != nil {
		return err
	}
	d := devenv.Dev{
		State: daprlocal.State{Store: c.State, Address: c.StateAddress}, Components: c.Components,
		Dapr: c.Engine == "dapr", Workers: c.Workers, MaxBodySize: c.MaxBodySize << 20, OpenSidecars: c.OpenSidecars,
		DataDir: c.dir(), Fsync: fsync, Installation: payment.Installation(c.Installation), Exit: c.Exit, Out: e.out, Logger: e.logger,
		Ports: devenv.DevPorts{API: c.Port, AWS: c.AWSPort, Payment: c.PaymentPort, Carrier: c.CarrierPort},
	}
	d.EngineListener, err = c.listen(e, c.Engine)
	if err != nil {
		return err
	}
	if d.EngineListener != nil {
		defer func() { _ = d.EngineListener.Close() }() // dev has closed it, unless it failed to start
	}
	if err := checkEngine(command, c.Engine); err != nil {
		return err
	}
	if c.Verbose {
		d.Verbose = e.err
	}
	if c.Demo > 0 {
		demo := devenv.Demo{Orders: c.Demo, Seed: c.Seed, Out: e.out}
		if isTerminal(e.err) {
			demo.Progress = e.err
		}
		d.Job = demo
	}
	return e.traced(serviceName, func() error { return d.Run(e.ctx) })
}
