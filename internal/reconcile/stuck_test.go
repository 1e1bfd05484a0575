package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// TestLostDecisionIsSentAgain: the process crashed after it recorded the decision.
func TestLostDecisionIsSentAgain(t *testing.T) {
	l := newLeaky(t, nil)
	l.awaiting("o")
	l.nothing()
	require.NoError(l, l.Store.Decide(t.Context(), "o", orderstore.Rejected, orderstore.Note{Actor: "ann", Action: "reject"}))
	l.found("order was rejected and its saga still waits", "signal resent")
	_, err := l.Parts.Engine.Wait(t.Context(), "o")
	require.NoError(l, err)
	l.is("o", order.StatusCancelled)
}

// TestExpiredApprovalIsSentAgain: the saga's timer for the approval was lost, which can happen
// on Dapr.
func TestExpiredApprovalIsSentAgain(t *testing.T) {
	l := newLeaky(t, nil)
	l.awaiting("o")
	l.Now = func() time.Time { return time.Now().Add(time.Hour + 10*time.Minute) }
	l.found("order was to be approved until ", "signal resent")
	require.NoError(l,
		l.Store.Decide(t.Context(), "o", orderstore.Expired, orderstore.Note{Actor: "saga", Action: orderstore.NoteExpire, Text: "late"}),
	)
	l.Now = func() time.Time { return time.Now().Add(3 * time.Hour) }
	l.found("order's approval has expired and its saga still waits", "signal resent")
	_, err := l.Parts.Engine.Wait(t.Context(), "o")
	require.NoError(l, err)
	if rec := l.is("o", order.StatusCancelled); rec.Reason != "late" {
		t.Errorf("reason = %q, want %q", rec.Reason, "late")
	}
}

// TestLostCarrierAnswerIsSentAgain: the order has the answer, and its saga still waits for it,
// or for an operator by now.
func TestLostCarrierAnswerIsSentAgain(t *testing.T) {
	l := newLeaky(t, nil)
	l.Terms.CarrierTimeout = time.Hour
	l.silent("o")
	_, _, err := l.Store.RecordCarrierAnswer(
		t.Context(),
		"o",
		orderstore.CarrierAnswer{ShipmentID: "shp-o", Answer: orderstore.Dispatched, TrackingID: "trk"},
	)
	require.NoError(l, err)
	l.found("the carrier has dispatched the order and its saga still waits", "signal resent")
	_, err = l.Parts.Engine.Wait(t.Context(), "o")
	require.NoError(l, err)
	l.is("o", order.StatusCompleted)

	l.Terms.CarrierTimeout = 500 * time.Millisecond
	l.silent("late")
	testkit.Eventually(t, "a person is to see to it", func() error {
		i, err := l.Parts.Engine.Get(t.Context(), "late")
		rec, err2 := l.Store.Get(t.Context(), "late")
		if err := errors.Join(err, err2); err != nil || saga.ParkedAt(i.CustomStatus) != workflows.StepCarrier ||
			rec.Status != order.StatusNeedsAttention {
			return fmt.Errorf("%+v %s %w", i, rec.Status, err)
		}
		return nil
	})
	_, _, err = l.Store.RecordCarrierAnswer(
		t.Context(),
		"late",
		orderstore.CarrierAnswer{ShipmentID: "shp-late", Answer: orderstore.Refused, Reason: "island"},
	)
	require.NoError(l, err)
	l.found("the carrier has refused the order and its saga still waits", "signal resent")
	_, err = l.Parts.Engine.Wait(t.Context(), "late")
	require.NoError(l, err)
	if rec := l.is("late", order.StatusFailed); rec.Reason != "refused by the carrier: island" {
		t.Errorf("reason = %q, want %q", rec.Reason, "refused by the carrier: island")
	}
	l.refunded("late")
}

// TestStuckSagaIsNudged: a nudge does no harm to a healthy saga.
func TestStuckSagaIsNudged(t *testing.T) {
	l := newLeaky(t, nil)
	l.heldUp("o")
	l.Sagas = quiet{l.Parts.Engine}
	l.found("order has been RESERVED for 1h0m0s", "saga nudged")
	for _, pause := range []time.Duration{10 * time.Minute, 20 * time.Minute, 40 * time.Minute} { // they double
		l.Now = func() time.Time { return time.Now().Add(pause - time.Minute) }
		l.nothing()
		l.Now = func() time.Time { return time.Now().Add(pause + time.Minute) }
		l.found("order has been RESERVED for", "saga nudged")
	}
	require.NoError(l, l.Simulators.HealPayments(t.Context()))
	_, err := l.Parts.Engine.Wait(t.Context(), "o")
	require.NoError(l, err)
}

// quiet has no step under way.
type quiet struct{ engine.Engine }

func (quiet) History(context.Context, string) ([]engine.Event, error) { return nil, nil }

// forgetful lost the answer to a step, as Dapr can.
type forgetful struct{ engine.Engine }

