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
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestIDOfACorruptInstanceCanBeUsed removes a part of a workflow's state, as two
// sidecars do that both consider themselves its owner. Dapr can then neither run,
// read nor purge it, but its id must remain usable.
func TestIDOfACorruptInstanceCanBeUsed(t *testing.T) {
	redis := testkit.Redis(t)
	c, w := startClusterOn(t, daprlocal.State{Store: "redis", Address: redis.Address}), enginetest.NewWorld()
	e, _ := start(t, c, w, "one")
	require.NoError(t, e.Start(t.Context(), "Listen", "a", nil))
	testkit.Eventually(t, "it waits", func() error {
		h, err := e.History(t.Context(), "a")
		if err == nil && len(h) < 2 {
			err = errors.New("it has not started")
		}
		return err
	})
	c.Kill("daprd one") // it keeps workflows in memory
	_, port, err := net.SplitHostPort(redis.Address)
	require.NoError(t, err)
	key := "ordersaga||dapr.internal.default.ordersaga.workflow||a||history-000001"
	out, err := exec.CommandContext(t.Context(), "redis-cli", "-p", port, "DEL", key).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "1" {
		t.Fatalf("redis-cli DEL %s = %s (error %v), want 1", key, out, err)
	}
	require.NoError(t, c.Restart(t.Context(), "daprd one"))

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	testkit.Eventually(t, "the saga is reported as not found", func() error {
		if i, err := e.Get(ctx, "a"); !errors.Is(err, engine.ErrNotFound) {
			return errors.Join(errors.New(string(i.Status)), err)
		}
		return nil
	})
	testkit.Eventually(t, "the saga can be started again", func() error { return e.Start(ctx, "Listen", "a", nil) })
	require.NoError(t, e.Raise(ctx, "a", "go", "on"))
	i, err := e.Wait(ctx, "a")
	if err != nil || i.ID != "a" || i.Status != engine.Completed || string(i.Output) != `"on"` {
		t.Errorf("the new saga = %+v, %v, want a COMPLETED with output \"on\"", i, err)
	}
	if h, err := e.History(ctx, "a"); err != nil || len(h) < 3 {
		t.Errorf("History of the new saga = %v, %v, want at least 3 events", h, err)
	}
	if err := e.Purge(ctx, "a"); err != nil {
		t.Errorf("Purge of the new saga: %v", err)
	}
}

// TestReadinessWithoutAScheduler: a sidecar without a scheduler passes its health
// checks, but runs nothing.
func TestReadinessWithoutAScheduler(t *testing.T) {
	c, w := startCluster(t), enginetest.NewWorld()
	e, _ := startWith(t, c, w, "one", dapr.Options{CanaryEvery: 100 * time.Millisecond, CanaryTimeout: 3 * time.Second})
	testkit.Within(t, 2*time.Minute, "it is ready", e.Ready)
	c.Kill(daprlocal.Scheduler)
	testkit.Eventually(t, "it is not ready", func() error {
		if err := e.Ready(); err == nil {
			return errors.New("Ready returned nil")
		}
		return nil
	})
	require.NoError(t, c.Restart(t.Context(), daprlocal.Scheduler))
	testkit.Within(t, 2*time.Minute, "it is ready again", e.Ready) // etcd waits until the killed scheduler's lease expires
}

// TestStuckSidecarIsRestarted: a sidecar whose scheduler does not come back is shut
// down after some time, and its supervisor starts another.
func TestStuckSidecarIsRestarted(t *testing.T) {
	c, w := startCluster(t), enginetest.NewWorld()
	e, _ := startWith(t, c, w, "one", dapr.Options{CanaryEvery: 100 * time.Millisecond, CanaryTimeout: time.Second, RestartSidecar: true})
	testkit.Within(t, 2*time.Minute, "it is ready", e.Ready)
	before := c.PID("daprd one")
	ctx, stop := context.WithCancel(t.Context())
	watched := make(chan struct{})
	go func() { c.Watch(ctx); close(watched) }()
	c.Kill(daprlocal.Scheduler)
	testkit.Eventually(t, "it is not ready", func() error {
		if err := e.Ready(); err == nil || !strings.Contains(err.Error(), "the scheduler does not respond") {
			return fmt.Errorf("Ready = %w", errors.Join(errors.New("not that"), err))
		}
		return nil
	})
	time.Sleep(6 * time.Second) // more than the four canary time-outs after which a stuck sidecar is shut down
	if c.PID("daprd one") != before {
		t.Error("the sidecar was shut down at once, want it to get more time without a scheduler")
	}
	testkit.Within(t, 2*time.Minute, "the sidecar is restarted", func() error {
		if now := c.PID("daprd one"); now == before {
			return errors.New("it has the same process id")
		}
		return nil
	})
	stop()
	<-watched
}

// TestUnavailableRedisIsReported: readiness reports the state store, and the
// sidecar is not restarted.
func TestUnavailableRedisIsReported(t *testing.T) {
	redis := testkit.Redis(t)
	c, w := startClusterOn(t, daprlocal.State{Store: "redis", Address: redis.Address}), enginetest.NewWorld()
	e, _ := startWith(t, c, w, "one", dapr.Options{CanaryEvery: 100 * time.Millisecond, CanaryTimeout: 2 * time.Second, RestartSidecar: true})
	testkit.Within(t, 2*time.Minute, "it is ready", e.Ready)
	before := c.PID("daprd one")
	ctx, stop := context.WithCancel(t.Context())
	watched := make(chan struct{})
	go func() { c.Watch(ctx); close(watched) }()
	t.Cleanup(func() { stop(); <-watched })
	redis.Kill()
	testkit.Eventually(t, "it is not ready", func() error {
		if err := e.Ready(); err == nil || !strings.Contains(err.Error(), "state store statestore does not respond") {
			return fmt.Errorf("Ready = %w", errors.Join(errors.New("not that"), err))
		}
		return nil
	})
	time.Sleep(12 * time.Second) // more than the four canary time-outs after which a sidecar is shut down
	redis.Start()
	testkit.Within(t, time.Minute, "it is ready again", e.Ready)
	if c.PID("daprd one") != before {
		t.Error("the sidecar was restarted, want it to keep running")
	}
}
