package orderstore_test

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestOneDecisionHolds: approved, rejected, expired and cancelled compete, and the order's
// record keeps one of them. Only an approved order can still be cancelled.
func TestOneDecisionHolds(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.SetStock(t, map[string]int64{"A": 1000})
	waiting := func(id string) string {
		t.Helper()
		if _, err := a.Store.ReserveForApproval(t.Context(), accept(t, a.Store, newOrder(id)), 0); err != nil {
			t.Fatal(err)
		}
		return id
	}
	decisions := []orderstore.Decision{orderstore.Approved, orderstore.Rejected, orderstore.Expired}
	for round := range 20 {
		id := waiting("race-" + string(rune('a'+round)))
		took := make([]error, len(decisions))
		var cancelled error
		var all sync.WaitGroup
		for i, d := range decisions {
			all.Go(func() { took[i] = a.Store.Decide(t.Context(), id, d, orderstore.Note{Actor: "ann", Action: string(d)}) })
		}
		all.Go(func() {
			cancelled = a.Store.RequestCancel(t.Context(), id, orderstore.Note{Actor: "bob", Action: orderstore.NoteCancel})
		})
		all.Wait()
		rec, err := a.Store.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		var holds orderstore.Decision
		for i, err := range took {
			if err == nil {
				if holds != "" {
					t.Errorf("%s: decisions %s and %s were both taken, want one at most", id, holds, decisions[i])
				}
				holds = decisions[i]
			} else if !errors.Is(err, orderstore.ErrFinished) {
				t.Error(err)
			}
		}
		if holds != rec.Decision || rec.CancelRequested != (cancelled == nil) || holds == "" && cancelled != nil {
			t.Errorf("%s: took %q, cancel error %v, want at least one taken, and what was taken on record: %+v", id, holds, cancelled, rec)
		}
		if cancelled == nil && holds != "" && holds != orderstore.Approved {
			t.Errorf("%s: cancelled with the decision %s, want no decision or %s", id, holds, orderstore.Approved)
		}
		if i := slices.IndexFunc(rec.Notes, func(n orderstore.Note) bool { return n.Action == orderstore.NoteCancel }); i == 0 && holds != "" {
			t.Errorf("%s: %s was taken after the cancellation, want no decision after it", id, holds)
		}
	}
}
