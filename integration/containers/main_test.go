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
)

var system *stack

func TestMain(m *testing.M) {
	if !require() {
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) (status int) {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	up = sync.OnceValue(func() error {
		began := time.Now()
		var err error
		if system, err = start(ctx); err != nil {
			return fmt.Errorf("the stack does not come up: %w", err)
		}
		fmt.Printf("the stack of %d containers is up after %s\n", len(system.all), time.Since(began).Round(time.Second))
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
		fmt.Println("the stack does not go down:", err)
		status = 1
	}
	return status
}

// up brings the stack up, once.
var up func() error

// need is for tests that the stack is for; without any, none is made.
func need(t *testing.T) {
	t.Helper()
	if err := up(); err != nil {
		t.Fatal(err)
	}
}
