package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"
)

// plan is the plan of a measurement.
type plan struct {
	inFlight int           // concurrent sagas
	warmUp   int           // sagas that are not counted
	sagas    int           // the least number of counted sagas
	least    time.Duration // the shortest time over which they are counted
}

// measured is the result of a measurement.
type measured struct {
	rate float64         // sagas per second
	took []time.Duration // latency of each counted saga
}

// measure keeps p.inFlight sagas in flight until enough have ended. It then abandons those in
// flight. The first saga that fails ends it.
func measure(ctx context.Context, saga func(ctx context.Context, id string) error, p plan) (m measured, err error) {
	runtime.GC() // collects the garbage of the previous system
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan time.Duration)
	var workers sync.WaitGroup
	for w := range p.inFlight {
		workers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				at := time.Now()
				if err := saga(ctx, fmt.Sprintf("%d-%d-%d", p.inFlight, w, i)); err != nil {
					cancel(err) // the first cause counts; later ones are ignored
					return
				}
				select {
				case ended <- time.Since(at):
				case <-ctx.Done():
				}
			}
		})
	}
	var began time.Time
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			workers.Wait()
			return m, context.Cause(ctx)
		case took := <-ended:
			switch {
			case n < p.warmUp:
			case n == p.warmUp:
				began = time.Now()
			default:
				m.took = append(m.took, took)
			}
		}
		if all := time.Since(began); len(m.took) >= p.sagas && all >= p.least {
			cancel(errDone)
			workers.Wait()
			m.rate = float64(len(m.took)) / all.Seconds()
			return m, nil
		}
	}
}

var errDone = errors.New("the measurement is complete")

// fsyncs measures how many writes of 4 KiB, each with an fsync, the disk makes per second.
func fsyncs(dir string) (rate float64, err error) {
	f, err := os.CreateTemp(dir, "ordersaga-bench-")
	if err != nil {
		return 0, fmt.Errorf("measure disk: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block, began, n := make([]byte, 4096), time.Now(), 0
	for ; time.Since(began) < time.Second/2; n++ {
		_, err := f.Write(block)
		if err = errors.Join(err, f.Sync()); err != nil {
			return 0, fmt.Errorf("measure disk: %w", err)
		}
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// percentile returns the p-th percentile, p between 0 and 1; 0 without values.
func percentile(took []time.Duration, p float64) time.Duration {
	if len(took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(took))
	return sorted[int(p*float64(len(sorted)-1))]
}

// median returns the median of at least one value.
func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// short formats a duration with three significant digits, in ms or s.
func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + " s"
	case d >= 100*time.Millisecond:
		return strconv.FormatFloat(d.Seconds()*1e3, 'f', 0, 64) + " ms"
	}
	return strconv.FormatFloat(d.Seconds()*1e3, 'f', 2, 64) + " ms"
}
