package reconcile_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// TestOrderWithARequestedShipmentIsParked: a refund of such an order might give the goods
// away, so an operator decides.
func TestOrderWithARequestedShipmentIsParked(t *testing.T) {
	l := newLeaky(t, nil)
	l.killed("o")
	l.paid("o", "tok_ok")
	require.NoError(l, l.Store.MarkShipmentRequested(t.Context(), "o", "shp-o"))
	l.found("order is PAID with a shipment requested", "parked")
	rec := l.is("o", order.StatusNeedsAttention)
	for range 2 {
		l.found("with a shipment requested", "flagged")
	}
	l.level(998, 2, 0)
	l.kept("o")
	require.NoError(l, l.ResolveWithoutSaga(t.Context(), rec, saga.Resolution{Action: saga.ActionRetry}))
	_, err := l.Parts.Engine.Wait(t.Context(), "o")
	require.NoError(l, err)
	l.is("o", order.StatusCompleted)
}

// TestCustomersAreNotifiedOfACompensation: no saga exists that could do it.
func TestCustomersAreNotifiedOfACompensation(t *testing.T) {
	l := newLeaky(t, nil)
	told := l.Listen(t, "told", l.Resources.CustomerTopic)
	want := map[string]string{
		"held": "held-failed technical", "paid": "paid-refunded technical, paid-failed technical",
		"cancelled": "cancelled-refunded cancelled_by_customer, cancelled-cancelled cancelled_by_customer",
		"given-up":  "given-up-refunded technical, given-up-failed technical",
	}
	for id, leave := range map[string]func(id, token string) order.Order{
		"held": l.reserved, "paid": l.paid, "cancelled": l.paid,
		"given-up": l.paid,
	} {
		l.killed(id)
		leave(id, "tok_ok")
	}
	require.NoError(l,
		l.Store.RequestCancel(
			t.Context(),
			"cancelled",
			orderstore.Note{Actor: "ann", Action: orderstore.NoteCancel, Text: "inside", For: orderstore.Customer},
		),
	)
	require.NoError(l, l.Store.MarkNeedsAttention(t.Context(), "given-up", "stuck"))
	require.NoError(l,
		l.ResolveWithoutSaga(
			t.Context(),
			l.is("given-up", order.StatusNeedsAttention),
			saga.Resolution{Action: saga.ActionCompensate, By: "ann", Note: "inside"},
		),
	)
	l.once()
	l.once()
	got := map[string][]string{}
	for more := true; more; { // SNS delivers before it answers
		out, err := l.Clients.SQS.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &told})
		require.NoError(l, err)
		more = len(out.Messages) > 0
		for _, m := range out.Messages {
			var n events.Notification
			require.NoError(l, json.Unmarshal([]byte(*m.Body), &n))
			if n.CustomerID != "c-1" || strings.Contains(*m.Body, "inside") {
				t.Errorf("notification = %s, want one to customer c-1, without the operator's note %q", *m.Body, "inside")
			}
			got[n.OrderID] = append(got[n.OrderID], n.NotificationID+" "+string(n.ReasonCode))
		}
	}
	for id, notifications := range want {
		if is := strings.Join(got[id], ", "); is != notifications {
			t.Errorf("notifications of order %s = %q, want %q", id, is, notifications)
		}
	}
}

// TestSecondResolutionIsRefused: two operators decide concurrently, and the second one
// receives an error.
func TestSecondResolutionIsRefused(t *testing.T) {
	l := newLeaky(t, nil)
	for id, actions := range map[string][2]saga.Action{
		"kept":   {saga.ActionRetry, saga.ActionCompensate},
		"undone": {saga.ActionCompensate, saga.ActionRetry},
	} {
		l.paid(id, "tok_ok")
		require.NoError(l, l.Store.MarkNeedsAttention(t.Context(), id, "stuck"))
		rec := l.is(id, order.StatusNeedsAttention)
		require.NoError(l, l.ResolveWithoutSaga(t.Context(), rec, saga.Resolution{Action: actions[0]}))
		if err := l.ResolveWithoutSaga(t.Context(), rec, saga.Resolution{Action: actions[1]}); !errors.Is(err, orderstore.ErrFinished) &&
			!errors.Is(err, engine.ErrNotCompleted) {
			t.Errorf("order %s, second decision: error = %v, want %v or %v", id, err, orderstore.ErrFinished, engine.ErrNotCompleted)
		}
	}
	_, err := l.Parts.Engine.Wait(t.Context(), "kept")
	require.NoError(l, err)
	l.is("kept", order.StatusCompleted)
	l.is("undone", order.StatusFailed)
	l.kept("kept")
	l.refunded("undone")
}

