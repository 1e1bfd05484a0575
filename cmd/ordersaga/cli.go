package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"time"

	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"
	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/httpserve"
	"github.com/ordersaga/ordersaga/internal/tracing/otlp"
)

// cli is the command line. Every flag can also be set in the environment, as
// ORDERSAGA_ and the flag's name.
type cli struct {
	LogLevel  string `default:"info" enum:"debug,info,warn,error" help:"Least important messages to log: ${enum}."`
	LogFormat string `default:"console" enum:"console,json" help:"Log format on standard error: ${enum}."`

	Dev       devCmd       `cmd:"" help:"Run everything in one process on loopback: no Docker, no cloud, no sidecar."`
	Worker    workerCmd    `cmd:"" help:"Run sagas from the queue, and the API to them."`
	Setup     setupCmd     `cmd:"" help:"Create the queues, topics and tables that are missing."`
	Reconcile reconcileCmd `cmd:"" help:"Compare orders, reservations and charges, mend what hangs, report the rest."`
	Order     orderCmd     `cmd:"" help:"Turn a shop's orders into ours."`
	Load      loadCmd      `cmd:"" help:"Place orders through the API of a running system, at a rate or so many at once, and measure."`
	Bench     benchCmd     `cmd:"" help:"Measure an engine: its ceiling and the order saga, in one run."`
	Saga      sagaCmd      `cmd:"" help:"Look at sagas and act on them, through the API."`
	Customer  customerCmd  `cmd:"" help:"Forget customers, through the API."`
	DLQ       dlqCmd       `cmd:"" name:"dlq" help:"Read dead letters and put them back, through the API."`
	Stock     stockCmd     `cmd:"" help:"Look at stock and set it, through the API."`
	Health    healthCmd    `cmd:"" help:"Ask a worker whether it can do its work; status 0: it can. For a container's health check."`
	Check     checkCmd     `cmd:"" help:"Prove the invariants of a system at rest: nothing oversold, charged twice, or left reserved."`
	Engine    engineCmd    `cmd:"" help:"Verify or repair the embedded engine's files, with the worker stopped."`
	Data      dataCmd      `cmd:"" help:"Verify or repair all that is in a data directory: the engine's, the local AWS endpoint's and the simulators' files."`
	LocalAWS  localAWSCmd  `cmd:"" name:"local-aws" help:"Run the local AWS endpoint: SQS, SNS, DynamoDB, STS."`
	Payment   paymentCmd   `cmd:"" help:"Run the payment simulator."`
	Carrier   carrierCmd   `cmd:"" help:"Run the carrier simulator."`
	Version   versionCmd   `cmd:"" help:"Print the version."`

	Completion kongcompletion.Completion `cmd:"" help:"Say how a shell (bash, zsh, fish) completes commands and flags."`
}

// env is what commands get from outside.
type env struct {
	ctx    context.Context //nolint:containedctx // kong passes values, not contexts
	out    io.Writer
	err    io.Writer
	logger zerolog.Logger
}

// exited is how kong's own exits (--help) end run.
type exited int

// run is main without the process: it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (status int) {
	defer func() {
		if v := recover(); v != nil {
			code, ok := v.(exited)
			if !ok {
				panic(v)
			}
			status = int(code)
		}
	}()
	var c cli
	parser, err := kong.New(&c,
		kong.Name("ordersaga"), kong.Description("Order sagas on SQS, DynamoDB and SNS, with compensation. Flags can be set as ORDERSAGA_… in the environment."),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { panic(exited(code)) }),
		kong.DefaultEnvars("ORDERSAGA"), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "ordersaga:", err)
		return 1
	}
	kongcompletion.Register(parser)
	command, err := parser.Parse(args)
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "ordersaga: %v\nSee `ordersaga --help`.\n", err)
		return 2
	}
	e := env{ctx: ctx, out: stdout, err: stderr, logger: c.logger(stderr)}
	if err := command.Run(e, commandName(command.Selected().Name)); err != nil {
		_, _ = fmt.Fprintln(stderr, "ordersaga:", err)
		return 1
	}
	return 0
}

// traced runs f, which takes long, with its traces exported if the environment
// says where to.
func (e env) traced(service string, f func() error) (err error) {
	stop, err := otlp.Start(e.ctx, service, e.logger)
	if err != nil {
		return err
	}
	err = f()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), 5*time.Second)
	defer cancel()
	if err := stop(ctx); err != nil {
		e.logger.Warn().Err(err).Msg("the last traces were not exported")
	}
	return err
}

func init() { zerolog.TimeFieldFormat = time.RFC3339Nano } // seconds, zerolog's default, are too coarse for sagas

func (c cli) logger(w io.Writer) zerolog.Logger {
	if c.LogFormat == "console" {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: "15:04:05.000", NoColor: !isTerminal(w)}
	}
	level, err := zerolog.ParseLevel(c.LogLevel)
	if err != nil { // kong has checked it
		level = zerolog.InfoLevel
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger()
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return l, nil
}

// listenLoopback refuses addresses that others can reach: the local endpoint
// and the simulators know no passwords.
func listenLoopback(ctx context.Context, address string, anywhere bool) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if !anywhere && !httpserve.IsLoopback(host) {
		return nil, fmt.Errorf("listen on %s: only loopback addresses are allowed without --anywhere, for nothing here asks for a password", address)
	}
	return listen(ctx, address)
}

type versionCmd struct{}

func (versionCmd) Run(e env) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("this binary has no build information")
	}
	revision := ""
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = " " + s.Value
		}
	}
	_, err := fmt.Fprintf(e.out, "ordersaga %s%s %s\n", info.Main.Version, revision, info.GoVersion)
	return err
}
