// Package worker runs the production process: engine, intake, reconciler, API
// and console. It imports no simulator. Worker is a struct of settings whose
// Run returns when its context has ended and everything it started has stopped.
package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/dapr/durabletask-go/task"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/activities"
	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/api/console"
	"github.com/ordersaga/ordersaga/internal/auth"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/deadletter"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/dapr"
	"github.com/ordersaga/ordersaga/internal/engine/embedded"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/fleet"
	"github.com/ordersaga/ordersaga/internal/httpserve"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/internal/snspublisher"
	"github.com/ordersaga/ordersaga/internal/sqsconsumer"
	"github.com/ordersaga/ordersaga/internal/tracing"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// Worker runs sagas: engine, intake, reconciler, and the API to them.
type Worker struct {
	DataDir        string // "" keeps nothing
	Fsync          journal.Sync
	Retention      time.Duration // how long ended sagas can be read, on the embedded engine; 0 means a week
	AWS            cloud.Options
	TablePrefix    string
	PaymentURL     string
	PaymentTimeout time.Duration
	PaymentKey     string // the provider's API key, if it wants one and Dapr's secret store does not have it
	// Installation is under what name the provider knows the orders: never another
	// one for the same tables.
	Installation payment.Installation
	// Dapr makes Dapr the engine, and the way to the carrier; nil is the
	// embedded engine.
	Dapr  *Dapr
	Terms workflows.Terms
	// MaxLive bounds the sagas that intake takes in: those that have not ended,
	// without the ones that rest with a person or the carrier (engine.Stats). The
	// reconciler may take the same room at the same moment; for several workers
	// see load.room.
	MaxLive int
	// NoIntake leaves the order queue to others, who start sagas through the API.
	NoIntake bool
	// NoSagas leaves queues and sagas to the workers that have the same app id on
	// Dapr: this process is the API to them, the console, and the reconciler.
	NoSagas         bool
	ReconcileEvery  time.Duration
	ReconcileGrace  time.Duration
	ShutdownTimeout time.Duration
	Listener        net.Listener // of the API; the worker closes it
	// EngineListener is where durable-task clients are answered; nil: nowhere.
	// On loopback, and for the embedded engine: a sidecar has a port of its own.
	EngineListener net.Listener
	// ForceOwnership takes the sagas of these orders away from another embedded
	// worker, which then shuts down. False refuses to start while another owns them.
	ForceOwnership bool
	// OwnedEvery is how often an embedded worker looks whether it still has the
	// sagas; 0 means 15 s.
	OwnedEvery time.Duration
	// Auth says who may use the API and the console; nil: whoever reaches them.
	Auth *auth.Issuer
	// PublicURL is where people find the console, if not on loopback. Without
	// Auth a worker on loopback answers under no other name.
	PublicURL string
	// RateLimit is how many requests a second one client of the API may make; 0:
	// any number.
	RateLimit int
	Logger    zerolog.Logger

	// Register adds workflows and activities to the order saga's; nil adds none.
	Register func(*task.TaskRegistry) error

	parts   Parts
	metrics metrics
	owner   *ownership        // of the sagas, with the embedded engine
	unpaid  *reconcile.Unpaid // shared by the reconciler's runs
	stalled *reconcile.Stalled
	load    *load // of all workers, on Dapr
}

// Dapr is where the worker's sidecar is.
type Dapr struct {
	GRPC   string // host:port
	Token  string // DAPR_API_TOKEN of the sidecar, if it has one
	HTTP   string // base URL
	PubSub string // component for shipment requests and notifications
	// PaymentApp is the app id of the payment provider, called through service
	// invocation in place of PaymentURL; "" calls the URL.
	PaymentApp string
	// Secrets is the component that has PaymentKeySecret; "" asks none.
	Secrets string
	// Patience, CanaryEvery and RestartSidecar: see dapr.Options.
	Patience       time.Duration
	CanaryEvery    time.Duration
	RestartSidecar bool
}