// TestRestartedSagaLeavesACompletedOrder: a step of the old saga completed the order while its
// saga was restarted.
func TestRestartedSagaLeavesACompletedOrder(t *testing.T) {
	l := newLeaky(t, nil)
	o := l.paid("o", "tok_ok")
	require.NoError(l, l.Store.MarkShipmentRequested(t.Context(), "o", "shp-o"))
	require.NoError(l, l.Store.Complete(t.Context(), "o", "shp-o", ""))
	require.NoError(l,
		l.Parts.Engine.Start(t.Context(), workflows.OrderSaga, "o", workflows.State{Order: o.WithoutToken(), ChargeID: "ch", Terms: l.Terms}),
	)
	_, err := l.Parts.Engine.Wait(t.Context(), "o")
	require.NoError(l, err)
	l.is("o", order.StatusCompleted)
	l.kept("o")
	l.level(998, 0, 2)
}

// TestParkedOrderWithoutASagaWaitsForAnOperator: the operator can retry or compensate.
func TestParkedOrderWithoutASagaWaitsForAnOperator(t *testing.T) {
	l := newLeaky(t, nil)
	for id, leave := range map[string]func(id, token string) order.Order{
		"held": l.reserved, "pending": l.accepted, "paid": l.paid,
		"undone": l.paid,
	} {
		leave(id, "tok_ok")
		require.NoError(l, l.Store.MarkNeedsAttention(t.Context(), id, "stuck"))
		for range 2 {
			if f := l.once(); len(f) != 1 || !strings.Contains(f[0].What, "NEEDS_ATTENTION and has no saga") || f[0].Action != "flagged" {
				t.Errorf("findings = %+v, want one, flagged: %q", f, "NEEDS_ATTENTION and has no saga")
			}
		}
		rec := l.is(id, order.StatusNeedsAttention)
		if err := l.ResolveWithoutSaga(t.Context(), rec, saga.Resolution{Action: saga.ActionSkip}); !errors.Is(err, reconcile.ErrNoSaga) {
			t.Errorf("error = %v, want %v", err, reconcile.ErrNoSaga)
		}
		if id == "undone" {
			require.NoError(l, l.ResolveWithoutSaga(t.Context(), rec, saga.Resolution{Action: saga.ActionCompensate, By: "ann", Note: "why"}))
			if rec := l.is(id, order.StatusFailed); rec.Reason != "compensated by ann: why" {
				t.Errorf("reason = %q, want %q", rec.Reason, "compensated by ann: why")
			}
			l.refunded(id)
			continue
		}
		require.NoError(l, l.ResolveWithoutSaga(t.Context(), rec, saga.Resolution{Action: saga.ActionRetry}))
		_, err := l.Parts.Engine.Wait(t.Context(), id)
		require.NoError(l, err)
		if rec := l.is(id, order.StatusCompleted); rec.Reason != "" {
			t.Errorf("reason of order %s = %q, want none", id, rec.Reason)
		}
		l.kept(id)
	}
	l.level(994, 0, 6)
}

// TestCompensateIsCarriedOutOnceRefundsWork: the decision holds, and a later run carries it
// out when refunds work again.
func TestCompensateIsCarriedOutOnceRefundsWork(t *testing.T) {
	l := newLeaky(t, nil)
	ids := []string{"retried", "reconciled"}
	for _, id := range ids {
		l.paid(id, "tok_refund_down")
		require.NoError(l, l.Store.MarkNeedsAttention(t.Context(), id, "stuck"))
		for _, action := range []saga.Action{saga.ActionCompensate, saga.ActionRetry} {
			err := l.ResolveWithoutSaga(t.Context(), l.is(id, order.StatusNeedsAttention), saga.Resolution{Action: action, By: "ann"})
			if later, ok := errors.AsType[*reconcile.DeferredError](err); !ok || !strings.Contains(later.Error(), "refunds are down") {
				t.Errorf("order %s, %s: error = %v, want it deferred: refunds are down", id, action, err)
			}
		}
	}
	require.NoError(l, l.Simulators.HealPayments(t.Context()))
	require.NoError(l,
		l.ResolveWithoutSaga(t.Context(), l.is("retried", order.StatusNeedsAttention), saga.Resolution{Action: saga.ActionRetry, By: "ann"}),
	)
	l.found("order is NEEDS_ATTENTION and was abandoned, but not compensated", "undone")
	for _, id := range ids {
		if rec := l.is(id, order.StatusFailed); rec.RefundID == "" {
			t.Errorf("order = %+v, want the refund on record", rec)
		}
		l.refunded(id)
	}
	l.nothing()
}

