package reconcile_test

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestChargesSettledByAnOperatorAreLeftAlone: a refund by bank transfer is not in the
// provider's ledger.
func TestChargesSettledByAnOperatorAreLeftAlone(t *testing.T) {
	l := newLeaky(t, nil)
	l.paid("o", "tok_ok")
	require.NoError(l, l.Store.AddNote(t.Context(), "o", orderstore.Note{Actor: "ann", Action: "resolve", Text: "bank transfer"}))
	require.NoError(l, l.Store.Release(t.Context(), "o", order.StatusFailed, "refused"))
	l.found("an operator has resolved a step of it", "flagged")
	l.kept("o")
}

func TestReservationsOfEndedOrdersAreReleasedOrFlagged(t *testing.T) {
	l := newLeaky(t, nil)
	l.reserved("failed", "tok_ok")
	require.NoError(l, l.Store.End(t.Context(), "failed", order.StatusFailed, "by hand"))
	l.found("stock is held for an order that is FAILED", "released")
	l.nothing()
	if rec := l.is("failed", order.StatusFailed); rec.Reason != "by hand" || len(rec.Notes) != 1 {
		t.Errorf("order = %+v, want the reason %q, and one note", rec, "by hand")
	}
	l.level(1000, 0, 0)

	l.reserved("completed", "tok_ok")
	require.NoError(l, l.Store.End(t.Context(), "completed", order.StatusCompleted, "by hand"))
	for range 2 {
		l.found("held, and not sold, for an order that is COMPLETED", "flagged")
	}
	l.level(998, 2, 0)
}

func TestReservationOfNoOrderIsFlagged(t *testing.T) {
	l := newLeaky(t, nil)
	l.reserved("o", "tok_ok")
	_, err := l.Clients.DynamoDB.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{
		TableName: aws.String("orders"), Key: map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: "o"}},
	})
	require.NoError(l, err)
	for range 2 {
		l.found("stock is held for an order that does not exist", "flagged")
	}
	l.level(998, 2, 0)
}

