package dapr_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/dapr"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestStalledSagaContinuesWithALargerLimit: a saga whose history exceeds its sidecar's limit is reported as
// stalled, accepts nothing, and continues with a sidecar that has a larger limit.
func TestStalledSagaContinuesWithALargerLimit(t *testing.T) {
	c := startCluster(t)
	grows := func(ctx *task.WorkflowContext) (any, error) {
		for {
			var payload string
			if err := ctx.WaitForSingleEvent("more", -1).Await(&payload); err != nil || payload == "enough" {
				return payload, err
			}
		}
	}
	run := func(name string, size int) (e *dapr.Engine, stop func()) {
		t.Helper()
		side, err := c.Sidecar(t.Context(), daprlocal.App{ID: "ordersaga", Name: name, MaxBodySize: size})
		require.NoError(t, err)
		e, err = dapr.Open(t.Context(), dapr.Options{Address: side.GRPC, Logger: zerolog.Nop()})
		require.NoError(t, err)
		registry := task.NewTaskRegistry()
		require.NoError(t, registry.AddWorkflowN("grows", grows))
		ctx, cancel := context.WithCancel(context.Background())
		ran := make(chan error, 1)
		go func() { ran <- e.Run(ctx, registry) }()
		return e, func() {
			cancel()
			if err := errors.Join(<-ran, e.Close()); err != nil {
				t.Errorf("stop the engine: %v", err)
			}
		}
	}
	is := func(e *dapr.Engine, want engine.RuntimeStatus) {
		t.Helper()
		testkit.Eventually(t, "it is "+string(want), func() error {
			i, err := e.Get(t.Context(), "o")
			if err != nil || i.Status != want {
				return fmt.Errorf("%s %w", i.Status, err)
			}
			return nil
		})
	}
	small, stop := run("small", 64<<10)
	for _, id := range []string{"o", "gone"} {
		require.NoError(t, small.Start(t.Context(), "grows", id, nil))
		testkit.Eventually(t, "it is stalled", func() error {
			err := small.Raise(t.Context(), id, "more", strings.Repeat("x", 15<<10))
			if !errors.Is(err, engine.ErrStalled) {
				return fmt.Errorf("%w", err)
			}
			return nil
		})
	}
	// The error for an instance whose state was deleted does not promise that it
	// continues by itself.
	require.NoError(t, small.Hub.PurgeWorkflowState(t.Context(), "gone", api.WithForcePurge(true)))
	if err := small.Start(t.Context(), "grows", "gone", nil); !errors.Is(err, engine.ErrInMemory) || errors.Is(err, engine.ErrStalled) {
		t.Errorf("Start of the id whose state was deleted = %v, want ErrInMemory", err)
	}
	is(small, engine.Stalled)
	events, err := small.History(t.Context(), "o")
	require.NoError(t, err)
	why := slices.IndexFunc(events, func(e engine.Event) bool {
		return e.Type == "ExecutionStalled" && e.Name == "PAYLOAD_SIZE_EXCEEDED" &&
			strings.Contains(e.Error, "max gRPC body size 65536 bytes")
	})
	if why < 0 {
		t.Errorf("last event of the history = %+v, want ExecutionStalled with the limit", events[len(events)-1])
	}
	for what, err := range map[string]error{
		"Suspend":   small.Suspend(t.Context(), "o", "why"),
		"Resume":    small.Resume(t.Context(), "o", "why"),
		"Terminate": small.Terminate(t.Context(), "o", "why"),
	} {
		if !errors.Is(err, engine.ErrStalled) {
			t.Errorf("%s of a stalled saga = %v, want ErrStalled", what, err)
		}
	}
	if err := small.Purge(t.Context(), "o"); !errors.Is(err, engine.ErrNotCompleted) {
		t.Errorf("Purge of a stalled saga = %v, want ErrNotCompleted", err)
	}
	stop()
	c.Shutdown("daprd small")

	large, stop := run("large", dapr.MaxBodySize)
	defer stop()
	testkit.Eventually(t, "the id can be started again", func() error { return large.Start(t.Context(), "grows", "gone", nil) })
	is(large, engine.Running)
	require.NoError(t, large.Raise(t.Context(), "o", "more", "enough"))
	is(large, engine.Completed)
}
