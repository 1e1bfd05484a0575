package containers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/internal/order"
)

// TestDisruptions break one thing after the other while orders flow; each time
// every order ends and the invariants hold.
func TestDisruptions(t *testing.T) {
	need(t)
	for _, d := range []struct {
		name    string
		disrupt func(shop, *flow) error
	}{
		{"a worker is killed", func(s shop, _ *flow) error {
			return errors.Join(kill(s, "worker1-app"), kill(s, "worker2-app"), restart(s, "worker1-app"), restart(s, "worker2-app"))
		}},
		{"a sidecar is killed", func(s shop, _ *flow) error { return errors.Join(kill(s, "worker2-daprd"), restart(s, "worker2-daprd")) }},
		{"Redis is restarted", func(s shop, _ *flow) error {
			return errors.Join(kill(s, "redis"), pause(s, 2*time.Second), restart(s, "redis"))
		}},
		{"the scheduler is restarted", func(s shop, _ *flow) error {
			return errors.Join(kill(s, "scheduler"), pause(s, 2*time.Second), restart(s, "scheduler"))
		}},
		{"payment is cut off", cutPayment},
		{"AWS is away for 20 s", func(s shop, _ *flow) error {
			inside(s.T)
			return errors.Join(kill(s, "aws"), pause(s, 20*time.Second), restart(s, "aws"), system.connect(s.Context()))
		}},
		{"the worker's image changes", rollOut},
	} {
		t.Run(d.name, func(t *testing.T) {
			s := open(t, 10_000)
			f := s.flow()
			s.midSaga()
			if err := d.disrupt(s, f); err != nil {
				f.end()
				t.Fatal(err)
			}
			ids := f.end()
			for n := range 10 {
				ids = append(ids, s.place(s.order(fmt.Sprint("after", n))))
			}
			for _, id := range ids {
				s.until(id, order.StatusCompleted)
			}
			s.sold(int64(2 * len(ids)))
			if err := system.waitReady(t.Context(), "api", "worker1", "worker2"); err != nil {
				t.Error(err)
			}
			allHolds(t)
		})
	}
	t.Run("all workers stop while sagas wait", allStop)
}

// flow is orders that come one after the other. A third of them need three
// tries to be paid, so that there is always one under way.
type flow struct {
	mu    sync.Mutex
	ids   []string
	stop  context.CancelFunc
	ended chan struct{}
}

func (s shop) flow() *flow {
	ctx, stop := context.WithCancel(s.Context())
	f := &flow{stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(f.ended)
		for n := 0; ctx.Err() == nil; n++ {
			o := s.order(fmt.Sprint("flow", n))
			if n%3 == 0 {
				o.Payment.Token = "tok_flaky_2"
			}
			// What may have been published, and failed, is published again.
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

func (f *flow) placed() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ids)
}

// end stops it, and tells what was placed.
func (f *flow) end() []string {
	f.stop()
	<-f.ended
	return f.placed()
}

// midSaga waits until there is an order that is neither new nor at its end.
func (s shop) midSaga() {
	s.Helper()
	s.eventually("a saga is under way", func() error {
		var list struct{ Sagas []api.Saga }
		err := s.call(http.MethodGet, "/v1/sagas?status=RESERVED,PAID&limit=1&sku="+s.sku, nil, &list)
		if err == nil && len(list.Sagas) == 0 {
			err = errors.New("none is")
		}
		return err
	})
}

func kill(s shop, name string) error {
	_, err := docker(s.Context(), "kill", "-s", "KILL", named(name))
	return err
}

func restart(s shop, name string) error {
	_, err := docker(s.Context(), "start", named(name))
	return err
}

func pause(s shop, d time.Duration) error {
	sleep(s.Context(), d)
	return s.Context().Err()
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// cutPayment takes the payment provider's pod off the network, and puts it
// back. What is placed meanwhile cannot be paid.
func cutPayment(s shop, f *flow) error {
	network, pod := system.network.Name, named("payment")
	if _, err := docker(s.Context(), "network", "disconnect", network, pod); err != nil {
		return err
	}
	before := len(f.placed())
	err := pause(s, 5*time.Second)
	meanwhile := f.placed()[before:]
	if len(meanwhile) == 0 {
		err = errors.Join(err, errors.New("no order came while payment was cut off"))
	}
	for _, id := range meanwhile {
		var saga api.Saga
		if e := s.call(http.MethodGet, "/v1/sagas/"+id, nil, &saga); e == nil && saga.ChargeID != "" {
			err = errors.Join(err, fmt.Errorf("payment was cut off, and %s is paid", id))
		}
	}
	_, again := docker(s.Context(), "network", "connect", "--alias", "payment", network, pod)
	return errors.Join(err, again, system.connect(s.Context()))
}

// rollOut replaces the workers by those of another image, one after the other.
func rollOut(s shop, _ *flow) error {
	ctx := s.Context()
	next := "ordersaga-test/ordersaga-" + owner + ":next"
	if _, err := docker(ctx, "build", "-q", "-t", next, "--build-arg", "OF="+system.images.ordersaga, "-f", "images/next.Dockerfile", "images"); err != nil {
		return err
	}
	s.Cleanup(func() { _, _ = docker(context.Background(), "rmi", "--no-prune", next) }) // only the name: the workers go on with it
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

// allStop: what waits for a person waits on disk.
func allStop(t *testing.T) {
	s := open(t, 100)
	var ids []string
	for n := range 5 {
		ids = append(ids, s.place(s.order(fmt.Sprint(n), dear)))
	}
	for _, id := range ids {
		s.until(id, order.StatusAwaitingApproval)
	}
	workers := []string{"api-app", "worker1-app", "worker2-app"}
	for _, name := range workers {
		if _, err := docker(t.Context(), "stop", "-t", "30", named(name)); err != nil {
			t.Fatal(err)
		}
	}
	late := s.place(s.order("late")) // nobody is there to take it
	if err := pause(s, 3*time.Second); err != nil {
		t.Fatal(err)
	}
	for _, name := range workers {
		if err := restart(s, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := system.waitReady(t.Context(), "api", "worker1", "worker2"); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		s.act(id, "approve", "fine")
		s.until(id, order.StatusCompleted)
	}
	s.until(late, order.StatusCompleted)
	s.sold(12)
	allHolds(t)
}