func TestChargesOfEndedOrdersAreRefunded(t *testing.T) {
	l := newLeaky(t, nil)
	o := l.accepted("cancelled", "tok_ok")
	l.charged(o)
	require.NoError(l, l.Store.End(t.Context(), "cancelled", order.StatusCancelled, "by hand"))
	l.found("order is CANCELLED and its charge ch_charge-cancelled was kept", "refunded")
	l.nothing()
	if rec := l.is("cancelled", order.StatusCancelled); rec.RefundID == "" {
		t.Errorf("order = %+v, want the refund on record", rec)
	}

	l.charged(order.Order{OrderID: "ghost", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"}})
	for range 2 {
		l.found("belongs to no order", "flagged")
	}
	l.kept("ghost")
}

// TestForeignChargeWithAnIDThatNoSagaCanHaveIsFlagged: another program of the shop uses
// the same account at the provider, with references of its own.
func TestForeignChargeWithAnIDThatNoSagaCanHaveIsFlagged(t *testing.T) {
	l := newLeaky(t, nil)
	l.charged(order.Order{OrderID: "INV/2026/1", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"}})
	for range 2 {
		l.found("belongs to no order", "flagged")
	}
}

// TestSecondChargeOfACompletedOrderIsRefunded: the provider attributed the second charge to
// another order, for example because it had lost the idempotency key.
func TestSecondChargeOfACompletedOrderIsRefunded(t *testing.T) {
	l := newLeaky(t, nil)
	done := func(id string) {
		t.Helper()
		o := l.paid(id, "tok_ok")
		require.NoError(l, l.Simulators.ForgetPayments(t.Context()))
		l.charged(o)
		require.NoError(l, l.Store.MarkShipmentRequested(t.Context(), id, "shp-"+id))
		require.NoError(l, l.Store.Complete(t.Context(), id, "shp-"+id, ""))
	}
	done("twice")
	l.found("order is COMPLETED with charge ch_charge-twice, and charge ch_charge-twice.2 stands too", "surplus refunded")
	l.nothing()
	if list, err := l.Parts.Payments.ChargesOf(t.Context(), "twice"); err != nil || len(list) != 2 || list[0].Refunded || !list[1].Refunded {
		t.Errorf("charges = %+v, error = %v, want 2, of which the second one is refunded", list, err)
	}

	done("by hand")
	require.NoError(l, l.Store.AddNote(t.Context(), "by hand", orderstore.Note{Actor: "ann", Action: "resolve"}))
	l.found("an operator has resolved a step of it", "flagged")
	_, err := l.Parts.Payments.RefundCharge(
		t.Context(),
		payment.Entry{OrderID: "by hand", ID: "ch_charge-by hand", Amount: 200, Currency: "EUR"},
	)
	require.NoError(l, err)
	l.found("charge ch_charge-by hand, which does not stand; charge ch_charge-by hand.2 does", "flagged")
	if c := l.charges()["by hand"]; c != (charges{made: 2, stand: 1}) {
		t.Errorf("charges of order by hand = %d, of which %d stand, want 2, the first one refunded and the second one kept", c.made, c.stand)
	}
}

func TestFailedRefundIsRetriedByTheNextRun(t *testing.T) {
	l := newLeaky(t, nil)
	l.killed("o")
	l.paid("o", "tok_refund_down")
	f := l.once()
	if len(f) != 1 || !strings.Contains(f[0].Error, "refunds are down") {
		t.Errorf("findings = %+v, want one, with the error %q", f, "refunds are down")
	}
	// Released without a refund, it would look done.
	if rec := l.is("o", order.StatusPaid); len(rec.Notes) != 0 {
		t.Errorf("notes = %+v, want none", rec.Notes)
	}
	require.NoError(l, l.Simulators.HealPayments(t.Context()))
	l.found("order is PAID", "undone")
	l.is("o", order.StatusFailed)
	l.nothing()
}

// rounds reports when a run has read the last of the charges.
type rounds struct {
	reconcile.Payments

	done chan int // charges that it was given
}

func (r *rounds) ChargesSince(ctx context.Context, since time.Time) iter.Seq2[[]payment.Entry, error] {
	return func(yield func([]payment.Entry, error) bool) {
		seen := 0
		for page, err := range r.Payments.ChargesSince(ctx, since) {
			seen += len(page)
			if !yield(page, err) || err != nil {
				return
			}
		}
		select {
		case r.done <- seen:
		case <-ctx.Done():
		}
	}
}

// wait lets the reconciler walk the ledger so many times.
func (r *rounds) wait(walks int) {
	for range walks {
		<-r.done
	}
}

// asked counts how often one order is read.
type asked struct {
	*orderstore.Store
	n atomic.Int64
}

func (a *asked) Get(ctx context.Context, id string) (orderstore.Record, error) {
	a.n.Add(1)
	return a.Store.Get(ctx, id)
}

// TestLaterRunsReadOnlyNewCharges: the first run reads all charges, later runs read the
// charges that were added since.
func TestLaterRunsReadOnlyNewCharges(t *testing.T) {
	l := newLeaky(t, nil)
	l.Grace = time.Nanosecond
	const n = 210 // more than a page
	for i := range n {
		o := l.accepted(fmt.Sprint("o", i), "tok_ok")
		l.charged(o)
		require.NoError(l, l.Store.End(t.Context(), o.OrderID, order.StatusFailed, "by hand"))
	}
	payments, orders := &rounds{Payments: l.Payments, done: make(chan int)}, &asked{Store: l.Store}
	l.Payments, l.Orders = payments, orders
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- l.Reconciler.Run(ctx, time.Millisecond) }()
	for run, want := range []int{n, n, 1} { // refunds them; finds all refunded; then the last one only
		if seen := <-payments.done; seen != want {
			t.Errorf("charges that run %d read = %d, want %d", run+1, seen, want)
		}
	}
	if read := orders.n.Load(); read != n {
		t.Errorf("orders read = %d, want %d", read, n)
	}
	early := l.accepted("early", "tok_ok") // in the ledger's order
	l.charged(early)
	require.NoError(l, l.Store.End(t.Context(), "early", order.StatusFailed, "by hand"))
	for standing := true; standing; { // each run looks at what is new
		<-payments.done
		of, err := l.Parts.Payments.ChargesOf(t.Context(), "early")
		require.NoError(l, err)
		standing = len(of) == 1 && !of[0].Refunded
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