// PaymentKeySecret is the name under which a secret store has the payment
// provider's API key.
const PaymentKeySecret = "ordersaga/payment-api-key"

// Folder returns a folder of a data directory, or "" if there is none.
func Folder(dataDir, name string) string {
	if dataDir == "" {
		return ""
	}
	return filepath.Join(dataDir, name)
}

// Parts are what a running worker is made of.
type Parts struct {
	Cloud     *cloud.Clients
	Resources cloud.Resources
	Store     *orderstore.Store
	Fleet     *fleet.Registry
	Payments  *payment.Client
	Engine    engine.Engine
	Shipments *shipment.Publisher
	Registry  *prometheus.Registry
	// Ready returns why the engine makes no progress, if it makes none.
	Ready func() error
}

// Parts returns the parts that Open has made.
func (w *Worker) Parts() Parts { return w.parts }

// Open connects to everything and reads the engine's state; nothing runs yet.
func (w *Worker) Open(ctx context.Context) (Parts, error) {
	if err := w.Validate(); err != nil {
		return Parts{}, fmt.Errorf("worker settings: %w", err)
	}
	registry := prometheus.NewRegistry()
	w.metrics = newMetrics(registry)
	aws := w.AWS
	aws.Observe = w.metrics.call
	clients, err := cloud.New(ctx, aws)
	if err != nil {
		return Parts{}, err
	}
	resources, err := clients.Find(ctx)
	if err != nil {
		return Parts{}, cloud.WithHint(err)
	}
	p := Parts{
		Cloud: clients, Resources: resources,
		Store:    orderstore.New(clients.DynamoDB, orderstore.TablesWithPrefix(w.TablePrefix), nil),
		Fleet:    fleet.New(clients.DynamoDB, orderstore.TablesWithPrefix(w.TablePrefix).Orders, nil),
		Registry: registry,
	}
	if err := p.Store.Find(ctx); err != nil {
		return Parts{}, cloud.WithHint(err)
	}
	if err := p.Store.Install(ctx, string(w.Installation)); err != nil {
		return Parts{}, cloud.WithHint(err)
	}
	if err := w.open(ctx, &p); err != nil {
		return Parts{}, err
	}
	w.parts, w.unpaid, w.stalled = p, &reconcile.Unpaid{}, &reconcile.Stalled{}
	w.parts.Registry.MustRegister(unpaidMetric(w.unpaid), reconciledMetric(w.unpaid), queueMetric{lettersOf(clients, resources).Queues}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return w.parts, nil
}

// paymentBreaker is here and not in components/*/resiliency.yaml with the
// retries: Dapr's takes a decline for a failure (docs/adr/0010-detect-and-repair-work-that-dapr-drops.md). It
// stays open for a moment only, for the saga waits in its own back-off.
var paymentBreaker = payment.Breaker{Failures: 10, Open: 5 * time.Second}

// open opens the engine, and what goes through it. It is the one place that
// chooses between the two.
func (w *Worker) open(ctx context.Context, p *Parts) error {
	pay := payment.Options{URL: w.PaymentURL, Timeout: w.PaymentTimeout, Key: w.PaymentKey, Installation: w.Installation}
	if w.Dapr == nil {
		eng, err := embedded.Open(embedded.Options{Dir: Folder(w.DataDir, "engine"), Fsync: w.Fsync, Retention: w.Retention, AwaitsExternal: workflows.AwaitsExternal, Terminated: reconcile.Terminated(p.Store.MarkTerminated), Logger: w.Logger, DrainTimeout: w.drainTimeout()})
		if err != nil {
			return err
		}
		if w.owner, err = w.own(ctx, p.Fleet); err != nil {
			return errors.Join(err, eng.Close())
		}
		p.Payments, p.Engine, p.Ready = payment.New(pay), eng, eng.Ready
		p.Shipments = shipment.New(p.Cloud.SNS, p.Resources.ShipmentTopic, p.Resources.CustomerTopic)
		return nil
	}
	canary := w.Dapr.CanaryEvery
	if w.NoSagas {
		canary = 0 // it would fly only while there are workers
	}
	w.load = loadOf(p.Fleet, depthOf(p.Cloud, p.Resources.OrderQueue))
	eng, err := dapr.Open(ctx, dapr.Options{
		Address: w.Dapr.GRPC, Token: w.Dapr.Token, ConnectTimeout: w.Dapr.Patience,
		Logger: w.Logger, DrainTimeout: w.drainTimeout(), Stats: w.load.Stats,
		Terminated: reconcile.Terminated(p.Store.MarkTerminated),
		Needs:      w.Dapr.components(), CanaryEvery: canary, RestartSidecar: w.Dapr.RestartSidecar,
	})
	if err != nil {
		return err
	}
	if w.Dapr.Secrets != "" && pay.Key == "" {
		if pay.Key, err = eng.Secret(ctx, w.Dapr.Secrets, PaymentKeySecret); err != nil {
			return errors.Join(err, eng.Close())
		}
	}
	if w.Dapr.PaymentApp != "" {
		pay.URL = w.Dapr.HTTP + "/v1.0/invoke/" + w.Dapr.PaymentApp + "/method"
		pay.Header = http.Header{"Dapr-Api-Token": {w.Dapr.Token}}
		pay.Breaker = paymentBreaker
	}
	p.Payments, p.Engine, p.Ready = payment.New(pay), eng, eng.Ready
	p.Shipments = shipment.Over(daprBus{eng, w.Dapr.PubSub})
	return nil
}

// The shutdown time-out has three parts: intake finishes what it has received,
// the engine drains, and what was cut off gets the time to notice.
func (w *Worker) intakeTimeout() time.Duration { return w.ShutdownTimeout / 10 }
func (w *Worker) drainTimeout() time.Duration  { return w.ShutdownTimeout * 8 / 10 }

// Run works until ctx ends, then stops taking in, finishes what is in
// progress, and closes everything. Open must have succeeded before.
//
// It always returns within ShutdownTimeout after ctx has ended; the error says
// so if something had not ended by then. The process must end then, too:
// it goes on from where the disk says it is.
func (w *Worker) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	return endsWithin(ctx, w.ShutdownTimeout, func() error { return w.run(ctx, stop) })
}

