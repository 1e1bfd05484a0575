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

// Dev runs the whole system on loopback: local AWS, the simulators and one or more
// workers with their API. Out is required. The zero value of every other field is
// usable: it runs one worker with the embedded engine and keeps no state.
type Dev struct {
	DataDir string       // directory for all state; "" keeps nothing
	Fsync   journal.Sync // when the embedded engine's journal is synced to disk
	Dapr    bool         // runs Dapr as the engine, in child processes
	Workers int          // number of workers with Dapr, each with a sidecar; 0 means 1
	// MaxBodySize is that of the workers' sidecars, in bytes; 0 means 16 MiB.
	MaxBodySize int
	State       daprlocal.State // Dapr's state store
	// OpenSidecars makes sidecars accept requests without a token, for tools that
	// send none.
	OpenSidecars bool
	Components   string    // folder with components for Dapr; "" uses the built-in ones
	Verbose      io.Writer // receives the output of Dapr's processes; nil discards it
	Ports        DevPorts
	Installation payment.Installation // as in worker.Worker
	// EngineListener accepts durable-task clients, as in worker.Worker; nil accepts none.
	EngineListener net.Listener
	// Configure changes the workers' settings before they start; nil leaves them.
	Configure func(*worker.Worker)
	Job       Job            // runs once all is up; nil runs none
	Exit      bool           // makes Run return when the job has ended
	Out       io.Writer      // receives the addresses and commands to try
	Logger    zerolog.Logger // the zero value discards

	keys keys
}

// keys are the tokens between the parts: of requests to sidecars, of requests from
// sidecars, and of requests to the payment simulator. All are empty with the embedded
// engine, which runs in the same process.
type keys struct{ sidecar, app, payment string }

// Job is work that Dev runs once everything is up, such as Demo or bench.Job.
type Job interface {
	// Run does the work with the first worker, until ctx ends.
	Run(ctx context.Context, w *worker.Worker, sims Simulators) error
}

// DevPorts are the loopback ports that Dev listens on; 0 means any free port.
type DevPorts struct{ API, AWS, Payment, Carrier int }

// devPaymentKey is no secret: `ordersaga check` needs it, in a process of its own.
const devPaymentKey = "dev-payment-key"

// region is the region of the local AWS endpoint.
const region = "us-east-1"

// devTerms returns the saga's terms with short pauses, so that every path ends
// within seconds.
func devTerms() workflows.Terms {
	return workflows.Terms{
		ApprovalLimits: money.MustLimits("*=1000"), ApprovalTimeout: time.Hour,
		AwaitCarrier: true, CarrierTimeout: time.Minute,
		CompensationTimeout: 3 * time.Second, TimeScale: 0.02,
	}
}

// Run starts everything and blocks until ctx ends, or until the job has ended if
// Exit is set. Its error is that of the part that failed first or, with Exit, of
// the job.
func (d Dev) Run(ctx context.Context) (err error) {
	if d.DataDir != "" {
		unlock, err := lockDataDir(d.DataDir)
		if err != nil {
			return err
		}
		defer func() { _ = unlock() }() // the process exits next
	}
	l, err := d.listen(ctx)
	if err != nil {
		return err
	}

	if d.Dapr {
		d.keys = keys{sidecar: uuid.NewString(), app: uuid.NewString(), payment: devPaymentKey}
		if d.OpenSidecars {
			d.keys.sidecar = ""
		}
	}
	// Parts stop before those that they depend on: first the workers, then the
	// carrier and the stock consumer, then AWS and the payment simulator.
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
	// A part that fails stops the others.
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
			return Carrier{
				DataDir: d.DataDir, AWS: awsOptions, Listener: l.carrier, Pushed: d.Dapr, Token: d.keys.app, Logger: d.Logger,
			}.Run(besideCtx)
		})
		beside.Go(func() error { return d.consumeStockEvents(besideCtx, awsOptions) })
		err = d.runEngine(top, awsOptions, l)
	} else {
		err = errors.Join(d.unlessStopped(top, err), l.carrier.Close(), l.api.Close())
	}
	stopBetween()
	err = errors.Join(err, beside.Wait())
	stopBase()
	return errors.Join(err, under.Wait())
}

