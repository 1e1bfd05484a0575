package reconcile_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// TestPurgeDoesNotHideATermination: the reconciler treats a terminated saga and a purged one
// alike.
func TestPurgeDoesNotHideATermination(t *testing.T) {
	for name, purged := range map[string]bool{"terminated": false, "terminated and purged": true} {
		t.Run(name, func(t *testing.T) {
			l := newLeaky(t, nil)
			l.awaiting("waits")
			l.silent("sent")
			for _, id := range []string{"waits", "sent"} {
				require.NoError(l, l.Parts.Engine.Terminate(t.Context(), id, "enough"))
				_, err := l.Parts.Engine.Wait(t.Context(), id)
				require.NoError(l, err)
				if purged {
					require.NoError(l, l.Parts.Engine.Purge(t.Context(), id))
				}
			}
			actions := map[string]string{}
			for _, f := range l.once() {
				actions[f.OrderID+": "+f.What] = f.Action
			}
			const ended = "its saga has ended TERMINATED (enough)"
			if len(actions) != 2 || actions["waits: order is AWAITING_APPROVAL but "+ended] != "undone" ||
				actions["sent: order is PAID with a shipment requested, but "+ended] != "parked" {
				t.Fatalf("actions = %q, want 2: waits undone and sent parked, both since %s", actions, ended)
			}
			if rec := l.is("waits", order.StatusFailed); !strings.HasPrefix(rec.Reason, ended) {
				t.Errorf("reason = %q, want it to begin with %q", rec.Reason, ended)
			}
			// An operator's retry lets it go on; if it is then lost, it is begun again.
			sent := l.is("sent", order.StatusNeedsAttention)
			require.NoError(l, l.ResolveWithoutSaga(t.Context(), sent, saga.Resolution{Action: saga.ActionRetry}))
			if rec := l.is("sent", order.StatusPaid); rec.Terminated != "" {
				t.Errorf("termination on record = %q, want none", rec.Terminated)
			}
		})
	}
}

// TestTerminationKeepsTheEarlierDecision: the decision determines the reason and the final
// status.
func TestTerminationKeepsTheEarlierDecision(t *testing.T) {
	l := newLeaky(t, nil)
	for id, decide := range map[string]func(id string) error{
		"cancelled": func(id string) error {
			return l.Store.RequestCancel(t.Context(), id, orderstore.Note{Actor: "ann", Action: orderstore.NoteCancel, Text: "why"})
		},
		"rejected": func(id string) error {
			return l.Store.Decide(t.Context(), id, orderstore.Rejected, orderstore.Note{Actor: "ann", Action: orderstore.NoteReject, Text: "why"})
		},
		"expired": func(id string) error {
			return l.Store.Decide(t.Context(), id, orderstore.Expired,
				orderstore.Note{Actor: "saga", Action: orderstore.NoteExpire, Text: "nobody approved it"})
		},
		"approved": func(id string) error {
			return l.Store.Decide(t.Context(), id, orderstore.Approved, orderstore.Note{Actor: "ann", Action: orderstore.NoteApprove})
		},
	} {
		_, err := l.Store.ReserveForApproval(t.Context(), l.accepted(id, "tok_ok"), 0)
		require.NoError(l, errors.Join(err, decide(id), l.Store.MarkTerminated(t.Context(), id, "enough")))
	}
	f := l.once()
	if len(f) != 4 || slices.ContainsFunc(f, func(f reconcile.Finding) bool { return f.Action != "undone" }) {
		t.Errorf("findings = %+v, want 4, all undone", f)
	}
	for id, want := range map[string]string{
		"cancelled": "cancelled by ann: why", "rejected": "approval refused by ann: why",
		"expired": "nobody approved it",
	} {
		if rec := l.is(id, order.StatusCancelled); rec.Reason != want {
			t.Errorf("reason of order %s = %q, want %q", id, rec.Reason, want)
		}
	}
	l.is("approved", order.StatusFailed)
}

// TestRestartClearsTheTermination: an order that the carrier has refused gets another saga. If
// that saga is lost, the order does not count as terminated.
func TestRestartClearsTheTermination(t *testing.T) {
	l := newLeaky(t, nil)
	o := l.paid("o", "tok_refund_down")
	require.NoError(l, l.Store.MarkShipmentRequested(t.Context(), "o", "shp-o"))
	_, _, err := l.Store.RecordCarrierAnswer(
		t.Context(),
		o.OrderID,
		orderstore.CarrierAnswer{ShipmentID: "shp-o", Answer: orderstore.Refused, Reason: "island"},
	)
	require.NoError(l, errors.Join(err, l.Store.MarkTerminated(t.Context(), "o", "enough")))
	l.found("order is PAID and refused by the carrier, but its saga has ended TERMINATED (enough)", "saga started again")
	if rec, err := l.Store.Get(t.Context(), "o"); err != nil || rec.Terminated != "" {
		t.Errorf("termination on record = %q, error = %v, want none", rec.Terminated, err)
	}
}

// TestTerminationIsRecordedWithTheOrder: the reason is recorded unless the reconciler
// terminated the saga, or the order does not exist. The saga does not end before that.
func TestTerminationIsRecordedWithTheOrder(t *testing.T) {
	for reason, want := range map[string]string{
		"enough": "o enough", "": "o no reason given", strings.Repeat("x", 5000): "o " + strings.Repeat("x", 999) + "…",
		"begun anew by the reconciler": "", "dropped by the reconciler": "",
	} {
		kept := ""
		keep := reconcile.Terminated(func(_ context.Context, id, why string) error { kept = id + " " + why; return nil })
		if err := keep(t.Context(), "o", reason); err != nil || kept != want {
			t.Errorf("reason %.20q: kept = %.50q, error = %v, want %.50q", reason, kept, err, want)
		}
	}
	down := errors.New("down")
	for said, want := range map[error]error{down: down, orderstore.ErrFinished: nil} {
		err := reconcile.Terminated(func(context.Context, string, string) error { return said })(t.Context(), "o", "")
		if !errors.Is(err, want) {
			t.Errorf("the store returned %v: error = %v, want %v", said, err, want)
		}
	}
}

// quicker returns for a start that another one was quicker, which begins the saga, or
// only seems to.
type quicker struct {
	engine.Engine

	begun bool
}

func (q *quicker) Get(context.Context, string) (engine.Instance, error) {
	if q.begun {
		return engine.Instance{Status: engine.Running}, nil
	}
	return engine.Instance{}, engine.ErrNotFound
}

// TestFindingsReportTheActualOutcome: a finding reports the outcome, not the attempt.
func TestFindingsReportTheActualOutcome(t *testing.T) {
	l := newLeaky(t, nil)
	l.reserved("o", "tok_ok")
	l.Sagas = &stuckStart{quicker{Engine: l.Parts.Engine}}
	if f := l.once(); len(f) != 1 || f[0].Action != "failed" || !strings.Contains(f[0].Error, "is running") {
		t.Errorf("findings = %+v, want one, failed with %q", f, "is running")
	}
	l.Sagas = &quicker{Engine: l.Parts.Engine}
	l.found("order is RESERVED and has no saga", "left alone: its saga runs")
	if rec := l.is("o", order.StatusReserved); rec.Notes != nil {
		t.Errorf("notes = %+v, want none", rec.Notes)
	}
}

func (q *quicker) Start(context.Context, string, string, any) error {
	q.begun = true
	return engine.ErrActive
}

type stuckStart struct{ quicker }

func (*stuckStart) Start(context.Context, string, string, any) error { return engine.ErrActive }
