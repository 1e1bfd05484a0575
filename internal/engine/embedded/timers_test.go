package embedded

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	orders "github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

func (r running) timerCount() int {
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	return len(r.store.timers)
}

// TestEndedSagasTakeNoMemory: orders that were approved and shipped leave
// time-outs of a day behind, which the SDK does not cancel. (They once took 4 KB
// each.)
func TestEndedSagasTakeNoMemory(t *testing.T) {
	const some, most = 500, 400 // sagas; bytes each, part of which is noise
	e := runEngine(t, orderSagas(t), Options{Dir: t.TempDir(), Fsync: journal.SyncOff})
	round := func(name string) (heap int64) {
		each := func(do func(id string) error) {
			t.Helper()
			for n := range some {
				require.NoError(t, do(fmt.Sprint(name, n)))
			}
		}
		all := func(waiting int) {
			t.Helper()
			waitUntil(t, "all sagas to continue and wait", func() bool {
				st, err := e.Stats(t.Context())
				return err == nil && st.Waiting == waiting && st.Live == waiting
			})
		}
		each(func(id string) error { return e.Start(t.Context(), orders.OrderSaga, id, waiting(id)) })
		all(some)
		each(func(id string) error {
			return saga.Send(t.Context(), e, id, orders.EventApproval, orders.Approval{Approved: true})
		})
		all(some)
		if n := e.timerCount(); n != 2*some {
			t.Errorf("%d timers, want %d: the approval's and the carrier's of each saga", n, 2*some)
		}
		each(func(id string) error {
			return saga.Send(t.Context(), e, id, orders.EventCarrier, orders.CarrierAnswer{Dispatched: true})
		})
		each(func(id string) error { _, err := e.Wait(t.Context(), id); return err })
		e.archiveNow(t)
		if m, n := e.inMemory(), e.timerCount(); m+n > 0 {
			t.Errorf("%d sagas and %d timers are in memory after all have ended, want none", m, n)
		}
		return heapInUse()
	}
	before := round("warm") // pools and maps have their final size afterwards
	after := round("cold")
	if grown := after - before; grown > some*most {
		t.Errorf("%d ended sagas take %d bytes, want at most %d", some, grown, some*most)
	}
}

// TestTimersAreCanceled: timers of a terminated instance, and those set before a
// workflow continued as new, are removed.
func TestTimersAreCanceled(t *testing.T) {
	e := runEngine(t, workflows(t, map[string]task.Workflow{
		"Patient": func(ctx *task.WorkflowContext) (any, error) {
			return nil, ctx.WaitForSingleEvent("go", 24*time.Hour).Await(nil)
		},
		"Generations": func(ctx *task.WorkflowContext) (any, error) {
			err := ctx.WaitForSingleEvent("go", 24*time.Hour).Await(nil)
			ctx.ContinueAsNew(nil)
			return nil, err
		},
	}), Options{})
	ctx := t.Context()
	e.start(t, "Patient", "p", nil)
	e.start(t, "Generations", "g", nil)
	waitUntil(t, "both instances to wait", func() bool { return e.timerCount() == 2 })
	for range 5 {
		was, err := e.Get(ctx, "g")
		require.NoError(t, err)
		require.NoError(t, e.Raise(ctx, "g", "go", nil))
		waitUntil(t, "the next generation to wait", func() bool {
			now, err := e.Get(ctx, "g")
			return err == nil && now.CreatedAt.After(was.CreatedAt) && e.happened(t, "g", "TimerCreated", "")
		})
	}
	if n := e.timerCount(); n != 2 {
		t.Errorf("%d timers with two waiting instances, want 2", n)
	}
	require.NoError(t, e.Terminate(ctx, "p", ""))
	e.wait(t, "p")
	if n := e.timerCount(); n != 1 {
		t.Errorf("%d timers with one waiting instance, want 1", n)
	}
}

// TestTimerHeapOrder adds and removes entries at random.
func TestTimerHeapOrder(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	s, base := newStore(zerolog.Nop()), time.Now()
	var insts []*instance
	want := map[*instance][]int{}
	for range 200 {
		i := newInstance("i")
		insts = append(insts, i)
		for range rng.IntN(8) {
			at := rng.IntN(1000)
			s.addTimer(timerEntry{at: base.Add(time.Duration(at)).UnixNano(), inst: i})
			want[i] = append(want[i], at)
		}
	}
	for _, i := range insts[:100] {
		s.cancelTimers(i)
		delete(want, i)
	}
	var all, fired []int
	for _, ats := range want {
		all = append(all, ats...)
	}
	slices.Sort(all)
	for len(s.timers) > 0 {
		a := s.timers[0]
		s.timers.remove(a)
		fired = append(fired, int(a.at-base.UnixNano()))
	}
	if !slices.Equal(fired, all) {
		t.Errorf("%d timers fired: %v, want %d in order", len(fired), fired, len(all))
	}
	for _, i := range insts {
		if i.firstTimer != nil {
			t.Fatal("an instance still has an entry after all were removed, want none")
		}
	}
}

// TestTimerFiresWithinAMinuteAfterTheClockWasSet: the clock that the engine sleeps on does
// not show it.
func TestTimerFiresWithinAMinuteAfterTheClockWasSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, i := newStore(zerolog.Nop()), newInstance("i")
		i.inbox = []*protos.HistoryEvent{{}}
		s.timers.add(&timerEntry{at: time.Now().Add(time.Hour).UnixNano(), inst: i, timer: wakeUp})
		ctx, stop := context.WithCancel(t.Context())
		var firing sync.WaitGroup
		firing.Go(func() { s.fireTimers(ctx) })
		synctest.Wait()
		s.mu.Lock()
		s.timers[0].at = time.Now().UnixNano() // as if the clock had been set forward by an hour
		s.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		s.mu.Lock()
		if !i.queued {
			t.Error("the timer has not fired a minute after the clock was set, want its saga queued")
		}
		s.mu.Unlock()
		stop()
		firing.Wait()
	})
}
