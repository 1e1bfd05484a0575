package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestRuntimeStatusFilterCombinesWithOthers: the filter selects sagas by their status in the
// engine, together with the filters of orders. It also finds orders without a saga.
func TestRuntimeStatusFilterCombinesWithOthers(t *testing.T) {
	c := start(t)
	c.place(newOrder("done", nil), "COMPLETED")
	c.place(newOrder("forgotten", nil), "COMPLETED")
	for _, id := range []string{"held-1", "runs", "held-2", "ended"} {
		c.place(newOrder(id, expensive), "AWAITING_APPROVAL")
	}
	c.accept("queued")
	for path, want := range map[string]int{"held-1/suspend": 202, "held-2/suspend": 202, "ended/terminate": 202} {
		if a := c.post("/v1/sagas/"+path, `{}`); a.status != want {
			t.Fatalf("%s: status = %d, want %d: %s", path, a.status, want, a.body)
		}
	}
	testkit.Eventually(t, "it is purged", func() error {
		if a := c.do("DELETE", "/v1/sagas/forgotten", ""); a.status != 204 {
			return errors.New(a.body)
		}
		return nil
	})
	type page struct {
		Sagas []struct{ OrderID, RuntimeStatus, Step string }
		Next  string
	}
	list := func(query string) (p page) {
		t.Helper()
		c.get("/v1/sagas?"+query).json(t, &p)
		return p
	}
	for query, want := range map[string][]string{
		"runtimeStatus=SUSPENDED":                             {"held-2 SUSPENDED approve", "held-1 SUSPENDED approve"},
		"runtimeStatus=RUNNING":                               {"runs RUNNING approve"},
		"runtimeStatus=RUNNING,NONE":                          {"queued  ", "runs RUNNING approve"},
		"runtimeStatus=NONE":                                  {"queued  "},
		"runtimeStatus=TERMINATED":                            {"ended TERMINATED approve"},
		"runtimeStatus=COMPLETED":                             {"done COMPLETED "},
		"runtimeStatus=TERMINATED,COMPLETED,NONE":             {"queued  ", "ended TERMINATED approve", "done COMPLETED "},
		"runtimeStatus=PENDING,STALLED,FAILED":                nil,
		"runtimeStatus=SUSPENDED&status=PAID":                 nil,
		"runtimeStatus=SUSPENDED&status=COMPLETED":            nil,
		"runtimeStatus=SUSPENDED&customer=c-1&sku=A&since=1h": {"held-2 SUSPENDED approve", "held-1 SUSPENDED approve"},
		"runtimeStatus=SUSPENDED&customer=nobody":             nil,
		"runtimeStatus=SUSPENDED&before=1h":                   nil,
		"runtimeStatus=SUSPENDED&undoing=true":                nil,
		"runtimeStatus=TERMINATED&status=COMPLETED":           nil,
		"runtimeStatus=SUSPENDED&stuck=true&status=PAID":      nil,
	} {
		testkit.Eventually(t, query, func() error { // a suspension is taken in a moment later
			var got []string
			for _, one := range list(query).Sagas {
				got = append(got, one.OrderID+" "+one.RuntimeStatus+" "+one.Step)
			}
			if !slices.Equal(got, want) {
				return fmt.Errorf("%q, want %q", got, want)
			}
			return nil
		})
	}
	newest := list("runtimeStatus=SUSPENDED&limit=1")
	if len(newest.Sagas) != 1 || newest.Sagas[0].OrderID != "held-2" || newest.Next == "" {
		t.Fatalf("newest page = %+v, want only held-2 and a cursor", newest)
	}
	if older := list("runtimeStatus=SUSPENDED&limit=1&cursor=" + newest.Next); len(older.Sagas) != 1 || older.Sagas[0].OrderID != "held-1" {
		t.Errorf("older page = %+v, want only held-1", older)
	}
	c.get("/v1/sagas?runtimeStatus=ASLEEP").wantProblem(t, "no such status", 422, "query.runtimeStatus[0]", "SUSPENDED")

	var one struct{ Engine, RuntimeStatus, Step string }
	c.get("/v1/sagas/done").json(t, &one)
	if one.Engine != "embedded" || one.RuntimeStatus != "COMPLETED" || one.Step != "" {
		// the custom status of what has ended is its outcome, and no step
		t.Errorf("saga = %+v, want engine embedded, runtime status COMPLETED and no step", one)
	}
}

// accept takes an order in whose saga does not begin.
func (c client) accept(id string) {
	c.t.Helper()
	var o order.Order
	if err := json.Unmarshal([]byte(newOrder(id, nil)), &o); err != nil {
		c.t.Fatal(err)
	}
	if _, _, err := c.Store.Accept(c.t.Context(), o); err != nil {
		c.t.Error(err)
	}
}

// TestRuntimeStatusFilterReadsAtMostAThousand: a request reads at most 1000 orders, however
// many are open. The next page continues.
func TestRuntimeStatusFilterReadsAtMostAThousand(t *testing.T) {
	c := start(t)
	c.place(newOrder("held", expensive), "AWAITING_APPROVAL")
	if a := c.post("/v1/sagas/held/suspend", `{}`); a.status != 202 {
		t.Fatalf("suspend: status = %d, want 202: %s", a.status, a.body)
	}
	c.until("held", "AWAITING_APPROVAL")
	var g errgroup.Group
	g.SetLimit(16)
	for i := range 1001 {
		g.Go(func() error { c.accept(fmt.Sprint("open-", i)); return nil })
	}
	_ = g.Wait() // accept has reported it
	var seen []string
	pages := 0
	for cursor, more := "", true; more; pages++ {
		var p struct {
			Sagas []sagaView
			Next  string
		}
		c.get("/v1/sagas?runtimeStatus=SUSPENDED"+from(cursor)).json(t, &p)
		for _, one := range p.Sagas {
			seen = append(seen, fmt.Sprint(one.OrderID, " on page ", pages+1))
		}
		cursor, more = p.Next, p.Next != ""
	}
	if !slices.Equal(seen, []string{"held on page 2"}) {
		t.Errorf("saw %q on %d pages, want held, on page 2 only", seen, pages)
	}
}
