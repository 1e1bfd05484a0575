package worker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/dapr"
	"github.com/ordersaga/ordersaga/internal/engine/embedded"
	"github.com/ordersaga/ordersaga/internal/fleet"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/workflows"
)

// Parts are the components of an open worker, for commands and tests that use
// them directly. All are safe for concurrent use.
type Parts struct {
	Cloud     *cloud.Clients
	Resources cloud.Resources
	Store     *orderstore.Store
	Fleet     *fleet.Registry
	Payments  *payment.Client
	Engine    engine.Engine
	Shipments *shipment.Publisher
	Registry  *prometheus.Registry
	// Ready returns why the engine makes no progress; nil means that it does.
	Ready func() error
}

// Parts returns the parts that Open has made. They are zero before Open.
func (w *Worker) Parts() Parts { return w.parts }

// Open validates the settings, connects to AWS and the provider, and reads the
// engine's state. It starts nothing. After an error there is nothing to close.
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
	if err := w.openEngine(ctx, &p); err != nil {
		return Parts{}, err
	}
	w.parts, w.unpaid, w.stalled = p, &reconcile.Unpaid{}, &reconcile.Stalled{}
	w.parts.Registry.MustRegister(
		unpaidMetric(w.unpaid), reconciledMetric(w.unpaid),
		queueMetric{queues: newDeadLetters(clients, resources).Queues},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return w.parts, nil
}

// openEngine opens the engine and the parts that depend on which engine it is. It is
// the one place that chooses between the two.
func (w *Worker) openEngine(ctx context.Context, p *Parts) error {
	if w.Dapr == nil {
		return w.openEmbedded(ctx, p)
	}
	return w.openDapr(ctx, p)
}

func (w *Worker) paymentOptions() payment.Options {
	return payment.Options{URL: w.PaymentURL, Timeout: w.PaymentTimeout, Key: w.PaymentKey, Installation: w.Installation}
}

func (w *Worker) openEmbedded(ctx context.Context, p *Parts) error {
	eng, err := embedded.Open(embedded.Options{
		Dir: Folder(w.DataDir, "engine"), Fsync: w.Fsync, Retention: w.Retention, AwaitsExternal: workflows.AwaitsExternal,
		Terminated: reconcile.Terminated(p.Store.MarkTerminated), Stalled: w.metrics.stalled(w.Logger),
		Logger: w.Logger, DrainTimeout: w.drainTimeout(),
	})
	if err != nil {
		return err
	}
	w.owner, err = w.acquireOwnership(ctx, p.Fleet)
	if err != nil {
		return errors.Join(err, eng.Close())
	}
	p.Registry.MustRegister(eng)
	p.Payments, p.Engine, p.Ready = payment.New(w.paymentOptions()), eng, eng.Ready
	p.Shipments = shipment.New(p.Cloud.SNS, p.Resources.ShipmentTopic, p.Resources.CustomerTopic)
	return nil
}

// paymentBreaker is here and not in components/*/resiliency.yaml with the
// retries: Dapr's circuit breaker counts a decline as a failure
// (docs/adr/0010-detect-and-repair-work-that-dapr-drops.md). It stays open for a
// moment only, for the saga waits in its own back-off.
var paymentBreaker = payment.Breaker{Failures: 10, Open: 5 * time.Second}

func (w *Worker) openDapr(ctx context.Context, p *Parts) error {
	canary := w.Dapr.CanaryEvery
	if w.NoSagas {
		canary = 0 // it would complete only while there are workers
	}
	w.sagas = newSagaCounter(p.Fleet, depthOf(p.Cloud, p.Resources.OrderQueue))
	eng, err := dapr.Open(ctx, dapr.Options{
		Address: w.Dapr.GRPC, Token: w.Dapr.Token, ConnectTimeout: w.Dapr.ConnectTimeout,
		Logger: w.Logger, DrainTimeout: w.drainTimeout(), Stats: w.sagas.Stats,
		Terminated: reconcile.Terminated(p.Store.MarkTerminated), Stalled: w.metrics.stalled(w.Logger),
		Needs: w.Dapr.components(), CanaryEvery: canary, RestartSidecar: w.Dapr.RestartSidecar,
	})
	if err != nil {
		return err
	}
	pay := w.paymentOptions()
	if w.Dapr.Secrets != "" && pay.Key == "" {
		pay.Key, err = eng.Secret(ctx, w.Dapr.Secrets, PaymentKeySecret)
		if err != nil {
			return errors.Join(err, eng.Close())
		}
	}
	if w.Dapr.PaymentApp != "" {
		pay.URL = w.Dapr.HTTP + "/v1.0/invoke/" + w.Dapr.PaymentApp + "/method"
		pay.Header = http.Header{"Dapr-Api-Token": {w.Dapr.Token}}
		pay.Breaker = paymentBreaker
	}
	p.Payments, p.Engine, p.Ready = payment.New(pay), eng, eng.Ready
	p.Shipments = shipment.Over(daprBus{engine: eng, pubsub: w.Dapr.PubSub})
	return nil
}
