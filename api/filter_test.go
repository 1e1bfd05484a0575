package api_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// TestUndoingFilterFindsCompensatingSagas: the filter finds sagas while they compensate, with
// the step and the error that holds them up.
func TestUndoingFilterFindsCompensatingSagas(t *testing.T) {
	s := testkit.NewSystem(t, func(w *worker.Worker) { w.Terms.CompensationTimeout = time.Hour }, nil)
	s.SetStock(t, map[string]int64{"A": 100})
	c := newClient(t, s)
	c.place(newOrder("waits-for-a-person", expensive), "AWAITING_APPROVAL")
	c.place(newOrder("waits-for-the-carrier", shipTo("SILENT")), "PAID")
	c.place(newOrder("done", nil), "COMPLETED")
	for _, id := range []string{"first", "second"} {
		c.place(newOrder(id, func(o *order.Order) { o.Payment.Token = "tok_refund_down"; shipTo("REFUSE")(o) }), "PAID")
	}
	type page struct {
		Sagas []struct{ OrderID, Step, LastError string }
		Next  string
	}
	list := func(query string) (p page) {
		t.Helper()
		c.get("/v1/sagas?undoing=true"+query).json(t, &p)
		return p
	}
	testkit.Eventually(t, "both are found", func() error {
		p := list("")
		if len(p.Sagas) != 2 || p.Next != "" {
			return errors.New(c.get("/v1/sagas?undoing=true").body)
		}
		for i, id := range []string{"second", "first"} {
			if one := p.Sagas[i]; one.OrderID != id || one.Step != "undo charge" || one.LastError == "" {
				return errors.New(c.get("/v1/sagas?undoing=true").body)
			}
		}
		return nil
	})
	newest := list("&limit=1")
	if len(newest.Sagas) != 1 || newest.Sagas[0].OrderID != "second" || newest.Next == "" {
		t.Fatalf("newest page = %+v, want only the order second, and a next page", newest)
	}
	if older := list("&limit=1&cursor=" + newest.Next); len(older.Sagas) != 1 || older.Sagas[0].OrderID != "first" {
		t.Errorf("older page = %+v, want only the order first", older)
	}
	for _, none := range []string{"&status=AWAITING_APPROVAL", "&status=COMPLETED", "&customer=nobody", "&stuck=true&status=PENDING"} {
		if p := list(none); len(p.Sagas) != 0 || p.Next != "" {
			t.Errorf("%s: page = %+v, want no sagas and no next page", none, p)
		}
	}
}
