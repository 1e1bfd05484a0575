// Command embedded measures the embedded engine with a saga of three empty activities, and
// writes a measure.System as JSON. Command bench builds it twice: with the engine of this
// checkout, and with that of an older commit. So it uses only what both have.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/engine/embedded"
	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/tools/bench/measure"
)

func main() {
	dir := flag.String("dir", "", "state directory; in memory without")
	fsync := flag.String("fsync", "group", "when a step is on disk: group, always or off")
	inFlight := flag.Int("in-flight", 64, "number of concurrent sagas")
	window := flag.Duration("window", time.Second, "shortest time over which sagas are counted")
	flag.Parse()
	if err := run(*dir, *fsync, *inFlight, *window); err != nil {
		fmt.Fprintln(os.Stderr, "embedded:", err)
		os.Exit(1)
	}
}

// run measures an engine, and writes what it has measured.
func run(dir, fsync string, inFlight int, window time.Duration) (err error) {
	sync, ok := map[string]journal.Sync{"group": journal.SyncGroup, "always": journal.SyncAlways, "off": journal.SyncOff}[fsync]
	if !ok {
		return fmt.Errorf("unknown -fsync %q: want group, always or off", fsync)
	}
	r, err := measure.Registry()
	if err != nil {
		return err
	}
	e, err := embedded.Open(embedded.Options{Dir: dir, Fsync: sync, Logger: zerolog.Nop()})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- e.Run(ctx, r) }()
	defer func() {
		cancel()
		err = errors.Join(err, <-ran, e.Close())
	}()
	measured, err := measure.Both(ctx, measure.Chain(e), inFlight, window)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(measured)
}
