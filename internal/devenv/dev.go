// Package devenv runs the whole system in one process for development: local
// AWS, the simulators of the payment provider and the carrier, one or more
// workers, and a demo with actors who play customers, approvers and operators.
package devenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/lambda"
	"github.com/ordersaga/ordersaga/internal/money"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/worker"
	"github.com/ordersaga/ordersaga/workflows"
)

// Dev runs everything in one process, on loopback: local AWS, the simulators
// and a worker with its API.
type Dev struct {
	DataDir string // "" keeps nothing
	Fsync   journal.Sync
	Dapr    bool // the engine is Dapr, with its processes as children of this one
	Workers int  // with Dapr: how many, each with a sidecar; 0 means one
	// MaxBodySize is that of the workers' sidecars, in bytes; 0 means 16 MiB.
	MaxBodySize int
	State       daprlocal.State
	// OpenSidecars has sidecars answer without a token, for tools that send none.
	OpenSidecars bool
	// Components is a folder with Dapr's components in place of the built-in
	// ones; Verbose gets the lines of Dapr's processes. Both may be zero.
	Components string
	Verbose    io.Writer
	Ports      DevPorts
	// Installation and EngineListener: as a Worker's.
	Installation   payment.Installation
	EngineListener net.Listener
	// Configure changes the workers' settings before they start; nil leaves them.
	Configure func(*worker.Worker)
	Job       Job  // nil: only serve
	Exit      bool // end when the job has ended
	Out       io.Writer
	Logger    zerolog.Logger

	keys keys
}

// keys are who may talk to whom; empty with the embedded engine, where all is
// one process.
type keys struct{ sidecar, app, payment string }

// Job runs once everything is up: Demo, or bench.Job.
type Job interface {
	Run(ctx context.Context, w *worker.Worker, sims Simulators) error
}

// DevPorts are loopback ports; 0 takes a free one.
type DevPorts struct{ API, AWS, Payment, Carrier int }

// devPaymentKey is no secret: whoever runs `ordersaga check` beside needs it.
const devPaymentKey = "dev-payment-key"

// region is where the local endpoint pretends to be.
const region = "us-east-1"

// devTerms are the saga's rules with short pauses, so that one sees the end
// of every path within seconds.
func devTerms() workflows.Terms {
	return workflows.Terms{
		ApprovalLimits: money.MustLimits("*=1000"), ApprovalTimeout: time.Hour,
		AwaitCarrier: true, CarrierTimeout: time.Minute,
		CompensationTimeout: 3 * time.Second, TimeScale: 0.02,
	}
}

// Run starts everything and blocks until ctx ends, or until the job has
// ended if Exit is set; its error is then the job's.
func (d Dev) Run(ctx context.Context) (err error) {
	if d.DataDir != "" {
		unlock, err := lockDataDir(d.DataDir)
		if err != nil {
			return err
		}
		defer func() { _ = unlock() }() // the process ends here
	}
	l, err := d.listen(ctx)
	if err != nil {
		return err
	}

	if d.Dapr {
		d.keys = keys{uuid.NewString(), uuid.NewString(), devPaymentKey}
		if d.OpenSidecars {
			d.keys.sidecar = ""
		}
	}
	// What stands on something stops before it: the worker, what talks to AWS, AWS.
	base, stopBase := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBase()
	under, underCtx := errgroup.WithContext(base)
	awsOptions := cloud.Options{Region: region, Endpoint: address(l.aws), Logger: d.Logger}
	under.Go(func() error {
		return LocalAWS{DataDir: d.DataDir, Region: region, Listener: l.aws, Logger: d.Logger}.Run(underCtx)
	})
	under.Go(func() error {
		return Payment{DataDir: d.DataDir, Listener: l.payment, Key: d.keys.payment, Logger: d.Logger}.Run(underCtx)
	})
	// A part that dies ends the others.
	top, stopTop := context.WithCancel(ctx)
	defer stopTop()
	context.AfterFunc(underCtx, stopTop)

	between, stopBetween := context.WithCancel(base)
	defer stopBetween()
	beside, besideCtx := errgroup.WithContext(between)
	context.AfterFunc(besideCtx, stopTop)

	err = d.setup(top, awsOptions)
	if err == nil {
		beside.Go(func() error {
			return Carrier{DataDir: d.DataDir, AWS: awsOptions, Listener: l.carrier, Pushed: d.Dapr, Token: d.keys.app, Logger: d.Logger}.Run(besideCtx)
		})
		beside.Go(func() error { return d.stock(besideCtx, awsOptions) })
		err = d.engine(top, awsOptions, l)
	} else {
		err = errors.Join(d.unlessEnded(top, err), l.carrier.Close(), l.api.Close())
	}
	stopBetween()
	err = errors.Join(err, beside.Wait())
	stopBase()
	return errors.Join(err, under.Wait())
}

