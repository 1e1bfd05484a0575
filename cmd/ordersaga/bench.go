package main

import (
	"fmt"
	"io"

	"github.com/alecthomas/kong"

	"github.com/ordersaga/ordersaga/internal/bench"
	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/devenv"
	"github.com/ordersaga/ordersaga/internal/journal"
)

// benchCmd benchmarks an engine without a running system.
type benchCmd struct {
	stateFlags
	storeStateFlags

	Engine   string `default:"embedded" enum:"embedded,dapr" help:"Engine to benchmark: ${enum}."`
	Workers  int    `group:"dapr" default:"1" help:"Number of workers, each with its own sidecar."`
	State    string `group:"dapr" default:"sqlite" enum:"sqlite,redis,postgresql" help:"State store: sqlite (default), redis, postgresql."`
	Fsync    string `group:"engine" default:"group" enum:"group,always,off" help:"${fsync_help}"`
	Sagas    int    `default:"300" help:"Number of sagas of each kind, for each value of --in-flight."`
	InFlight []int  `default:"1,64,256" help:"Numbers of concurrent sagas to measure."`
	Header   bool   `default:"true" negatable:"" help:"Print the header of the table."`
}

func (c benchCmd) Run(e env, command *kong.Context) error {
	relaxGC()
	fsync, err := journal.ParseSync(c.Fsync)
	if err != nil {
		return err
	}
	if c.Sagas < 1 {
		return fmt.Errorf("--sagas must be 1 or more, is %d", c.Sagas)
	}
	for _, n := range c.InFlight {
		if n < 1 {
			return fmt.Errorf("--in-flight must be 1 or more, is %d", n)
		}
	}
	if err := c.check(c.State); err != nil {
		return err
	}
	if err := checkEngine(command, c.Engine); err != nil {
		return err
	}
	label := fmt.Sprintf("%s, fsync=%s", c.Engine, c.Fsync)
	if c.dir() == "" {
		label = c.Engine + ", memory"
	}
	if c.Engine == "dapr" {
		label = fmt.Sprintf("Dapr, %s, %d workers", c.State, c.Workers)
	}
	job := bench.Job{Sagas: c.Sagas, InFlight: c.InFlight, Label: label, Out: e.out}
	if isTerminal(e.err) {
		job.Progress = e.err
	}
	if c.Header {
		if _, err := io.WriteString(e.out, bench.Header); err != nil {
			return fmt.Errorf("write the table: %w", err)
		}
	}
	d := devenv.Dev{
		DataDir: c.dir(), Fsync: fsync, Dapr: c.Engine == "dapr", Workers: c.Workers,
		State: daprlocal.State{Store: c.State, Address: c.StateAddress}, Components: c.Components,
		Configure: bench.Configure, Job: job, Exit: true, Out: io.Discard, Logger: e.logger,
	}
	return e.traced(serviceName, func() error { return d.Run(e.ctx) })
}
