package containers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestDisruptions breaks one part after another while orders flow, and checks that every order
// completes and the invariants hold.
func TestDisruptions(t *testing.T) {
	requireStack(t)
	for _, d := range []struct {
		name    string
		disrupt func(shop, *flow) error
	}{
		{"a worker is killed", func(s shop, _ *flow) error {
			return errors.Join(kill(s, "worker1-app"), kill(s, "worker2-app"),
				restart(s, "worker1-app"), restart(s, "worker2-app"))
		}},
		{"a sidecar is killed", func(s shop, _ *flow) error {
			return errors.Join(kill(s, "worker2-daprd"), restart(s, "worker2-daprd"))
		}},
		{"Redis is restarted", func(s shop, _ *flow) error {
			return errors.Join(kill(s, "redis"), pause(s, 2*time.Second), restart(s, "redis"))
		}},
		{"the scheduler is restarted", func(s shop, _ *flow) error {
			return errors.Join(kill(s, "scheduler"), pause(s, 2*time.Second), restart(s, "scheduler"))
		}},
		{"payment is cut off", cutPayment},
		{"AWS is down for 20 s", func(s shop, _ *flow) error {
			skipOutside(s.T)
			return errors.Join(kill(s, "aws"), pause(s, 20*time.Second), restart(s, "aws"), system.connect(s.Context()))
		}},
		{"the worker's image changes", rollOut},
	} {
		t.Run(d.name, func(t *testing.T) {
			s := newShop(t, 10_000)
			f := s.startFlow()
			s.waitForSagaInProgress()
			if err := d.disrupt(s, f); err != nil {
				f.stop()
				t.Fatalf("disrupt: %v", err)
			}
			ids := f.stop()
			for n := range 10 {
				ids = append(ids, s.place(s.order(fmt.Sprint("after", n))))
			}
			for _, id := range ids {
				s.waitForStatus(id, order.StatusCompleted)
			}
			s.wantSold(int64(2 * len(ids)))
			if err := system.waitReady(t.Context(), "api", "worker1", "worker2"); err != nil {
				t.Errorf("readiness after the disruption: %v", err)
			}
			wantInvariants(t)
		})
	}
	t.Run("all workers stop while sagas wait", workersStop)
}

// flow places orders one after another. A third of them need three attempts to charge, so that
// a saga is always in progress. It is safe for concurrent use.
type flow struct {
	mu     sync.Mutex
	ids    []string
	cancel context.CancelFunc
	ended  chan struct{}
}

// startFlow starts to place orders. The caller must call stop.
func (s shop) startFlow() *flow {
	ctx, cancel := context.WithCancel(s.Context())
	f := &flow{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(f.ended)
		for n := 0; ctx.Err() == nil; n++ {
			o := s.order(fmt.Sprint("flow", n))
			if n%3 == 0 {
				o.Payment.Token = "tok_flaky_2"
			}
			// A publish that fails may have been accepted. It is repeated: duplicates are ignored.
			for ; s.publish(s.Context(), o) != nil && s.Context().Err() == nil; sleep(s.Context(), 200*time.Millisecond) {
			}
			f.mu.Lock()
			f.ids = append(f.ids, o.OrderID)
			f.mu.Unlock()
			sleep(ctx, 150*time.Millisecond)
		}
	}()
	return f
}

// placed returns the ids of the orders so far.
func (f *flow) placed() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ids)
}

// stop ends the flow and returns the ids of its orders.
func (f *flow) stop() []string {
	f.cancel()
	<-f.ended
	return f.placed()
}

// waitForSagaInProgress waits until an order is reserved or paid.
func (s shop) waitForSagaInProgress() {
	s.Helper()
	s.waitFor("a saga is in progress", func() error {
		var list struct{ Sagas []api.Saga }
		err := s.call(http.MethodGet, "/v1/sagas?status=RESERVED,PAID&limit=1&sku="+s.sku, nil, &list)
		if err == nil && len(list.Sagas) == 0 {
			err = errors.New("no order is RESERVED or PAID")
		}
		return err
	})
}

