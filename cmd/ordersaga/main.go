// Command ordersaga runs and operates order sagas: everything in one process for
// development, or each part as a process of its own.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

func main() { os.Exit(program()) }

// program runs the command line until it ends or a signal stops it, and returns the exit
// status.
func program() int {
	zerolog.TimeFieldFormat = time.RFC3339Nano // seconds, the default, are too coarse for sagas
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	return run(ctx, os.Args[1:], os.Stdout, os.Stderr)
}
