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

// App ids. Workers and API share one: a workflow belongs to an app id, and a
// sidecar with another can neither start nor see it.
const (
	appWorker  = "ordersaga"
	appCarrier = "carrier"
	// pubSub is the component for shipments and notifications.
	pubSub      = "orderpubsub"
	canaryEvery = 5 * time.Second
	// daprPayment is enough for all tries in components/local/resiliency.yaml.
	daprPayment = 8 * time.Second
	// daprBodySize is the sidecars' max-body-size, as in the chart.
	daprBodySize = 16 << 20
	// secretStore is the component that has worker.PaymentKeySecret.
	secretStore = "secretstore"
)

// daprDir is where Dapr keeps its state. It has keys in it: remove leaves
// nothing behind of one that is to keep nothing.
func (d Dev) daprDir() (dir string, remove func(), err error) {
	if dir = worker.Folder(d.DataDir, "dapr"); dir != "" {
		remove, err = func() {}, os.MkdirAll(dir, 0o750)
	} else {
		dir, err = os.MkdirTemp("", "ordersaga-dapr-")
		remove = func() {
			if err := os.RemoveAll(dir); err != nil {
				d.Logger.Error().Err(err).Msg("Dapr's files are left")
			}
		}
	}
	if err != nil {
		return "", nil, fmt.Errorf("directory for Dapr: %w", err)
	}
	return dir, remove, nil
}

// sidecars starts Dapr, and makes a worker for each sidecar from a template.
// The first worker serves on the template's listener.
func (d Dev) sidecars(ctx context.Context, dir string, template worker.Worker, l listeners) (_ *daprlocal.Cluster, workers []*worker.Worker, err error) {
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
	for _, app := range []daprlocal.App{{ID: cluster.Payment, Name: "payment", Port: portOf(l.payment)}, {ID: appCarrier, Port: portOf(l.carrier)}} {
		if _, err := cluster.Sidecar(ctx, app); err != nil {
			return nil, nil, err
		}
	}
	for n := range max(d.Workers, 1) {
		side, err := cluster.Sidecar(ctx, daprlocal.App{ID: appWorker, Name: fmt.Sprintf("%s-%d", appWorker, n+1), MaxBodySize: cmp.Or(d.MaxBodySize, daprBodySize)})
		if err != nil {
			return nil, nil, err
		}
		w := template
		w.DataDir, w.PaymentTimeout = "", daprPayment
		w.Dapr = &worker.Dapr{GRPC: side.GRPC, HTTP: side.HTTP, Token: d.keys.sidecar, PubSub: pubSub, PaymentApp: cluster.Payment, Secrets: secretStore, CanaryEvery: canaryEvery, RestartSidecar: true}
		if n > 0 {
			if w.Listener, err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
				return nil, nil, fmt.Errorf("API of worker %d: %w", n+1, err)
			}
		}
		workers = append(workers, &w)
	}
	return cluster, workers, nil
}

// explained says more of an error before the workers have opened: a sidecar can
// answer, and end because of a component a moment later.
func explained(err error, c *daprlocal.Cluster, opened <-chan struct{}) error {
	select {
	case <-opened:
		return err
	default:
	}
	if err == nil {
		return nil
	}
	if _, incompatible := errors.AsType[*dapr.IncompatibleSidecarError](err); incompatible {
		return fmt.Errorf("%w (%s; another can be named by ORDERSAGA_DAPR_BIN)", err, c.Daprd())
	}
	if why := c.UnexpectedExit(2 * time.Second); why != nil {
		return why
	}
	return err
}

func portOf(l net.Listener) int {
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		return a.Port
	}
	panic(errors.New("not a TCP listener"))
}
