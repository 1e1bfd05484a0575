package embedded

import (
	"context"
	"fmt"
	"testing"

	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
	"github.com/ordersaga/ordersaga/internal/journal"
)

// BenchmarkThreeActivities measures a workflow of three empty activities. The
// relevant metric is sagas/s.
func BenchmarkThreeActivities(b *testing.B) {
	for _, c := range []struct {
		name     string
		onDisk   bool
		fsync    journal.Sync
		inFlight int
	}{
		{"memory/64", false, 0, 64},
		{"memory/1", false, 0, 1},
		{"off/64", true, journal.SyncOff, 64},
		{"group/1", true, journal.SyncGroup, 1},
		{"group/64", true, journal.SyncGroup, 64},
		{"group/256", true, journal.SyncGroup, 256},
	} {
		b.Run(c.name, func(b *testing.B) {
			o := Options{Fsync: c.fsync}
			if c.onDisk {
				o.Dir = b.TempDir()
			}
			w := enginetest.NewWorld()
			e := run(b, w, o)
			work := make(chan string)
			done := make(chan error, c.inFlight)
			for range c.inFlight {
				go func() {
					var err error
					for id := range work {
						if err = e.Start(context.Background(), "Chain", id, nil); err == nil {
							_, err = e.Wait(context.Background(), id)
						}
					}
					done <- err
				}()
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				work <- fmt.Sprint("b", n)
			}
			close(work)
			for range c.inFlight {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "sagas/s")
		})
	}
}
