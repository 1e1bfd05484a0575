package components

import (
	"context"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/engine/dapr"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// waves is the input of the workflow wide: N times, it runs Width steps concurrently.
type waves struct{ N, Width int }

// needs are the components that the worker requires of its sidecar, and one more.
var needs = []string{"orderpubsub", "secretstore", "cursorstore"}

// newWorker runs workflows on a sidecar with app id ordersaga, as the worker does.
func newWorker(t *testing.T, c *daprlocal.Cluster) *dapr.Engine {
	t.Helper()
	side := sidecar(t, c, daprlocal.App{ID: "ordersaga"})
	e, err := dapr.Open(t.Context(), dapr.Options{
		Address: side.GRPC, Logger: zerolog.Nop(), DrainTimeout: time.Second, CanaryEvery: 100 * time.Millisecond,
		Needs: needs,
	})
	require.NoError(t, err)
	r := task.NewTaskRegistry()
	require.NoError(t, r.AddActivityN("step", func(task.ActivityContext) (any, error) { return "a result", nil }))
	require.NoError(t, r.AddWorkflowN("wide", func(ctx *task.WorkflowContext) (any, error) {
		var in waves
		if err := ctx.GetInput(&in); err != nil {
			return nil, err
		}
		for range in.N {
			steps := make([]task.Task, in.Width)
			for i := range steps {
				steps[i] = ctx.CallActivity("step")
			}
			for _, s := range steps {
				if err := s.Await(nil); err != nil {
					return nil, err
				}
			}
		}
		return in.N * in.Width, nil
	}))
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- e.Run(ctx, r) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ran)
		require.NoError(t, e.Close())
	})
	testkit.Eventually(t, "a workflow makes progress", e.Ready)
	return e
}
