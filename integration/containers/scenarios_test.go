package containers

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/internal/deadletter"
	"github.com/ordersaga/ordersaga/internal/order"
)

// scenarios leave each other alone; they run side by side.
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

// TestOrders runs them on our own AWS endpoint.
func TestOrders(t *testing.T) {
	need(t)
	runAll(t, 300)
}

// runAll gives every scenario so many pieces of its SKU.
func runAll(t *testing.T, pieces int64) {
	t.Run("side by side", func(t *testing.T) {
		for name, scenario := range scenarios {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				scenario(open(t, pieces))
			})
		}
	})
	allHolds(t)
}

func happyPath(s shop) {
	id := s.place(s.order("a"))
	if saga := s.until(id, order.StatusCompleted); saga.ShipmentID == "" || saga.ChargeID == "" || saga.TrackingID == "" {
		s.Errorf("%+v", saga)
	}
	s.charged(id, 1, false)
	s.sold(2)
}

func outOfStock(s shop) {
	id := s.place(s.order("a", func(o *order.Order) {
		o.Lines = []order.Line{o.Lines[0], {SKU: s.sku + ".none", Quantity: 1, UnitPrice: 1}, {SKU: s.sku + ".too", Quantity: 1, UnitPrice: 1}}
	}))
	saga := s.until(id, order.StatusRejected)
	if !slices.Contains(saga.ShortSKUs, s.sku+".none") || slices.Contains(saga.ShortSKUs, s.sku) {
		s.Errorf("short of %v", saga.ShortSKUs)
	}
	s.charged(id, 0, false)
	s.sold(0)
}

func declined(s shop) {
	id := s.place(s.order("a", paidWith("tok_declined")))
	s.until(id, order.StatusDeclined)
	s.charged(id, 0, false)
	s.sold(0)
}

func flakyPayment(s shop) {
	id := s.place(s.order("a", paidWith("tok_flaky_2")))
	s.until(id, order.StatusCompleted)
	s.charged(id, 1, false)
	s.sold(2)
}

func answerLost(s shop) {
	id := s.place(s.order("a", paidWith("tok_lost_response")))
	s.until(id, order.StatusCompleted)
	s.charged(id, 1, false)
	s.sold(2)
}

func refused(s shop) {
	id := s.place(s.order("a", shippedTo("REFUSE")))
	s.until(id, order.StatusFailed)
	s.charged(id, 1, true)
	s.sold(0)
}

func cancelled(s shop) {
	before := s.place(s.order("before", dear))
	s.until(before, order.StatusAwaitingApproval)
	s.act(before, "cancel", "changed my mind")
	s.until(before, order.StatusCancelled)
	s.charged(before, 0, false)

	after := s.place(s.order("after"))
	s.until(after, order.StatusCompleted)
	if err := s.call(http.MethodPost, "/v1/sagas/"+after+"/cancel", nil, nil); err == nil || !strings.Contains(err.Error(), "can no longer be cancelled") {
		s.Errorf("cancelled after the shipment: %v", err)
	}
	s.charged(after, 1, false)
	s.sold(2)
}

func approvals(s shop) {
	yes, no, never := s.place(s.order("yes", dear)), s.place(s.order("no", dear)), s.place(s.order("never", dear))
	for _, id := range []string{yes, no, never} {
		s.until(id, order.StatusAwaitingApproval)
	}
	s.act(yes, "approve", "fine")
	s.act(no, "reject", "too dear")
	s.until(yes, order.StatusCompleted)
	s.until(no, order.StatusCancelled)
	if saga := s.until(never, order.StatusCancelled); !strings.Contains(saga.Reason, "nobody approved") {
		s.Errorf("%s: %s", never, saga.Reason)
	}
	s.charged(never, 0, false)
	s.sold(2)
}

