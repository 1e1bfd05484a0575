package reconcile_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOrdersWithoutASagaAreRestarted(t *testing.T) {
	l := newLeaky(t, nil)
	for what, leave := range map[string]func(id string){
		"PENDING":  func(id string) { l.accepted(id, "tok_ok") },
		"RESERVED": func(id string) { l.reserved(id, "tok_ok") },
		"PAID":     func(id string) { l.paid(id, "tok_ok") },
	} {
		leave(what)
		l.found("order is "+what+" and has no saga", "saga started again")
		i, err := l.Parts.Engine.Wait(t.Context(), what)
		if err != nil || i.Status != engine.Completed {
			t.Errorf("saga of order %s = %+v, error = %v, want status %s", what, i, err, engine.Completed)
		}
		if rec := l.is(what, order.StatusCompleted); len(rec.Notes) != 1 || rec.Notes[0].Actor != "reconciler" {
			t.Errorf("notes = %+v, want one, by the reconciler", rec.Notes)
		}
		l.kept(what)
		l.nothing()
	}
	l.level(994, 0, 6)
}

// TestRestartedSagaReceivesTheCarrierAnswer: the carrier may not send its answer again.
func TestRestartedSagaReceivesTheCarrierAnswer(t *testing.T) {
	l := newLeaky(t, nil)
	l.Terms.AwaitCarrier, l.Terms.CarrierTimeout = true, time.Hour
	o := order.Order{
		OrderID:    "o",
		CustomerID: "c",
		Currency:   "EUR",
		Payment:    order.Payment{Token: "tok_ok"},
		ShipTo:     &order.Address{Name: "SILENT"},
		Lines:      []order.Line{{SKU: "A", Quantity: 2, UnitPrice: 100}},
	}
	_, _, err := l.Store.Accept(t.Context(), o)
	require.NoError(l, err)
	_, err = l.Store.Reserve(t.Context(), o)
	require.NoError(l, err)
	l.charged(o)
	require.NoError(l, l.Store.MarkPaid(t.Context(), "o", "ch_charge-o"))
	require.NoError(l, l.Store.MarkShipmentRequested(t.Context(), "o", "shp-o"))
	_, _, err = l.Store.RecordCarrierAnswer(
		t.Context(),
		"o",
		orderstore.CarrierAnswer{ShipmentID: "shp-o", Answer: orderstore.Refused, Reason: "island"},
	)
	require.NoError(l, err)
	l.found("order is PAID and has no saga", "saga started again")
	_, err = l.Parts.Engine.Wait(t.Context(), "o")
	require.NoError(l, err)
	if rec := l.is("o", order.StatusFailed); rec.Reason != "refused by the carrier: island" {
		t.Errorf("reason = %q, want %q", rec.Reason, "refused by the carrier: island")
	}
	l.refunded("o")
}

// TestReopenedOrderGetsASaga: a late refusal has reopened the order, which is PAID again. The
// process crashed before it restarted the saga.
func TestReopenedOrderGetsASaga(t *testing.T) {
	l := newLeaky(t, nil)
	l.Terms.AwaitCarrier = false
	for _, id := range []string{"known", "forgotten"} {
		o := l.accepted(id, "tok_ok")
		o.ShipTo = &order.Address{Name: "SILENT"}
		require.NoError(l, l.Parts.Engine.Start(t.Context(), workflows.OrderSaga, id, workflows.State{Order: o.WithoutToken(), Terms: l.Terms}))
		_, err := l.Parts.Engine.Wait(t.Context(), id)
		require.NoError(l, err)
		l.is(id, order.StatusCompleted)
		_, reopened, err := l.Store.RecordCarrierAnswer(
			t.Context(),
			id,
			orderstore.CarrierAnswer{ShipmentID: "shp-" + id, Answer: orderstore.Refused, Reason: "island"},
		)
		if err != nil || !reopened {
			t.Fatalf("reopened = %t, error = %v, want true and no error", reopened, err)
		}
		want := "order is PAID and refused by the carrier, but its saga has ended COMPLETED"
		if id == "forgotten" {
			require.NoError(l, l.Parts.Engine.Purge(t.Context(), id))
			want = "order is PAID and has no saga"
		}
		l.found(want, "saga started again")
		_, err = l.Parts.Engine.Wait(t.Context(), id)
		require.NoError(l, err)
		if rec := l.is(id, order.StatusFailed); rec.Reason != "refused by the carrier: island" || rec.RefundID == "" {
			t.Errorf("order = %+v, want the reason %q, and the refund on record", rec, "refused by the carrier: island")
		}
		l.refunded(id)
		l.level(1000, 0, 0)
		l.nothing()
		require.NoError(l, l.UndoRefused(t.Context(), id)) // a message that comes again
		l.is(id, order.StatusFailed)
	}
}

