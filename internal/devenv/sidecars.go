package devenv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/engine/dapr"
	"github.com/ordersaga/ordersaga/internal/worker"
)

const (
	// appWorker is the app id of all workers and the API. They share it because a
	// workflow belongs to an app id: a sidecar with another one can neither start
	// nor see it.
	appWorker = "ordersaga"
	// appCarrier is the app id of the carrier simulator.
	appCarrier = "carrier"
	// pubSub is the component for shipments and notifications.
	pubSub = "orderpubsub"
	// canaryInterval is the time between two canary workflows.
	canaryInterval = 5 * time.Second
	// daprPaymentTimeout leaves time for all attempts of components/local/resiliency.yaml.
	daprPaymentTimeout = 8 * time.Second
	// daprBodySize is the default of the sidecars' max-body-size, in bytes, as in
	// the Helm chart.
	daprBodySize = 16 << 20
	// secretStore is the component with the secret worker.PaymentKeySecret.
	secretStore = "secretstore"
)

// daprDir creates the directory for Dapr's state. Without a data directory it is a
// temporary one, which remove deletes: it has keys in it.
func (d Dev) daprDir() (dir string, remove func(), err error) {
	dir = worker.Folder(d.DataDir, "dapr")
	if dir != "" {
		remove, err = func() {}, os.MkdirAll(dir, 0o750)
	} else {
		dir, err = os.MkdirTemp("", "ordersaga-dapr-")
		remove = func() {
			if err := os.RemoveAll(dir); err != nil {
				d.Logger.Error().Err(err).Str("dir", dir).Msg("cannot delete the temporary directory with Dapr's keys: delete it")
			}
		}
	}
	if err != nil {
		return "", nil, fmt.Errorf("create the directory for Dapr: %w", err)
	}
	return dir, remove, nil
}

// sidecars starts Dapr with its sidecars, and returns d.Workers workers that are
// copies of template. The first worker serves on the template's listener.
func (d Dev) sidecars(
	ctx context.Context, dir string, template worker.Worker, l listeners,
) (_ *daprlocal.Cluster, workers []*worker.Worker, err error) {
	cluster, err := daprlocal.Start(ctx, daprlocal.Options{
		Dir: dir, AWSEndpoint: template.AWS.Endpoint, State: d.State, Logger: d.Logger,
		Components: d.Components, Out: d.Verbose,
		Token: d.keys.sidecar, AppToken: d.keys.app, Secrets: map[string]string{worker.PaymentKeySecret: d.keys.payment},
	})
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			cluster.Stop()
		}
	}()
	for _, app := range []daprlocal.App{
		{ID: cluster.Payment, Name: "payment", Port: portOf(l.payment)},
		{ID: appCarrier, Port: portOf(l.carrier)},
	} {
		if _, err := cluster.Sidecar(ctx, app); err != nil {
			return nil, nil, err
		}
	}
	for n := range max(d.Workers, 1) {
		side, err := cluster.Sidecar(ctx, daprlocal.App{
			ID: appWorker, Name: fmt.Sprintf("%s-%d", appWorker, n+1), MaxBodySize: cmp.Or(d.MaxBodySize, daprBodySize),
		})
		if err != nil {
			return nil, nil, err
		}
		w := template
		w.DataDir, w.PaymentTimeout = "", daprPaymentTimeout
		w.Dapr = &worker.Dapr{
			GRPC: side.GRPC, HTTP: side.HTTP, Token: d.keys.sidecar, PubSub: pubSub, PaymentApp: cluster.Payment,
			Secrets: secretStore, CanaryEvery: canaryInterval, RestartSidecar: true,
		}
		if n > 0 {
			w.Listener, err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
			if err != nil {
				return nil, nil, fmt.Errorf("listen for the API of worker %d: %w", n+1, err)
			}
		}
		workers = append(workers, &w)
	}
	return cluster, workers, nil
}

// explainStart replaces an error from before opened is closed by its cause, where
// there is one: a sidecar may respond and exit because of a component a moment
// later.
func explainStart(err error, c *daprlocal.Cluster, opened <-chan struct{}) error {
	select {
	case <-opened:
		return err
	default:
	}
	if err == nil {
		return nil
	}
	if _, incompatible := errors.AsType[*dapr.IncompatibleSidecarError](err); incompatible {
		return fmt.Errorf("%w (%s; set ORDERSAGA_DAPR_BIN to use another)", err, c.Daprd())
	}
	if why := c.UnexpectedExit(2 * time.Second); why != nil {
		return why
	}
	return err
}

// portOf returns the port of a TCP listener.
func portOf(l net.Listener) int {
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		return a.Port
	}
	panic(errors.New("not a TCP listener"))
}
