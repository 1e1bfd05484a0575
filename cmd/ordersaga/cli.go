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

// cli is the command line. Every flag can also be set in the environment: its
// variable is ORDERSAGA_ and the flag's name, unless --help shows another one.
type cli struct {
	LogLevel  string `group:"logging" default:"info" enum:"debug,info,warn,error" help:"Lowest level of log messages: ${enum}."`
	LogFormat string `group:"logging" default:"console" enum:"console,json" help:"Format of log messages on standard error: ${enum}."`

	Dev    devCmd    `cmd:"" group:"run" help:"${dev_help}"`
	Worker workerCmd `cmd:"" group:"run" help:"Run sagas from the order queue, with the API and the console."`
	Setup  setupCmd  `cmd:"" group:"run" help:"Create missing queues, topics and tables."`

	Saga     sagaCmd     `cmd:"" group:"operate" help:"Read sagas and act on them."`
	DLQ      dlqCmd      `cmd:"" group:"operate" name:"dlq" help:"Read, redrive and delete dead letters."`
	Stock    stockCmd    `cmd:"" group:"operate" help:"Read and count stock."`
	Customer customerCmd `cmd:"" group:"operate" help:"Erase customers' personal data."`
	Health   healthCmd   `cmd:"" group:"operate" help:"Exit 0 if the worker is ready. For container health checks."`

	Check     checkCmd     `cmd:"" group:"verify" help:"${check_help}"`
	Reconcile reconcileCmd `cmd:"" group:"verify" help:"${reconcile_help}"`
	Engine    engineCmd    `cmd:"" group:"verify" help:"Verify or repair the embedded engine's files only."`
	Data      dataCmd      `cmd:"" group:"verify" help:"Verify or repair all files in --data-dir: engine, local AWS and simulators."`
	Load      loadCmd      `cmd:"" group:"verify" help:"Generate orders against a running system and measure latency and outcomes."`
	Bench     benchCmd     `cmd:"" group:"verify" help:"Benchmark one engine by itself: empty sagas, then order sagas."`

	LocalAWS localAWSCmd `cmd:"" group:"simulate" name:"local-aws" help:"Run the local AWS endpoint: SQS, SNS, DynamoDB and STS."`
	Payment  paymentCmd  `cmd:"" group:"simulate" help:"Run the payment simulator."`
	Carrier  carrierCmd  `cmd:"" group:"simulate" help:"Run the carrier simulator."`

	Order      orderCmd      `cmd:"" group:"other" help:"Convert the orders of other shop systems."`
	Version    versionCmd    `cmd:"" group:"other" help:"Print the version."`
	Completion completionCmd `cmd:"" group:"other" help:"Print the command that activates tab completion in bash, zsh or fish."`
}

// env is what a command uses of its process.
type env struct {
	ctx    context.Context //nolint:containedctx // kong passes values, not contexts
	out    io.Writer
	err    io.Writer
	logger zerolog.Logger
}

// exited is the panic value with which kong's own exits, such as --help, end run.
type exited int

// newKong returns the parser of the command line into c.
func newKong(c *cli, stdout, stderr io.Writer) (*kong.Kong, error) {
	return kong.New(c,
		kong.Name("ordersaga"),
		kong.Description("Durable order sagas on SQS, DynamoDB and SNS. Every flag can also be set in the environment."),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { panic(exited(code)) }),
		kong.DefaultEnvars("ORDERSAGA"),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.ExplicitGroups(helpGroups()), helpTexts(),
		kong.PostBuild(func(k *kong.Kong) error {
			k.Model.HelpFlag.Help = "Show help."
			return nil
		}),
	)
}

// run executes the command line and returns the process's exit status.
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
	parser, err := newKong(&c, stdout, stderr)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "ordersaga:", err)
		return 1
	}
	kongcompletion.Register(parser)
	command, err := parser.Parse(args)
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "ordersaga: %v\nSee `%s --help`.\n", err, failedCommand(err))
		return 2
	}
	e := env{ctx: ctx, out: stdout, err: stderr, logger: c.logger(stderr)}
	if err := command.Run(e, commandName(command.Selected().Name)); err != nil {
		_, _ = fmt.Fprintln(stderr, "ordersaga:", err)
		return 1
	}
	return 0
}

// failedCommand returns the command whose flags or arguments could not be parsed.
func failedCommand(err error) string {
	parseErr, ok := errors.AsType[*kong.ParseError](err)
	if ok && parseErr.Context != nil && parseErr.Context.Selected() != nil {
		return parseErr.Context.Selected().FullPath()
	}
	return "ordersaga"
}

// traced runs f and exports its traces if the environment configures an
// exporter (OTEL_EXPORTER_OTLP_ENDPOINT).
func (e env) traced(service string, f func() error) (err error) {
	stop, err := otlp.Start(e.ctx, service, e.logger)
	if err != nil {
		return err
	}
	err = f()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), 5*time.Second)
	defer cancel()
	if err := stop(ctx); err != nil {
		e.logger.Warn().Err(err).Msg("export of the last traces failed")
	}
	return err
}

func (c cli) logger(w io.Writer) zerolog.Logger {
	if c.LogFormat == "console" {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: "15:04:05.000", NoColor: !isTerminal(w)}
	}
	level, err := zerolog.ParseLevel(c.LogLevel)
	if err != nil { // cannot happen: kong validates the flag
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

// listenLoopback rejects addresses that other hosts can reach, unless anywhere
// is set: the local AWS endpoint and the simulators have no authentication.
func listenLoopback(ctx context.Context, address string, anywhere bool) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if !anywhere && !httpserve.IsLoopback(host) {
		return nil, fmt.Errorf("listen on %s: not a loopback address; set --anywhere to allow it, without authentication", address)
	}
	return listen(ctx, address)
}

type versionCmd struct{}

func (versionCmd) Run(e env) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("print the version: this binary has no build information")
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
