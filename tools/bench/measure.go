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

// plan says what to measure: after the first sagas, so many more and so long.
type plan struct {
	inFlight, warm, sagas int
	least                 time.Duration
}

type measured struct {
	rate float64 // sagas per second
	took []time.Duration
}

// measure keeps so many sagas in flight until it has seen enough of them. What
// is then in flight is given up.
func measure(ctx context.Context, saga func(ctx context.Context, id string) error, p plan) (m measured, err error) {
	runtime.GC() // of what the system before has left
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan time.Duration)
	var workers sync.WaitGroup
	for w := range p.inFlight {
		workers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				at := time.Now()
				if err := saga(ctx, fmt.Sprintf("%d-%d-%d", p.inFlight, w, i)); err != nil {
					cancel(err) // the first is kept, and ours when all is over
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
			case n < p.warm:
			case n == p.warm:
				began = time.Now()
			default:
				m.took = append(m.took, took)
			}
		}
		if all := time.Since(began); len(m.took) >= p.sagas && all >= p.least {
			cancel(errEnough)
			workers.Wait()
			m.rate = float64(len(m.took)) / all.Seconds()
			return m, nil
		}
	}
}

var errEnough = errors.New("enough seen")

// fsyncs is how many single fsynced writes of 4 KiB the disk does in a second.
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

func percentile(took []time.Duration, p float64) time.Duration {
	if len(took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(took))
	return sorted[int(p*float64(len(sorted)-1))]
}

func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + " s"
	case d >= 100*time.Millisecond:
		return strconv.FormatFloat(d.Seconds()*1e3, 'f', 0, 64) + " ms"
	}
	return strconv.FormatFloat(d.Seconds()*1e3, 'f', 2, 64) + " ms"
}