// TestRestartedSagaKeepsItsDecisionAndCharge: a saga that is restarted after the decision
// about its order, or after the charge, continues from there.
func TestRestartedSagaKeepsItsDecisionAndCharge(t *testing.T) {
	l := newLeaky(t, nil)
	l.Terms.ApprovalAbove, l.Terms.ApprovalTimeout = 1, time.Hour
	o := l.accepted("charged", "tok_ok")
	_, err := l.Store.ReserveForApproval(t.Context(), o, 0)
	require.NoError(l, err)
	l.charged(o)
	require.NoError(l, l.Store.MarkPaid(t.Context(), "charged", "ch_charge-charged"))
	l.found("order is PAID and has no saga", "saga started again")

	o = l.accepted("approved", "tok_ok")
	_, err = l.Store.ReserveForApproval(t.Context(), o, 0)
	require.NoError(l, err)
	require.NoError(l, l.Store.Decide(t.Context(), "approved", orderstore.Approved, orderstore.Note{Actor: "ann", Action: "approve"}))
	l.once()

	for id, d := range map[string]orderstore.Decision{"rejected": orderstore.Rejected, "expired": orderstore.Expired} {
		_, err = l.Store.ReserveForApproval(t.Context(), l.accepted(id, "tok_ok"), 0)
		require.NoError(l, err)
		require.NoError(l,
			l.Store.Decide(
				t.Context(),
				id,
				d,
				orderstore.Note{
					Actor:  "ann",
					Action: map[orderstore.Decision]string{orderstore.Rejected: orderstore.NoteReject, orderstore.Expired: orderstore.NoteExpire}[d],
					Text:   string(d),
				},
			),
		)
		l.once()
	}

	o = l.accepted("cancelled", "tok_ok")
	_, err = l.Store.Reserve(t.Context(), o)
	require.NoError(l, err)
	l.charged(o)
	require.NoError(l, l.Store.MarkPaid(t.Context(), "cancelled", "ch_charge-cancelled"))
	require.NoError(l, l.Store.RequestCancel(t.Context(), "cancelled", orderstore.Note{Actor: "ann", Action: "cancel"}))
	l.once()
	for id, want := range map[string]order.Status{
		"charged": order.StatusCompleted, "approved": order.StatusCompleted,
		"cancelled": order.StatusCancelled, "rejected": order.StatusCancelled, "expired": order.StatusCancelled,
	} {
		_, err := l.Parts.Engine.Wait(t.Context(), id)
		require.NoError(l, err)
		l.is(id, want)
	}
	l.kept("charged")
	l.kept("approved")
	l.refunded("cancelled")
	if of := l.charges(); len(of) != 3 {
		t.Errorf("charges by order = %+v, want none of rejected and expired", of)
	}
}

