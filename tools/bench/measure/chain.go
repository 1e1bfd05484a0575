package measure

import (
	"context"
	"errors"
	"fmt"

	"github.com/dapr/durabletask-go/task"

	"github.com/ordersaga/ordersaga/internal/engine"
)

// Registry returns the workflow of the systems that are built on durabletask-go: "chain", three
// activities that do nothing.
func Registry() (*task.TaskRegistry, error) {
	r := task.NewTaskRegistry()
	return r, errors.Join(
		r.AddWorkflowN("chain", func(ctx *task.WorkflowContext) (any, error) {
			for range 3 {
				if err := ctx.CallActivity("nothing").Await(nil); err != nil {
					return nil, err
				}
			}
			return nil, nil
		}),
		r.AddActivityN("nothing", func(task.ActivityContext) (any, error) { return struct{}{}, nil }),
	)
}

// Chain returns the saga of an engine that runs Registry.
func Chain(e engine.Engine) Saga {
	return func(ctx context.Context, id string) error {
		if err := e.Start(ctx, "chain", id, nil); err != nil {
			return err
		}
		i, err := e.Wait(ctx, id)
		if err == nil && i.Status != engine.Completed {
			err = fmt.Errorf("saga ended with status %s: %s", i.Status, i.Failure)
		}
		return err
	}
}
