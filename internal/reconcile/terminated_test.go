package reconcile_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/activities/stock"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// TestTerminatedAndPurged: that nothing is left of a termination makes no
// difference, whoever did it.
func TestTerminatedAndPurged(t *testing.T) {
	for name, purged := range map[string]bool{"terminated": false, "and purged": true} {
		t.Run(name, func(t *testing.T) {
			l := newLeaky(t, nil)
			l.awaiting("waits")
			l.silent("sent")
			for _, id := range []string{"waits", "sent"} {
				l.must(l.Parts.Engine.Terminate(t.Context(), id, "enough"))
				_, err := l.Parts.Engine.Wait(t.Context(), id)
				l.must(err)
				if purged {
					l.must(l.Parts.Engine.Purge(t.Context(), id))
				}
			}
			actions := map[string]string{}
			for _, f := range l.once() {
				actions[f.OrderID+": "+f.What] = f.Action
			}
			const ended = "its saga has ended TERMINATED (enough)"
			if len(actions) != 2 || actions["waits: order is AWAITING_APPROVAL but "+ended] != "undone" ||
				actions["sent: order is PAID with a shipment requested, but "+ended] != "parked" {
				t.Fatalf("%q", actions)
			}
			if rec := l.is("waits", order.StatusFailed); !strings.HasPrefix(rec.Reason, ended) {
				t.Error(rec.Reason)
			}
			// An operator's retry lets it go on; if it is then lost, it is begun again.
			l.must(l.Lost(t.Context(), l.is("sent", order.StatusNeedsAttention), saga.Resolution{Action: saga.ActionRetry}))
			if rec := l.is("sent", order.StatusPaid); rec.Terminated != "" {
				t.Errorf("%s", rec.Terminated)
			}
		})
	}
}

// TestTerminatedIsKept unless the reconciler has done it, or there is nothing to
// keep it with. Until it is, the saga does not end.
func TestTerminatedIsKept(t *testing.T) {
	for reason, want := range map[string]string{
		"enough": "o enough", "": "o no reason given", strings.Repeat("x", 5000): "o " + strings.Repeat("x", 999) + "…",
		"begun anew by the reconciler": "", "dropped by the reconciler": "",
	} {
		kept := ""
		keep := reconcile.Terminated(func(_ context.Context, id, why string) error { kept = id + " " + why; return nil })
		if err := keep(t.Context(), "o", reason); err != nil || kept != want {
			t.Errorf("%.20q: %.50q %v", reason, kept, err)
		}
	}
	down := errors.New("down")
	for _, said := range []error{down, stock.ErrFinished, nil} {
		err := reconcile.Terminated(func(context.Context, string, string) error { return said })(t.Context(), "o", "")
		if (said == down) != errors.Is(err, down) || said != down && err != nil {
			t.Errorf("%v: %v", said, err)
		}
	}
}

// quicker has another reconciler's sagas, and then none.
type quicker struct{ engine.Engine }

func (quicker) Get(context.Context, string) (engine.Instance, error) {
	return engine.Instance{}, engine.ErrNotFound
}

func (q quicker) Start(context.Context, string, string, any) error { return engine.ErrActive }

// TestFindingsSayWhatHappened and not what was tried.
func TestFindingsSayWhatHappened(t *testing.T) {
	l := newLeaky(t, nil)
	l.reserved("o", "tok_ok")
	l.Sagas = quicker{l.Parts.Engine}
	l.found("order is RESERVED and has no saga", "left alone: its saga runs by now")
	if rec := l.is("o", order.StatusReserved); rec.Notes != nil {
		t.Errorf("%+v", rec.Notes)
	}
}