// TestRestartKeepsTheApprovalTermsOfTheReservation: a saga that is restarted under another
// approval limit follows the decision that was made at the reservation. A refused order is
// neither charged nor shipped, a waiting order keeps waiting, and an order that needed no
// approval is not delayed.
func TestRestartKeepsTheApprovalTermsOfTheReservation(t *testing.T) {
	l := newLeaky(t, nil)
	l.Terms.ApprovalAbove, l.Terms.ApprovalTimeout = 0, 0
	for id, d := range map[string]orderstore.Decision{
		"rejected": orderstore.Rejected, "expired": orderstore.Expired,
		"approved": orderstore.Approved, "undecided": "",
	} {
		_, err := l.Store.ReserveForApproval(t.Context(), l.accepted(id, "tok_ok"), time.Hour)
		require.NoError(l, err)
		if d != "" {
			require.NoError(l, l.Store.Decide(t.Context(), id, d, orderstore.Note{Actor: "ann", Action: map[orderstore.Decision]string{
				orderstore.Rejected: orderstore.NoteReject, orderstore.Expired: orderstore.NoteExpire, orderstore.Approved: orderstore.NoteApprove,
			}[d], Text: "why"}))
		}
		l.found("order is AWAITING_APPROVAL and has no saga", "saga started again")
		if d == "" {
			testkit.Eventually(t, "it waits", func() error {
				if i, err := l.Parts.Engine.Get(t.Context(), id); err != nil || i.CustomStatus != workflows.StepApprove {
					return fmt.Errorf("%+v %w", i, err)
				}
				return nil
			})
			l.is(id, order.StatusAwaitingApproval)
			others := l.charges()
			delete(others, "approved") // which may have come before
			if len(others) > 0 {
				t.Errorf("charges by order = %+v, want none but of approved", others)
			}
			require.NoError(l,
				l.Store.Decide(t.Context(), id, orderstore.Rejected, orderstore.Note{Actor: "ann", Action: orderstore.NoteReject, Text: "why"}),
			)
			require.NoError(l, saga.Send(t.Context(), l.Parts.Engine, id, workflows.EventApproval, workflows.Approval{By: "ann", Note: "why"}))
		}
		_, err = l.Parts.Engine.Wait(t.Context(), id)
		require.NoError(l, err)
	}
	l.is("approved", order.StatusCompleted)
	for id, reason := range map[string]string{
		"rejected": "approval refused by ann: why", "expired": "why",
		"undecided": "approval refused by ann: why",
	} {
		if rec := l.is(id, order.StatusCancelled); rec.Reason != reason || rec.ChargeID != "" {
			t.Errorf("order = %+v, want the reason %q, and no charge on record", rec, reason)
		}
	}
	l.kept("approved")
	if of := l.charges(); len(of) != 1 {
		t.Errorf("charges by order = %+v, want only that of approved", of)
	}

	l.Terms.ApprovalAbove, l.Terms.ApprovalTimeout = 1, time.Hour
	l.reserved("free", "tok_ok")
	l.found("order is RESERVED and has no saga", "saga started again")
	testkit.Eventually(t, "it does not wait", func() error {
		if rec, err := l.Store.Get(t.Context(), "free"); err != nil || rec.Status != order.StatusCompleted {
			return fmt.Errorf("%+v %w", rec, err)
		}
		return nil
	})
	l.level(996, 0, 4)
}

// TestRetryOfARejectedOrderDoesNotApproveIt: an operator retries the compensation of a
// rejected order under another approval limit.
func TestRetryOfARejectedOrderDoesNotApproveIt(t *testing.T) {
	l := newLeaky(t, nil)
	l.Terms.ApprovalAbove = 0
	_, err := l.Store.ReserveForApproval(t.Context(), l.accepted("o", "tok_ok"), 0)
	require.NoError(l, err)
	why := orderstore.Note{Actor: "ann", Action: orderstore.NoteReject, Text: "why"}
	require.NoError(l, l.Store.Decide(t.Context(), "o", orderstore.Rejected, why))
	require.NoError(l, l.Store.MarkNeedsAttention(t.Context(), "o", "reserve: stuck"))
	require.NoError(l, l.ResolveWithoutSaga(t.Context(), l.is("o", order.StatusNeedsAttention), saga.Resolution{Action: saga.ActionRetry}))
	_, err = l.Parts.Engine.Wait(t.Context(), "o")
	require.NoError(l, err)
	if rec := l.is("o", order.StatusCancelled); rec.Reason != "approval refused by ann: why" || len(l.charges()) != 0 {
		t.Errorf("order = %+v, want the reason %q, and no charge", rec, "approval refused by ann: why")
	}
}

// resolved parks an order whose refund is down and has an operator settle that.
func (l leaky) resolved(id, action string) {
	l.Helper()
	l.paid(id, "tok_refund_down")
	if id != "retried" { // of which the refund could not even be noted down
		_, err := l.Store.MarkRefunding(l.Context(), id)
		require.NoError(l, err)
	}
	require.NoError(l, l.Store.MarkNeedsAttention(l.Context(), id, "charge: stuck"))
	require.NoError(l, l.Store.Resolve(l.Context(), id, workflows.StepCharge, action, orderstore.Note{Actor: "ann", Action: action}))
}