func (f forgetful) History(context.Context, string) ([]engine.Event, error) {
	return []engine.Event{{ID: 3, Type: "TaskScheduled", Name: workflows.ChargePayment, At: time.Now()}}, nil
}

func TestSagaWithALostStepIsRestarted(t *testing.T) {
	l := newLeaky(t, nil)
	l.heldUp("o")
	l.Sagas = forgetful{l.Parts.Engine}
	l.found("order has been RESERVED for 1h0m0s, and ChargePayment never returned", "saga restarted")
	require.NoError(l, l.Simulators.HealPayments(t.Context()))
	i, err := l.Parts.Engine.Wait(t.Context(), "o")
	require.NoError(l, err)
	if i.Status != engine.Completed {
		t.Errorf("saga = %+v, want status %s", i, engine.Completed)
	}
}

// shipping returns for every saga that it asks the carrier to ship, and lost the
// answer to that.
type shipping struct{ engine.Engine }

func (s shipping) Get(ctx context.Context, id string) (engine.Instance, error) {
	i, err := s.Engine.Get(ctx, id)
	i.CustomStatus = "ship"
	return i, err
}

func (shipping) History(context.Context, string) ([]engine.Event, error) {
	return []engine.Event{{ID: 4, Type: "TaskScheduled", Name: workflows.RequestShipment, At: time.Now()}}, nil
}

// TestSagaWithALostShipmentRequestIsRestarted: an order may be paid and have a shipment id
// although its saga never reached the wait for the carrier.
func TestSagaWithALostShipmentRequestIsRestarted(t *testing.T) {
	l := newLeaky(t, nil)
	l.silent("o")
	l.nothing() // that one may wait
	l.Sagas = shipping{l.Parts.Engine}
	l.found("order has been PAID for 1h0m0s, and RequestShipment never returned", "saga restarted")
}

// cutOff fails between the end of the old saga and the start of the new one.
type cutOff struct{ forgetful }

func (cutOff) Purge(context.Context, string) error { return errors.New("killed") }

// TestInterruptedRestartIsContinued: the next run continues the restart. Only an operator's
// termination leads to compensation.
func TestInterruptedRestartIsContinued(t *testing.T) {
	l := newLeaky(t, nil)
	l.heldUp("o")
	l.Sagas = cutOff{forgetful{l.Parts.Engine}}
	if f := l.once(); len(f) != 1 || f[0].Action != "failed" || f[0].Error != "killed" {
		t.Fatalf("findings = %+v, want one, failed with the error killed", f)
	}
	l.Sagas = l.Parts.Engine
	require.NoError(l, l.Simulators.HealPayments(t.Context()))
	l.found("terminated to be restarted", "saga restarted")
	_, err := l.Parts.Engine.Wait(t.Context(), "o")
	require.NoError(l, err)
	l.is("o", order.StatusCompleted)
}

// TestSuspendedSagaIsLeftAlone: the operator has a reason.
func TestSuspendedSagaIsLeftAlone(t *testing.T) {
	l := newLeaky(t, nil)
	l.heldUp("o")
	require.NoError(l, l.Parts.Engine.Suspend(t.Context(), "o", "test"))
	l.Sagas = forgetful{l.Parts.Engine}
	testkit.Eventually(t, "it is suspended", func() error {
		if i, err := l.Parts.Engine.Get(t.Context(), "o"); err != nil || i.Status != engine.Suspended {
			return fmt.Errorf("%+v %w", i, err)
		}
		return nil
	})
	for range 2 {
		l.found("its saga is suspended", "flagged")
	}
	if notes := l.is("o", order.StatusReserved).Notes; notes != nil {
		t.Errorf("notes = %+v, want none", notes)
	}
}

// TestCancelledSagaWithALostStepIsRestarted: the restarted saga receives the cancellation.
func TestCancelledSagaWithALostStepIsRestarted(t *testing.T) {
	l := newLeaky(t, nil)
	l.heldUp("o")
	l.Terms.ApprovalAbove, l.Terms.ApprovalTimeout = 1, time.Hour
	require.NoError(l, l.Store.RequestCancel(t.Context(), "o", orderstore.Note{Actor: "ann", Action: orderstore.NoteCancel, Text: "why"}))
	l.Sagas = forgetful{l.Parts.Engine}
	l.found("ChargePayment never returned", "saga restarted")
	_, err := l.Parts.Engine.Wait(t.Context(), "o")
	require.NoError(l, err)
	if rec := l.is("o", order.StatusCancelled); rec.Reason != "cancelled by ann: why" {
		t.Errorf("reason = %q, want %q", rec.Reason, "cancelled by ann: why")
	}
}

// TestLostCancellationIsSentAgain: the saga waits for approval.
func TestLostCancellationIsSentAgain(t *testing.T) {
	l := newLeaky(t, nil)
	l.awaiting("o")
	require.NoError(l, l.Store.RequestCancel(t.Context(), "o", orderstore.Note{Actor: "ann", Action: orderstore.NoteCancel, Text: "why"}))
	l.found("order was cancelled and its saga still waits", "signal resent")
	_, err := l.Parts.Engine.Wait(t.Context(), "o")
	require.NoError(l, err)
	if rec := l.is("o", order.StatusCancelled); rec.Reason != "cancelled by ann: why" {
		t.Errorf("reason = %q, want %q", rec.Reason, "cancelled by ann: why")
	}
}

