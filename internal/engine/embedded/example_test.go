package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/dapr/durabletask-go/task"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/embedded"
)

// A workflow waits for an event, and continues with it after a restart of the
// engine.
func Example() {
	dir, err := os.MkdirTemp("", "engine")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()

	registry := task.NewTaskRegistry()
	err = registry.AddWorkflowN("Greet", func(ctx *task.WorkflowContext) (any, error) {
		var name string
		if err := ctx.WaitForSingleEvent("name", -1).Await(&name); err != nil {
			return nil, err
		}
		return "Hello, " + name, nil
	})
	if err != nil {
		panic(err)
	}
	// run executes work while f runs, and closes the engine after that.
	run := func(f func(ctx context.Context, e *embedded.Engine) error) error {
		e, err := embedded.Open(embedded.Options{Dir: dir})
		if err != nil {
			return err
		}
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx, registry) }()
		err = f(ctx, e)
		stop()
		return errors.Join(err, <-ended, e.Close())
	}

	err = run(func(ctx context.Context, e *embedded.Engine) error {
		return e.Start(ctx, "Greet", "greeting-1", nil) // durable when it returns
	})
	fmt.Println("started:", err)

	err = run(func(ctx context.Context, e *embedded.Engine) error {
		startErr := e.Start(ctx, "Greet", "greeting-1", nil)
		fmt.Println("started again:", errors.Is(startErr, engine.ErrActive))
		if err := e.Raise(ctx, "greeting-1", "name", "Ada"); err != nil {
			return err
		}
		i, err := e.Wait(ctx, "greeting-1")
		fmt.Println(i.Status, string(i.Output))
		return err
	})
	fmt.Println("ended:", err)
	// Output:
	// started: <nil>
	// started again: true
	// COMPLETED "Hello, Ada"
	// ended: <nil>
}
