package embedded

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/api/protos"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// scanStats counts by a scan, and returns the counters of the same moment.
func scanStats(s *store) (scan, counters engine.Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instances.Scan(func(_ string, i *instance) bool {
		if !i.ended() {
			scan.Live++
			if i.idle() {
				scan.Waiting++
				if s.awaitsExternal(i.view().custom.GetValue()) {
					scan.AwaitingExternal++
				}
			}
		}
		return true
	})
	return scan, engine.Stats{Live: s.live, Waiting: s.waiting, AwaitingExternal: s.awaitingExternal}
}

// TestCountersMatchAScan applies every operation to sagas, in random order, from
// several goroutines and through restarts. It compares the counters with a scan
// all the time.
func TestCountersMatchAScan(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dir, w := t.TempDir(), enginetest.NewWorld()
	for round := range 4 {
		e := run(t, w, Options{
			Dir: dir, Fsync: journal.SyncOff, DrainTimeout: time.Millisecond,
			AwaitsExternal: func(custom string) bool { return custom != "" },
		})
		same := func() {
			if scan, counters := scanStats(e.store); scan != counters {
				t.Fatalf("counters are %+v, want %+v as in a scan", counters, scan)
			}
		}
		same()
		var sides sync.WaitGroup
		for side := range uint64(4) {
			rnd := rand.New(rand.NewPCG(seed, uint64(round)<<8|side))
			sides.Go(func() { randomOperations(t, e.Engine, rnd, 150) })
		}
		finished := make(chan struct{})
		go func() { sides.Wait(); close(finished) }()
		for running := true; running; {
			select {
			case <-finished:
				running = false
			default:
				same()
			}
		}
		if round%2 == 0 { // half of the restarts read a snapshot
			require.NoError(t, e.store.journal.Compact(e.store.snapshot))
		}
		same()
		e.stop() // with sagas in every state
		same()
	}
}

// randomOperations calls n random operations on random sagas. Many are rejected,
// which is part of the test.
func randomOperations(t *testing.T, e *Engine, rnd *rand.Rand, n int) {
	ctx := t.Context()
	for range n {
		id := fmt.Sprint("s", rnd.IntN(30))
		var err error
		switch rnd.IntN(11) {
		case 0, 1, 2:
			names := []string{"Chain", "Listen", "Nap", "Fan", "Again", "Child"}
			name := names[rnd.IntN(len(names))]
			var input any
			if name == "Nap" {
				input = rnd.IntN(20)
			}
			err = e.Start(ctx, name, id, input)
		case 3, 4:
			err = e.Raise(ctx, id, "go", "x")
		case 5:
			err = e.Suspend(ctx, id, "")
		case 6:
			err = e.Resume(ctx, id, "")
		case 7:
			err = e.Terminate(ctx, id, "")
		case 8:
			err = e.Purge(ctx, id)
		case 9:
			_, err = e.store.PurgeWorkflowState(ctx, api.InstanceID(id), nil, true)
		default:
			_, err = e.Rerun(ctx, id, 0)
		}
		if errors.Is(err, journal.ErrClosed) {
			t.Errorf("operation on %s: %v", id, err)
		}
	}
}

// BenchmarkStats measures what intake calls before each receive, with a week of
// ended sagas in memory.
func BenchmarkStats(b *testing.B) {
	for _, ended := range []int{0, 100_000} {
		b.Run(fmt.Sprintf("ended=%d", ended), func(b *testing.B) {
			e, err := Open(Options{Logger: zerolog.Nop()})
			if err != nil {
				b.Fatal(err)
			}
			for n := range ended {
				i := newInstance(fmt.Sprint("e", n))
				i.hasEnded = true
				i.state = &protos.WorkflowRuntimeState{CompletedEvent: &protos.ExecutionCompletedEvent{}, CompletedTime: timestamppb.Now()}
				e.store.instances.Set(i.id, i)
				e.store.count(i)
			}
			b.ReportAllocs()
			for b.Loop() {
				if st, err := e.Stats(b.Context()); err != nil || st.Live != 0 {
					b.Fatalf("Stats = %+v, %v, want none live", st, err)
				}
			}
		})
	}
}