// engine makes the workers for the chosen engine, and runs them.
func (d Dev) engine(ctx context.Context, awsOptions cloud.Options, l listeners) error {
	w := worker.Worker{
		DataDir: d.DataDir, Fsync: d.Fsync, AWS: awsOptions,
		PaymentURL: address(l.payment), PaymentTimeout: 2 * time.Second, Installation: d.Installation, Terms: devTerms(),
		MaxLive: 1000, ReconcileEvery: time.Minute, ShutdownTimeout: 10 * time.Second,
		Listener: l.api, EngineListener: d.EngineListener, Logger: d.Logger,
		ForceOwnership: true, // the queues are nobody else's
	}
	if d.Configure != nil {
		d.Configure(&w)
	}
	if !d.Dapr {
		return d.work(ctx, l, func() {}, &w)
	}
	dir, remove, err := d.daprDir()
	if err != nil {
		return errors.Join(err, l.api.Close())
	}
	defer remove()
	cluster, workers, err := d.sidecars(ctx, dir, w, l)
	if err != nil {
		return errors.Join(d.unlessEnded(ctx, err), l.api.Close())
	}
	defer cluster.Stop()
	g, gctx := errgroup.WithContext(ctx)
	gctx, stop := context.WithCancel(gctx)
	opened := make(chan struct{})
	g.Go(func() error {
		select {
		case <-opened:
			cluster.Watch(gctx)
		case <-gctx.Done(): // a sidecar that ends before is an error, and not started again
		}
		return nil
	})
	g.Go(func() error {
		defer stop()
		return explained(d.work(gctx, l, sync.OnceFunc(func() { close(opened) }), workers...), cluster, opened)
	})
	return g.Wait()
}

// unlessEnded takes an error away that comes of being told to end before all
// was up: nothing has gone wrong then. (If a part has died, its error says so.)
func (d Dev) unlessEnded(ctx context.Context, err error) error {
	switch {
	case ctx.Err() == nil:
		return err
	case d.Exit: // status 0 would say that the job was done
		return errors.New("it was told to end before all was up")
	}
	return nil
}

// work runs the workers and, beside them, the job. It calls opened when all of
// them have what they need.
func (d Dev) work(ctx context.Context, l listeners, opened func(), workers ...*worker.Worker) error {
	var parts worker.Parts
	for i, w := range workers {
		p, err := w.Open(ctx)
		if err != nil {
			for _, w := range workers[:i] {
				err = errors.Join(err, w.Close())
			}
			return errors.Join(d.unlessEnded(ctx, err), l.api.Close())
		}
		if i == 0 {
			parts = p
		}
	}
	opened()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, gctx := errgroup.WithContext(ctx)
	for _, w := range workers {
		g.Go(func() error { return w.Run(gctx) })
	}
	g.Go(func() error {
		d.greet(parts, workers[0].Dapr, l)
		d.greetClients(workers[0].Dapr)
		if d.Job == nil {
			return nil
		}
		err := d.Job.Run(gctx, workers[0], Simulators{PaymentURL: address(l.payment), PaymentKey: d.keys.payment, Installation: d.Installation, CarrierURL: address(l.carrier)})
		if d.Exit {
			stop()
			return err
		}
		if err != nil && gctx.Err() == nil { // stays up, to be looked at
			_, _ = fmt.Fprintln(d.Out, "it failed:", err)
		}
		return nil
	})
	return g.Wait()
}

// setup makes queues, topics and tables, and seeds the stock that is missing.
func (d Dev) setup(ctx context.Context, o cloud.Options) error {
	clients, err := cloud.New(ctx, o)
	if err != nil {
		return err
	}
	if _, err := clients.Setup(ctx); err != nil {
		return err
	}
	store := orderstore.New(clients.DynamoDB, orderstore.TablesWithPrefix(""), nil)
	if err := store.CreateTables(ctx); err != nil {
		return err
	}
	for sku, available := range Catalogue() {
		_, err := store.GetLevel(ctx, sku)
		if errors.Is(err, orderstore.ErrNotFound) {
			_, err = store.Count(ctx, sku, available, orderstore.NewSKU)
		}
		if err != nil {
			return fmt.Errorf("seed stock of %s: %w", sku, err)
		}
	}
	return nil
}