// runEngine creates the workers for the chosen engine, and runs them.
func (d Dev) runEngine(ctx context.Context, awsOptions cloud.Options, l listeners) error {
	w := worker.Worker{
		DataDir: d.DataDir, Fsync: d.Fsync, AWS: awsOptions,
		PaymentURL: address(l.payment), PaymentTimeout: 2 * time.Second, Installation: d.Installation, Terms: devTerms(),
		MaxLive: 1000, ReconcileEvery: time.Minute, ShutdownTimeout: 10 * time.Second,
		Listener: l.api, EngineListener: d.EngineListener, Logger: d.Logger,
		ForceOwnership: true, // no other worker uses these queues
	}
	if d.Configure != nil {
		d.Configure(&w)
	}
	if !d.Dapr {
		return d.runWorkers(ctx, l, func() {}, &w)
	}
	dir, remove, err := d.daprDir()
	if err != nil {
		return errors.Join(err, l.api.Close())
	}
	defer remove()
	cluster, workers, err := d.sidecars(ctx, dir, w, l)
	if err != nil {
		return errors.Join(d.unlessStopped(ctx, err), l.api.Close())
	}
	defer cluster.Stop()
	g, gctx := errgroup.WithContext(ctx)
	gctx, stop := context.WithCancel(gctx)
	opened := make(chan struct{})
	g.Go(func() error {
		select {
		case <-opened:
			cluster.Watch(gctx)
		case <-gctx.Done(): // a sidecar that exits before is an error, and is not restarted
		}
		return nil
	})
	g.Go(func() error {
		defer stop()
		return explainStart(d.runWorkers(gctx, l, sync.OnceFunc(func() { close(opened) }), workers...), cluster, opened)
	})
	return g.Wait()
}

// unlessStopped drops an error of a start that ctx interrupted: nothing failed
// then. (A part that failed reports its own error.)
func (d Dev) unlessStopped(ctx context.Context, err error) error {
	switch {
	case ctx.Err() == nil:
		return err
	case d.Exit: // exit status 0 would mean that the job has ended
		return errors.New("stopped before everything was up: the job did not run")
	}
	return nil
}

// runWorkers runs the workers and, beside them, the job. It calls opened once all
// workers are open.
func (d Dev) runWorkers(ctx context.Context, l listeners, opened func(), workers ...*worker.Worker) error {
	var parts worker.Parts
	for i, w := range workers {
		p, err := w.Open(ctx)
		if err != nil {
			for _, w := range workers[:i] {
				err = errors.Join(err, w.Close())
			}
			return errors.Join(d.unlessStopped(ctx, err), l.api.Close())
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
		err := d.Job.Run(gctx, workers[0], Simulators{
			PaymentURL: address(l.payment), PaymentKey: d.keys.payment, Installation: d.Installation, CarrierURL: address(l.carrier),
		})
		if d.Exit {
			stop()
			return err
		}
		if err != nil && gctx.Err() == nil { // keeps running, so that the failure can be examined
			_, _ = fmt.Fprintln(d.Out, "Failed:", err)
		}
		return nil
	})
	return g.Wait()
}

// setup creates queues, topics and tables, and the SKUs of the catalogue that do not
// exist yet.
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