// TestRefundOfADispatchedOrderIsFlagged: an operator compensates an order that the carrier has
// dispatched.
func TestRefundOfADispatchedOrderIsFlagged(t *testing.T) {
	l := newLeaky(t, nil)
	l.killed("o")
	l.paid("o", "tok_ok")
	require.NoError(l, l.Store.MarkShipmentRequested(t.Context(), "o", "shp-o"))
	_, _, err := l.Store.RecordCarrierAnswer(
		t.Context(),
		"o",
		orderstore.CarrierAnswer{ShipmentID: "shp-o", Answer: orderstore.Dispatched, TrackingID: "trk"},
	)
	require.NoError(l, err)
	l.found("with a shipment requested, but its saga has ended TERMINATED", "parked")
	rec := l.is("o", order.StatusNeedsAttention)
	require.NoError(l, l.ResolveWithoutSaga(t.Context(), rec, saga.Resolution{Action: saga.ActionCompensate, By: "ann"}))
	if rec := l.is("o", order.StatusFailed); !slices.ContainsFunc(rec.Notes, func(n orderstore.Note) bool {
		return n.Action == "flagged" && n.Text == orderstore.RefundedThoughDispatched
	}) {
		t.Errorf("notes = %+v, want one of action flagged with the text %q", rec.Notes, orderstore.RefundedThoughDispatched)
	}
}

func TestOrdersWhoseSagaEndedAreCompensated(t *testing.T) {
	l := newLeaky(t, nil)
	l.killed("reserved")
	l.reserved("reserved", "tok_ok")
	l.found("order is RESERVED but its saga has ended TERMINATED", "undone")
	l.is("reserved", order.StatusFailed)
	l.nothing()

	l.killed("paid")
	l.paid("paid", "tok_ok")
	l.found("order is PAID but its saga has ended TERMINATED", "undone")
	if rec := l.is("paid", order.StatusFailed); rec.RefundID == "" || len(rec.Notes) != 1 {
		t.Errorf("order = %+v, want the refund on record, and one note", rec)
	}
	l.refunded("paid")
	l.level(1000, 0, 0)
	l.nothing()

	l.killed("parked")
	l.reserved("parked", "tok_ok")
	require.NoError(l, l.Store.MarkNeedsAttention(t.Context(), "parked", "stuck"))
	l.found("order is NEEDS_ATTENTION but its saga has ended", "undone")
	l.is("parked", order.StatusFailed)
	l.nothing()
}

func TestRecentAndConsistentOrdersAreLeftAlone(t *testing.T) {
	l := newLeaky(t, nil)
	l.accepted("pending", "tok_ok")
	l.killed("paid")
	l.paid("paid", "tok_ok")
	l.charged(l.reserved("ended", "tok_ok"))
	require.NoError(l, l.Store.End(t.Context(), "ended", order.StatusFailed, "by hand"))
	l.Now = time.Now // a grace period of five minutes, and all is fresh
	l.nothing()
	l.Grace = time.Nanosecond
	if f := l.once(); len(f) != 4 { // of "ended" both the stock and the charge
		t.Errorf("findings after the grace period = %+v, want 4", f)
	}

	l = newLeaky(t, nil)
	l.silent("silent")
	l.accepted("done", "tok_ok")
	l.found("order is PENDING and has no saga", "saga started again")
	_, err := l.Parts.Engine.Wait(t.Context(), "done")
	require.NoError(l, err)
	rep, err := l.Once(t.Context())
	if err != nil || len(rep.Findings) != 0 || rep.Orders != 1 || rep.Reservations != 2 || rep.Charges < 1 {
		t.Errorf("report = %+v, error = %v, want no findings, 1 order, 2 reservations and at least 1 charge", rep, err)
	}
	l.Now = func() time.Time { return time.Now().Add(3 * time.Hour) } // the carrier's answer may have been lost
	l.found("order has been PAID for 3h0m0s", "saga nudged")
}

// late is a store whose lists are a moment old when they arrive.
type late struct {
	*orderstore.Store
	meanwhile func()
}

func (s late) Walk(ctx context.Context, statuses []order.Status, limit int, f func([]orderstore.Record) error) error {
	return s.Store.Walk(ctx, statuses, limit, func(page []orderstore.Record) error {
		if len(page) > 0 {
			s.meanwhile()
		}
		return f(page)
	})
}

func (s late) ListReservations(ctx context.Context, cursor string, limit int) ([]orderstore.Reservation, string, error) {
	list, next, err := s.Store.ListReservations(ctx, cursor, limit)
	s.meanwhile()
	return list, next, err
}