// endsWithin runs f, and leaves it to itself when ctx has ended that long ago.
func endsWithin(ctx context.Context, limit time.Duration, f func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- f() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case err := <-ended:
		return err
	case <-late.C:
		return fmt.Errorf("worker has not ended within %s; the rest is done after the next start", limit)
	}
}

// run is Run without its time limit; stopAll ends ctx.
func (w *Worker) run(ctx context.Context, stopAll func()) error {
	p := w.parts
	registry := task.NewTaskRegistry()
	acts := activities.Activities{
		Store: p.Store, Payments: p.Payments, Shipments: p.Shipments, Logger: w.Logger,
		Observe: w.metrics.attempt, Ended: w.metrics.end,
	}
	if err := acts.Register(registry); err != nil {
		return fmt.Errorf("register activities: %w", err)
	}
	if w.Register != nil {
		if err := w.Register(registry); err != nil {
			return fmt.Errorf("register further workflows: %w", err)
		}
	}
	starter := intake.Starter{Orders: p.Store, Sagas: p.Engine, Terms: w.Terms}
	// Intake stops first, the engine after: what intake has begun needs it. But
	// intake may wait for a disk that is full, until the engine gives that up.
	engineCtx, stopEngine := context.WithCancel(context.WithoutCancel(ctx))
	defer stopEngine()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(w.intakeTimeout(), stopEngine) })()
	var engineDone errgroup.Group
	if !w.NoSagas {
		engineDone.Go(func() error {
			defer stopAll() // without an engine there is nothing to take orders in for
			return p.Engine.Run(engineCtx, registry)
		})
	}

	// What sagas do while the engine drains is told as well.
	beatCtx, stopBeat := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBeat()
	var beats sync.WaitGroup
	if !w.NoSagas {
		beats.Go(func() { w.beat(beatCtx) })
	}

	g, gctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(gctx, stopAll)() // one that fails ends the others
	if !w.NoIntake && !w.NoSagas {
		g.Go(func() error { return cloud.WithHint(w.orders(starter).Run(gctx)) })
	}
	if !w.NoSagas {
		g.Go(func() error { return cloud.WithHint(w.answers().Run(gctx)) })
	}
	later := newErrands(w.Logger)
	g.Go(func() error { return later.Run(gctx) })
	asked := reconcile.NewOnDemand(w.Reconciler())
	g.Go(func() error { return asked.Run(gctx) })
	g.Go(func() error { return httpserve.Run(gctx, w.Listener, tracing.Handler(w.api(starter, later, asked))) })
	if eng, ok := p.Engine.(*embedded.Engine); ok && w.EngineListener != nil {
		g.Go(func() error { return eng.Serve(gctx, w.EngineListener, door{starter}.start) })
	}
	if w.owner != nil {
		g.Go(func() error { return w.owner.watch(gctx, cmp.Or(w.OwnedEvery, 15*time.Second)) })
	}
	if w.ReconcileEvery > 0 {
		g.Go(func() error { return w.Reconciler().Run(gctx, w.ReconcileEvery) })
	}
	err := g.Wait()
	stopEngine()
	err = errors.Join(err, engineDone.Wait())
	stopBeat()
	beats.Wait()
	err = errors.Join(err, w.Close())
	w.Logger.Debug().Msg("worker stopped")
	return err
}

