package reconcile_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// TestLostOrdersAreRestartedWithinTheCapacity: the orders that were accepted first are
// restarted first.
func TestLostOrdersAreRestartedWithinTheCapacity(t *testing.T) {
	l := newLeaky(t, nil)
	for i := range 5 {
		l.accepted(fmt.Sprint("o", i), "tok_ok")
	}
	room := 2
	l.Capacity = func(_ context.Context, lost int) int {
		if lost < 1 || lost > 5 {
			t.Errorf("lost orders = %d, want 1 to 5", lost)
		}
		return room
	}
	for i, want := range [][]string{{"o0", "o1"}, {"o2", "o3"}} {
		rep, err := l.Once(t.Context())
		require.NoError(l, err)
		left := 3 - 2*i
		if len(rep.Findings) != 2 || rep.Findings[0].OrderID != want[0] || rep.Findings[1].OrderID != want[1] || rep.Left != left {
			t.Errorf("report = %+v, want findings of %s, and %d orders left", rep, want, left)
		}
		for _, id := range want {
			_, err := l.Parts.Engine.Wait(t.Context(), id)
			require.NoError(l, err)
		}
	}
	for _, room = range []int{0, -7} {
		if rep, err := l.Once(t.Context()); err != nil || len(rep.Findings) != 0 || rep.Left != 1 {
			t.Errorf("report = %+v, error = %v, want no findings, and 1 order left", rep, err)
		}
	}
}

// TestWaitingLostOrdersTakeNoCapacity: an order that waits for an operator or the carrier is
// not live, so it does not count.
func TestWaitingLostOrdersTakeNoCapacity(t *testing.T) {
	l := newLeaky(t, nil)
	l.accepted("works", "tok_ok")
	l.paid("shipped", "tok_ok")
	require.NoError(l, l.Store.MarkShipmentRequested(t.Context(), "shipped", "shp-shipped"))
	_, err := l.Store.ReserveForApproval(t.Context(), l.accepted("asleep", "tok_ok"), time.Hour)
	require.NoError(l, err)
	asked := 0
	l.Capacity = func(_ context.Context, lost int) int { asked = lost; return 0 }
	if rep, err := l.Once(t.Context()); err != nil || rep.Left != 3 || asked != 1 {
		t.Errorf("room was asked for %d orders, want 1; report = %+v, error = %v, want 3 orders left", asked, rep, err)
	}
}

// TestOrdersInTheQueueAreLeftAlone: an order whose message has waited for hours is restarted.
func TestOrdersInTheQueueAreLeftAlone(t *testing.T) {
	l := newLeaky(t, nil)
	o := order.Order{
		OrderID:    "q",
		CustomerID: "c",
		Currency:   "EUR",
		Payment:    order.Payment{Token: "tok_ok"},
		Lines:      []order.Line{{SKU: "A", Quantity: 2, UnitPrice: 100}},
	}
	_, _, err := l.Store.AcceptQueued(t.Context(), o)
	require.NoError(l, err)
	waiting := 3
	l.Backlog = func(context.Context) (int, error) { return waiting, nil }
	if rep, err := l.Once(t.Context()); err != nil || len(rep.Findings) != 0 || rep.Left != 1 {
		t.Errorf("report = %+v, error = %v, want no findings, and 1 order left", rep, err)
	}
	l.accepted("received", "tok_ok") // its message was received, and the receiver crashed
	l.found("order is PENDING and has no saga", "saga started again")
	l.is("q", order.StatusPending)
	_, err = l.Parts.Engine.Wait(t.Context(), "received")
	require.NoError(l, err)

	l.Now = func() time.Time { return time.Now().Add(3 * time.Hour) }
	l.found("order is PENDING and has no saga", "saga started again")
	_, err = l.Parts.Engine.Wait(t.Context(), "q")
	require.NoError(l, err)

	waiting, o.OrderID = 0, "lost"
	_, _, err = l.Store.AcceptQueued(t.Context(), o)
	require.NoError(l, err)
	l.Now = func() time.Time { return time.Now().Add(time.Hour) }
	l.found("order is PENDING and has no saga", "saga started again")
}

// TestWorkerReportsItsCapacityAndBacklog: no worker consumes orders, as if there were no
// capacity.
func TestWorkerReportsItsCapacityAndBacklog(t *testing.T) {
	s := testkit.NewSystem(t, func(w *worker.Worker) { w.NoIntake, w.MaxLive = true, 3 }, nil)
	s.SetStock(t, map[string]int64{"A": 1000})
	r := s.Worker.Reconciler()
	r.Now = func() time.Time { return time.Now().Add(time.Hour) }
	l := leaky{t, s, r}
	body := `{"orderId":"o","customerId":"c","currency":"EUR","lines":[{"sku":"A","quantity":1,"unitPrice":1}],"payment":{"token":"tok_ok"}}`
	res, err := http.Post(s.API+"/v1/orders", "application/json", strings.NewReader(body))
	require.NoError(l, err)
	require.NoError(l, res.Body.Close())
	testkit.Eventually(t, "it is in the queue", func() error {
		if n, err := r.Backlog(t.Context()); err != nil || n != 1 {
			return fmt.Errorf("%d messages %w", n, err)
		}
		return nil
	})
	if rep, err := l.Once(t.Context()); err != nil || len(rep.Findings) != 0 || rep.Left != 1 {
		t.Errorf("report = %+v, error = %v, want no findings, and 1 order left", rep, err)
	}
	if n := r.Capacity(t.Context(), 7); n != 3 {
		t.Errorf("capacity = %d, want 3", n)
	}
	l.heldUp("held")
	if n := r.Capacity(t.Context(), 7); n != 2 {
		t.Errorf("capacity = %d, want 2", n)
	}
}

// taken has its saga since the reconciler has looked.
type taken struct {
	engine.Engine

	looks int
}

func (s *taken) Get(_ context.Context, id string) (engine.Instance, error) {
	s.looks++
	if s.looks == 1 {
		return engine.Instance{}, engine.ErrNotFound
	}
	return engine.Instance{ID: id, Status: engine.Running}, nil
}

func TestOrderThatIntakeStartsMeanwhileIsNoFinding(t *testing.T) {
	l := newLeaky(t, nil)
	l.accepted("o", "tok_ok")
	l.Sagas = &taken{Engine: l.Parts.Engine}
	l.nothing()
}

var _ reconcile.Sagas = (*taken)(nil)
