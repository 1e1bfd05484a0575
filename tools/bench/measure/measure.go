// Package measure measures how fast sagas run. The systems that are compared, in this process
// or in one of their own, are all measured by it.
package measure

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Saga runs a saga to its end. It is called concurrently, with a different id each time.
type Saga func(ctx context.Context, id string) error

// Plan is the plan of a measurement.
type Plan struct {
	InFlight int           // concurrent sagas
	WarmUp   int           // sagas that are not counted
	Sagas    int           // the least number of counted sagas
	Least    time.Duration // the shortest time over which they are counted
}

// Counted is the result of a measurement.
type Counted struct {
	Rate  float64         // sagas per second
	Took  []time.Duration // latency of each counted saga
	Alloc float64         // allocations of this process per saga
}

// System is what is measured of a system in one round.
type System struct {
	Lone, Many Counted // with one saga in flight, and with many
}

// Both measures a system with one saga in flight for half of window, then with inFlight sagas
// for window. The first sagas are not counted: caches are cold, and connections are not open yet.
func Both(ctx context.Context, saga Saga, inFlight int, window time.Duration) (s System, err error) {
	s.Lone, err = Run(ctx, saga, Plan{InFlight: 1, WarmUp: 3, Sagas: 2, Least: window / 2})
	if err != nil {
		return s, err
	}
	s.Many, err = Run(ctx, saga, Plan{InFlight: inFlight, WarmUp: inFlight, Sagas: inFlight, Least: window})
	return s, err
}

// Run keeps p.InFlight sagas in flight until enough have ended. It then abandons those in
// flight. The first saga that fails ends it.
func Run(ctx context.Context, saga Saga, p Plan) (m Counted, err error) {
	runtime.GC() // collects the garbage of the previous measurement
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan time.Duration)
	var workers sync.WaitGroup
	for w := range p.InFlight {
		workers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				at := time.Now()
				if err := saga(ctx, fmt.Sprintf("%d-%d-%d", p.InFlight, w, i)); err != nil {
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
	var before uint64
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			workers.Wait()
			return m, context.Cause(ctx)
		case took := <-ended:
			switch {
			case n < p.WarmUp:
			case n == p.WarmUp:
				began, before = time.Now(), allocations()
			default:
				m.Took = append(m.Took, took)
			}
		}
		if all := time.Since(began); len(m.Took) >= p.Sagas && all >= p.Least {
			m.Rate = float64(len(m.Took)) / all.Seconds()
			m.Alloc = float64(allocations()-before) / float64(len(m.Took))
			cancel(errDone)
			workers.Wait()
			return m, nil
		}
	}
}

var errDone = errors.New("the measurement is complete")

// allocations returns how many objects this process has allocated.
func allocations() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// Percentile returns the p-th percentile, p between 0 and 1; 0 without values.
func Percentile(took []time.Duration, p float64) time.Duration {
	if len(took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(took))
	return sorted[int(p*float64(len(sorted)-1))]
}

// Median returns the median of at least one value.
func Median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
