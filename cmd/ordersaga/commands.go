package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/api/client"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/devenv"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/dapr"
	"github.com/ordersaga/ordersaga/internal/httpserve"
	"github.com/ordersaga/ordersaga/internal/invariants"
	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/money"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/worker"
	"github.com/ordersaga/ordersaga/workflows"
)

type dataFlags struct {
	DataDir   string `default:".ordersaga" help:"Where state is kept." type:"path"`
	Ephemeral bool   `help:"Keep no state."`
}

func (d dataFlags) dir() string {
	if d.Ephemeral {
		return ""
	}
	return d.DataDir
}

type awsFlags struct {
	Region      string `default:"us-east-1" env:"ORDERSAGA_REGION,AWS_REGION" help:"AWS region."`
	AWSEndpoint string `name:"aws-endpoint" env:"ORDERSAGA_AWS_ENDPOINT,AWS_ENDPOINT_URL" help:"Endpoint instead of AWS itself, such as http://127.0.0.1:4566."`
	TablePrefix string `help:"Put before the names of the tables."`
}

func (a awsFlags) options(e env) cloud.Options {
	return cloud.Options{Region: a.Region, Endpoint: a.AWSEndpoint, Logger: e.logger}
}

// announce says what is waited for: the SDK tries for a while where nothing
// answers.
func (a awsFlags) announce(e env) {
	e.logger.Info().Str("endpoint", cmp.Or(a.AWSEndpoint, "AWS")).Str("region", a.Region).Msg("looking for queues and topics")
}

func (a awsFlags) store(e env) (*cloud.Clients, *orderstore.Store, error) {
	clients, err := cloud.New(e.ctx, a.options(e))
	if err != nil {
		return nil, nil, err
	}
	return clients, orderstore.New(clients.DynamoDB, orderstore.TablesWithPrefix(a.TablePrefix), nil), nil
}

// engineFlags opens the embedded engine to durable-task clients.
type engineFlags struct {
	EngineListen string `placeholder:"HOST:PORT" help:"Loopback address on which the embedded engine answers durable-task clients (gRPC); none by default. With --engine dapr the sidecar does."`
}

// listen returns nil without the flag. The caller closes the listener.
func (f engineFlags) listen(e env, engine string) (net.Listener, error) {
	if f.EngineListen == "" {
		return nil, nil
	}
	if engine == "dapr" {
		return nil, errors.New("--engine-listen: goes with --engine embedded; with dapr the sidecar's gRPC port answers durable-task clients")
	}
	host, _, err := net.SplitHostPort(f.EngineListen)
	if err != nil {
		return nil, fmt.Errorf("--engine-listen: %w", err)
	}
	if !httpserve.IsLoopback(host) {
		return nil, fmt.Errorf("--engine-listen: %s: only loopback addresses are allowed, for the protocol asks for no password", f.EngineListen)
	}
	l, err := listen(e.ctx, f.EngineListen)
	if err != nil {
		return nil, fmt.Errorf("--engine-listen: %w", err)
	}
	return l, nil
}

// serviceName is what traces call a worker, if the environment does not say.
const serviceName = "ordersaga"

