package embedded

import (
	"context"
	"fmt"
	"time"

	"github.com/dapr/durabletask-go/task"
)

// upgradeRegistry has the workflows of the data directories in testdata. It is
// also compiled with the versions that wrote them: see testdata/README.md. While
// hold is open, the activity "Held" waits for the end of its context.
func upgradeRegistry(hold <-chan struct{}) (*task.TaskRegistry, error) {
	r := task.NewTaskRegistry()
	for name, workflow := range map[string]task.Workflow{
		"Steps": func(ctx *task.WorkflowContext) (any, error) {
			return nil, ctx.CallActivity("Step").Await(nil)
		},
		"Held": func(ctx *task.WorkflowContext) (any, error) {
			return "held", ctx.CallActivity("Held").Await(nil)
		},
		"Events": func(ctx *task.WorkflowContext) (any, error) {
			var all string
			for range 3 {
				var one string
				if err := ctx.WaitForSingleEvent("go", -1).Await(&one); err != nil {
					return nil, err
				}
				all += one
				ctx.SetCustomStatus(all)
			}
			return all, ctx.CallActivity("Step").Await(nil)
		},
		"Nap": func(ctx *task.WorkflowContext) (any, error) {
			var length time.Duration
			if err := ctx.GetInput(&length); err != nil {
				return nil, err
			}
			return "awake", ctx.CreateTimer(length).Await(nil)
		},
		"Parent": func(ctx *task.WorkflowContext) (any, error) {
			var all string
			return &all, ctx.CallChildWorkflow("Events", task.WithChildWorkflowInstanceID(string(ctx.ID)+"-child")).Await(&all)
		},
		"Again": func(ctx *task.WorkflowContext) (any, error) {
			var generation int
			if err := ctx.GetInput(&generation); err != nil {
				return nil, err
			}
			if err := ctx.WaitForSingleEvent("go", -1).Await(nil); err != nil {
				return nil, err
			}
			if generation == 2 {
				return fmt.Sprint("generation ", generation), nil
			}
			ctx.ContinueAsNew(generation+1, task.WithKeepUnprocessedEvents())
			return nil, nil
		},
	} {
		if err := r.AddWorkflowN(name, workflow); err != nil {
			return nil, err
		}
	}
	if err := r.AddActivityN("Step", func(task.ActivityContext) (any, error) { return "done", nil }); err != nil {
		return nil, err
	}
	return r, r.AddActivityN("Held", func(ctx task.ActivityContext) (any, error) {
		select {
		case <-hold:
			return "done", nil
		case <-ctx.Context().Done():
			return nil, context.Cause(ctx.Context())
		}
	})
}