func fiveTimes(s shop) {
	o := s.order("a")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { s.send(text(o)) })
	}
	wg.Wait()
	s.until(o.OrderID, order.StatusCompleted)
	s.send(text(o))
	last := s.place(s.order("last")) // behind it in the queue, or nearly
	s.until(last, order.StatusCompleted)
	s.charged(o.OrderID, 1, false)
	s.sold(4)
}

func poison(s shop) {
	mendable := s.order("mendable")
	mendable.Lines[0].Quantity = 0
	good1, good2 := s.order("good1"), s.order("good2")
	s.send(text(good1), "{", text(mendable), `{"orderId":"`+s.sku+`-x","version":"99"}`, text(good2))
	s.until(good1.OrderID, order.StatusCompleted)
	s.until(good2.OrderID, order.StatusCompleted)
	var found deadletter.Message
	s.eventually("the dead letters are there, with their reasons", func() error {
		var list struct{ Letters []deadletter.Message }
		if err := s.call(http.MethodGet, "/v1/dead-letters/OrderProcessingQueue?limit=50", nil, &list); err != nil {
			return err
		}
		for _, l := range list.Letters {
			if strings.Contains(l.Body, mendable.OrderID) {
				found = l
			}
			if l.Reason == "" {
				return fmt.Errorf("%s has no reason", l.ID)
			}
		}
		if found.ID == "" {
			return fmt.Errorf("%d letters, and not ours", len(list.Letters))
		}
		return nil
	})
	if !strings.Contains(found.Reason, "quantity") {
		s.Errorf("the reason is %s", found.Reason)
	}
	mendable.Lines[0].Quantity = 1
	s.eventually("it is mended and put back", func() error { // it is hidden for some seconds after it was read
		return s.call(http.MethodPost, "/v1/dead-letters/OrderProcessingQueue/"+found.ID+"/redrive", map[string]string{"body": text(mendable)}, nil)
	})
	s.until(mendable.OrderID, order.StatusCompleted)
	s.sold(5)
}

func compensationFails(s shop) {
	id := s.place(s.order("a", paidWith("tok_refund_down"), shippedTo("REFUSE")))
	s.until(id, order.StatusNeedsAttention)
	var stuck struct{ Sagas []api.Saga }
	if err := s.call(http.MethodGet, "/v1/sagas?stuck=true&status=NEEDS_ATTENTION", nil, &stuck); err != nil || !slices.ContainsFunc(stuck.Sagas, func(saga api.Saga) bool { return saga.OrderID == id && saga.LastError != "" }) {
		s.Errorf("%+v %v", stuck, err)
	}
	if err := system.sims.HealPayments(s.Context()); err != nil {
		s.Fatal(err)
	}
	s.act(id, "retry", "the provider is back")
	s.until(id, order.StatusFailed)
	s.charged(id, 1, true)
	s.sold(0)
}

// rush: of 1,000 orders for 300 pieces exactly 300 succeed; as many to one where
// there are fewer pieces.
func rush(s shop) {
	var bodies []string
	orders := s.stocked * 10 / 3
	for n := range orders {
		o := s.order(fmt.Sprint(n))
		o.Lines[0].Quantity = 1
		bodies = append(bodies, text(o))
	}
	s.send(bodies...)
	s.sold(s.stocked)
	count := func(st order.Status) (n int64) {
		for from := ""; ; {
			var page struct {
				Sagas []api.Saga
				Next  string
			}
			if err := s.call(http.MethodGet, "/v1/sagas?limit=1000&since=1h&status="+string(st)+"&sku="+s.sku+from, nil, &page); err != nil {
				s.Fatal(err)
			}
			n += int64(len(page.Sagas))
			if page.Next == "" {
				return n
			}
			from = "&cursor=" + page.Next
		}
	}
	for st, want := range map[order.Status]int64{order.StatusCompleted: s.stocked, order.StatusRejected: orders - s.stocked} {
		s.eventually(fmt.Sprint(want, " are ", st), func() error {
			if n := count(st); n != want {
				return fmt.Errorf("%d", n)
			}
			return nil
		})
	}
	s.sold(s.stocked)
}