// Close releases what Open has opened; Run does it too.
func (w *Worker) Close() error {
	w.parts.Payments.Close()
	if err := w.owner.release(); err != nil { // AWS may have gone before, as in `dev`
		w.Logger.Debug().Err(err).Msg("the next worker has to take over")
	}
	if c, ok := w.parts.Engine.(interface{ Close() error }); ok {
		return c.Close()
	}
	return nil
}

func (w *Worker) orders(s intake.Starter) *sqsconsumer.Consumer {
	return sqsconsumer.New(sqsconsumer.Options{
		SQS: w.parts.Cloud.SQS, QueueURL: w.parts.Resources.OrderQueue, DLQURL: w.parts.Resources.OrderDLQ,
		Handle: func(ctx context.Context, m events.Message) error {
			err := s.HandleOrder(ctx, m)
			if _, poison := errors.AsType[*sqsconsumer.PermanentError](err); w.load != nil && !poison {
				w.load.began() // or it had been before, or an error hides that it was
			}
			return err
		},
		Logger: w.Logger, Receivers: 4, Drain: w.drainTimeout(),
		Observe: w.metrics.outcome("orders"), Lag: w.metrics.age("orders"),
		Probe: w.parts.Store.Probe,
		Capacity: func(ctx context.Context) int {
			if w.load != nil {
				return w.load.room(ctx, w.MaxLive)
			}
			if w.parts.Ready() != nil {
				return 0 // nothing could be started: let others have it
			}
			return w.roomForLost(ctx, 0)
		},
	})
}

// roomForLost is how many sagas may be begun of orders that were found without
// one; at or below 0, none.
func (w *Worker) roomForLost(ctx context.Context, lost int) int {
	st, err := w.parts.Engine.Stats(ctx)
	if err != nil {
		return 0
	}
	room := roomForLost(st, w.MaxLive, lost)
	if w.load != nil {
		room -= w.load.unseen()
	}
	return room
}

// roomForLost: where orders are counted, those without a saga are among them,
// and there would never be room again once they are more than maxLive.
func roomForLost(st engine.Stats, maxLive, lost int) int {
	live := st.Live - st.AwaitingExternal
	if st.ByOrder {
		live -= min(lost, live)
	}
	return maxLive - live
}

// depthOf reads a queue's load.
func depthOf(c *cloud.Clients, url string) func(context.Context) (deadletter.Depth, error) {
	return func(ctx context.Context) (deadletter.Depth, error) { return deadletter.DepthOf(ctx, c.SQS, url) }
}