type devCmd struct {
	dataFlags
	engineFlags

	Engine      string `default:"embedded" enum:"embedded,dapr" help:"What runs the sagas: embedded, in this process; or dapr, the real one, as child processes."`
	Workers     int    `default:"1" help:"Workers, each with a sidecar; for --engine dapr."`
	State       string `enum:",sqlite,redis,postgresql" default:"" placeholder:"NAME" help:"Dapr's state store: sqlite (if not said), redis, postgresql."`
	StateAt     string `name:"state-address" help:"Of Redis: host:port; of PostgreSQL: a connection string."`
	Components  string `type:"existingdir" placeholder:"DIR" help:"Folder with Dapr's components and configuration.yaml, in place of the built-in components/local; the state store is then one of its files, and not --state."`
	MaxBodySize int    `name:"dapr-max-body-size" default:"16" placeholder:"MIB" help:"Of the workers' sidecars, in MiB, 4 to 64: a saga with a larger history is stalled."`
	Open        bool   `name:"open-sidecars" help:"Dapr's sidecars ask for no token, so that the Dapr CLI and dashboards, which send none, can ask them. Any program on this machine, and any web page open in a browser on it, may drive them then."`
	Verbose     bool   `short:"v" help:"Show the log of each of Dapr's processes, with its name before each line."`
	Fsync       string `default:"group" enum:"group,always,off" help:"When the engine's state counts as kept: group (fsyncs shared), always (one each), off (survives a crash of the process, not of the machine)."`
	installationFlag

	Demo        int    `placeholder:"N" help:"Publish N mixed orders, play the people involved, and check every outcome and invariant."`
	Seed        uint64 `default:"1" help:"Of the demo's mix."`
	Exit        bool   `help:"End when the demo has ended, with status 0 only if everything held."`
	Port        int    `default:"8080" help:"Of the API; 0 takes a free one, here and below."`
	AWSPort     int    `name:"aws-port" default:"4566" help:"Of the local AWS endpoint."`
	PaymentPort int    `default:"8090" help:"Of the payment simulator."`
	CarrierPort int    `default:"8091" help:"Of the carrier simulator."`
}

