// Command bench compares the embedded engine with an older build of itself and with other
// workflow systems, in one run. It measures a saga of three empty activities, one at a time and
// many concurrently. Each round starts every system, measures it for a few seconds and stops it,
// so that no system idles beside another, and a slow minute of the machine affects all systems
// equally. A system that does not start is reported, and the others are measured. At the end a
// test with many waiting sagas measures the engine's memory.
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

	"github.com/ordersaga/ordersaga/tools/bench/measure"
)

func main() {
	o := options{}
	flag.IntVar(&o.rounds, "rounds", 3, "number of times each system is measured")
	flag.IntVar(&o.inFlight, "in-flight", 64, "number of concurrent sagas")
	flag.DurationVar(&o.window, "window", 4*time.Second, "shortest time over which sagas are counted")
	flag.StringVar(&o.baseline, "baseline", "72b77bd", "commit of this repository whose embedded engine is measured too")
	flag.IntVar(&o.waiting, "waiting", 1_000_000, "number of waiting sagas whose memory is measured; 0 for none")
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
	rounds, inFlight, waiting int
	window                    time.Duration
	baseline                  string
	only, bin, dir, docs      string
}

// run measures the systems and prints a report.
func (o options) run(ctx context.Context) (err error) {
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return fmt.Errorf("resolve --bin: %w", err)
	}
	builds, err := os.MkdirTemp(o.dir, "ordersaga-bench-")
	if err != nil {
		return fmt.Errorf("create a directory for builds: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(builds)) }()
	fmt.Fprintln(os.Stderr, "building the engine, and the one at", o.baseline)
	today, older := buildHere(ctx, builds), buildOf(ctx, o.baseline, builds)
	all := pick(systems(bin, o.baseline, today, older), o.only)
	r := report{options: o, machine: machine(), commit: commit(ctx), began: time.Now(), results: make([]result, len(all))}
	if err := r.measure(ctx, all); err != nil {
		return err
	}
	r.allocations = map[string]float64{}
	for name, b := range map[string]build{ours: today, baselineName(o.baseline): older} {
		r.allocations[name], err = b.allocations(ctx, builds)
		if err != nil {
			fmt.Fprintln(os.Stderr, "allocations:", err)
		}
	}
	fmt.Fprintln(os.Stderr, today.profile(ctx))
	if o.waiting > 0 {
		r.memory, r.memoryFailed = o.million(ctx)
		if r.memoryFailed != nil {
			fmt.Fprintln(os.Stderr, "waiting sagas:", r.memoryFailed)
		}
	}
	r.took = time.Since(r.began)
	systemsPart, waitingPart := r.markdown()
	fmt.Print(systemsPart, "\n", waitingPart)
	if o.docs == "" {
		return nil
	}
	return r.write()
}

// measure measures the systems in rounds. Its errors are those that prevent all measurements.
func (r *report) measure(ctx context.Context, all []system) error {
	o := r.options
	for round := range o.rounds {
		writes, err := fsyncs(o.dir)
		if err != nil {
			return err
		}
		r.fsyncs = append(r.fsyncs, writes...)
		for i, s := range all {
			res := &r.results[i]
			res.system = s
			if res.failed == nil {
				o.once(ctx, res)
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
	return nil
}

// once measures one system in one round. A system that fails is not measured again.
func (o options) once(ctx context.Context, res *result) {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	var m measure.System
	dir, err := os.MkdirTemp(o.dir, "ordersaga-bench-")
	if err == nil {
		m, err = res.measure(ctx, dir, o.inFlight, o.window)
		err = errors.Join(err, os.RemoveAll(dir))
	}
	if err != nil {
		res.failed = err
		fmt.Fprintf(os.Stderr, "%s did not run: %v\n", res.name, err)
		return
	}
	res.rounds = append(res.rounds, m)
}
