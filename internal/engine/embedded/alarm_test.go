package embedded

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/journal"
	orders "github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

func (r running) alarms() int {
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	return len(r.store.alarms)
}

// TestEndedSagasTakeNoMemory: orders that were approved and shipped have left
// time-outs of a day behind, which nothing cancels. (They took 4 KB each.)
func TestEndedSagasTakeNoMemory(t *testing.T) {
	const some, most = 500, 400 // sagas; bytes each, of which some are noise
	e := serve(t, orderSagas(t), Options{Dir: t.TempDir(), Fsync: journal.SyncOff})
	round := func(name string) (heap uint64) {
		each := func(do func(id string) error) {
			t.Helper()
			for n := range some {
				if err := do(fmt.Sprint(name, n)); err != nil {
					t.Fatal(err)
				}
			}
		}
		all := func(waiting int) {
			t.Helper()
			eventually(t, "all have gone on", func() bool {
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
		if n := e.alarms(); n != 2*some {
			t.Errorf("%d alarms, want approval's and carrier's of each saga", n)
		}
		each(func(id string) error {
			return saga.Send(t.Context(), e, id, orders.EventCarrier, orders.CarrierAnswer{Dispatched: true})
		})
		each(func(id string) error { _, err := e.Wait(t.Context(), id); return err })
		e.moveNow(t)
		if m, a := e.inMemory(), e.alarms(); m+a > 0 {
			t.Errorf("%d sagas and %d alarms are in memory when all have ended", m, a)
		}
		return heapInUse()
	}
	before := round("warm") // pools and maps have their size then
	after := round("cold")
	if grown := int64(after) - int64(before); grown > some*most {
		t.Errorf("%d ended sagas take %d bytes", some, grown)
	}
}

// TestNoAlarmsOfThePast: neither what was purged, nor what a workflow that
// continued as new had set, rings.
func TestNoAlarmsOfThePast(t *testing.T) {
	e := serve(t, workflows(t, map[string]task.Workflow{
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
	eventually(t, "both wait", func() bool { return e.alarms() == 2 })
	for range 5 {
		was, err := e.Get(ctx, "g")
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Raise(ctx, "g", "go", nil); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the next waits", func() bool {
			now, err := e.Get(ctx, "g")
			return err == nil && now.CreatedAt.After(was.CreatedAt) && e.happened(t, "g", "TimerCreated", "")
		})
	}
	if n := e.alarms(); n != 2 {
		t.Errorf("%d alarms, for two that wait", n)
	}
	if err := e.Terminate(ctx, "p", ""); err != nil {
		t.Fatal(err)
	}
	e.wait(t, "p")
	if n := e.alarms(); n != 1 {
		t.Errorf("%d alarms, for one that waits", n)
	}
}

// TestAlarmsRingInOrder adds and removes at random.
func TestAlarmsRingInOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	s, base := newStore(zerolog.Nop()), time.Now()
	var insts []*instance
	want := map[*instance][]int{}
	for range 200 {
		i := newInstance("i")
		insts = append(insts, i)
		for range rng.IntN(8) {
			at := rng.IntN(1000)
			s.addAlarm(alarm{at: base.Add(time.Duration(at)), inst: i})
			want[i] = append(want[i], at)
		}
	}
	for _, i := range insts[:100] {
		s.silence(i)
		delete(want, i)
	}
	var all, rung []int
	for _, ats := range want {
		all = append(all, ats...)
	}
	slices.Sort(all)
	for len(s.alarms) > 0 {
		a := s.alarms[0]
		s.alarms.remove(a)
		rung = append(rung, int(a.at.Sub(base)))
	}
	if !slices.Equal(rung, all) {
		t.Errorf("%d rang, want %d in order", len(rung), len(all))
	}
	for _, i := range insts {
		if i.alarms != nil {
			t.Fatal("an alarm that has rung is set")
		}
	}
}
