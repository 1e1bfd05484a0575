package worker_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ordersaga/ordersaga/internal/deadletter"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/fleet"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// TestLostOrdersFindCapacity: on Dapr orders are counted, and more of them than MaxLive
// once lost their sagas. None would ever have been restarted.
func TestLostOrdersFindCapacity(t *testing.T) {
	a := testkit.NewAWS(t, nil)
	o := order.Order{
		CustomerID: "c", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"},
		Lines: []order.Line{{SKU: "A", Quantity: 1, UnitPrice: 1}},
	}
	for i := range 6 {
		o.OrderID = fmt.Sprint("lost", i)
		_, _, err := a.Store.Accept(t.Context(), o)
		require.NoError(t, err)
	}
	byOrder, err := worker.NewSagaCounter(a.Fleet, nil).Stats(t.Context())
	require.NoError(t, err)
	const maxLive = 4
	for _, c := range []struct {
		st             engine.Stats
		lost, capacity int
	}{
		{byOrder, 6, 4},
		{byOrder, 3, 1},
		{byOrder, 1, -1},
		{byOrder, 9, 4}, // the index is a moment behind
		{engine.Stats{Live: 6, AwaitingExternal: 3}, 6, 1},
		{engine.Stats{Live: 6, AwaitingExternal: 3, ByOrder: true}, 2, 3},
	} {
		if n := worker.RestartCapacity(c.st, maxLive, c.lost); n != c.capacity {
			t.Errorf("%+v, %d of them lost: capacity = %d, want %d", c.st, c.lost, n, c.capacity)
		}
	}
}

// TestQueuedOrdersAreNotLive: as many orders as the queue has messages have no saga yet.
// If they counted, there would never be capacity for them.
func TestQueuedOrdersAreNotLive(t *testing.T) {
	a := testkit.NewAWS(t, nil)
	o := order.Order{
		CustomerID: "c", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"},
		Lines: []order.Line{{SKU: "A", Quantity: 1, UnitPrice: 1}},
	}
	for i := range 5 {
		o.OrderID = fmt.Sprint("queued", i)
		_, _, err := a.Store.AcceptQueued(t.Context(), o)
		require.NoError(t, err)
	}
	o.OrderID = "received"
	_, _, err := a.Store.Accept(t.Context(), o)
	require.NoError(t, err)
	for _, c := range []struct {
		queue deadletter.Depth
		live  int
	}{{deadletter.Depth{}, 6}, {deadletter.Depth{Visible: 1, InFlight: 2}, 3}, {deadletter.Depth{Visible: 100}, 1}} {
		st, err := worker.NewSagaCounter(a.Fleet, func(context.Context) (deadletter.Depth, error) { return c.queue, nil }).Stats(t.Context())
		if err != nil || st != (engine.Stats{Live: c.live, ByOrder: true}) {
			t.Errorf("queue %+v: stats = %+v (%v), want %d live", c.queue, st, err, c.live)
		}
	}
	failing := func(context.Context) (deadletter.Depth, error) { return deadletter.Depth{}, errors.New("no") }
	if _, err := worker.NewSagaCounter(a.Fleet, failing).Stats(t.Context()); err == nil {
		t.Error("Stats without the queue's depth returned no error, want one")
	}
}

// TestMaxLiveHoldsInABurst: many orders wait in the queue, and several workers take them
// in. Each counts what it has started itself, and sees what the others have started in
// the index, late. At first no saga ends; later each ends after a while.
func TestMaxLiveHoldsInABurst(t *testing.T) {
	const maxLive = 30
	for _, workers := range []int{1, 2, 5, 40} {
		t.Run(strconv.Itoa(workers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				var mu sync.Mutex
				var begun []time.Time // starts of the live sagas
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
					s := worker.FakeSagaCounter(count)
					g.Go(func() {
						for time.Sleep(rand.N(3 * time.Second)); ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
							for range max(min(s.Capacity(ctx, maxLive), 10), 0) {
								time.Sleep(5 * time.Millisecond)
								mu.Lock()
								begun = append(begun, time.Now())
								most, all = max(most, len(begun)), all+1
								mu.Unlock()
								s.RecordStart()
							}
						}
					})
				}
				bound := maxLive + (workers-1)*((maxLive+workers-1)/workers)
				time.Sleep(time.Minute)
				if n := live(time.Now()); n < maxLive || most > bound {
					t.Errorf("%d sagas are live and at most %d were, want %d to %d", n, most, maxLive, bound)
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
					t.Errorf("at most %d sagas were live, want at most %d; %d were started, want at least %d",
						most, bound, all, 600/7*maxLive/2)
				}
			})
		})
	}
}

// TestCapacityIsShared by the workers that are alive. What this one has started takes
// capacity though the count of orders has not changed.
func TestCapacityIsShared(t *testing.T) {
	a := testkit.NewAWS(t, nil)
	check := func(s interface {
		Capacity(ctx context.Context, maxLive int) int
	}, want int,
	) {
		t.Helper()
		if n := s.Capacity(t.Context(), 9); n != want {
			t.Errorf("capacity = %d, want %d", n, want)
		}
	}
	first := worker.NewSagaCounter(a.Fleet, nil)
	check(first, 9) // before its first heartbeat
	for range 4 {
		first.RecordStart()
	}
	check(first, 5)
	require.NoError(t, a.Fleet.Heartbeat(t.Context(), fleet.Worker{ID: "first"}))
	require.NoError(t, a.Fleet.Heartbeat(t.Context(), fleet.Worker{ID: "stopped", Stopped: true}))
	require.NoError(t, a.Fleet.Heartbeat(t.Context(), fleet.Worker{ID: "second"}))
	second := worker.NewSagaCounter(a.Fleet, nil)
	check(second, 5)
	for range 5 {
		second.RecordStart()
	}
	check(second, 0)
}
