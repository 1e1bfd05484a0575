package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/alecthomas/kong"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/money"
	"github.com/ordersaga/ordersaga/internal/worker"
	"github.com/ordersaga/ordersaga/workflows"
)

// serviceName is the worker's name in traces unless OTEL_SERVICE_NAME is set.
const serviceName = "ordersaga"

// sagaFlags are the settings of sagas and of the reconciler. A worker and
// reconcile --offline on its state need the same ones.
type sagaFlags struct {
	awsFlags
	installationFlag

	Fsync     string        `group:"engine" default:"group" enum:"group,always,off" help:"${fsync_help}"`
	Retention time.Duration `group:"engine" default:"168h" help:"${retention_help}"`

	PaymentURL     string        `group:"payment" default:"http://127.0.0.1:8090" help:"Base URL of the payment provider."`
	PaymentTimeout time.Duration `group:"payment" default:"10s" help:"Time limit of one call to the payment provider."`
	PaymentKey     string        `group:"payment" placeholder:"KEY" help:"API key for the payment provider."`

	ApprovalAbove   money.Limits  `group:"orders" default:"0" placeholder:"EUR=1000.00,JPY=150000,*=1000" help:"${approval_above_help}"`
	ApprovalTimeout time.Duration `group:"orders" default:"24h" help:"How long an order waits for approval before it is cancelled."`
	AwaitCarrier    bool          `group:"orders" default:"true" negatable:"" help:"${await_carrier_help}"`
	CarrierTimeout  time.Duration `group:"orders" default:"24h" help:"How long to wait for the carrier before the order needs attention."`
	Patience        time.Duration `group:"orders" default:"24h" help:"${patience_help}"`
	Pace            float64       `group:"orders" default:"1" help:"${pace_help}"`
	MaxLive         int           `group:"orders" default:"1000" help:"${max_live_help}"`

	ReconcileGrace time.Duration `group:"repair" default:"5m" help:"Minimum age of the last change before the reconciler repairs something."`
}

// shutdownTimeout is the default of --shutdown-timeout.
const shutdownTimeout = 25 * time.Second

// worker returns a worker with these settings on the state in dataDir, "" for
// none. The settings of workerCmd have their zero values.
func (c sagaFlags) worker(e env, dataDir string) (*worker.Worker, error) {
	fsync, err := journal.ParseSync(c.Fsync)
	if err != nil {
		return nil, err
	}
	return &worker.Worker{
		DataDir: dataDir, Fsync: fsync, Retention: c.Retention, AWS: c.options(e), TablePrefix: c.TablePrefix,
		PaymentURL: c.PaymentURL, PaymentTimeout: c.PaymentTimeout, PaymentKey: c.PaymentKey, Installation: payment.Installation(c.Installation),
		Terms: workflows.Terms{
			ApprovalLimits: c.ApprovalAbove, ApprovalTimeout: c.ApprovalTimeout,
			AwaitCarrier: c.AwaitCarrier, CarrierTimeout: c.CarrierTimeout, CompensationTimeout: c.Patience, TimeScale: c.Pace,
		},
		MaxLive: c.MaxLive, ReconcileGrace: c.ReconcileGrace, ShutdownTimeout: shutdownTimeout, Logger: e.logger,
	}, nil
}

// workerCmd runs sagas from the queue, with their API and console.
type workerCmd struct {
	stateFlags `group:"engine"`
	sagaFlags
	engineListenFlag
	daprFlags
	authFlags

	Engine string `default:"embedded" enum:"embedded,dapr" help:"Workflow engine: ${enum}."`

	Listen    string `group:"network" default:"127.0.0.1:8080" env:"ORDERSAGA_WORKER_LISTEN,ORDERSAGA_LISTEN" help:"Address of the API and the console."`
	RateLimit int    `group:"network" default:"500" help:"${rate_limit_help}"`

	NoIntake       bool `group:"orders" help:"${no_intake_help}"`
	ForceOwnership bool `group:"engine" aliases:"take-over" env:"ORDERSAGA_FORCE_OWNERSHIP,ORDERSAGA_TAKE_OVER" help:"${force_ownership_help}"`

	ReconcileEvery  time.Duration `group:"repair" default:"5m" help:"Interval between runs of the reconciler. 0: never."`
	ShutdownTimeout time.Duration `group:"repair" default:"${shutdown_timeout}" help:"How long work in progress may take to finish at shutdown."`
}