func (w *Worker) answers() *sqsconsumer.Consumer {
	return sqsconsumer.New(sqsconsumer.Options{
		SQS: w.parts.Cloud.SQS, QueueURL: w.parts.Resources.CarrierAnswers, DLQURL: w.parts.Resources.CarrierAnswersDLQ,
		Handle: intake.CarrierAnswers{Orders: w.parts.Store, Sagas: w.parts.Engine, Undo: w.Reconciler().UndoRefused}.Handle, Logger: w.Logger, Drain: w.drainTimeout(),
		Observe: w.metrics.outcome("carrier"), Lag: w.metrics.age("carrier"), Probe: w.parts.Store.Probe,
	})
}

// Reconciler is the worker's reconciler; also run alone by `reconcile`.
func (w *Worker) Reconciler() reconcile.Reconciler {
	return reconcile.Reconciler{
		Orders: w.parts.Store, Payments: w.parts.Payments, Sagas: w.parts.Engine,
		Inform: activities.Activities{Shipments: w.parts.Shipments}.Inform,
		Terms:  w.Terms, Grace: w.ReconcileGrace, Unpaid: w.unpaid, Stalled: w.stalled, Logger: w.Logger, Room: w.roomForLost,
		Backlog: func(ctx context.Context) (int, error) {
			d, err := depthOf(w.parts.Cloud, w.parts.Resources.OrderQueue)(ctx)
			return d.Visible, err
		},
	}
}

// signals is how the API raises events: as the saga package's one signal.
type signals struct{ engine.Engine }

func (s signals) Raise(ctx context.Context, id, event string, payload any) error {
	return saga.Send(ctx, s.Engine, id, event, payload)
}

// tokenField is a payment token in an event: a durable-task client that has started a
// saga past intake has written it into the history.
var tokenField = regexp.MustCompile(`(?i)"token"\s*:\s*"(?:[^"\\]|\\.)*"`)

// History leaves payment tokens out.
func (s signals) History(ctx context.Context, id string) ([]engine.Event, error) {
	events, err := s.Engine.History(ctx, id)
	for i := range events {
		events[i].Data = tokenField.ReplaceAll(events[i].Data, []byte(`"token":""`))
	}
	return events, err
}

func (w *Worker) api(starter intake.Starter, later errands, asked *reconcile.OnDemand) http.Handler {
	p := w.parts
	options := api.Options{
		Orders: p.Store, Fleet: p.Fleet, Sagas: signals{p.Engine}, Engine: map[bool]string{true: "dapr", false: "embedded"}[w.Dapr != nil], Starter: starter, Terms: w.Terms,
		Publisher:   intake.Publisher{Topic: snspublisher.New(p.Cloud.SNS, p.Resources.OrderTopic)},
		DeadLetters: lettersOf(p.Cloud, p.Resources),
		Reconciler:  asked, Lost: w.Reconciler().Lost, Begin: w.Reconciler().Begin, Stalled: w.stalled.IDs,
		Later:     later.Later,
		RateLimit: w.RateLimit, Logger: w.Logger, Registry: p.Registry,
		Ready: func(ctx context.Context) error {
			if _, err := p.Store.GetLevel(ctx, "readiness"); err != nil && !errors.Is(err, orderstore.ErrNotFound) {
				return fmt.Errorf("DynamoDB does not answer: %w", err)
			}
			return p.Ready()
		},
	}
	if eng, ok := p.Engine.(interface{ Scrub() error }); ok {
		options.Scrub = eng.Scrub
	}
	if w.Auth != nil {
		options.Auth = w.Auth
	}
	apiHandler := api.New(options)
	handler := routes(apiHandler, console.New(apiHandler, w.Auth))
	if w.Auth != nil {
		handler = withSession(handler)
	}
	if at, ok := w.Listener.Addr().(*net.TCPAddr); ok && at.IP.IsLoopback() && w.Auth == nil {
		return api.OnLoopback(w.PublicURL, handler)
	}
	return handler
}
