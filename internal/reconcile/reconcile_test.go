package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/activities/stock"
	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

func (l leaky) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l leaky) accepted(id, token string) order.Order {
	l.Helper()
	o := order.Order{
		OrderID: id, CustomerID: "c-1", Currency: "EUR", Payment: order.Payment{Token: token},
		Lines: []order.Line{{SKU: "A", Quantity: 2, UnitPrice: 100}},
	}
	_, _, err := l.Store.Accept(l.Context(), o)
	l.must(err)
	return o
}

func (l leaky) reserved(id, token string) order.Order {
	l.Helper()
	o := l.accepted(id, token)
	_, err := l.Store.Reserve(l.Context(), o, order.StatusReserved)
	l.must(err)
	return o
}

func (l leaky) charged(o order.Order) {
	l.Helper()
	_, err := l.Parts.Payments.Charge(l.Context(), payment.Charge{OrderID: o.OrderID, Amount: o.Total(), Currency: o.Currency, Token: o.Payment.Token})
	l.must(err)
}

func (l leaky) paid(id, token string) order.Order {
	l.Helper()
	o := l.reserved(id, token)
	l.charged(o)
	l.must(l.Store.MarkPaid(l.Context(), id, "ch"))
	return o
}

// killed leaves a saga of that id that was terminated before it did anything:
// there is no order yet. A step of it may still be running, so its steps are
// about an order of which the test has nothing to say.
func (l leaky) killed(id string) {
	l.Helper()
	l.must(l.Parts.Engine.Start(l.Context(), workflows.OrderSaga, id, workflows.State{Order: order.Order{OrderID: "not-" + id}}))
	l.must(l.Parts.Engine.Terminate(l.Context(), id, "test"))
	_, err := l.Parts.Engine.Wait(l.Context(), id)
	l.must(err)
}

// heldUp has a saga running whose payment provider is down.
func (l leaky) heldUp(id string) {
	l.Helper()
	o := l.accepted(id, "tok_down")
	l.must(l.Parts.Engine.Start(l.Context(), workflows.OrderSaga, id, workflows.State{Order: o.WithoutToken(), Terms: l.Terms}))
	testkit.Eventually(l, "it is held up", func() error {
		if rec, err := l.Store.Get(l.Context(), id); err != nil || rec.Status != order.StatusReserved {
			return fmt.Errorf("%+v %w", rec, err)
		}
		return nil
	})
}

func (l leaky) once() []reconcile.Finding {
	l.Helper()
	rep, err := l.Once(l.Context())
	l.must(err)
	return rep.Findings
}

// found expects exactly one finding, of which what is a part.
func (l leaky) found(what, action string) {
	l.Helper()
	f := l.once()
	if len(f) != 1 || !strings.Contains(f[0].What, what) || f[0].Action != action || f[0].Error != "" {
		l.Errorf("found %+v, want %q and %q", f, what, action)
	}
}

func (l leaky) nothing() {
	l.Helper()
	if f := l.once(); len(f) != 0 {
		l.Errorf("found %+v", f)
	}
}

func (l leaky) is(id string, want order.Status) stock.Record {
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
		l.Errorf("%+v %v, want %d %d %d", v, err, available, reserved, sold)
	}
}

// charges returns, by order, whether the money is kept.
func (l leaky) charges() map[string]bool {
	l.Helper()
	list, _, err := l.Parts.Payments.Charges(l.Context(), "", 100)
	l.must(err)
	kept := map[string]bool{}
	for _, c := range list {
		kept[c.OrderID] = !c.Refunded
	}
	return kept
}

func TestOrdersWithoutASagaGoOn(t *testing.T) {
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
			t.Errorf("%s: %+v %v", what, i, err)
		}
		if rec := l.is(what, order.StatusCompleted); len(rec.Notes) != 1 || rec.Notes[0].Actor != "reconciler" {
			t.Errorf("notes %+v", rec.Notes)
		}
		if !l.charges()[what] {
			t.Errorf("%s: not charged", what)
		}
		l.nothing()
	}
	l.level(994, 0, 6)
}