// TestOperatorsRefundIsNotRepeated: a payment that an operator has refunded elsewhere is not
// refunded again, whatever happens to the saga. The other steps are compensated.
func TestOperatorsRefundIsNotRepeated(t *testing.T) {
	l := newLeaky(t, nil)
	l.killed("terminated")
	l.resolved("terminated", "resolve")
	l.resolved("retried", "skip")
	l.resolved("compensated", "resolve")
	require.NoError(l, l.Simulators.HealPayments(t.Context()))
	rec := l.is("retried", order.StatusNeedsAttention)
	if err := l.ResolveWithoutSaga(t.Context(), rec, saga.Resolution{Action: saga.ActionResolve}); !errors.Is(err, reconcile.ErrNoSaga) ||
		!strings.Contains(err.Error(), "is being compensated") {
		t.Errorf("error = %v, want %v: it is being compensated", err, reconcile.ErrNoSaga)
	}
	require.NoError(l, l.ResolveWithoutSaga(t.Context(), rec, saga.Resolution{Action: saga.ActionRetry, By: "ann"}))
	require.NoError(l,
		l.ResolveWithoutSaga(
			t.Context(),
			l.is("compensated", order.StatusNeedsAttention),
			saga.Resolution{Action: saga.ActionCompensate, By: "ann"},
		),
	)
	for range 2 {
		l.once()
	}
	for _, id := range []string{"terminated", "retried", "compensated"} {
		l.kept(id)
		if rec := l.is(id, order.StatusFailed); rec.RefundID != "" {
			t.Errorf("order = %+v, want no further refund on record", rec)
		}
	}
	l.level(1000, 0, 0)
}

// TestLastStepIsResolvedWithoutASaga: an operator's decision about the last step holds without
// a saga, unless the order is being compensated.
func TestLastStepIsResolvedWithoutASaga(t *testing.T) {
	l := newLeaky(t, nil)
	for _, id := range []string{"o", "again", "refused", "refunded", "given up"} {
		l.paid(id, "tok_ok")
		require.NoError(l, l.Store.MarkShipmentRequested(t.Context(), id, "shp-"+id))
		if id == "refused" {
			_, _, err := l.Store.RecordCarrierAnswer(
				t.Context(),
				id,
				orderstore.CarrierAnswer{ShipmentID: "shp-" + id, Answer: orderstore.Refused, Reason: "island"},
			)
			require.NoError(l, err)
		}
		require.NoError(l, l.Store.MarkNeedsAttention(t.Context(), id, "confirm: stuck"))
		if id == "refunded" {
			_, err := l.Store.MarkRefunding(t.Context(), id)
			require.NoError(l, err)
		}
	}
	require.NoError(l,
		l.Store.Resolve(t.Context(), "again", workflows.StepConfirm, "resolve", orderstore.Note{Actor: "ann", Action: "resolve"}),
	) // it came to nothing
	findings := l.once()
	if len(findings) != 5 {
		t.Errorf("findings = %+v, want one of each order", findings)
	}
	for _, f := range findings {
		if strings.Contains(f.What, "retry, resolve or compensate") != (f.OrderID != "refused" && f.OrderID != "refunded") {
			t.Errorf("f = %+v, want %q offered for all orders but refused and refunded", f, "retry, resolve or compensate")
		}
	}
	require.NoError(l, l.Store.MarkAbandoned(t.Context(), "given up"))
	for id, action := range map[string]saga.Action{"o": saga.ActionSkip, "again": saga.ActionResolve} {
		require.NoError(l, l.ResolveWithoutSaga(t.Context(), l.is(id, order.StatusNeedsAttention), saga.Resolution{Action: action}))
		if rec := l.is(id, order.StatusCompleted); rec.ShipmentID != "shp-"+id || !slices.Contains(rec.Settled, workflows.StepShip) {
			t.Errorf("order = %+v, want shipment shp-%s, and the step %s settled", rec, id, workflows.StepShip)
		}
		l.kept(id)
	}
	for id, say := range map[string]string{"refused": "island", "refunded": "is being compensated", "given up": "is being compensated"} {
		if err := l.ResolveWithoutSaga(t.Context(), l.is(id, order.StatusNeedsAttention),
			saga.Resolution{Action: saga.ActionResolve}); !errors.Is(
			err,
			reconcile.ErrNoSaga,
		) ||
			!strings.Contains(err.Error(), say) {
			t.Errorf("order %s: error = %v, want %v, with %q", id, err, reconcile.ErrNoSaga, say)
		}
		stale := l.is(id, order.StatusNeedsAttention)
		stale.Carrier, stale.Refunding, stale.GivenUp = "", false, false // read just before
		if err := l.ResolveWithoutSaga(t.Context(), stale, saga.Resolution{Action: saga.ActionResolve}); !errors.Is(err, orderstore.ErrFinished) {
			t.Errorf("order %s: error = %v, want %v", id, err, orderstore.ErrFinished)
		}
		if rec := l.is(id, order.StatusNeedsAttention); rec.Settled != nil {
			t.Errorf("settled steps of order %s = %v, want none", id, rec.Settled)
		}
	}
	l.level(990, 6, 4)
}