// daprFlags are the settings of --engine dapr.
type daprFlags struct {
	DaprGRPCPort int           `group:"dapr" name:"dapr-grpc-port" default:"50001" env:"ORDERSAGA_DAPR_GRPC_PORT,DAPR_GRPC_PORT" help:"gRPC port of the sidecar on this host."`
	DaprHTTPPort int           `group:"dapr" name:"dapr-http-port" default:"3500" env:"ORDERSAGA_DAPR_HTTP_PORT,DAPR_HTTP_PORT" help:"HTTP port of the sidecar on this host."`
	DaprAPIToken string        `group:"dapr" name:"dapr-api-token" env:"ORDERSAGA_DAPR_API_TOKEN,DAPR_API_TOKEN" placeholder:"TOKEN" help:"API token of the sidecar, if it requires one."`
	PaymentApp   string        `group:"dapr" default:"payment" help:"${payment_app_help}"`
	PubSub       string        `group:"dapr" name:"pubsub" default:"orderpubsub" help:"Pub/sub component for shipment requests and notifications."`
	SecretStore  string        `group:"dapr" default:"secretstore" help:"${secrets_help}"`
	DaprWait     time.Duration `group:"dapr" default:"1m" help:"How long to wait at startup for the sidecar."`
	CanaryEvery  time.Duration `group:"dapr" default:"15s" help:"${canary_help}"`
	NoSagas      bool          `group:"dapr" help:"${no_sagas_help}"`
	KeepStuck    bool          `group:"dapr" name:"keep-stuck-sidecar" help:"${keep_stuck_help}"`
}

func (f daprFlags) settings() *worker.Dapr {
	return &worker.Dapr{
		GRPC: fmt.Sprintf("127.0.0.1:%d", f.DaprGRPCPort), HTTP: fmt.Sprintf("http://127.0.0.1:%d", f.DaprHTTPPort),
		Token: f.DaprAPIToken, PubSub: f.PubSub, PaymentApp: f.PaymentApp, Secrets: f.SecretStore,
		ConnectTimeout: f.DaprWait, CanaryEvery: f.CanaryEvery, RestartSidecar: !f.KeepStuck,
	}
}

func (c workerCmd) Run(e env, command *kong.Context) error {
	return e.traced(serviceName, func() error { return c.run(e, command) })
}

func (c workerCmd) run(e env, command *kong.Context) error {
	relaxGC()
	w, err := c.worker(e, c.dir())
	if err != nil {
		return err
	}
	w.NoIntake, w.NoSagas, w.ForceOwnership = c.NoIntake, c.NoSagas, c.ForceOwnership
	w.ReconcileEvery, w.ShutdownTimeout = c.ReconcileEvery, c.ShutdownTimeout
	if c.Engine == "dapr" {
		w.Dapr = c.settings()
	}
	w.EngineListener, err = c.listen(e, c.Engine)
	if err != nil {
		return err
	}
	if w.EngineListener != nil {
		defer func() { _ = w.EngineListener.Close() }() // the worker has closed it, unless it failed to start
	}
	if err := w.Validate(); err != nil { // before anything is opened
		return fmt.Errorf("worker settings: %w", err)
	}
	if err := checkEngine(command, c.Engine); err != nil {
		return err
	}
	w.RateLimit, w.PublicURL = c.RateLimit, c.PublicURL
	w.Auth, err = c.issuer(e, c.Listen)
	if err != nil {
		return err
	}
	if w.Auth != nil {
		defer w.Auth.Close()
	}
	w.Listener, err = listen(e.ctx, c.Listen)
	if err != nil {
		return err
	}
	c.logConnecting(e)
	if w.Dapr != nil {
		e.logger.Info().Str("address", w.Dapr.GRPC).Msg("looking for the Dapr sidecar")
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