// TestParkedSagaWithALostStepIsDropped: the operator's decision had no effect, and another one
// can be made.
func TestParkedSagaWithALostStepIsDropped(t *testing.T) {
	l := newLeaky(t, nil)
	l.heldUp("o")
	require.NoError(l, l.Store.MarkNeedsAttention(t.Context(), "o", "stuck"))
	l.Sagas = parked{quiet{l.Parts.Engine}}
	l.nothing()
	require.NoError(l, l.Store.Resolve(t.Context(), "o", "reserve", "skip", orderstore.Note{Actor: "ann", Action: "skip"}))
	l.found("skip was decided and its saga still waits", "signal resent")
	require.NoError(l, l.Store.MarkNeedsAttention(t.Context(), "o", "stuck"))
	l.Sagas = cutOff{forgetful{l.Parts.Engine}}
	if f := l.once(); len(f) != 1 || f[0].Error != "killed" {
		t.Fatalf("findings = %+v, want one, with the error killed", f)
	}
	l.Sagas = l.Parts.Engine
	l.found("terminated to be dropped", "saga dropped")
	l.found("NEEDS_ATTENTION and has no saga", "flagged")

	require.NoError(l, l.Store.MarkNeedsAttention(t.Context(), "o", "stuck"))
	require.NoError(l, l.Simulators.HealPayments(t.Context()))
	require.NoError(l, l.ResolveWithoutSaga(t.Context(), l.is("o", order.StatusNeedsAttention), saga.Resolution{Action: saga.ActionRetry}))
	_, err := l.Parts.Engine.Wait(t.Context(), "o")
	require.NoError(l, err)
	l.is("o", order.StatusCompleted)
}

// parked returns for every saga that it waits for an operator.
type parked struct{ quiet }

func (p parked) Get(ctx context.Context, id string) (engine.Instance, error) {
	i, err := p.quiet.Get(ctx, id)
	i.CustomStatus = "needs attention: charge"
	return i, err
}

// stalled is an engine whose sagas Dapr runs no more.
type stalled struct{ engine.Engine }

func (s stalled) Get(ctx context.Context, id string) (engine.Instance, error) {
	i, err := s.Engine.Get(ctx, id)
	i.Status = engine.Stalled
	return i, err
}

func (stalled) History(context.Context, string) ([]engine.Event, error) {
	return []engine.Event{{Type: "ExecutionStalled", Error: "payload size 3984589 bytes exceeds"}}, nil
}

// TestStalledSagaIsFlagged: every run flags the saga with the cause. It would accept no other
// action.
func TestStalledSagaIsFlagged(t *testing.T) {
	l := newLeaky(t, nil)
	l.heldUp("o")
	l.Sagas, l.Stalled = stalled{l.Parts.Engine}, &reconcile.Stalled{}
	for range 2 {
		l.found("its saga is stalled: payload size 3984589 bytes exceeds", "flagged")
	}
	if ids := l.Stalled.IDs(); len(ids) != 1 || ids[0] != "o" {
		t.Errorf("stalled sagas = %v, want [o]", ids)
	}
	require.NoError(l, l.Simulators.HealPayments(t.Context()))
	_, err := l.Parts.Engine.Wait(t.Context(), "o")
	require.NoError(l, err)
}

// TestStalledSagaIsFoundAtEveryStep: the count drops once the saga continues or has ended.
func TestStalledSagaIsFoundAtEveryStep(t *testing.T) {
	l := newLeaky(t, nil)
	l.Terms.CarrierTimeout = time.Hour
	l.awaiting("approval")
	l.silent("carrier")
	l.Stalled = &reconcile.Stalled{}
	find := func(sagas reconcile.Sagas, want ...string) {
		t.Helper()
		l.Sagas = sagas
		_, err := l.Once(t.Context())
		require.NoError(l, err)
		ids := l.Stalled.IDs()
		slices.Sort(ids)
		if !slices.Equal(ids, want) {
			t.Errorf("stalled sagas = %v, want %v", ids, want)
		}
	}
	find(l.Parts.Engine)
	find(stalled{l.Parts.Engine}, "approval", "carrier")
	find(l.Parts.Engine)
	find(stalled{l.Parts.Engine}, "approval", "carrier")
	require.NoError(l, l.Store.Decide(t.Context(), "approval", orderstore.Rejected, orderstore.Note{Actor: "ann", Action: "reject"}))
	require.NoError(l, saga.Send(t.Context(), l.Parts.Engine, "approval", workflows.EventApproval, workflows.Approval{}))
	_, err := l.Parts.Engine.Wait(t.Context(), "approval")
	require.NoError(l, err)
	find(stalled{l.Parts.Engine}, "carrier")
}