func (d Dev) greet(p worker.Parts, side *worker.Dapr, l listeners) {
	kept := "in " + d.DataDir + "/"
	if d.DataDir == "" {
		kept = "nowhere: it is gone when this process ends"
	}
	_, _ = fmt.Fprintf(d.Out, `ordersaga is up; state is kept %[1]s
  API        %[2]s   (console: /, operations: /docs, OpenAPI: /openapi.json, metrics: /metrics)
  local AWS  %[3]s   payment %[4]s   carrier %[5]s

Place an order and follow it:
  curl -i %[2]s/v1/orders -H 'Content-Type: application/json' -d '%[6]s'
  curl %[2]s/v1/sagas/o-1042
Or as any other producer does, straight to the queue:
  AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local aws --region %[7]s --endpoint-url %[3]s sqs send-message --queue-url %[8]s --message-body '%[9]s'
  curl %[2]s/v1/sagas/o-1043
Stock comes by events of its own, to the queue of cmd/stock-lambda:
  AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local aws --region %[7]s --endpoint-url %[3]s sns publish --topic-arn arn:aws:sns:%[7]s:000000000000:%[10]s --message '{"type":"StockAdjusted","eventId":"dn-1","reason":"delivery","lines":[{"sku":"SKU-1","quantity":25}]}'

`, kept, address(l.api), address(l.aws), address(l.payment), address(l.carrier), sample("o-1042"), region, p.Resources.OrderQueue, sample("o-1043"), lambda.TopicStockEvents)
	if side != nil {
		token := " -H 'dapr-api-token: " + side.Token + "'"
		if side.Token == "" {
			token = ""
			_, _ = fmt.Fprint(d.Out, "The sidecars ask for no token: any program on this machine, and any web page open on it, may drive them.\n\n")
		}
		_, _ = fmt.Fprintf(d.Out, `Sagas in a dashboard of workflows, if you have it (docs/dapr.md):
  DEVDASHBOARD_TELEMETRY_OPTOUT=true dev-dashboard --mode dapr-run --port 9091
Or through Dapr, from any app with a sidecar:
  curl -i %[1]s/v1.0/publish/%[2]s/%[3]s%[4]s -H 'Content-Type: application/json' -d '%[5]s'
  curl %[6]s/v1/sagas/o-1044

`, side.HTTP, side.PubSub, events.TopicOrderEvents, token, sample("o-1044"), address(l.api))
	}
}

func sample(id string) string {
	return `{"orderId":"` + id + `","customerId":"c-7","currency":"EUR","lines":[{"sku":"SKU-1","quantity":2,"unitPrice":1999}],"payment":{"token":"tok_ok"}}`
}

type listeners struct{ api, aws, payment, carrier net.Listener }

func (d Dev) listen(ctx context.Context) (l listeners, err error) {
	var opened []net.Listener
	for _, x := range []struct {
		to   *net.Listener
		port int
		what string
	}{{&l.aws, d.Ports.AWS, "local AWS"}, {&l.payment, d.Ports.Payment, "payment simulator"}, {&l.carrier, d.Ports.Carrier, "carrier simulator"}, {&l.api, d.Ports.API, "API"}} {
		*x.to, err = new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", x.port))
		if err != nil {
			for _, o := range opened {
				err = errors.Join(err, o.Close())
			}
			return l, fmt.Errorf("%s: %w (is another `ordersaga dev` running?)", x.what, err)
		}
		opened = append(opened, *x.to)
	}
	return l, nil
}

func address(l net.Listener) string { return "http://" + l.Addr().String() }

// lockDataDir keeps two processes out of one data directory: half of the parts
// would else come up before the other half find their folders locked.
func lockDataDir(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	lock, err := journal.TakeLock(dir, "dev.lock")
	if err != nil {
		return nil, err
	}
	return lock.Release, nil
}

// greetClients shows where durable-task clients are answered, if anywhere.
func (d Dev) greetClients(side *worker.Dapr) {
	var at string
	switch {
	case side != nil:
		at = side.GRPC
		if side.Token != "" {
			at += " (metadata dapr-api-token: " + side.Token + ")"
		}
	case d.EngineListener != nil:
		at = d.EngineListener.Addr().String()
	default:
		return
	}
	_, _ = fmt.Fprintf(d.Out, "Or with any durable-task client, as %s, input {\"order\":{…}}, instance id = order id:\n  grpc %s\n\n", workflows.OrderSaga, at)
}
