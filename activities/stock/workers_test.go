package stock_test

import (
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/activities/stock"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestWorkers: who says so lives, until it leaves or has been silent.
func TestWorkers(t *testing.T) {
	a := testkit.NewAWS(t, nil)
	now := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	s := stock.New(a.Clients.DynamoDB, stock.TablesWithPrefix(""), func() time.Time { return now })
	live := func(want ...stock.Worker) {
		t.Helper()
		got, err := s.Workers(t.Context())
		if err != nil || len(got) != len(want) {
			t.Fatalf("%+v %v, want %+v", got, err, want)
		}
		for i, w := range want {
			if got[i].ID != w.ID || got[i].Sagas != w.Sagas || !got[i].SeenAt.Equal(w.SeenAt) {
				t.Errorf("%+v, want %+v", got[i], w)
			}
		}
	}
	beat := func(id string, sagas int) stock.Worker {
		t.Helper()
		w := stock.Worker{ID: id, Sagas: sagas, SeenAt: now}
		if err := s.Beat(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		return w
	}
	live()
	b := beat("b/1", 2)
	live(beat("a/1", 3), b)
	now = now.Add(2 * stock.BeatEvery)
	if err := s.Leave(t.Context(), "a/1"); err != nil {
		t.Fatal(err)
	}
	live(b)
	now = now.Add(2 * stock.BeatEvery)
	live()
	now = now.Add(time.Hour)
	live(beat("c/1", 1)) // and forgets b
	now = now.Add(-time.Hour)
	live(stock.Worker{ID: "c/1", Sagas: 1, SeenAt: now.Add(time.Hour)})
	if page, err := s.List(t.Context(), stock.Query{Limit: 10}); err != nil || len(page.Records) != 0 {
		t.Errorf("they are among the orders: %+v %v", page, err)
	}
}

func TestCountUpTo(t *testing.T) {
	a := testkit.NewAWS(t, nil)
	for n := range 40 {
		accept(t, a.Store, newOrder("o"+string(rune('A'+n))))
	}
	for most, want := range map[int]stock.Count{1000: {N: 40}, 8: {N: 8, More: true}} {
		got, err := a.Store.CountUpTo(t.Context(), most, order.StatusPending, order.StatusFailed)
		if err != nil || got[order.StatusPending] != want || got[order.StatusFailed] != (stock.Count{}) {
			t.Errorf("up to %d: %+v %v, want %+v", most, got, err, want)
		}
	}
}
