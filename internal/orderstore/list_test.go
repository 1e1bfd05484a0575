package orderstore_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

func TestListFiltersAndPagesOrders(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	s := orderstore.New(a.Clients.DynamoDB, orderstore.TablesWithPrefix(""), func() time.Time { return now })
	a.SetStock(t, map[string]int64{"A": 1000, "B": 1000})
	var newest []string // ids, newest first
	for n := range 60 {
		now = now.Add(time.Second)
		o := newOrder(fmt.Sprintf("o%02d", n))
		o.CustomerID = fmt.Sprint("c", n%3)
		if n%5 == 0 {
			o.Lines = append(o.Lines, order.Line{SKU: "B", Quantity: 1, UnitPrice: 1})
		}
		accept(t, s, o)
		if n%2 == 0 {
			if _, err := s.Reserve(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
		newest = append([]string{o.OrderID}, newest...)
	}
	keep := func(ok func(n int) bool) (out []string) {
		for i, id := range newest {
			if ok(59 - i) {
				out = append(out, id)
			}
		}
		return out
	}
	for _, c := range []struct {
		name  string
		query orderstore.Query
		want  []string
	}{
		{"all", orderstore.Query{Limit: 7}, newest},
		{"one page", orderstore.Query{Limit: 1000}, newest},
		{"exact page", orderstore.Query{Limit: 60}, newest},
		{"status", orderstore.Query{Limit: 7, Statuses: []order.Status{order.StatusReserved}}, keep(func(n int) bool { return n%2 == 0 })},
		{"two statuses", orderstore.Query{Limit: 9, Statuses: []order.Status{order.StatusReserved, order.StatusPending}}, newest},
		{"status without orders", orderstore.Query{Limit: 9, Statuses: []order.Status{order.StatusFailed}}, nil},
		{"customer", orderstore.Query{Limit: 7, CustomerID: "c1"}, keep(func(n int) bool { return n%3 == 1 })},
		{
			"customer and status",
			orderstore.Query{Limit: 3, CustomerID: "c1", Statuses: []order.Status{order.StatusPending}},
			keep(func(n int) bool { return n%3 == 1 && n%2 == 1 }),
		},
		{"sku", orderstore.Query{Limit: 5, SKU: "B"}, keep(func(n int) bool { return n%5 == 0 })},
		{
			"sku and status",
			orderstore.Query{Limit: 2, SKU: "B", Statuses: []order.Status{order.StatusReserved}},
			keep(func(n int) bool { return n%10 == 0 }),
		},
		{"part of a sku", orderstore.Query{Limit: 5, SKU: "b"}, nil},
		{"before", orderstore.Query{Limit: 7, Before: now.Add(-50 * time.Second)}, keep(func(n int) bool { return n < 9 })},
		{
			"since and before",
			orderstore.Query{Limit: 7, Since: now.Add(-55 * time.Second), Before: now.Add(-50 * time.Second)},
			keep(func(n int) bool { return n >= 4 && n < 9 }),
		},
		{"before is earlier than since", orderstore.Query{Limit: 7, Since: now, Before: now.Add(-time.Second)}, nil},
		{"unknown customer", orderstore.Query{Limit: 7, CustomerID: "x"}, nil},
		{"since", orderstore.Query{Limit: 7, Since: now.Add(-10 * time.Second)}, keep(func(n int) bool { return n >= 49 })},
		{"since, at a fraction", orderstore.Query{Limit: 7, Since: now.Add(-9999 * time.Millisecond)}, keep(func(n int) bool { return n >= 50 })},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for {
				p, err := s.List(t.Context(), c.query)
				if err != nil {
					t.Fatal(err)
				}
				if len(p.Records) > c.query.Limit {
					t.Fatalf("orders on a page = %d, want at most %d", len(p.Records), c.query.Limit)
				}
				for _, r := range p.Records {
					got = append(got, r.OrderID)
				}
				c.query.Cursor = p.Next
				if p.Next == "" {
					break
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v\nwant %v", got, c.want)
			}
		})
	}
}

func TestListIsStableWhileOrdersArrive(t *testing.T) {
	t.Parallel()
	s := testkit.NewAWS(t, nil).Store
	for n := range 20 {
		accept(t, s, newOrder(fmt.Sprint("a", n)))
	}
	p, err := s.List(t.Context(), orderstore.Query{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 20 {
		accept(t, s, newOrder(fmt.Sprint("b", n)))
	}
	q, err := s.List(t.Context(), orderstore.Query{Limit: 100, Cursor: p.Next})
	if err != nil || len(q.Records) != 10 || q.Records[0].OrderID != "a9" {
		t.Errorf("second page = %+v, error = %v, want 10 orders, first a9", q.Records, err)
	}
}

func TestListFromACursorOlderThanSince(t *testing.T) {
	t.Parallel()
	s := testkit.NewAWS(t, nil).Store
	accept(t, s, newOrder("a"))
	accept(t, s, newOrder("b"))
	p, err := s.List(t.Context(), orderstore.Query{Limit: 1})
	if err != nil || p.Next == "" {
		t.Fatalf("first page = %+v, error = %v, want it to have a next one", p, err)
	}
	p, err = s.List(t.Context(), orderstore.Query{Limit: 1, Cursor: p.Next, Since: time.Now().Add(time.Hour)})
	if err != nil || len(p.Records) != 0 {
		t.Errorf("second page = %+v, error = %v, want no orders", p.Records, err)
	}
}

func TestListLevelsAndReservationsPage(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	var want []string
	for n := range 25 {
		sku := fmt.Sprintf("S%02d", n)
		want = append(want, sku)
		a.SetStock(t, map[string]int64{sku: 1})
		o := accept(t, a.Store, newOrder(sku, order.Line{SKU: sku, Quantity: 1}))
		if _, err := a.Store.Reserve(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	var skus, holds []string
	for cursor := ""; ; {
		levels, next, err := a.Store.ListLevels(t.Context(), cursor, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range levels {
			skus = append(skus, l.SKU)
		}
		cursor = next
		if cursor == "" {
			break
		}
	}
	for cursor := ""; ; {
		res, next, err := a.Store.ListReservations(t.Context(), cursor, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range res {
			if r.State != orderstore.HoldHeld || !slices.Equal(r.Items, []order.Demand{{SKU: r.OrderID, Quantity: 1}}) {
				t.Errorf("reservation = %+v, want state %s, with one unit of the SKU %s", r, orderstore.HoldHeld, r.OrderID)
			}
			holds = append(holds, r.OrderID)
		}
		cursor = next
		if cursor == "" {
			break
		}
	}
	slices.Sort(skus)
	slices.Sort(holds)
	if !slices.Equal(skus, want) || !slices.Equal(holds, want) {
		t.Errorf("SKUs = %q, orders of reservations = %q, want each of %q once", skus, holds, want)
	}
}

// TestWalkVisitsEachOrderOnce: the callback may change the pages.
func TestWalkVisitsEachOrderOnce(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	const n = 60 // some seven in each of the index's shards
	for i := range n {
		accept(t, a.Store, newOrder(fmt.Sprintf("o%d", i)))
	}
	seen, pages := map[string]int{}, 0
	err := a.Store.Walk(t.Context(), []order.Status{order.StatusPending, order.StatusPaid}, 2, func(page []orderstore.Record) error {
		pages++
		if pages > n {
			return errors.New("it does not end")
		}
		for _, r := range page {
			seen[r.OrderID]++
		}
		clear(page)
		return nil
	})
	if err != nil || len(seen) != n {
		t.Errorf("orders visited = %d, error = %v, want %d and no error", len(seen), err, n)
	}
	for id, times := range seen {
		if times != 1 {
			t.Errorf("%s was visited %d times, want 1", id, times)
		}
	}
}

func TestCountUpToStopsAtTheLimit(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	for n := range 40 {
		accept(t, a.Store, newOrder("o"+string(rune('A'+n))))
	}
	for most, want := range map[int]orderstore.Count{1000: {N: 40}, 8: {N: 8, More: true}} {
		got, err := a.Store.CountUpTo(t.Context(), most, order.StatusPending, order.StatusFailed)
		if err != nil || got[order.StatusPending] != want || got[order.StatusFailed] != (orderstore.Count{}) {
			t.Errorf("up to %d: %+v %v, want %+v", most, got, err, want)
		}
	}
}
