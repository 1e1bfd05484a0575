// Command bench measures the embedded engine and its peers in one run: a saga
// of three activities that do nothing, one at a time and many at once. Each
// round starts each system afresh, measures it shortly and stops it, so that
// none idles beside another and a slow minute of the machine hits all alike.
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
	flag.IntVar(&o.rounds, "rounds", 5, "how often each system is measured")
	flag.IntVar(&o.inFlight, "in-flight", 64, "sagas at once")
	flag.DurationVar(&o.window, "window", 2500*time.Millisecond, "how long to count sagas, at least")
	flag.StringVar(&o.only, "only", "", "measure only systems whose name contains this")
	flag.StringVar(&o.bin, "bin", "../../bin", "where the peers' programs are")
	flag.StringVar(&o.dir, "dir", "/var/tmp", "where the data goes: a disk, or fsync costs nothing")
	flag.StringVar(&o.docs, "docs", "", "folder of benchmarks.md, to put the results there")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // the context is of no more use
	}
}

type options struct {
	rounds, inFlight     int
	window               time.Duration
	only, bin, dir, docs string
}

func (o options) run(ctx context.Context) error {
	var err error
	if o.bin, err = filepath.Abs(o.bin); err != nil {
		return fmt.Errorf("find programs: %w", err)
	}
	all := pick(systems(o.bin), o.only)
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
			fmt.Fprintf(os.Stderr, "[%2d/%d] %-38s %-44s about %s left\n", done, o.rounds*len(all), strings.Trim(s.name, "*"), res.last(), left.Round(time.Second))
		}
	}
	fmt.Print(r.markdown())
	if o.docs == "" {
		return nil
	}
	return r.write()
}

// once measures one system in one round.
func (o options) once(ctx context.Context, s system, res *result) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp(o.dir, "ordersaga-bench-")
	if err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	peer, err := s.start(ctx, dir)
	defer peer.stop() // also what had come up before an error
	if err != nil {
		return err
	}
	// The first ones find caches cold and connections not yet made.
	lone, err := measure(ctx, peer.saga, plan{inFlight: 1, warm: 3, sagas: 2, least: o.window / 2})
	if err != nil {
		return err
	}
	many, err := measure(ctx, peer.saga, plan{inFlight: o.inFlight, warm: o.inFlight, sagas: o.inFlight, least: o.window})
	if err != nil {
		return err
	}
	res.lone = append(res.lone, lone.took...)
	res.many = append(res.many, many.took...)
	res.rates = append(res.rates, many.rate)
	return nil
}
