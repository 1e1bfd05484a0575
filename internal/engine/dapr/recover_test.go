package dapr_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/dapr"
	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestDamagedInstance takes a part of a workflow's state away, as two sidecars
// do that both take themselves for its owner. Dapr can then neither run, read
// nor purge it; its id must be usable all the same.
func TestDamagedInstance(t *testing.T) {
	redis := testkit.Redis(t)
	c, w := cluster(t, daprlocal.State{Store: "redis", Address: redis.Address}), enginetest.NewWorld()
	e, _ := start(t, c, w, "one")
	if err := e.Start(t.Context(), "Listen", "a", nil); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it waits", func() error {
		h, err := e.History(t.Context(), "a")
		if err == nil && len(h) < 2 {
			err = errors.New("it has not begun")
		}
		return err
	})
	c.Kill("daprd one") // it keeps workflows in memory
	_, port, err := net.SplitHostPort(redis.Address)
	if err != nil {
		t.Fatal(err)
	}
	key := "ordersaga||dapr.internal.default.ordersaga.workflow||a||history-000001"
	out, err := exec.CommandContext(t.Context(), "redis-cli", "-p", port, "DEL", key).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "1" {
		t.Fatalf("redis-cli: %v %s", err, out)
	}
	if err := c.Again(t.Context(), "daprd one"); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	testkit.Eventually(t, "it counts as gone", func() error {
		if i, err := e.Get(ctx, "a"); !errors.Is(err, engine.ErrNotFound) {
			return errors.Join(errors.New(string(i.Status)), err)
		}
		return nil
	})
	testkit.Eventually(t, "it is begun anew", func() error { return e.Start(ctx, "Listen", "a", nil) })
	if err := e.Raise(ctx, "a", "go", "on"); err != nil {
		t.Fatal(err)
	}
	i, err := e.Wait(ctx, "a")
	if err != nil || i.ID != "a" || i.Status != engine.Completed || string(i.Output) != `"on"` {
		t.Errorf("%+v %v", i, err)
	}
	if h, err := e.History(ctx, "a"); err != nil || len(h) < 3 {
		t.Errorf("history %v %v", h, err)
	}
	if err := e.Purge(ctx, "a"); err != nil {
		t.Error(err)
	}
}

// TestReadiness: a sidecar whose scheduler is gone answers its health checks,
// and runs nothing.
func TestReadiness(t *testing.T) {
	c, w := cluster(t), enginetest.NewWorld()
	e, _ := startWith(t, c, w, "one", dapr.Options{CanaryEvery: 100 * time.Millisecond, CanaryTimeout: 3 * time.Second})
	testkit.Within(t, 2*time.Minute, "it is ready", e.Ready)
	c.Kill(daprlocal.Scheduler)
	testkit.Eventually(t, "it is not ready", func() error {
		if err := e.Ready(); err == nil {
			return errors.New("it says that it is ready")
		}
		return nil
	})
	if err := c.Again(t.Context(), daprlocal.Scheduler); err != nil {
		t.Fatal(err)
	}
	testkit.Within(t, 2*time.Minute, "it is ready again", e.Ready) // etcd waits for the lease of the dead scheduler
}

// TestStuckSidecarIsStartedAgain: one whose scheduler stays away is given time,
// then ends, and whoever looks after it brings another.
func TestStuckSidecarIsStartedAgain(t *testing.T) {
	c, w := cluster(t), enginetest.NewWorld()
	e, _ := startWith(t, c, w, "one", dapr.Options{CanaryEvery: 100 * time.Millisecond, CanaryTimeout: time.Second, RestartSidecar: true})
	testkit.Within(t, 2*time.Minute, "it is ready", e.Ready)
	before := c.PID("daprd one")
	ctx, stop := context.WithCancel(t.Context())
	watched := make(chan struct{})
	go func() { c.Watch(ctx); close(watched) }()
	c.Kill(daprlocal.Scheduler)
	testkit.Eventually(t, "it is not ready", func() error {
		if err := e.Ready(); err == nil || !strings.Contains(err.Error(), "the scheduler does not answer") {
			return fmt.Errorf("it is %w", errors.Join(errors.New("not that"), err))
		}
		return nil
	})
	time.Sleep(6 * time.Second) // more than the four canaries after which a stuck one is ended
	if c.PID("daprd one") != before {
		t.Error("the sidecar was ended at once")
	}
	testkit.Within(t, 2*time.Minute, "the sidecar is another", func() error {
		if now := c.PID("daprd one"); now == before {
			return errors.New("it is the same")
		}
		return nil
	})
	stop()
	<-watched
}

// TestRedisAway: readiness says that it is the state store, and the sidecar is
// the same afterwards.
func TestRedisAway(t *testing.T) {
	redis := testkit.Redis(t)
	c, w := cluster(t, daprlocal.State{Store: "redis", Address: redis.Address}), enginetest.NewWorld()
	e, _ := startWith(t, c, w, "one", dapr.Options{CanaryEvery: 100 * time.Millisecond, CanaryTimeout: 2 * time.Second, RestartSidecar: true})
	testkit.Within(t, 2*time.Minute, "it is ready", e.Ready)
	before := c.PID("daprd one")
	ctx, stop := context.WithCancel(t.Context())
	watched := make(chan struct{})
	go func() { c.Watch(ctx); close(watched) }()
	t.Cleanup(func() { stop(); <-watched })
	redis.Kill()
	testkit.Eventually(t, "it is not ready", func() error {
		if err := e.Ready(); err == nil || !strings.Contains(err.Error(), "state store statestore does not answer") {
			return fmt.Errorf("it is %w", errors.Join(errors.New("not that"), err))
		}
		return nil
	})
	time.Sleep(12 * time.Second) // more than the four canaries after which a sidecar is ended
	redis.Start()
	testkit.Within(t, time.Minute, "it is ready again", e.Ready)
	if c.PID("daprd one") != before {
		t.Error("the sidecar was ended")
	}
}
