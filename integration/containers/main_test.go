package containers

import (
	"context"
	"fmt"
	"os"
	"os/signal"
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
	began := time.Now()
	var err error
	system, err = start(ctx)
	status = 1
	if err == nil {
		fmt.Printf("the stack of %d containers is up after %s\n", len(system.all), time.Since(began).Round(time.Second))
		ended := make(chan int, 1)
		go func() { ended <- m.Run() }()
		select {
		case status = <-ended:
		case <-ctx.Done():
		}
	} else {
		fmt.Println("the stack does not come up:", err)
	}
	if err := system.stop(status != 0); err != nil {
		fmt.Println("the stack does not go down:", err)
		status = 1
	}
	return status
}