func TestOrdersWhoseSagaHasEndedWithoutThem(t *testing.T) {
	l := newLeaky(t, nil)
	l.killed("reserved")
	l.reserved("reserved", "tok_ok")
	l.found("order is RESERVED but its saga has ended TERMINATED", "refunded and released")
	l.is("reserved", order.StatusFailed)
	l.nothing()

	l.killed("paid")
	l.paid("paid", "tok_ok")
	l.found("order is PAID but its saga has ended TERMINATED", "refunded and released")
	if rec := l.is("paid", order.StatusFailed); rec.RefundID == "" || len(rec.Notes) != 1 {
		t.Errorf("%+v", rec)
	}
	if l.charges()["paid"] {
		t.Error("the money was kept")
	}
	l.level(1000, 0, 0)
	l.nothing()

	l.killed("parked")
	l.reserved("parked", "tok_ok")
	l.must(l.Store.MarkNeedsAttention(t.Context(), "parked", "stuck"))
	l.found("order is NEEDS_ATTENTION but its saga has ended", "refunded and released")
	l.is("parked", order.StatusFailed)
	l.nothing()
}

// TestParcelsUnderWayAreForAPerson: who refunds such an order gives goods away.
func TestParcelsUnderWayAreForAPerson(t *testing.T) {
	l := newLeaky(t, nil)
	l.killed("o")
	l.paid("o", "tok_ok")
	l.must(l.Store.MarkShipmentRequested(t.Context(), "o", "shp-o"))
	for range 2 {
		l.found("with a shipment requested", "flagged")
	}
	l.is("o", order.StatusPaid)
	l.level(998, 2, 0)
	if !l.charges()["o"] {
		t.Error("refunded")
	}
}

// TestParkedOrderWithoutASaga waits for a person, who has two ways out.
func TestParkedOrderWithoutASaga(t *testing.T) {
	l := newLeaky(t, nil)
	for id, leave := range map[string]func(id, token string) order.Order{"held": l.reserved, "pending": l.accepted, "paid": l.paid, "undone": l.paid} {
		leave(id, "tok_ok")
		l.must(l.Store.MarkNeedsAttention(t.Context(), id, "stuck"))
		for range 2 {
			if f := l.once(); len(f) != 1 || !strings.Contains(f[0].What, "needs attention and has no saga") || f[0].Action != "flagged" {
				t.Errorf("%+v", f)
			}
		}
		rec := l.is(id, order.StatusNeedsAttention)
		if err := l.Lost(t.Context(), rec, saga.Resolution{Action: saga.ActionSkip}); !errors.Is(err, reconcile.ErrNoSaga) {
			t.Error(err)
		}
		if id == "undone" {
			l.must(l.Lost(t.Context(), rec, saga.Resolution{Action: saga.ActionCompensate, By: "ann", Note: "why"}))
			if rec := l.is(id, order.StatusFailed); rec.Reason != "compensated by ann: why" || l.charges()[id] {
				t.Errorf("%+v", rec)
			}
			continue
		}
		l.must(l.Lost(t.Context(), rec, saga.Resolution{Action: saga.ActionRetry}))
		_, err := l.Parts.Engine.Wait(t.Context(), id)
		l.must(err)
		if rec := l.is(id, order.StatusCompleted); rec.Reason != "" || !l.charges()[id] {
			t.Errorf("%+v", rec)
		}
	}
	l.level(994, 0, 6)
}

// TestNobodyIsAskedTwice: a saga that is begun again after its order was
// approved and charged goes on from there.
func TestNobodyIsAskedTwice(t *testing.T) {
	l := newLeaky(t, nil)
	l.Terms.ApprovalAbove = 1
	o := l.accepted("charged", "tok_ok")
	_, err := l.Store.Reserve(t.Context(), o, order.StatusAwaitingApproval)
	l.must(err)
	l.charged(o)
	l.must(l.Store.MarkPaid(t.Context(), "charged", "ch"))
	l.found("order is PAID and has no saga", "saga started again")

	o = l.accepted("approved", "tok_ok")
	_, err = l.Store.Reserve(t.Context(), o, order.StatusAwaitingApproval)
	l.must(err)
	l.must(l.Store.Decide(t.Context(), "approved", stock.Approved, stock.Note{Actor: "ann", Action: "approve"}))
	l.once()

	o = l.accepted("cancelled", "tok_ok")
	_, err = l.Store.Reserve(t.Context(), o, order.StatusReserved)
	l.must(err)
	l.charged(o)
	l.must(l.Store.MarkPaid(t.Context(), "cancelled", "ch"))
	l.must(l.Store.RequestCancel(t.Context(), "cancelled", stock.Note{Actor: "ann", Action: "cancel"}))
	l.once()
	for id, want := range map[string]order.Status{"charged": order.StatusCompleted, "approved": order.StatusCompleted, "cancelled": order.StatusCancelled} {
		_, err := l.Parts.Engine.Wait(t.Context(), id)
		l.must(err)
		l.is(id, want)
	}
	if kept := l.charges(); !kept["charged"] || !kept["approved"] || kept["cancelled"] {
		t.Errorf("%v", kept)
	}
}

