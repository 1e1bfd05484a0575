package worker_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ordersaga/ordersaga/internal/deadletter"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/fleet"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// TestLostOrdersFindRoom: on Dapr orders are counted, and more of them than there
// may be sagas once lost theirs. None would ever have been begun again.
func TestLostOrdersFindRoom(t *testing.T) {
	a := testkit.NewAWS(t, nil)
	o := order.Order{CustomerID: "c", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"}, Lines: []order.Line{{SKU: "A", Quantity: 1, UnitPrice: 1}}}
	for i := range 6 {
		o.OrderID = fmt.Sprint("lost", i)
		_, _, err := a.Store.Accept(t.Context(), o)
		must(t, err)
	}
	byOrder, err := worker.LoadOf(a.Fleet, nil).Stats(t.Context())
	must(t, err)
	const maxLive = 4
	for _, c := range []struct {
		st         engine.Stats
		lost, room int
	}{
		{byOrder, 6, 4},
		{byOrder, 3, 1},
		{byOrder, 1, -1},
		{byOrder, 9, 4}, // the index is a moment behind
		{engine.Stats{Live: 6, AwaitingExternal: 3}, 6, 1},
		{engine.Stats{Live: 6, AwaitingExternal: 3, ByOrder: true}, 2, 3},
	} {
		if n := worker.RoomForLost(c.st, maxLive, c.lost); n != c.room {
			t.Errorf("%+v, %d of them lost: room for %d, want %d", c.st, c.lost, n, c.room)
		}
	}
}

// TestQueuedOrdersAreNotLive: as many as there are messages in the queue have no
// saga yet, or there would never be room for them.
func TestQueuedOrdersAreNotLive(t *testing.T) {
	a := testkit.NewAWS(t, nil)
	o := order.Order{CustomerID: "c", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"}, Lines: []order.Line{{SKU: "A", Quantity: 1, UnitPrice: 1}}}
	for i := range 5 {
		o.OrderID = fmt.Sprint("queued", i)
		_, _, err := a.Store.AcceptQueued(t.Context(), o)
		must(t, err)
	}
	o.OrderID = "received"
	_, _, err := a.Store.Accept(t.Context(), o)
	must(t, err)
	for _, c := range []struct {
		queue deadletter.Depth
		live  int
	}{{deadletter.Depth{}, 6}, {deadletter.Depth{Visible: 1, InFlight: 2}, 3}, {deadletter.Depth{Visible: 100}, 1}} {
		st, err := worker.LoadOf(a.Fleet, func(context.Context) (deadletter.Depth, error) { return c.queue, nil }).Stats(t.Context())
		if err != nil || st != (engine.Stats{Live: c.live, ByOrder: true}) {
			t.Errorf("%+v: %+v %v", c.queue, st, err)
		}
	}
	if _, err := worker.LoadOf(a.Fleet, func(context.Context) (deadletter.Depth, error) { return deadletter.Depth{}, errors.New("no") }).Stats(t.Context()); err == nil {
		t.Error("no depth, no error")
	}
}

// TestMaxLiveInABurst: orders wait in the queue, and as many workers as there
// are take them in. Each knows what it has begun, and the index, late, of the
// others. Nothing ends at first; later all is over after a while.
func TestMaxLiveInABurst(t *testing.T) {
	const maxLive = 30
	for _, workers := range []int{1, 2, 5, 40} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				var mu sync.Mutex
				var begun []time.Time // of those that are live
				var most, all int
				ends := false
				live := func(at time.Time) (n int) {
					mu.Lock()
					defer mu.Unlock()
					begun = slices.DeleteFunc(begun, func(b time.Time) bool { return ends && time.Since(b) > 5*time.Second })
					for _, b := range begun {
						if !b.After(at) {
							n++
						}
					}
					return n
				}
				count := func() (int, int) {
					n := live(time.Now().Add(-rand.N(time.Second)))
					time.Sleep(rand.N(100 * time.Millisecond))
					return n, workers
				}
				var g sync.WaitGroup
				for range workers {
					l := worker.Counted(count)
					g.Go(func() {
						for time.Sleep(rand.N(3 * time.Second)); ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
							for range max(min(l.Room(ctx, maxLive), 10), 0) {
								time.Sleep(5 * time.Millisecond)
								mu.Lock()
								begun = append(begun, time.Now())
								most, all = max(most, len(begun)), all+1
								mu.Unlock()
								l.Began()
							}
						}
					})
				}
				bound := maxLive + (workers-1)*((maxLive+workers-1)/workers)
				time.Sleep(time.Minute)
				if n := live(time.Now()); n < maxLive || most > bound {
					t.Errorf("%d are live, and %d were, of %d to %d", n, most, maxLive, bound)
				}
				t.Logf("at first %d live", most)
				mu.Lock()
				ends, most, all = true, 0, 0
				mu.Unlock()
				time.Sleep(10 * time.Minute)
				cancel()
				g.Wait()
				t.Logf("later %d live at most, %d begun", most, all)
				if most > bound || all < 600/7*maxLive/2 {
					t.Errorf("%d were live, at most %d may be; %d were begun", most, bound, all)
				}
			})
		})
	}
}

// TestRoomIsShared by the workers that live, and what this one has begun takes
// some though the count of orders is as it was.
func TestRoomIsShared(t *testing.T) {
	a := testkit.NewAWS(t, nil)
	is := func(l interface {
		Room(ctx context.Context, maxLive int) int
	}, want int) {
		t.Helper()
		if n := l.Room(t.Context(), 9); n != want {
			t.Errorf("room for %d, want %d", n, want)
		}
	}
	first := worker.LoadOf(a.Fleet, nil)
	is(first, 9) // it has not said yet that it lives
	for range 4 {
		first.Began()
	}
	is(first, 5)
	must(t, a.Fleet.Heartbeat(t.Context(), fleet.Worker{ID: "first"}))
	must(t, a.Fleet.Heartbeat(t.Context(), fleet.Worker{ID: "gone", Stopped: true}))
	must(t, a.Fleet.Heartbeat(t.Context(), fleet.Worker{ID: "second"}))
	second := worker.LoadOf(a.Fleet, nil)
	is(second, 5)
	for range 5 {
		second.Began()
	}
	is(second, 0)
}