// greet writes the addresses, and commands to paste.
func (d Dev) greet(p worker.Parts, side *worker.Dapr, l listeners) {
	kept := "in " + d.DataDir + "/"
	if d.DataDir == "" {
		kept = "in memory only: it is lost when this process exits"
	}
	awsCommand := fmt.Sprintf("AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local aws --region %s --endpoint-url %s", region, address(l.aws))
	_, _ = fmt.Fprintf(d.Out, `ordersaga is up; state is kept %[1]s
  API        %[2]s   (console: /, operations: /docs, OpenAPI: /openapi.json, metrics: /metrics)
  local AWS  %[3]s   payment %[4]s   carrier %[5]s

Place an order and follow it:
  curl -i %[2]s/v1/orders -H 'Content-Type: application/json' -d '%[6]s'
  curl %[2]s/v1/sagas/o-1042
Or send it to the queue, as other producers do:
  %[7]s sqs send-message --queue-url %[8]s --message-body '%[9]s'
  curl %[2]s/v1/sagas/o-1043
Add stock with an event, which cmd/stock-lambda applies in AWS:
  %[7]s sns publish --topic-arn arn:aws:sns:%[10]s:000000000000:%[11]s --message '%[12]s'

`, kept, address(l.api), address(l.aws), address(l.payment), address(l.carrier), sample("o-1042"),
		awsCommand, p.Resources.OrderQueue, sample("o-1043"), region, lambda.TopicStockEvents, sampleDelivery)
	if side != nil {
		token := " -H 'dapr-api-token: " + side.Token + "'"
		if side.Token == "" {
			token = ""
			_, _ = fmt.Fprint(d.Out, "The sidecars require no token: any program on this machine, "+
				"and any web page open on it, can control them.\n\n")
		}
		_, _ = fmt.Fprintf(d.Out, `Show the sagas in a dashboard of workflows, if it is installed (docs/dapr.md):
  DEVDASHBOARD_TELEMETRY_OPTOUT=true dev-dashboard --mode dapr-run --port 9091
Or publish an order through Dapr, from any app with a sidecar:
  curl -i %[1]s/v1.0/publish/%[2]s/%[3]s%[4]s -H 'Content-Type: application/json' -d '%[5]s'
  curl %[6]s/v1/sagas/o-1044

`, side.HTTP, side.PubSub, events.TopicOrderEvents, token, sample("o-1044"), address(l.api))
	}
}

// sampleDelivery is an event that adds stock.
const sampleDelivery = `{"type":"StockAdjusted","eventId":"dn-1","reason":"delivery","lines":[{"sku":"SKU-1","quantity":25}]}`

// sample returns an order with that id, as JSON.
func sample(id string) string {
	return `{"orderId":"` + id + `","customerId":"c-7","currency":"EUR",` +
		`"lines":[{"sku":"SKU-1","quantity":2,"unitPrice":1999}],"payment":{"token":"tok_ok"}}`
}

// listeners are those of all parts; the part that serves one closes it.
type listeners struct{ api, aws, payment, carrier net.Listener }

// listen opens all listeners, or none.
func (d Dev) listen(ctx context.Context) (l listeners, err error) {
	var opened []net.Listener
	for _, x := range []struct {
		to   *net.Listener
		port int
		what string
	}{
		{to: &l.aws, port: d.Ports.AWS, what: "local AWS"},
		{to: &l.payment, port: d.Ports.Payment, what: "payment simulator"},
		{to: &l.carrier, port: d.Ports.Carrier, what: "carrier simulator"},
		{to: &l.api, port: d.Ports.API, what: "API"},
	} {
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

// address returns the base URL of a listener.
func address(l net.Listener) string { return "http://" + l.Addr().String() }

// lockDataDir locks a data directory against other processes. Each part locks its own
// folder too, but without this lock some parts would start before another part fails.
func lockDataDir(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("create the data directory: %w", err)
	}
	lock, err := journal.TakeLock(dir, "dev.lock")
	if err != nil {
		return nil, err
	}
	return lock.Release, nil
}

// greetClients writes the address for durable-task clients, if there is one.
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
	_, _ = fmt.Fprintf(d.Out, "Or start workflow %s with any durable-task client; input {\"order\":{…}}, instance id = order id:\n"+
		"  grpc %s\n\n", workflows.OrderSaga, at)
}
