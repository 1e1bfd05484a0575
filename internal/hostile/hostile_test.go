package hostile_test

import (
	"flag"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	seeds = flag.Int("seeds", 500, "number of seeds that TestHostile runs (40 with -race)")
	from  = flag.Uint64("from", 1, "the first seed")
	one   = flag.Uint64("seed", 0, "the only seed that TestHostile runs, to replay it")
	side  = flag.Int("side", 24, "number of seeds that run in parallel; they mostly wait")
)

// TestHostile runs the whole system against counterparts that lie, once for each seed. A failed
// seed logs all exchanges about the orders that violate an invariant.
func TestHostile(t *testing.T) {
	first, n := *from, uint64(*seeds)
	if raceDetector && n == 500 {
		n = 40
	}
	if *one != 0 {
		first, n = *one, 1
	}
	next := make(chan uint64)
	var g sync.WaitGroup
	for range *side {
		g.Go(func() {
			for seed := range next {
				t.Run("seed="+strconv.FormatUint(seed, 10), func(t *testing.T) { play(t, seed) })
			}
		})
	}
	for seed := first; seed < first+n; seed++ {
		next <- seed
	}
	close(next)
	g.Wait()
}

// orderName returns the id of the n-th order of a seed.
func orderName(seed uint64, n int) string { return fmt.Sprintf("s%d-o%d", seed, n) }
