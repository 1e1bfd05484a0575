package reconcile_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
)

// leaky is a running system in which leaks can be built by hand.
type leaky struct {
	*testing.T
	testkit.System
	reconcile.Reconciler
}

// newLeaky has a reconciler that lives an hour later, when everything has been
// left alone for long enough.
func newLeaky(t *testing.T, change func(*awslocal.Options)) leaky {
	t.Helper()
	s := testkit.NewSystem(t, nil, change)
	s.SetStock(t, map[string]int64{"A": 1000})
	r := s.Worker.Reconciler()
	r.Now = func() time.Time { return time.Now().Add(time.Hour) }
	return leaky{t, s, r}
}

func (l leaky) accepted(id, token string) order.Order {
	l.Helper()
	o := order.Order{
		OrderID: id, CustomerID: "c-1", Currency: "EUR", Payment: order.Payment{Token: token},
		Lines: []order.Line{{SKU: "A", Quantity: 2, UnitPrice: 100}},
	}
	_, _, err := l.Store.Accept(l.Context(), o)
	require.NoError(l, err)
	return o
}

func (l leaky) reserved(id, token string) order.Order {
	l.Helper()
	o := l.accepted(id, token)
	_, err := l.Store.Reserve(l.Context(), o)
	require.NoError(l, err)
	return o
}

func (l leaky) charged(o order.Order) {
	l.Helper()
	_, err := l.Parts.Payments.Charge(
		l.Context(),
		payment.Charge{OrderID: o.OrderID, Amount: o.Total(), Currency: o.Currency, Token: o.Payment.Token},
	)
	require.NoError(l, err)
}

func (l leaky) paid(id, token string) order.Order {
	l.Helper()
	o := l.reserved(id, token)
	l.charged(o)
	require.NoError(l, l.Store.MarkPaid(l.Context(), id, "ch_charge-"+id))
	return o
}

// killed leaves a saga of that id that was terminated before it did anything:
// there is no order yet. A step of it may still be running, so its steps are
// about an order that the test does not check.
func (l leaky) killed(id string) {
	l.Helper()
	require.NoError(l, l.Parts.Engine.Start(l.Context(), workflows.OrderSaga, id, workflows.State{Order: order.Order{OrderID: "not-" + id}}))
	require.NoError(l, l.Parts.Engine.Terminate(l.Context(), id, "test"))
	_, err := l.Parts.Engine.Wait(l.Context(), id)
	require.NoError(l, err)
}

// heldUp has a saga running whose payment provider is down.
func (l leaky) heldUp(id string) {
	l.Helper()
	o := l.accepted(id, "tok_down")
	terms := l.Terms
	terms.TimeScale = 0.1 // held up for half a minute, however slow the machine
	require.NoError(l, l.Parts.Engine.Start(l.Context(), workflows.OrderSaga, id, workflows.State{Order: o.WithoutToken(), Terms: terms}))
	testkit.Eventually(l, "it is held up", func() error {
		if rec, err := l.Store.Get(l.Context(), id); err != nil || rec.Status != order.StatusReserved {
			return fmt.Errorf("%+v %w", rec, err)
		}
		return nil
	})
}

// awaiting has a saga running that waits for approval.
func (l leaky) awaiting(id string) {
	l.Helper()
	o := l.accepted(id, "tok_ok")
	terms := l.Terms
	terms.ApprovalAbove, terms.ApprovalTimeout = 1, time.Hour
	require.NoError(l, l.Parts.Engine.Start(l.Context(), workflows.OrderSaga, id, workflows.State{Order: o.WithoutToken(), Terms: terms}))
	testkit.Eventually(l, "it waits", func() error {
		if i, err := l.Parts.Engine.Get(l.Context(), id); err != nil || i.CustomStatus != workflows.StepApprove {
			return fmt.Errorf("%+v %w", i, err)
		}
		return nil
	})
}

// silent has a saga running that waits for the carrier.
func (l leaky) silent(id string) {
	l.Helper()
	o := l.accepted(id, "tok_ok")
	o.ShipTo = &order.Address{Name: "SILENT"}
	require.NoError(l, l.Parts.Engine.Start(l.Context(), workflows.OrderSaga, id, workflows.State{Order: o.WithoutToken(), Terms: l.Terms}))
	testkit.Eventually(l, "it waits for the carrier", func() error {
		if i, err := l.Parts.Engine.Get(l.Context(), id); err != nil || i.CustomStatus != workflows.StepCarrier {
			return fmt.Errorf("%+v %w", i, err)
		}
		return nil
	})
}

func (l leaky) once() []reconcile.Finding {
	l.Helper()
	rep, err := l.Once(l.Context())
	require.NoError(l, err)
	return rep.Findings
}

var seconds = regexp.MustCompile(`(\d+h\d+m)\d+s`)

// found expects exactly one finding, of which what is a part.
func (l leaky) found(what, action string) {
	l.Helper()
	f := l.once()
	for i := range f { // on a slow machine some seconds go by
		f[i].What = seconds.ReplaceAllString(f[i].What, "${1}0s")
	}
	if len(f) != 1 || !strings.Contains(f[0].What, what) || f[0].Action != action || f[0].Error != "" {
		l.Errorf("found %+v, want one finding with %q, action %q and no error", f, what, action)
	}
}

func (l leaky) nothing() {
	l.Helper()
	if f := l.once(); len(f) != 0 {
		l.Errorf("found %+v, want nothing", f)
	}
}

func (l leaky) is(id string, want order.Status) orderstore.Record {
	l.Helper()
	rec, err := l.Store.Get(l.Context(), id)
	if err != nil || rec.Status != want {
		l.Errorf("%s is %s (%v), want %s", id, rec.Status, err, want)
	}
	return rec
}

func (l leaky) level(available, reserved, sold int64) {
	l.Helper()
	v, err := l.Store.GetLevel(l.Context(), "A")
	if err != nil || v.Available != available || v.Reserved != reserved || v.Sold != sold {
		l.Errorf("level = %+v, error = %v, want %d available, %d reserved, %d sold", v, err, available, reserved, sold)
	}
}

// charges is how many charges one order has at the provider, and how many of them stand.
type charges struct{ made, stand int }

// charges returns the whole ledger of the provider, by order.
func (l leaky) charges() map[string]charges {
	l.Helper()
	of := map[string]charges{}
	for page, err := range l.Parts.Payments.ChargesSince(l.Context(), time.Time{}) {
		require.NoError(l, err)
		for _, e := range page {
			require.NoError(l, e.Invalid)
			c := of[e.OrderID]
			c.made++
			if !e.Refunded {
				c.stand++
			}
			of[e.OrderID] = c
		}
	}
	return of
}

// kept expects that an order was charged once, and that the charge stands.
func (l leaky) kept(id string) {
	l.Helper()
	if c := l.charges()[id]; c != (charges{made: 1, stand: 1}) {
		l.Errorf("charges of order %s = %d, of which %d stand, want 1 that stands", id, c.made, c.stand)
	}
}

// refunded expects that an order was charged once, and that the charge was refunded.
func (l leaky) refunded(id string) {
	l.Helper()
	if c := l.charges()[id]; c != (charges{made: 1}) {
		l.Errorf("charges of order %s = %d, of which %d stand, want 1 that is refunded", id, c.made, c.stand)
	}
}