func (c devCmd) Run(e env) error {
	collectLess()
	if c.Demo < 0 {
		return fmt.Errorf("--demo: %d orders, must not be negative", c.Demo)
	}
	if c.Exit && c.Demo == 0 {
		return errors.New("--exit: goes with --demo")
	}
	fsync, err := journal.ParseSync(c.Fsync)
	if err != nil {
		return err
	}
	if c.Workers < 1 || c.Workers > 1 && c.Engine != "dapr" {
		return fmt.Errorf("--workers: %d, must be 1, or more with --engine dapr", c.Workers)
	}
	if most := dapr.MaxBodySize >> 20; c.MaxBodySize < 4 || c.MaxBodySize > most {
		return fmt.Errorf("--dapr-max-body-size: %d MiB, must be 4 to %d, which is the most that a worker receives", c.MaxBodySize, most)
	}
	if c.Components != "" && (c.State != "" || c.StateAt != "") {
		return errors.New("--components: does not go with --state and --state-address; the state store is then a file in that folder, with its address in it")
	}
	if c.Open && c.Engine != "dapr" {
		return errors.New("--open-sidecars: needs --engine dapr; the embedded engine has no sidecars")
	}
	if (c.State == "redis" || c.State == "postgresql") != (c.StateAt != "") {
		return errors.New("--state-address: goes with --state redis or postgresql, and they with it")
	}
	d := devenv.Dev{
		State: daprlocal.State{Store: c.State, Address: c.StateAt}, Components: c.Components,
		Dapr: c.Engine == "dapr", Workers: c.Workers, MaxBodySize: c.MaxBodySize << 20, OpenSidecars: c.Open,
		DataDir: c.dir(), Fsync: fsync, Installation: payment.Installation(c.Installation), Exit: c.Exit, Out: e.out, Logger: e.logger,
		Ports: devenv.DevPorts{API: c.Port, AWS: c.AWSPort, Payment: c.PaymentPort, Carrier: c.CarrierPort},
	}
	if d.EngineListener, err = c.engineFlags.listen(e, c.Engine); err != nil {
		return err
	}
	if d.EngineListener != nil {
		defer func() { _ = d.EngineListener.Close() }() // closed already, unless dev did not come up
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

// installationFlag must be the same in all that share tables.
type installationFlag struct {
	Installation string `placeholder:"NAME" help:"Keeps the charges apart of several installations that share an account at the payment provider, such as staging and production: it knows an order as NAME:ID. Of a-z, 0-9 and -, 32 at most. It is kept with the orders at the first start, and no other is taken then."`
}

type workerFlags struct {
	dataFlags
	awsFlags
	installationFlag

	Fsync           string        `default:"group" enum:"group,always,off" help:"When the engine's state counts as kept: ${enum}."`
	Retention       time.Duration `default:"168h" help:"How long the embedded engine keeps what ended sagas did; orders are kept for ever. Dapr's is in its configuration."`
	PaymentURL      string        `default:"http://127.0.0.1:8090" help:"Base URL of the payment provider."`
	PaymentTimeout  time.Duration `default:"10s" help:"Of one call to the provider."`
	PaymentKey      string        `help:"API key for the payment provider."`
	ApprovalAbove   money.Limits  `default:"0" placeholder:"EUR=1000.00,JPY=150000,*=1000" help:"Orders above this total wait for approval: a limit for each currency, in whole units with their decimals, and * for all others. Without * every order in another currency waits. 0: none does."`
	ApprovalTimeout time.Duration `default:"24h" help:"How long an order waits for approval before it is cancelled."`
	AwaitCarrier    bool          `default:"true" negatable:"" help:"Wait for the carrier's answer before an order completes. Without it an order is COMPLETED when the carrier was asked, and undone if it refuses then."`
	CarrierTimeout  time.Duration `default:"24h" help:"How long the carrier may take before a person is asked."`
	Patience        time.Duration `default:"24h" help:"How long compensations are tried before a person is asked."`
	Pace            float64       `default:"1" help:"Factor on all pauses between tries, but for those that the payment provider asks for; for tests and demonstrations."`
	MaxLive         int           `default:"1000" help:"Sagas in progress, also those whose step is to be tried again, before intake leaves orders in the queue. What rests with a person or the carrier does not count. The reconciler, which begins lost ones, may take the same room at the same moment: there are never more than twice as many. On Dapr: of all workers together; each takes in its share of the room, and as their counts are seconds old, N workers may exceed it by N-1 shares at worst."`
	NoIntake        bool          `help:"Leave the order queue to others, who start sagas through the API: the intake function, say."`
	ReconcileEvery  time.Duration `default:"5m" help:"How often the reconciler runs; 0: never."`
	ReconcileGrace  time.Duration `default:"5m" help:"How long something must be unchanged before the reconciler touches it."`
	ShutdownTimeout time.Duration `default:"25s" help:"How long work in progress may take to finish at the end."`
}

func (c workerFlags) worker(e env) (*worker.Worker, error) {
	fsync, err := journal.ParseSync(c.Fsync)
	if err != nil {
		return nil, err
	}
	return &worker.Worker{
		DataDir: c.dir(), Fsync: fsync, Retention: c.Retention, AWS: c.options(e), TablePrefix: c.TablePrefix,
		PaymentURL: c.PaymentURL, PaymentTimeout: c.PaymentTimeout, PaymentKey: c.PaymentKey, Installation: payment.Installation(c.Installation),
		Terms: workflows.Terms{
			ApprovalLimits: c.ApprovalAbove, ApprovalTimeout: c.ApprovalTimeout,
			AwaitCarrier: c.AwaitCarrier, CarrierTimeout: c.CarrierTimeout, Patience: c.Patience, Pace: c.Pace,
		},
		MaxLive: c.MaxLive, NoIntake: c.NoIntake, ReconcileEvery: c.ReconcileEvery, ReconcileGrace: c.ReconcileGrace,
		ShutdownTimeout: c.ShutdownTimeout, Logger: e.logger,
	}, nil
}

type workerCmd struct {
	workerFlags
	engineFlags

	Engine       string        `default:"embedded" enum:"embedded,dapr" help:"What runs the sagas: ${enum}."`
	TakeOver     bool          `help:"Start though the sagas are in the state of another embedded worker, which ends then, if it runs; they are begun again from what their orders say."`
	DaprGRPCPort int           `name:"dapr-grpc-port" default:"50001" env:"ORDERSAGA_DAPR_GRPC_PORT,DAPR_GRPC_PORT" help:"Of the sidecar, on this host; for --engine dapr, here and below."`
	DaprHTTPPort int           `name:"dapr-http-port" default:"3500" env:"ORDERSAGA_DAPR_HTTP_PORT,DAPR_HTTP_PORT" help:"Of the sidecar."`
	DaprAPIToken string        `name:"dapr-api-token" env:"ORDERSAGA_DAPR_API_TOKEN,DAPR_API_TOKEN" help:"Of the sidecar, if it wants one."`
	PaymentApp   string        `default:"payment" help:"App id of the payment provider, called through service invocation in place of --payment-url; empty: call the URL."`
	PubSub       string        `name:"pubsub" default:"orderpubsub" help:"Component for shipment requests and notifications."`
	SecretStore  string        `default:"secretstore" help:"Component that has the payment provider's API key, unless --payment-key does; empty: none has."`
	DaprWait     time.Duration `default:"1m" help:"How long to wait for the sidecar, which may start later."`
	CanaryEvery  time.Duration `default:"15s" help:"How often a tiny saga is run, to see whether Dapr makes progress: /readyz says so; 0: never."`
	NoSagas      bool          `help:"Be only the API, the console and the reconciler to other workers' sagas: their sidecars and this one's have one app id."`
	KeepStuck    bool          `name:"keep-stuck-sidecar" help:"Leave a sidecar running that runs no sagas, instead of ending it so that it is started again."`

	Listen    string `default:"127.0.0.1:8080" help:"Address of the API and the console."`
	RateLimit int    `default:"500" help:"Requests a second that one client of the API may make, on average over ten seconds, before it is told to wait; 0: any number. Who has signed in is one client, everybody else behind one address is."`
	authFlags
}

func (c workerCmd) Run(e env) error {
	return e.traced(serviceName, func() error { return c.run(e) })
}

func (c workerCmd) run(e env) error {
	w, err := c.worker(e)
	if err != nil {
		return err
	}
	w.NoSagas, w.TakeOver = c.NoSagas, c.TakeOver
	if c.Engine == "dapr" {
		w.Dapr = &worker.Dapr{
			GRPC: fmt.Sprintf("127.0.0.1:%d", c.DaprGRPCPort), HTTP: fmt.Sprintf("http://127.0.0.1:%d", c.DaprHTTPPort),
			Token: c.DaprAPIToken, PubSub: c.PubSub, PaymentApp: c.PaymentApp, Secrets: c.SecretStore,
			Patience: c.DaprWait, CanaryEvery: c.CanaryEvery, RestartSidecar: !c.KeepStuck,
		}
	}
	if w.EngineListener, err = c.engineFlags.listen(e, c.Engine); err != nil {
		return err
	}
	if w.EngineListener != nil {
		defer func() { _ = w.EngineListener.Close() }() // closed already, unless the worker did not come up
	}
	if err := w.Validate(); err != nil { // before anything is opened
		return fmt.Errorf("worker settings: %w", err)
	}
	w.RateLimit, w.PublicURL = c.RateLimit, c.PublicURL
	if w.Auth, err = c.issuer(e, c.Listen); err != nil {
		return err
	}
	if w.Auth != nil {
		defer w.Auth.Close()
	}
	if w.Listener, err = listen(e.ctx, c.Listen); err != nil {
		return err
	}
	c.announce(e)
	if w.Dapr != nil {
		e.logger.Info().Str("address", w.Dapr.GRPC).Msg("and for the Dapr sidecar")
	}
	if _, err := w.Open(e.ctx); err != nil {
		return errors.Join(err, w.Listener.Close())
	}
	up := e.logger.Info().Str("api", "http://"+w.Listener.Addr().String())
	if w.EngineListener != nil {
		up = up.Stringer("engine", w.EngineListener.Addr())
	}
	up.Msg("worker is up")
	return w.Run(e.ctx)
}

type setupCmd struct{ awsFlags }

func (c setupCmd) Run(e env) error {
	clients, store, err := c.store(e)
	if err != nil {
		return err
	}
	r, err := clients.Setup(e.ctx)
	if err != nil {
		return err
	}
	if err := store.CreateTables(e.ctx); err != nil {
		return err
	}
	if err := clients.CreateCursorTable(e.ctx, c.TablePrefix); err != nil {
		return err
	}
	return printJSON(e.out, r)
}

type checkCmd struct {
	awsFlags
	installationFlag

	PaymentURL string `default:"http://127.0.0.1:8090" help:"Base URL of the payment simulator."`
	PaymentKey string `help:"API key for it."`
	CarrierURL string `default:"http://127.0.0.1:8091" help:"Base URL of the carrier simulator."`
	API        string `default:"http://127.0.0.1:8080" help:"Base URL of a running worker's API, which knows the sagas of orders that have not ended."`
	Token      string `name:"api-token" help:"Bearer token for it."`
	Offline    bool   `help:"No worker runs: each order that has not ended, and is not with a person or the carrier, is a violation."`
	Accepted   string `type:"existingfile" placeholder:"FILE" help:"Ids of orders that were accepted, one a line: each must have a record and have ended."`
}

// sagas asks the API which orders have a saga.
type sagas struct {
	remote

	env env
}

// Get implements check.Sagas.
func (s sagas) Get(_ context.Context, id string) (engine.Instance, error) {
	var one api.Saga
	err := s.call(s.env, http.MethodGet, "/v1/sagas/"+url.PathEscape(id), nil, &one)
	if err == nil && one.Runtime == "" || client.IsNotFound(err) {
		return engine.Instance{}, engine.ErrNotFound
	}
	if err != nil {
		err = fmt.Errorf("%w (with no worker running, use --offline)", err)
	}
	return engine.Instance{ID: id, Status: one.Runtime, CustomStatus: one.Step}, err
}

func (c checkCmd) accepted() (ids []string, err error) {
	if c.Accepted == "" {
		return nil, nil
	}
	b, err := os.ReadFile(c.Accepted)
	return strings.Fields(string(b)), err // no id has a space in it
}

func (c checkCmd) Run(e env) error {
	accepted, err := c.accepted()
	if err != nil {
		return err
	}
	_, store, err := c.store(e)
	if err != nil {
		return err
	}
	whose := payment.Installation(c.Installation)
	if err := whose.Validate(); err != nil {
		return err
	}
	if _, err := store.Installed(e.ctx, c.Installation); err != nil {
		return err
	}
	payments := payment.New(payment.Options{URL: c.PaymentURL, Key: c.PaymentKey, Installation: whose})
	defer payments.Close()
	books := invariants.Books{
		Orders: store, Charges: payments, Settled: devenv.CheckSettled,
		Shipments: devenv.Simulators{PaymentURL: c.PaymentURL, CarrierURL: c.CarrierURL, PaymentKey: c.PaymentKey},
	}
	if !c.Offline {
		books.Sagas = sagas{remote{API: c.API, Token: c.Token, Wait: 30 * time.Second}, e}
	}
	res, err := invariants.Run(e.ctx, books, accepted)
	if err != nil {
		return err
	}
	if err := printJSON(e.out, res); err != nil {
		return err
	}
	if n := len(res.Violations); n > 0 {
		return fmt.Errorf("%d violations", n)
	}
	return nil
}

type localAWSCmd struct {
	dataFlags

	Listen   string  `default:"127.0.0.1:4566" help:"Address."`
	Anywhere bool    `help:"Allow an address that is not loopback."`
	Region   string  `default:"us-east-1" help:"Region in the ARNs."`
	Throttle float64 `default:"0" help:"Share of requests to throttle, 0 to 1."`
	Conflict float64 `default:"0" help:"Share of DynamoDB transactions to cancel with TransactionConflict, 0 to 1."`
	Seed     uint64  `default:"1" help:"Of the faults."`
}

func (c localAWSCmd) Run(e env) error {
	for name, p := range map[string]float64{"--throttle": c.Throttle, "--conflict": c.Conflict} {
		if p < 0 || p > 1 {
			return fmt.Errorf("%s: %v, must be 0 to 1", name, p)
		}
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

type paymentCmd struct {
	dataFlags

	Listen   string `default:"127.0.0.1:8090" help:"Address."`
	Anywhere bool   `help:"Allow an address that is not loopback."`
	Key      string `help:"API key that callers must bring; empty: none."`
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

type carrierCmd struct {
	dataFlags
	awsFlags

	Listen   string `default:"127.0.0.1:8091" help:"Address."`
	Anywhere bool   `help:"Allow an address that is not loopback."`
	Pushed   bool   `help:"A Dapr sidecar delivers the shipment requests; leave the queue alone."`
	Token    string `name:"app-api-token" env:"ORDERSAGA_APP_API_TOKEN,APP_API_TOKEN" help:"What the sidecar shows with it; empty: nothing."`
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

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
