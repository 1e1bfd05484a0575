package fleet_test

import (
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/fleet"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestBacklogCountsAWaitForAPersonAsNoWork follows orders through every status: a
// wait counts as no work until the person responds or the wait times out.
func TestBacklogCountsAWaitForAPersonAsNoWork(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.SetStock(t, map[string]int64{"A": 1000})
	now := time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)
	s := orderstore.New(a.Clients.DynamoDB, orderstore.TablesWithPrefix(""), func() time.Time { return now })
	registry := fleet.New(a.Clients.DynamoDB, "orders", nil)
	do := func(err error) {
		t.Helper()
		require.NoError(t, err)
	}
	is := func(at time.Time, live, idle, shipping, work int) {
		t.Helper()
		got, err := registry.Backlog(t.Context(), at)
		do(err)
		if want := (fleet.Backlog{Live: live, Idle: idle, Shipping: shipping}); got != want || got.Work() != work {
			t.Errorf("backlog = %+v with work %d, want %+v with work %d", got, got.Work(), want, work)
		}
	}
	reserved := func(id string) string {
		t.Helper()
		_, err := s.Reserve(t.Context(), accept(t, s, newOrder(id)))
		do(err)
		return id
	}
	awaiting := func(id string, idleFor time.Duration) string {
		t.Helper()
		_, err := s.ReserveForApproval(t.Context(), accept(t, s, newOrder(id)), idleFor)
		do(err)
		return id
	}
	ann := orderstore.Note{Actor: "ann", Action: "retry"}
	is(now, 0, 0, 0, 0)
	_, _, err := s.AcceptQueued(t.Context(), newOrder("queued"))
	do(err)
	got, err := registry.Backlog(t.Context(), now)
	do(err)
	if want := (fleet.Backlog{Live: 1, Queued: 1}); got != want {
		t.Errorf("backlog with a queued order = %+v, want %+v", got, want)
	}
	do(s.End(t.Context(), "queued", order.StatusFailed, "by hand"))
	accept(t, s, newOrder("pending"))
	is(now, 1, 0, 0, 1)
	reserved("backoff")
	is(now, 2, 0, 0, 2)

	approve := awaiting("approve", time.Hour)
	reject := awaiting("cancel", 2*time.Hour)
	awaiting("unmarked", 0) // as an older release records it
	is(now, 5, 2, 0, 3)
	is(now.Add(time.Hour), 5, 1, 0, 4) // the wait of "approve" is over
	do(s.Decide(t.Context(), approve, orderstore.Approved, ann))
	is(now, 5, 1, 0, 4)
	do(s.RequestCancel(t.Context(), reject, ann))
	is(now, 5, 0, 0, 5)

	for _, id := range []string{"ship1", "ship2", "parked"} {
		reserved(id)
		do(s.MarkPaid(t.Context(), id, "ch"))
	}
	is(now, 8, 0, 0, 8)
	for _, id := range []string{"ship1", "ship2"} {
		do(s.MarkShipmentRequested(t.Context(), id, "sh"))
	}
	is(now, 8, 0, 2, 7) // both count as one

	do(s.MarkNeedsAttention(t.Context(), "parked", "stuck"))
	is(now.Add(100*365*24*time.Hour), 8, 1, 2, 6)
	do(s.AddNote(t.Context(), "parked", orderstore.Note{Actor: "saga", Action: "customer not notified"}))
	is(now, 8, 1, 2, 6)
	for range 2 { // the second changes nothing
		do(s.RecordOperatorReply(t.Context(), "parked", ann))
		is(now, 8, 0, 2, 7)
	}
	do(s.MarkNeedsAttention(t.Context(), "parked", "stuck again"))
	is(now, 8, 1, 2, 6)
	do(s.MarkAbandoned(t.Context(), "parked")) // it compensates now, which is work
	is(now, 8, 0, 2, 7)
	do(s.Release(t.Context(), "parked", order.StatusFailed, "given up"))
	is(now, 7, 0, 2, 6)
}

func newOrder(id string) order.Order {
	return order.Order{
		OrderID: id, CustomerID: "c-1", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"},
		Lines: []order.Line{{SKU: "A", Quantity: 2, UnitPrice: 100}},
	}
}

func accept(t testing.TB, s *orderstore.Store, o order.Order) order.Order {
	t.Helper()
	if _, _, err := s.Accept(t.Context(), o); err != nil {
		t.Fatalf("accept order %s: %v", o.OrderID, err)
	}
	return o
}
