package containers

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/order"
)

// TestDisruptions break one thing after the other while orders flow; each time
// every order ends and the invariants hold.
func TestDisruptions(t *testing.T) {
	for _, d := range []struct {
		name    string
		disrupt func(shop) error
	}{
		{"a worker is killed", func(s shop) error { return errors.Join(kill(s, "worker1-app"), restart(s, "worker1-app")) }},
		{"a sidecar is killed", func(s shop) error { return errors.Join(kill(s, "worker2-daprd"), restart(s, "worker2-daprd")) }},
		{"Redis is restarted", func(s shop) error { return errors.Join(kill(s, "redis"), pause(s, 2*time.Second), restart(s, "redis")) }},
		{"the scheduler is restarted", func(s shop) error {
			return errors.Join(kill(s, "scheduler"), pause(s, 2*time.Second), restart(s, "scheduler"))
		}},
		{"payment is cut off", cutPayment},
		{"AWS is away for 20 s", func(s shop) error {
			inside(s.T)
			return errors.Join(kill(s, "aws"), pause(s, 20*time.Second), restart(s, "aws"), system.connect(s.Context()))
		}},
		{"the worker's image changes", rollOut},
	} {
		t.Run(d.name, func(t *testing.T) {
			s := open(t, 1000)
			var ids []string
			for n := range 30 {
				ids = append(ids, s.place(s.order(fmt.Sprint("before", n))))
			}
			if err := d.disrupt(s); err != nil {
				t.Fatal(err)
			}
			for n := range 10 {
				ids = append(ids, s.place(s.order(fmt.Sprint("after", n))))
			}
			for _, id := range ids {
				s.until(id, order.StatusCompleted)
			}
			s.sold(80)
			if err := system.waitReady(t.Context(), "api", "worker1", "worker2"); err != nil {
				t.Error(err)
			}
			allHolds(t)
		})
	}
	t.Run("all workers stop while sagas wait", allStop)
}

func kill(s shop, name string) error {
	_, err := docker(s.Context(), "kill", "-s", "KILL", "ordersaga-test-"+name)
	return err
}

func restart(s shop, name string) error {
	_, err := docker(s.Context(), "start", "ordersaga-test-"+name)
	return err
}

func pause(s shop, d time.Duration) error {
	select {
	case <-s.Context().Done():
		return s.Context().Err()
	case <-time.After(d):
		return nil
	}
}

// cutPayment takes the payment provider's pod off the network, and puts it
// back.
func cutPayment(s shop) error {
	network, pod := system.network.Name, "ordersaga-test-payment"
	_, err1 := docker(s.Context(), "network", "disconnect", network, pod)
	err2 := pause(s, 5*time.Second)
	_, err3 := docker(s.Context(), "network", "connect", "--alias", "payment", network, pod)
	return errors.Join(err1, err2, err3, system.connect(s.Context()))
}

// rollOut replaces the workers by those of another image, one after the other.
func rollOut(s shop) error {
	ctx := s.Context()
	next := system.images.ordersaga + ":next"
	if _, err := docker(ctx, "tag", system.images.ordersaga, next); err != nil {
		return err
	}
	for _, name := range []string{"worker1", "worker2"} {
		if _, err := docker(ctx, "stop", "-t", "30", "ordersaga-test-"+name+"-app"); err != nil {
			return err
		}
		if _, err := docker(ctx, "rm", "-v", "ordersaga-test-"+name+"-app"); err != nil {
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
		if _, err := docker(t.Context(), "stop", "-t", "30", "ordersaga-test-"+name); err != nil {
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
