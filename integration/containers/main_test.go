package containers

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// system is the stack of all tests. It is nil until the first test requires it.
var system *stack

func TestMain(m *testing.M) {
	if !haveDocker() {
		return
	}
	os.Exit(run(m))
}

// run runs the tests, then stops the stack. It returns the exit status.
func run(m *testing.M) (status int) {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	startStack = sync.OnceValue(func() error {
		began := time.Now()
		var err error
		system, err = start(ctx)
		if err != nil {
			return fmt.Errorf("start the stack: %w", err)
		}
		fmt.Printf("started the stack of %d containers in %s\n", len(system.all), time.Since(began).Round(time.Second))
		return nil
	})
	ended := make(chan int, 1)
	go func() { ended <- m.Run() }()
	select {
	case status = <-ended:
	case <-ctx.Done():
		status = 1
	}
	if system == nil {
		return status
	}
	if err := system.stop(status != 0); err != nil {
		fmt.Println("cannot stop the stack:", err)
		status = 1
	}
	return status
}

// startStack starts the stack on the first call. Later calls return the same result.
var startStack func() error

// requireStack starts the stack, if no earlier test has. Runs without such a test start none.
func requireStack(t *testing.T) {
	t.Helper()
	require.NoError(t, startStack())
}
