// Command bench compares the embedded engine with other workflow systems in one run. It
// measures a saga of three empty activities, one at a time and many concurrently. Each round
// starts every system, measures it for a few seconds and stops it, so that no system idles
// beside another, and a slow minute of the machine affects all systems equally.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	o := options{}
	flag.IntVar(&o.rounds, "rounds", 5, "number of times each system is measured")
	flag.IntVar(&o.inFlight, "in-flight", 64, "number of concurrent sagas")
	flag.DurationVar(&o.window, "window", 2500*time.Millisecond, "shortest time over which sagas are counted")
	flag.StringVar(&o.only, "only", "", "measure only the systems whose name contains this text")
	flag.StringVar(&o.bin, "bin", "../../bin", "directory with the programs of the other systems")
	flag.StringVar(&o.dir, "dir", "/var/tmp", "directory for the data; it must be on a disk, because fsync is free on tmpfs")
	flag.StringVar(&o.docs, "docs", "", "directory of benchmarks.md, to write the results there")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // the context is no longer needed
	}
}

// options are the command-line flags.
type options struct {
	rounds, inFlight     int
	window               time.Duration
	only, bin, dir, docs string
}

// run measures the systems and prints a report.
func (o options) run(ctx context.Context) error {
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return fmt.Errorf("resolve --bin: %w", err)
	}
	all := pick(systems(bin), o.only)
	r := report{options: o, began: time.Now(), results: make([]result, len(all))}
	for round := range o.rounds {
		writes, err := fsyncs(o.dir)
		if err != nil {
			return err
		}
		r.fsyncs = append(r.fsyncs, writes)
		for i, s := range all {
			res := &r.results[i]
			res.system = s
			if res.failed == nil {
				res.failed = o.once(ctx, s, res)
			}
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			done := round*len(all) + i + 1
			left := time.Since(r.began) / time.Duration(done) * time.Duration(o.rounds*len(all)-done)
			fmt.Fprintf(os.Stderr, "[%2d/%d] %-38s %-44s about %s left\n",
				done, o.rounds*len(all), strings.Trim(s.name, "*"), res.last(), left.Round(time.Second))
		}
	}
	fmt.Print(r.markdown())
	if o.docs == "" {
		return nil
	}
	return r.write()
}

// once measures one system in one round, and adds the measurements to res.
func (o options) once(ctx context.Context, s system, res *result) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp(o.dir, "ordersaga-bench-")
	if err != nil {
		return fmt.Errorf("create the data directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	peer, err := s.start(ctx, dir)
	defer peer.stop() // also what was started before an error
	if err != nil {
		return err
	}
	// The first sagas are not counted: caches are cold, and connections are not open yet.
	lone, err := measure(ctx, peer.saga, plan{inFlight: 1, warmUp: 3, sagas: 2, least: o.window / 2})
	if err != nil {
		return err
	}
	many, err := measure(ctx, peer.saga, plan{inFlight: o.inFlight, warmUp: o.inFlight, sagas: o.inFlight, least: o.window})
	if err != nil {
		return err
	}
	res.lone = append(res.lone, lone.took...)
	res.many = append(res.many, many.took...)
	res.rates = append(res.rates, many.rate)
	return nil
}
