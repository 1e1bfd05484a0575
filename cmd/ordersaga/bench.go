package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/ordersaga/ordersaga/internal/bench"
	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/devenv"
	"github.com/ordersaga/ordersaga/internal/journal"
)

type benchCmd struct {
	dataFlags

	Engine     string `default:"embedded" enum:"embedded,dapr" help:"Which one: ${enum}."`
	Workers    int    `default:"1" help:"Workers, each with a sidecar; for --engine dapr."`
	State      string `default:"sqlite" enum:"sqlite,redis,postgresql" help:"Dapr's state store: ${enum}."`
	StateAt    string `name:"state-address" help:"Of Redis: host:port; of PostgreSQL: a connection string."`
	Components string `type:"existingdir" placeholder:"DIR" help:"Dapr's components and configuration, in place of the built-in ones."`
	Fsync      string `default:"group" enum:"group,always,off" help:"When the embedded engine's state counts as kept: ${enum}."`
	Sagas      int    `default:"300" help:"How many of each kind, at each number in flight."`
	InFlight   []int  `default:"1,64,256" help:"How many at once."`
	Header     bool   `default:"true" negatable:"" help:"Write the table's head."`
}

func (c benchCmd) Run(e env) error {
	collectLess()
	fsync, err := journal.ParseSync(c.Fsync)
	if err != nil {
		return err
	}
	if c.Sagas < 1 {
		return fmt.Errorf("--sagas: %d, must be 1 or more", c.Sagas)
	}
	for _, n := range c.InFlight {
		if n < 1 {
			return fmt.Errorf("--in-flight: %d, must be 1 or more", n)
		}
	}
	if (c.State != "sqlite") != (c.StateAt != "") {
		return errors.New("--state-address: goes with --state redis or postgresql, and they with it")
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
			return fmt.Errorf("write table: %w", err)
		}
	}
	d := devenv.Dev{
		DataDir: c.dir(), Fsync: fsync, Dapr: c.Engine == "dapr", Workers: c.Workers,
		State: daprlocal.State{Store: c.State, Address: c.StateAt}, Components: c.Components,
		Configure: bench.Configure, Job: job, Exit: true, Out: io.Discard, Logger: e.logger,
	}
	return e.traced(serviceName, func() error { return d.Run(e.ctx) })
}