// TestOrderThatCompletesMeanwhileKeepsItsCharge: an order has waited for long and completes
// just after it was listed. A refund would give the goods away.
func TestOrderThatCompletesMeanwhileKeepsItsCharge(t *testing.T) {
	l := newLeaky(t, nil)
	o := l.reserved("o", "tok_ok")
	l.Orders = late{l.Store, sync.OnceFunc(func() {
		require.NoError(l, l.Parts.Engine.Start(t.Context(), workflows.OrderSaga, "o", workflows.State{Order: o.WithoutToken(), Terms: l.Terms}))
		_, err := l.Parts.Engine.Wait(t.Context(), "o")
		require.NoError(l, err)
	})}
	l.nothing()
	l.is("o", order.StatusCompleted)
	l.kept("o")

	l.paid("p", "tok_ok")
	require.NoError(l, l.Store.MarkShipmentRequested(t.Context(), "p", "shp-p"))
	listings := 0
	l.Orders = late{l.Store, func() {
		listings++
		if listings == 2 { // the reservations, after the orders
			require.NoError(l, l.Store.Complete(t.Context(), "p", "shp-p", ""))
		}
	}}
	l.Sagas = busy{l.Parts.Engine}
	l.nothing()
}

// busy returns for every order that its saga is running, and waits for the carrier.
type busy struct{ engine.Engine }

func (busy) Get(_ context.Context, id string) (engine.Instance, error) {
	return engine.Instance{ID: id, Status: engine.Running, CustomStatus: workflows.StepCarrier}, nil
}

// TestFindingsOnEveryPageAreHandled has more of everything than one page holds.
func TestFindingsOnEveryPageAreHandled(t *testing.T) {
	l := newLeaky(t, nil)
	const n = 230
	for i := range n {
		o := l.reserved(fmt.Sprint("o", i), "tok_ok")
		l.charged(o)
		require.NoError(l, l.Store.End(t.Context(), o.OrderID, order.StatusFailed, "by hand"))
	}
	rep, err := l.Once(t.Context())
	if err != nil || len(rep.Findings) != 2*n || rep.Reservations != n || rep.Charges != n {
		t.Errorf("findings = %d, reservations = %d, charges = %d, error = %v, want %d, %d, %d and no error",
			len(rep.Findings), rep.Reservations, rep.Charges, err, 2*n, n, n)
	}
	if i := slices.IndexFunc(rep.Findings, func(f reconcile.Finding) bool { return f.Error != "" }); i >= 0 {
		t.Errorf("finding = %+v, want no error", rep.Findings[i])
	}
	l.level(1000, 0, 0)
	l.nothing()
}

// TestRunContinuesWhileALedgerCannotBeRead: the run compares everything that can be read.
func TestRunContinuesWhileALedgerCannotBeRead(t *testing.T) {
	var denied atomic.Bool
	asked := make(chan struct{}, 100)
	l := newLeaky(t, func(o *awslocal.Options) {
		o.Fault = func(_, operation string) error {
			if denied.Load() && operation == "Query" {
				select {
				case asked <- struct{}{}:
				default:
				}
				return &awslocal.Error{
					Status:  400,
					Code:    "AccessDeniedException",
					Shape:   "com.amazon.coral.service#AccessDeniedException",
					Message: "not now",
				}
			}
			return nil
		}
	})
	l.accepted("pending", "tok_ok")
	l.reserved("ended", "tok_ok")
	require.NoError(l, l.Store.End(t.Context(), "ended", order.StatusFailed, "by hand"))
	denied.Store(true)
	rep, err := l.Once(t.Context())
	if err == nil || len(rep.Findings) != 1 || rep.Findings[0].OrderID != "ended" {
		t.Errorf("report = %+v, error = %v, want an error, and one finding, of order ended", rep, err)
	}

	l.Reconciler.Logger = zerolog.Nop()
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- l.Reconciler.Run(ctx, time.Millisecond) }()
	for range 20 {
		<-asked
	}
	denied.Store(false)
	testkit.Eventually(t, "the saga is started again", func() error {
		_, err := l.Parts.Engine.Get(t.Context(), "pending")
		return err
	})
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}

// TestOrdersOfAnOlderReleaseEnterTheLists: the reconciler adds orders that an older release
// accepted to the lists of all orders.
func TestOrdersOfAnOlderReleaseEnterTheLists(t *testing.T) {
	l := newLeaky(t, nil)
	l.accepted("old", "tok_ok")
	_, err := l.Clients.DynamoDB.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
		TableName: aws.String("orders"), Key: map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: "old"}},
		UpdateExpression: aws.String("REMOVE timeShard"),
	})
	require.NoError(l, err)
	list := func() int {
		p, err := l.Store.List(t.Context(), orderstore.Query{Limit: 10})
		require.NoError(l, err)
		return len(p.Records)
	}
	if n := list(); n != 0 {
		t.Fatalf("orders in the list before the run = %d, want 0", n)
	}
	l.once()
	if n := list(); n != 1 {
		t.Errorf("orders in the list after the run = %d, want 1", n)
	}
}