// kill kills a container with SIGKILL.
func kill(s shop, name string) error {
	_, err := docker(s.Context(), "kill", "-s", "KILL", named(name))
	return err
}

// restart starts a container that was killed or stopped.
func restart(s shop, name string) error {
	_, err := docker(s.Context(), "start", named(name))
	return err
}

// pause sleeps, and reports the end of the test as an error.
func pause(s shop, d time.Duration) error {
	sleep(s.Context(), d)
	return s.Context().Err()
}

// sleep waits for d or until ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// cutPayment disconnects the payment provider's pod from the network for 5 s. Orders placed in
// that time must not be charged before the pod is connected again.
func cutPayment(s shop, f *flow) error {
	network, pod := system.network.Name, named("payment")
	if _, err := docker(s.Context(), "network", "disconnect", network, pod); err != nil {
		return err
	}
	before := len(f.placed())
	err := pause(s, 5*time.Second)
	meanwhile := f.placed()[before:]
	if len(meanwhile) == 0 {
		err = errors.Join(err, errors.New("no order was placed while payment was disconnected"))
	}
	for _, id := range meanwhile {
		var saga api.Saga
		if e := s.call(http.MethodGet, "/v1/sagas/"+id, nil, &saga); e == nil && saga.ChargeID != "" {
			err = errors.Join(err, fmt.Errorf("order %s was charged while payment was disconnected", id))
		}
	}
	_, connectErr := docker(s.Context(), "network", "connect", "--alias", "payment", network, pod)
	return errors.Join(err, connectErr, system.connect(s.Context()))
}

// rollOut replaces each worker with one of another image, as a rolling update does.
func rollOut(s shop, _ *flow) error {
	ctx := s.Context()
	next := "ordersaga-test/ordersaga-" + owner + ":next"
	base := "OF=" + system.images.ordersaga
	if _, err := docker(ctx, "build", "-q", "-t", next, "--build-arg", base, "-f", "images/next.Dockerfile", "images"); err != nil {
		return err
	}
	// Removes only the tag: the workers still run the image.
	s.Cleanup(func() { _, _ = docker(context.Background(), "rmi", "--no-prune", next) })
	for _, name := range []string{"worker1", "worker2"} {
		if _, err := docker(ctx, "stop", "-t", "30", named(name+"-app")); err != nil {
			return err
		}
		if _, err := docker(ctx, "rm", "-v", named(name+"-app")); err != nil {
			return err
		}
		if err := system.app(ctx, pod{name: name, cmd: workerFlags}, next); err != nil {
			return err
		}
		if err := system.waitReady(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// workersStop checks that sagas that wait for approval survive a stop of all workers.
func workersStop(t *testing.T) {
	s := newShop(t, 100)
	var ids []string
	for n := range 5 {
		ids = append(ids, s.place(s.order(strconv.Itoa(n), expensive)))
	}
	for _, id := range ids {
		s.waitForStatus(id, order.StatusAwaitingApproval)
	}
	workers := []string{"api-app", "worker1-app", "worker2-app"}
	for _, name := range workers {
		_, err := docker(t.Context(), "stop", "-t", "30", named(name))
		require.NoError(t, err)
	}
	late := s.place(s.order("late")) // no worker runs
	require.NoError(t, pause(s, 3*time.Second))
	for _, name := range workers {
		require.NoError(t, restart(s, name))
	}
	require.NoError(t, system.waitReady(t.Context(), "api", "worker1", "worker2"))
	for _, id := range ids {
		s.act(id, "approve", "fine")
		s.waitForStatus(id, order.StatusCompleted)
	}
	s.waitForStatus(late, order.StatusCompleted)
	s.wantSold(12)
	wantInvariants(t)
}