// TestDecisionThatTheSagaDidNotHear: it was recorded, and the process died.
func TestDecisionThatTheSagaDidNotHear(t *testing.T) {
	l := newLeaky(t, nil)
	l.Terms.ApprovalAbove = 1
	o := l.accepted("o", "tok_ok")
	l.must(l.Parts.Engine.Start(t.Context(), workflows.OrderSaga, "o", workflows.State{Order: o.WithoutToken(), Terms: workflows.Terms{ApprovalAbove: 1, ApprovalTimeout: time.Hour, Pace: 0.005}}))
	testkit.Eventually(t, "it waits", func() error {
		if rec, err := l.Store.Get(t.Context(), "o"); err != nil || rec.Status != order.StatusAwaitingApproval {
			return fmt.Errorf("%+v %w", rec, err)
		}
		return nil
	})
	l.nothing()
	l.must(l.Store.Decide(t.Context(), "o", stock.Rejected, stock.Note{Actor: "ann", Action: "reject"}))
	l.found("order was rejected and its saga waits on", "saga told again")
	_, err := l.Parts.Engine.Wait(t.Context(), "o")
	l.must(err)
	l.is("o", order.StatusCancelled)
}

// TestWhatAnOperatorHasSettledIsNotSettledAgain: a refund by bank transfer is
// not in the provider's ledger.
func TestWhatAnOperatorHasSettledIsNotSettledAgain(t *testing.T) {
	l := newLeaky(t, nil)
	l.paid("o", "tok_ok")
	l.must(l.Store.AddNote(t.Context(), "o", stock.Note{Actor: "ann", Action: "resolve", Text: "bank transfer"}))
	l.must(l.Store.Release(t.Context(), "o", order.StatusFailed, "refused"))
	l.found("an operator has had a hand in it", "flagged")
	if !l.charges()["o"] {
		t.Error("refunded twice")
	}
}

func TestReservationsOfEndedOrders(t *testing.T) {
	l := newLeaky(t, nil)
	l.reserved("failed", "tok_ok")
	l.must(l.Store.End(t.Context(), "failed", order.StatusFailed, "by hand"))
	l.found("stock is held for an order that is FAILED", "released")
	l.nothing()
	if rec := l.is("failed", order.StatusFailed); rec.Reason != "by hand" || len(rec.Notes) != 1 {
		t.Errorf("%+v", rec)
	}
	l.level(1000, 0, 0)

	l.reserved("completed", "tok_ok")
	l.must(l.Store.End(t.Context(), "completed", order.StatusCompleted, "by hand"))
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
	l.must(err)
	for range 2 {
		l.found("stock is held for an order that does not exist", "flagged")
	}
	l.level(998, 2, 0)
}

