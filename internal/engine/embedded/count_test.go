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
)

// scanned counts from scratch, and gives the counters of the same moment.
func scanned(s *store) (scan, counters engine.Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instances.Scan(func(_ string, i *instance) bool {
		if !i.ended() {
			scan.Live++
			if i.idle() {
				scan.Waiting++
				if s.rests(i.look().custom.GetValue()) {
					scan.Resting++
				}
			}
		}
		return true
	})
	return scan, engine.Stats{Live: s.live, Waiting: s.waiting, Resting: s.resting}
}

// TestCountersAfterARandomHistory does whatever can be done to sagas, in
// random order and from several sides, through restarts, and compares the
// counters with a scan all the while.
func TestCountersAfterARandomHistory(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dir, w := t.TempDir(), enginetest.NewWorld()
	for round := range 4 {
		e := run(t, w, Options{Dir: dir, Rests: func(custom string) bool { return custom != "" }, Fsync: journal.SyncOff, DrainTimeout: time.Millisecond})
		same := func() {
			if scan, counters := scanned(e.store); scan != counters {
				t.Fatalf("counted %+v, scanned %+v", counters, scan)
			}
		}
		same()
		var sides sync.WaitGroup
		for side := range uint64(4) {
			rnd := rand.New(rand.NewPCG(seed, uint64(round)<<8|side))
			sides.Go(func() { live(t, e.Engine, rnd, 150) })
		}
		over := make(chan struct{})
		go func() { sides.Wait(); close(over) }()
		for going := true; going; {
			select {
			case <-over:
				going = false
			default:
				same()
			}
		}
		if round%2 == 0 { // half of the restarts read a snapshot
			if err := e.store.journal.Compact(e.store.snapshot); err != nil {
				t.Fatal(err)
			}
		}
		same()
		e.stop() // with sagas in every state
		same()
	}
}

// live does n random things to random sagas; that most are refused at times is
// part of it.
func live(t *testing.T, e *Engine, rnd *rand.Rand, n int) {
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
			t.Error(err)
		}
	}
}

// BenchmarkStats is what intake asks before each receive, beside a week of
// ended sagas.
func BenchmarkStats(b *testing.B) {
	for _, ended := range []int{0, 100_000} {
		b.Run(fmt.Sprintf("ended=%d", ended), func(b *testing.B) {
			e, err := Open(Options{Logger: zerolog.Nop()})
			if err != nil {
				b.Fatal(err)
			}
			for n := range ended {
				i := newInstance(fmt.Sprint("e", n))
				i.state = &protos.WorkflowRuntimeState{CompletedEvent: &protos.ExecutionCompletedEvent{}, CompletedTime: timestamppb.Now()}
				e.store.instances.Set(i.id, i)
				e.store.count(i)
			}
			b.ReportAllocs()
			for b.Loop() {
				if st, err := e.Stats(b.Context()); err != nil || st.Live != 0 {
					b.Fatal(st, err)
				}
			}
		})
	}
}
