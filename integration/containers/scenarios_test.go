package containers

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/internal/deadletter"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// scenarios use separate SKUs, so they run concurrently.
var scenarios = map[string]func(shop){
	"happy path":                      happyPath,
	"out of stock on the second line": outOfStock,
	"declined":                        declined,
	"flaky payment":                   flakyPayment,
	"charged but the answer lost":     answerLost,
	"refused by the carrier":          refused,
	"cancelled before and after":      cancelled,
	"approved, refused, timed out":    approvals,
	"the same message five times":     fiveTimes,
	"poison among good ones":          poison,
	"compensation that keeps failing": compensationFails,
	"more orders than stock":          rush,
}

// TestOrders runs the scenarios on our own AWS endpoint.
func TestOrders(t *testing.T) {
	requireStack(t)
	runAll(t, 300)
}

// runAll runs every scenario, with that many units of its SKU on hand.
func runAll(t *testing.T, units int64) {
	t.Run("side by side", func(t *testing.T) {
		for name, scenario := range scenarios {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				scenario(newShop(t, units))
			})
		}
	})
	wantInvariants(t)
}

func happyPath(s shop) {
	id := s.place(s.order("a"))
	if saga := s.waitForStatus(id, order.StatusCompleted); saga.ShipmentID == "" || saga.ChargeID == "" || saga.TrackingID == "" {
		s.Errorf("saga = %+v, want shipment, charge and tracking ids", saga)
	}
	s.wantCharged(id, 1, false)
	s.wantSold(2)
}

func outOfStock(s shop) {
	id := s.place(s.order("a", func(o *order.Order) {
		o.Lines = []order.Line{
			o.Lines[0], {SKU: s.sku + ".none", Quantity: 1, UnitPrice: 1}, {SKU: s.sku + ".too", Quantity: 1, UnitPrice: 1},
		}
	}))
	saga := s.waitForStatus(id, order.StatusRejected)
	if !slices.Contains(saga.ShortSKUs, s.sku+".none") || slices.Contains(saga.ShortSKUs, s.sku) {
		s.Errorf("short SKUs = %v, want %s.none and not %s", saga.ShortSKUs, s.sku, s.sku)
	}
	s.wantCharged(id, 0, false)
	s.wantSold(0)
}

func declined(s shop) {
	id := s.place(s.order("a", paidWith("tok_declined")))
	s.waitForStatus(id, order.StatusDeclined)
	s.wantCharged(id, 0, false)
	s.wantSold(0)
}

func flakyPayment(s shop) {
	id := s.place(s.order("a", paidWith("tok_flaky_2")))
	s.waitForStatus(id, order.StatusCompleted)
	s.wantCharged(id, 1, false)
	s.wantSold(2)
}

func answerLost(s shop) {
	id := s.place(s.order("a", paidWith("tok_lost_response")))
	s.waitForStatus(id, order.StatusCompleted)
	s.wantCharged(id, 1, false)
	s.wantSold(2)
}

func refused(s shop) {
	id := s.place(s.order("a", shippedTo("REFUSE")))
	s.waitForStatus(id, order.StatusFailed)
	s.wantCharged(id, 1, true)
	s.wantSold(0)
}

func cancelled(s shop) {
	before := s.place(s.order("before", expensive))
	s.waitForStatus(before, order.StatusAwaitingApproval)
	s.act(before, "cancel", "changed my mind")
	s.waitForStatus(before, order.StatusCancelled)
	s.wantCharged(before, 0, false)

	after := s.place(s.order("after"))
	s.waitForStatus(after, order.StatusCompleted)
	const want = "the shipment has been requested"
	err := s.call(http.MethodPost, "/v1/sagas/"+after+"/cancel", nil, nil)
	if err == nil || !strings.Contains(err.Error(), want) {
		s.Errorf("cancel after the shipment: error = %v, want one with %q", err, want)
	}
	s.wantCharged(after, 1, false)
	s.wantSold(2)
}

func approvals(s shop) {
	yes, no, never := s.place(s.order("yes", expensive)), s.place(s.order("no", expensive)), s.place(s.order("never", expensive))
	for _, id := range []string{yes, no, never} {
		s.waitForStatus(id, order.StatusAwaitingApproval)
	}
	s.act(yes, "approve", "fine")
	s.act(no, "reject", "too expensive")
	s.waitForStatus(yes, order.StatusCompleted)
	s.waitForStatus(no, order.StatusCancelled)
	if saga := s.waitForStatus(never, order.StatusCancelled); !strings.Contains(saga.Reason, "nobody approved") {
		s.Errorf("reason of %s = %q, want one with %q", never, saga.Reason, "nobody approved")
	}
	s.wantCharged(never, 0, false)
	s.wantSold(2)
}

