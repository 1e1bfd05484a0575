package reconcile_test

import (
	"context"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// atCarrier returns for every saga that it is parked at the carrier, and keeps what
// it is sent.
type atCarrier struct {
	engine.Engine

	lost bool // the answer to ParkSaga
	sent []string
}

func (a *atCarrier) Get(context.Context, string) (engine.Instance, error) {
	return engine.Instance{Status: engine.Running, CustomStatus: "needs attention: " + workflows.StepCarrier}, nil
}

func (a *atCarrier) History(context.Context, string) ([]engine.Event, error) {
	if a.lost {
		return []engine.Event{{ID: 5, Type: "TaskScheduled", Name: workflows.ParkSaga, At: time.Now()}}, nil
	}
	return nil, nil
}

func (a *atCarrier) Terminate(context.Context, string, string) error           { return nil }
func (a *atCarrier) Wait(context.Context, string) (i engine.Instance, e error) { return i, e }
func (a *atCarrier) Purge(context.Context, string) error                       { return nil }

func (a *atCarrier) Raise(_ context.Context, _, _ string, payload any) error {
	a.sent = append(a.sent, payload.(saga.Signal).Kind)
	return nil
}

// TestParkedSagaReceivesTheCarrierAnswer: an operator's decision comes first. A retry takes
// the answer into account, even in a saga that accepts no answer while it is parked (v1). A
// saga that lost a step receives nothing.
func TestParkedSagaReceivesTheCarrierAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		decided saga.Action
		lost    bool
		found   string
		sent    []string
	}{
		"nothing decided": {"", false, "the carrier has dispatched the order and its saga still waits", []string{workflows.EventCarrier}},
		"retry decided": {
			saga.ActionRetry, false, "retry was decided and its saga still waits",
			[]string{workflows.EventCarrier, workflows.EventResolve},
		},
		"compensate decided": {saga.ActionCompensate, false, "compensate was decided and its saga still waits", []string{workflows.EventResolve}},
		"a step is lost":     {"", true, "ParkSaga never returned", nil},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLeaky(t, nil)
			l.paid("o", "tok_ok")
			require.NoError(l, l.Store.MarkShipmentRequested(t.Context(), "o", "shp-o"))
			require.NoError(l, l.Store.MarkNeedsAttention(t.Context(), "o", "carrier: no carrier within 1h"))
			_, _, err := l.Store.RecordCarrierAnswer(
				t.Context(),
				"o",
				orderstore.CarrierAnswer{ShipmentID: "shp-o", Answer: orderstore.Dispatched, TrackingID: "trk"},
			)
			require.NoError(l, err)
			if c.decided != "" {
				require.NoError(l,
					l.Store.Resolve(t.Context(), "o", workflows.StepCarrier, string(c.decided), orderstore.Note{Actor: "ann", Action: string(c.decided)}),
				)
			}
			e := &atCarrier{Engine: l.Parts.Engine, lost: c.lost}
			l.Sagas = e
			if c.lost {
				l.found(c.found, "saga dropped")
				return
			}
			l.found(c.found, "signal resent")
			if got, want := e.sent, c.sent; len(got) != len(want) || got[0] != want[0] || got[len(got)-1] != want[len(want)-1] {
				t.Errorf("sent %v, want %v", got, want)
			}
		})
	}
}

// TestChargeWithAFutureDateHidesNoOthers: a charge with a date ahead of the clock does not
// hide the charges that follow.
func TestChargeWithAFutureDateHidesNoOthers(t *testing.T) {
	l, p := lied(t)
	l.Now, l.Grace = time.Now, 10*time.Millisecond
	l.sold(l.paid("ahead", "tok_ok"))
	p.entries = func(list []payment.Entry) []payment.Entry {
		for i, e := range list {
			if e.OrderID == "ahead" {
				list[i].CreatedAt = e.CreatedAt.AddDate(70, 0, 0)
			}
		}
		return list
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	walks := &rounds{Payments: p, done: make(chan int)}
	l.Payments = walks
	go func() { ended <- l.Reconciler.Run(ctx, time.Millisecond) }()
	walks.wait(2)
	l.charged(l.accepted("kept", "tok_ok"))
	require.NoError(l, l.Store.End(t.Context(), "kept", order.StatusFailed, "by hand"))
	for runs := 0; l.charges()["kept"].stand > 0 && runs < 200; runs++ {
		walks.wait(1)
	}
	cancel()
	require.NoError(l, <-ended)
	l.refunded("kept")
}
