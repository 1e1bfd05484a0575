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
)

// TestStalled: a saga whose history has outgrown its sidecar says so, takes
// nothing in, and goes on beside a sidecar with room for it.
func TestStalled(t *testing.T) {
	c := cluster(t)
	grows := func(ctx *task.WorkflowContext) (any, error) {
		for {
			var said string
			if err := ctx.WaitForSingleEvent("more", -1).Await(&said); err != nil || said == "enough" {
				return said, err
			}
		}
	}
	run := func(name string, size int) (e *dapr.Engine, stop func()) {
		t.Helper()
		side, err := c.Sidecar(t.Context(), daprlocal.App{ID: "ordersaga", Name: name, MaxBodySize: size})
		if err != nil {
			t.Fatal(err)
		}
		e, err = dapr.Open(t.Context(), dapr.Options{Address: side.GRPC, Logger: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		registry := task.NewTaskRegistry()
		if err := registry.AddWorkflowN("grows", grows); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ran := make(chan error, 1)
		go func() { ran <- e.Run(ctx, registry) }()
		return e, func() {
			cancel()
			if err := errors.Join(<-ran, e.Close()); err != nil {
				t.Error(err)
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
		if err := small.Start(t.Context(), "grows", id, nil); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "it is stalled", func() error {
			err := small.Raise(t.Context(), id, "more", strings.Repeat("x", 15<<10))
			if !errors.Is(err, engine.ErrStalled) {
				return fmt.Errorf("%w", err)
			}
			return nil
		})
	}
	// One whose state is gone from the store is not said to go on by itself.
	if err := small.Hub.PurgeWorkflowState(t.Context(), "gone", api.WithForcePurge(true)); err != nil {
		t.Error(err)
	}
	if err := small.Start(t.Context(), "grows", "gone", nil); !errors.Is(err, engine.ErrInMemory) || errors.Is(err, engine.ErrStalled) {
		t.Errorf("start again: %v", err)
	}
	is(small, engine.Stalled)
	events, err := small.History(t.Context(), "o")
	if err != nil {
		t.Fatal(err)
	}
	why := slices.IndexFunc(events, func(e engine.Event) bool {
		return e.Type == "ExecutionStalled" && e.Name == "PAYLOAD_SIZE_EXCEEDED" && strings.Contains(e.Error, "max gRPC body size 65536 bytes")
	})
	if why < 0 {
		t.Errorf("its history does not say why: %+v", events[len(events)-1])
	}
	for what, err := range map[string]error{
		"suspend": small.Suspend(t.Context(), "o", "why"), "resume": small.Resume(t.Context(), "o", "why"), "terminate": small.Terminate(t.Context(), "o", "why"),
	} {
		if !errors.Is(err, engine.ErrStalled) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := small.Purge(t.Context(), "o"); !errors.Is(err, engine.ErrNotCompleted) {
		t.Errorf("purge: %v", err)
	}
	stop()
	c.Quit("daprd small")

	large, stop := run("large", dapr.MaxBodySize)
	defer stop()
	testkit.Eventually(t, "it is started again", func() error { return large.Start(t.Context(), "grows", "gone", nil) })
	is(large, engine.Running)
	if err := large.Raise(t.Context(), "o", "more", "enough"); err != nil {
		t.Fatal(err)
	}
	is(large, engine.Completed)
}