func fiveTimes(s shop) {
	o := s.order("a")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { s.send(jsonOf(o)) })
	}
	wg.Wait()
	s.waitForStatus(o.OrderID, order.StatusCompleted)
	s.send(jsonOf(o))
	last := s.place(s.order("last")) // in the queue behind the duplicate, or near it
	s.waitForStatus(last, order.StatusCompleted)
	s.wantCharged(o.OrderID, 1, false)
	s.wantSold(4)
}

func poison(s shop) {
	repairable := s.order("repairable")
	repairable.Lines[0].Quantity = 0
	good1, good2 := s.order("good1"), s.order("good2")
	s.send(jsonOf(good1), "{", jsonOf(repairable), `{"orderId":"`+s.sku+`-x","version":"99"}`, jsonOf(good2))
	s.waitForStatus(good1.OrderID, order.StatusCompleted)
	s.waitForStatus(good2.OrderID, order.StatusCompleted)
	var found deadletter.Message
	s.waitFor("the messages are dead letters with reasons", func() error {
		var list struct{ Letters []deadletter.Message }
		if err := s.call(http.MethodGet, "/v1/dead-letters/OrderProcessingQueue?limit=50", nil, &list); err != nil {
			return err
		}
		for _, l := range list.Letters {
			if strings.Contains(l.Body, repairable.OrderID) {
				found = l
			}
			if l.Reason == "" {
				return fmt.Errorf("dead letter %s has no reason", l.ID)
			}
		}
		if found.ID == "" {
			return fmt.Errorf("no dead letter among %d is of order %s", len(list.Letters), repairable.OrderID)
		}
		return nil
	})
	if !strings.Contains(found.Reason, "quantity") {
		s.Errorf("reason = %q, want one that names the quantity", found.Reason)
	}
	repairable.Lines[0].Quantity = 1
	path := "/v1/dead-letters/OrderProcessingQueue/" + found.ID + "/redrive"
	// The dead letter stays invisible for some seconds after the list has read it.
	s.waitFor("the corrected dead letter is redriven", func() error {
		return s.call(http.MethodPost, path, map[string]string{"body": jsonOf(repairable)}, nil)
	})
	s.waitForStatus(repairable.OrderID, order.StatusCompleted)
	s.wantSold(5)
}

func compensationFails(s shop) {
	id := s.place(s.order("a", paidWith("tok_refund_down"), shippedTo("REFUSE")))
	s.waitForStatus(id, order.StatusNeedsAttention)
	var stuck struct{ Sagas []api.Saga }
	require.NoError(s, s.call(http.MethodGet, "/v1/sagas?stuck=true&status=NEEDS_ATTENTION", nil, &stuck))
	if !slices.ContainsFunc(stuck.Sagas, func(saga api.Saga) bool { return saga.OrderID == id && saga.LastError != "" }) {
		s.Errorf("stuck sagas = %+v, want %s with its last error", stuck, id)
	}
	require.NoError(s, system.sims.HealPayments(s.Context()))
	s.act(id, "resolve", "the provider is back")
	s.waitForStatus(id, order.StatusFailed)
	s.wantCharged(id, 1, true)
	s.wantSold(0)
}

// rush places ten orders for every three units. Exactly one order for each unit completes, and
// the others are rejected.
func rush(s shop) {
	var bodies []string
	orders := s.stocked * 10 / 3
	for n := range orders {
		o := s.order(strconv.FormatInt(n, 10))
		o.Lines[0].Quantity = 1
		bodies = append(bodies, jsonOf(o))
	}
	s.send(bodies...)
	s.wantSold(s.stocked)
	count := func(st order.Status) (n int64) {
		for from := ""; ; {
			var page struct {
				Sagas []api.Saga
				Next  string
			}
			path := "/v1/sagas?limit=1000&since=1h&status=" + string(st) + "&sku=" + s.sku + from
			require.NoError(s, s.call(http.MethodGet, path, nil, &page))
			n += int64(len(page.Sagas))
			if page.Next == "" {
				return n
			}
			from = "&cursor=" + page.Next
		}
	}
	for st, want := range map[order.Status]int64{order.StatusCompleted: s.stocked, order.StatusRejected: orders - s.stocked} {
		s.waitFor(fmt.Sprint(want, " orders are ", st), func() error {
			if n := count(st); n != want {
				return fmt.Errorf("orders with status %s = %d, want %d", st, n, want)
			}
			return nil
		})
	}
	s.wantSold(s.stocked)
}