func TestChargesOfEndedOrders(t *testing.T) {
	l := newLeaky(t, nil)
	o := l.accepted("cancelled", "tok_ok")
	l.charged(o)
	l.must(l.Store.End(t.Context(), "cancelled", order.StatusCancelled, "by hand"))
	l.found("order is CANCELLED and its charge ch_charge-cancelled was kept", "refunded")
	l.nothing()
	if rec := l.is("cancelled", order.StatusCancelled); rec.RefundID == "" {
		t.Errorf("the refund is not on record: %+v", rec)
	}

	l.charged(order.Order{OrderID: "ghost", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"}})
	for range 2 {
		l.found("belongs to no order", "flagged")
	}
	if !l.charges()["ghost"] {
		t.Error("the charge of no order was refunded")
	}
}

func TestRefundThatFailsIsTriedNextTime(t *testing.T) {
	l := newLeaky(t, nil)
	l.killed("o")
	l.paid("o", "tok_refund_down")
	f := l.once()
	if len(f) != 1 || !strings.Contains(f[0].Error, "refunds are down") {
		t.Errorf("%+v", f)
	}
	// Released without a refund, it would look done.
	if rec := l.is("o", order.StatusPaid); len(rec.Notes) != 0 {
		t.Errorf("notes %+v", rec.Notes)
	}
	l.must(l.Simulators.HealPayments(t.Context()))
	l.found("order is PAID", "refunded and released")
	l.is("o", order.StatusFailed)
	l.nothing()
}

func TestWhatIsRecentOrSoundIsLeftAlone(t *testing.T) {
	l := newLeaky(t, nil)
	l.accepted("pending", "tok_ok")
	l.killed("paid")
	l.paid("paid", "tok_ok")
	l.charged(l.reserved("ended", "tok_ok"))
	l.must(l.Store.End(t.Context(), "ended", order.StatusFailed, "by hand"))
	l.Now = time.Now // a grace period of five minutes, and all is fresh
	l.nothing()
	l.Grace = time.Nanosecond
	if f := l.once(); len(f) != 4 { // of "ended" both the stock and the charge
		t.Errorf("after the grace period: %+v", f)
	}

	l = newLeaky(t, nil)
	o := l.accepted("silent", "tok_ok") // its saga waits for the carrier
	o.ShipTo = &order.Address{Name: "SILENT"}
	l.must(l.Parts.Engine.Start(t.Context(), workflows.OrderSaga, "silent", workflows.State{Order: o.WithoutToken(), Terms: l.Terms}))
	testkit.Eventually(t, "its shipment is requested", func() error {
		if rec, err := l.Store.Get(t.Context(), "silent"); err != nil || rec.ShipmentID == "" {
			return fmt.Errorf("%+v %w", rec, err)
		}
		return nil
	})
	l.accepted("done", "tok_ok")
	l.found("order is PENDING and has no saga", "saga started again")
	_, err := l.Parts.Engine.Wait(t.Context(), "done")
	l.must(err)
	rep, err := l.Once(t.Context())
	if err != nil || len(rep.Findings) != 0 || rep.Orders != 1 || rep.Reservations != 2 || rep.Charges < 1 {
		t.Errorf("%+v %v", rep, err)
	}
	l.Now = func() time.Time { return time.Now().Add(3 * time.Hour) } // the carrier's answer may have been lost
	l.found("order has been PAID for 3h0m0s", "saga nudged")
}

// TestSagaThatStandsStillIsNudged: nothing comes of it for one that is well.
func TestSagaThatStandsStillIsNudged(t *testing.T) {
	l := newLeaky(t, nil)
	l.heldUp("o")
	l.Sagas = quiet{l.Parts.Engine}
	l.found("order has been RESERVED for 1h0m0s", "saga nudged")
	l.must(l.Simulators.HealPayments(t.Context()))
	_, err := l.Parts.Engine.Wait(t.Context(), "o")
	l.must(err)
}

// quiet has no step under way.
type quiet struct{ engine.Engine }

func (quiet) History(context.Context, string) ([]engine.Event, error) { return nil, nil }

// forgetful lost the answer to a step, as Dapr can.
type forgetful struct{ engine.Engine }

func (f forgetful) History(context.Context, string) ([]engine.Event, error) {
	return []engine.Event{{ID: 3, Type: "TaskScheduled", Name: workflows.ChargePayment, At: time.Now()}}, nil
}

func TestSagaWithALostStepIsBegunAnew(t *testing.T) {
	l := newLeaky(t, nil)
	l.heldUp("o")
	l.Sagas = forgetful{l.Parts.Engine}
	l.found("order has been RESERVED for 1h0m0s, and ChargePayment never answered", "saga begun anew")
	l.must(l.Simulators.HealPayments(t.Context()))
	i, err := l.Parts.Engine.Wait(t.Context(), "o")
	l.must(err)
	if i.Status != engine.Completed {
		t.Errorf("%+v", i)
	}
}

// cutOff dies between the end of the old saga and the start of the new one.
type cutOff struct{ forgetful }

func (cutOff) Purge(context.Context, string) error { return errors.New("killed") }

// TestBegunAnewHalfWay: whoever finds such a saga goes on; to undo the order
// is for one that a person has terminated.
func TestBegunAnewHalfWay(t *testing.T) {
	l := newLeaky(t, nil)
	l.heldUp("o")
	l.Sagas = cutOff{forgetful{l.Parts.Engine}}
	if f := l.once(); len(f) != 1 || f[0].Error != "killed" {
		t.Fatalf("%+v", f)
	}
	l.Sagas = l.Parts.Engine
	l.must(l.Simulators.HealPayments(t.Context()))
	l.found("terminated to be begun anew", "saga begun anew")
	_, err := l.Parts.Engine.Wait(t.Context(), "o")
	l.must(err)
	l.is("o", order.StatusCompleted)
}

// late is a store whose lists are a moment old when they arrive.
type late struct {
	*stock.Store
	meanwhile func()
}

func (s late) List(ctx context.Context, q stock.Query) (stock.Page, error) {
	p, err := s.Store.List(ctx, q)
	s.meanwhile()
	return p, err
}

func (s late) ListReservations(ctx context.Context, cursor string, limit int) ([]stock.Reservation, string, error) {
	list, next, err := s.Store.ListReservations(ctx, cursor, limit)
	s.meanwhile()
	return list, next, err
}

// TestSagasThatEndMeanwhile has an order wait for long, and complete just after
// it was listed. To refund it would be to give it away.
func TestSagasThatEndMeanwhile(t *testing.T) {
	l := newLeaky(t, nil)
	o := l.reserved("o", "tok_ok")
	l.Orders = late{l.Store, sync.OnceFunc(func() {
		l.must(l.Parts.Engine.Start(t.Context(), workflows.OrderSaga, "o", workflows.State{Order: o.WithoutToken(), Terms: l.Terms}))
		_, err := l.Parts.Engine.Wait(t.Context(), "o")
		l.must(err)
	})}
	l.nothing()
	l.is("o", order.StatusCompleted)
	if !l.charges()["o"] {
		t.Error("refunded")
	}

	l.paid("p", "tok_ok")
	l.must(l.Store.MarkShipmentRequested(t.Context(), "p", "shp-p"))
	listings := 0
	l.Orders = late{l.Store, func() {
		if listings++; listings == 2 { // the reservations, after the orders
			l.must(l.Store.Sell(t.Context(), "p", "shp-p", ""))
		}
	}}
	l.Sagas = busy{l.Parts.Engine}
	l.nothing()
}

// busy says of every order that its saga is running.
type busy struct{ engine.Engine }

func (busy) Get(_ context.Context, id string) (engine.Instance, error) {
	return engine.Instance{ID: id, Status: engine.Running}, nil
}

// TestManyPages has more of everything than one page takes.
func TestManyPages(t *testing.T) {
	l := newLeaky(t, nil)
	const n = 230
	for i := range n {
		o := l.reserved(fmt.Sprint("o", i), "tok_ok")
		l.charged(o)
		l.must(l.Store.End(t.Context(), o.OrderID, order.StatusFailed, "by hand"))
	}
	rep, err := l.Once(t.Context())
	if err != nil || len(rep.Findings) != 2*n || rep.Reservations != n || rep.Charges != n {
		t.Errorf("%d findings, %d reservations, %d charges, %v", len(rep.Findings), rep.Reservations, rep.Charges, err)
	}
	if i := slices.IndexFunc(rep.Findings, func(f reconcile.Finding) bool { return f.Error != "" }); i >= 0 {
		t.Errorf("%+v", rep.Findings[i])
	}
	l.level(1000, 0, 0)
	l.nothing()
}

// TestRunGoesOn keeps comparing what it can while one ledger cannot be read.
func TestRunGoesOn(t *testing.T) {
	var denied atomic.Bool
	asked := make(chan struct{}, 100)
	l := newLeaky(t, func(o *awslocal.Options) {
		o.Fault = func(_, operation string) error {
			if denied.Load() && operation == "Query" {
				select {
				case asked <- struct{}{}:
				default:
				}
				return &awslocal.Error{Status: 400, Code: "AccessDeniedException", Shape: "com.amazon.coral.service#AccessDeniedException", Message: "not now"}
			}
			return nil
		}
	})
	l.accepted("pending", "tok_ok")
	l.reserved("ended", "tok_ok")
	l.must(l.Store.End(t.Context(), "ended", order.StatusFailed, "by hand"))
	denied.Store(true)
	rep, err := l.Once(t.Context())
	if err == nil || len(rep.Findings) != 1 || rep.Findings[0].OrderID != "ended" {
		t.Errorf("%+v %v", rep, err)
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
