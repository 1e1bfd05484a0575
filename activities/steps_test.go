package activities_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/dapr/durabletask-go/task"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

var steps = []string{workflows.ReserveStock, workflows.ChargePayment, workflows.RequestShipment, workflows.ConfirmShipment}

func TestRegisterOnce(t *testing.T) {
	b := newBench(t)
	err := b.parts.Register(b.registry)
	if err == nil {
		t.Fatal("registered twice")
	}
	for _, name := range append([]string{workflows.Version, workflows.VersionV2, workflows.VersionV1, workflows.SettleApproval, workflows.VerifyRefusal, workflows.ReleaseStock, workflows.RefundPayment, workflows.ParkSaga, workflows.CompleteByHand}, steps...) {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not among what is registered: %v", name, err)
		}
	}
}

func TestReserveStock(t *testing.T) {
	b := newBench(t)
	s := b.accept("o", "tok_ok")
	for range 2 {
		if out := b.do(workflows.ReserveStock, s); out.Stop != (saga.Stop{}) {
			t.Errorf("%+v", out)
		}
		b.is("o", order.StatusReserved)
		b.level(8, 2, 0)
	}

	big := b.accept("big", "tok_ok")
	big.Terms.ApprovalAbove = 199
	b.do(workflows.ReserveStock, big)
	b.is("big", order.StatusAwaitingApproval)
	b.heard()
}

// TestReserveStockAcceptsWhatIntakeHasNot is for sagas that a durable-task
// client has started on Dapr.
func TestReserveStockAcceptsWhatIntakeHasNot(t *testing.T) {
	b := newBench(t)
	s := newState("o")
	s.Order.Payment.Token = "tok_ok"
	for range 2 {
		if out := b.do(workflows.ReserveStock, s); out.Stop != (saga.Stop{}) {
			t.Errorf("%+v", out)
		}
		b.is("o", order.StatusReserved)
		b.level(8, 2, 0)
	}
	b.do(workflows.ChargePayment, s)
	b.do(workflows.RequestShipment, s)
	b.is("o", order.StatusCompleted)
	b.heard("confirmed")

	s.Order.OrderID, s.Order.Currency = "bad", "XXL"
	if out := b.do(workflows.ReserveStock, s); out.Stop.Status != "FAILED" || !strings.Contains(out.Stop.Reason, "currency") {
		t.Errorf("%+v", out.Stop)
	}
}

func TestReserveStockOfWhatIsShort(t *testing.T) {
	b := newBench(t)
	s := b.accept("o", "tok_ok")
	b.SetStock(t, map[string]int64{"A": 1})
	for range 2 {
		if out := b.do(workflows.ReserveStock, s); out.Stop != (saga.Stop{Status: "REJECTED", Reason: "out of stock: [A]"}) {
			t.Errorf("%+v", out.Stop)
		}
		b.is("o", order.StatusRejected)
	}
	b.heard("rejected", "rejected")
	// The saga may still undo the step, if the first run could tell nobody.
	for range 2 {
		if failure := b.undo(workflows.ReleaseStock, s, order.StatusFailed, "why"); failure != "" {
			t.Error(failure)
		}
	}
	b.is("o", order.StatusRejected)
	b.level(1, 0, 0)
}

// TestSecondSagaHasNoEffect runs the first step for orders that have ended.
func TestSecondSagaHasNoEffect(t *testing.T) {
	b := newBench(t)
	done := b.paid("done")
	b.do(workflows.RequestShipment, done)
	failed := b.accept("failed", "tok_ok")
	b.do(workflows.ReserveStock, failed)
	b.undo(workflows.ReleaseStock, failed, order.StatusFailed, "why")
	early := b.accept("early", "tok_ok") // undone before it was done
	b.undo(workflows.ReleaseStock, early, order.StatusCancelled, "why")
	b.heard("confirmed", "failed", "cancelled")
	for s, want := range map[*workflows.State]order.Status{&done: order.StatusCompleted, &failed: order.StatusFailed, &early: order.StatusCancelled} {
		if out := b.do(workflows.ReserveStock, *s); out.Stop != (saga.Stop{Status: string(want), Reason: "the order had ended before"}) {
			t.Errorf("%s: %+v", want, out.Stop)
		}
		b.is(s.Order.OrderID, want)
	}
	b.level(8, 0, 2)
	b.heard()
}

func TestChargePayment(t *testing.T) {
	b := newBench(t)
	s := b.accept("o", "tok_flaky_1")
	b.do(workflows.ReserveStock, s)
	b.fails(workflows.ChargePayment, s, "provider returned 503")
	b.is("o", order.StatusReserved)
	for range 2 {
		if out := b.do(workflows.ChargePayment, s); out.Stop != (saga.Stop{}) || out.State.ChargeID != "ch_charge-o" {
			t.Errorf("%+v", out)
		}
		if rec := b.is("o", order.StatusPaid); rec.ChargeID != "ch_charge-o" {
			t.Errorf("%+v", rec)
		}
	}
	list, _, err := b.payments.Charges(t.Context(), "", 10)
	if err != nil || len(list) != 1 || list[0].Amount != 200 {
		t.Errorf("%+v %v", list, err)
	}
}

// TestChargeOfWhatAnOlderWorkerPassedOn: while releases change, a worker of the one
// before may run the saga, whose orders have lines only. The charge is over all
// that the customer has agreed to.
func TestChargeOfWhatAnOlderWorkerPassedOn(t *testing.T) {
	b := newBench(t)
	s := newState("o")
	o := s.Order
	o.Payment.Token, o.Shipping, o.Tax, o.Discount = "tok_ok", 490, 38, 100
	_, _, err := b.Store.Accept(t.Context(), o)
	b.must(err)
	b.do(workflows.ReserveStock, s)
	b.do(workflows.ChargePayment, s)
	list, _, err := b.payments.Charges(t.Context(), "", 10)
	if err != nil || len(list) != 1 || list[0].Amount != o.Total() {
		t.Errorf("%+v %v, want %d", list, err, o.Total())
	}
}

// TestChargePaymentWhenKeysAreForgotten runs the step of sagas that are begun
// again days later: after the charge, after one whose answer was lost, and after
// a refund.
func TestChargePaymentWhenKeysAreForgotten(t *testing.T) {
	b := newBench(t)
	b.parts.KeyTTL = time.Nanosecond
	b.registry = task.NewTaskRegistry()
	b.must(b.parts.Register(b.registry))
	b.exec = task.NewTaskExecutor(b.registry)
	charged := b.paid("charged")
	lost := b.accept("lost", "tok_lost_always")
	b.do(workflows.ReserveStock, lost)
	b.fails(workflows.ChargePayment, lost, "charge order lost")
	refunded := b.paid("refunded")
	given := b.accept("given", "tok_ok") // back, in the provider's console
	b.do(workflows.ReserveStock, given)
	_, err := b.payments.Charge(t.Context(), payment.Charge{OrderID: "given", Amount: 200, Currency: "EUR", Token: "tok_ok"})
	b.must(err)
	_, err = b.payments.RefundCharge(t.Context(), payment.Entry{OrderID: "given", ID: "ch_charge-given", Amount: 200, Currency: "EUR"})
	b.must(err)
	undone := b.accept("undone", "tok_ok") // before it was charged
	b.do(workflows.ReserveStock, undone)
	for range 2 {
		b.must(b.provider.ExpireKeys())
		for _, s := range []workflows.State{charged, lost} {
			if out := b.do(workflows.ChargePayment, s); out.Stop != (saga.Stop{}) || out.State.ChargeID != "ch_charge-"+s.Order.OrderID {
				t.Errorf("%+v", out)
			}
		}
		for _, s := range []workflows.State{refunded, undone} {
			if failure := b.undo(workflows.RefundPayment, s, order.StatusFailed, "why"); failure != "" {
				t.Error(failure)
			}
		}
		for _, s := range []workflows.State{given, undone} {
			if out := b.do(workflows.ChargePayment, s); out.Stop.Status != "FAILED" || !strings.Contains(out.Stop.Reason, "voided") {
				t.Errorf("%+v", out)
			}
		}
	}
	list, _, err := b.payments.Charges(t.Context(), "", 10)
	if err != nil || len(list) != 4 {
		t.Errorf("%+v %v", list, err)
	}
	for _, c := range list {
		if c.Refunded != (c.OrderID == "refunded" || c.OrderID == "given") {
			t.Errorf("%+v", c)
		}
	}
}

// TestRefusedMeanwhile: the carrier refuses while the order is about to
// complete, with a saga that does not wait for it, or was told to go on.
func TestRefusedMeanwhile(t *testing.T) {
	b := newBench(t)
	for _, step := range []string{workflows.RequestShipment, workflows.ConfirmShipment} {
		s := b.paid(step)
		b.must(b.Store.MarkShipmentRequested(t.Context(), step, shipment.ID(step)))
		_, _, err := b.Store.RecordCarrierAnswer(t.Context(), step, orderstore.CarrierAnswer{ShipmentID: shipment.ID(step), Answer: orderstore.Refused, Reason: "island"})
		b.must(err)
		for range 2 {
			if out := b.do(step, s); out.Stop != (saga.Stop{Status: "FAILED", Reason: "refused by the carrier: island"}) {
				t.Errorf("%+v", out)
			}
		}
		b.is(step, order.StatusPaid)
	}
	b.level(6, 4, 0)
}

// TestVerifyRefusal: only what the carrier has said, by the order's record, ends
// the saga.
func TestVerifyRefusal(t *testing.T) {
	b := newBench(t)
	for said, want := range map[orderstore.Carrier]string{"": "", orderstore.Dispatched: "", orderstore.Refused: "refused by the carrier: island"} {
		id := "o" + string(said)
		s := b.paid(id)
		b.must(b.Store.MarkShipmentRequested(t.Context(), id, shipment.ID(id)))
		if said != "" {
			_, _, err := b.Store.RecordCarrierAnswer(t.Context(), id, orderstore.CarrierAnswer{ShipmentID: shipment.ID(id), Answer: said, Reason: "island"})
			b.must(err)
		}
		for range 2 {
			if out := b.do(workflows.VerifyRefusal, s); out.Stop.Reason != want {
				t.Errorf("%q: %+v", said, out.Stop)
			}
		}
		b.is(id, order.StatusPaid)
	}
}

// TestBegunAgainAfterARefusal: what the carrier said is why the order fails, also
// when its refund has begun.
func TestBegunAgainAfterARefusal(t *testing.T) {
	b := newBench(t)
	s := b.paid("o")
	b.must(b.Store.MarkShipmentRequested(t.Context(), "o", shipment.ID("o")))
	_, _, err := b.Store.RecordCarrierAnswer(t.Context(), "o", orderstore.CarrierAnswer{ShipmentID: shipment.ID("o"), Answer: orderstore.Refused, Reason: "island"})
	b.must(err)
	_, err = b.Store.MarkRefunding(t.Context(), "o")
	b.must(err)
	if out := b.do(workflows.RequestShipment, s); out.Stop != (saga.Stop{Status: "FAILED", Reason: "refused by the carrier: island"}) {
		t.Errorf("%+v", out)
	}
}

// TestRefusedAfterItCompleted: an order that did not wait for the carrier is
// undone like one that did, and the carrier is not asked again.
func TestRefusedAfterItCompleted(t *testing.T) {
	b := newBench(t)
	s := b.paid("o")
	b.do(workflows.RequestShipment, s)
	b.is("o", order.StatusCompleted)
	b.heard("confirmed")
	refusal := orderstore.CarrierAnswer{ShipmentID: shipment.ID("o"), Answer: orderstore.Refused, Reason: "island"}
	if _, reopened, err := b.Store.RecordCarrierAnswer(t.Context(), "o", refusal); err != nil || !reopened {
		t.Fatalf("%v %v", reopened, err)
	}
	for range 2 {
		if out := b.do(workflows.RequestShipment, s); out.Stop != (saga.Stop{Status: "FAILED", Reason: "refused by the carrier: island"}) {
			t.Errorf("%+v", out)
		}
	}
	if got := b.drain(b.asked, 1); len(got) != 1 {
		t.Errorf("the carrier was asked %v", got)
	}
	b.undo(workflows.RefundPayment, s, order.StatusFailed, "")
	b.undo(workflows.ReleaseStock, s, order.StatusFailed, "")
	if rec := b.is("o", order.StatusFailed); rec.RefundID == "" || len(rec.Notes) != 1 {
		t.Errorf("%+v", rec)
	}
	b.level(10, 0, 0)
	b.heard("refunded", "failed")
}

// TestRefundOfWhatIsOnItsWay: the carrier has dispatched what is then given up.
func TestRefundOfWhatIsOnItsWay(t *testing.T) {
	b := newBench(t)
	s := b.paid("o")
	b.must(b.Store.MarkShipmentRequested(t.Context(), "o", shipment.ID("o")))
	_, _, err := b.Store.RecordCarrierAnswer(t.Context(), "o", orderstore.CarrierAnswer{ShipmentID: shipment.ID("o"), Answer: orderstore.Dispatched, TrackingID: "trk"})
	b.must(err)
	for range 2 {
		b.undo(workflows.RefundPayment, s, order.StatusFailed, "")
		if rec := b.is("o", order.StatusPaid); len(rec.Notes) != 1 || rec.Notes[0].Action != "flagged" || rec.Notes[0].Text != orderstore.RefundedThoughDispatched || rec.RefundID == "" {
			t.Errorf("%+v", rec.Notes)
		}
	}
}

// TestChargeAndRefundNothing: a provider may refuse to charge 0.
func TestChargeAndRefundNothing(t *testing.T) {
	b := newBench(t)
	s := newState("o")
	s.Order.Lines[0].UnitPrice = 0
	o := s.Order
	o.Payment.Token = "tok_down"
	_, _, err := b.Store.Accept(t.Context(), o)
	b.must(err)
	b.do(workflows.ReserveStock, s)
	for range 2 {
		if out := b.do(workflows.ChargePayment, s); out.Stop != (saga.Stop{}) || out.State.ChargeID != "" {
			t.Errorf("%+v", out)
		}
	}
	b.is("o", order.StatusPaid)
	b.parts.Payments = nil
	b.must(b.parts.RefundPayment(t.Context(), s, saga.Stop{Status: "FAILED"}))
	if rec := b.is("o", order.StatusPaid); !rec.Refunding {
		t.Error("it can still ship")
	}
}

func TestChargePaymentThatIsDeclinedOrVoided(t *testing.T) {
	b := newBench(t)
	declined := b.accept("declined", "tok_insufficient_funds")
	b.do(workflows.ReserveStock, declined)
	voided := b.accept("voided", "tok_ok")
	b.do(workflows.ReserveStock, voided)
	if failure := b.undo(workflows.RefundPayment, voided, order.StatusFailed, "why"); failure != "" {
		t.Fatal(failure)
	}
	for range 2 {
		if out := b.do(workflows.ChargePayment, declined); out.Stop.Status != "DECLINED" || !strings.HasPrefix(out.Stop.Reason, "insufficient_funds: ") {
			t.Errorf("%+v", out.Stop)
		}
		if out := b.do(workflows.ChargePayment, voided); out.Stop.Status != "FAILED" || !strings.Contains(out.Stop.Reason, "voided") {
			t.Errorf("%+v", out.Stop)
		}
	}
	b.is("declined", order.StatusReserved) // ReleaseStock ends it
	b.is("voided", order.StatusReserved)
	b.heard()
}

func TestRefundPayment(t *testing.T) {
	b := newBench(t)
	s := b.paid("o")
	for range 2 {
		if failure := b.undo(workflows.RefundPayment, s, order.StatusCancelled, "changed my mind"); failure != "" {
			t.Error(failure)
		}
		if rec := b.is("o", order.StatusPaid); rec.RefundID != "re_charge-o" {
			t.Errorf("%+v", rec)
		}
	}
	b.heard("refunded", "refunded")

	// A step of an old saga comes late.
	if out := b.do(workflows.RequestShipment, s); out.Stop.Status != "FAILED" {
		t.Errorf("shipped without a charge: %+v", out)
	}
	b.is("o", order.StatusPaid)

	sent := b.paid("sent")
	b.do(workflows.RequestShipment, sent)
	b.heard("confirmed")
	if failure := b.undo(workflows.RefundPayment, sent, order.StatusFailed, "the order had ended before"); failure != "" {
		t.Error(failure)
	}
	if rec := b.is("sent", order.StatusCompleted); rec.RefundID != "" {
		t.Errorf("shipped, and refunded: %+v", rec)
	}
	b.heard()

	never := b.accept("never", "tok_ok")
	for range 2 {
		if failure := b.undo(workflows.RefundPayment, never, order.StatusCancelled, ""); failure != "" {
			t.Error(failure)
		}
	}
	b.heard() // there was nothing to give back

	// What was charged is not "nothing to give back", though the provider says so.
	lost := b.accept("lost", "tok_ok")
	b.do(workflows.ReserveStock, lost)
	b.must(b.Store.MarkPaid(t.Context(), "lost", "ch_1"))
	if failure := b.undo(workflows.RefundPayment, lost, order.StatusFailed, ""); !strings.Contains(failure, "charge ch_1 over 2.00 EUR was made, and it is not in the ledger") {
		t.Errorf("%q", failure)
	}
	b.heard()

	stuck := b.accept("stuck", "tok_refund_down")
	b.do(workflows.ReserveStock, stuck)
	b.do(workflows.ChargePayment, stuck)
	if failure := b.undo(workflows.RefundPayment, stuck, order.StatusCancelled, ""); !strings.Contains(failure, "refunds are down") {
		t.Errorf("%q", failure)
	}
	b.provider.Heal("")
	if failure := b.undo(workflows.RefundPayment, stuck, order.StatusCancelled, ""); failure != "" {
		t.Error(failure)
	}
	b.heard("refunded")
}

func TestReleaseStock(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		status order.Status
		kind   events.NotificationKind
	}{
		{order.StatusDeclined, events.NotifyDeclined}, {order.StatusCancelled, events.NotifyCancelled}, {order.StatusFailed, events.NotifyFailed},
	} {
		s := b.accept(string(c.status), "tok_ok")
		b.do(workflows.ReserveStock, s)
		b.level(8, 2, 0)
		for range 2 {
			if failure := b.undo(workflows.ReleaseStock, s, c.status, "because"); failure != "" {
				t.Error(failure)
			}
			if rec := b.is(string(c.status), c.status); rec.Reason != "because" {
				t.Errorf("%+v", rec)
			}
			b.level(10, 0, 0)
		}
		b.heard(string(c.kind), string(c.kind))
	}
	sold := b.paid("sold")
	b.do(workflows.RequestShipment, sold)
	if failure := b.undo(workflows.ReleaseStock, sold, order.StatusFailed, ""); !strings.Contains(failure, "it is sold") {
		t.Errorf("%q", failure)
	}
	b.heard("confirmed")
}

func TestRequestShipment(t *testing.T) {
	b := newBench(t)
	s := b.paid("o")
	for range 2 {
		if out := b.do(workflows.RequestShipment, s); out.Stop != (saga.Stop{}) {
			t.Errorf("%+v", out)
		}
		if rec := b.is("o", order.StatusCompleted); rec.ShipmentID != "shp-o" || rec.Token != "" {
			t.Errorf("%+v", rec)
		}
		b.level(8, 0, 2)
	}
	b.heard("confirmed")
	if got := b.drain(b.asked, 1); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

func TestShipmentThatAwaitsTheCarrier(t *testing.T) {
	b := newBench(t)
	s := b.paid("o")
	s.Terms.AwaitCarrier = true
	for range 2 {
		b.do(workflows.RequestShipment, s)
		if rec := b.is("o", order.StatusPaid); rec.ShipmentID != "shp-o" {
			t.Errorf("%+v", rec)
		}
		b.level(8, 2, 0)
	}
	b.heard()
	s.TrackingID = "trk-1"
	for range 2 {
		b.do(workflows.ConfirmShipment, s)
		if rec := b.is("o", order.StatusCompleted); rec.TrackingID != "trk-1" {
			t.Errorf("%+v", rec)
		}
		b.level(8, 0, 2)
	}
	b.heard("confirmed")
}

// TestNothingShipsUnpaidOrUnheld stops the saga instead of trying for ever.
func TestNothingShipsUnpaidOrUnheld(t *testing.T) {
	b := newBench(t)
	pending, held, released := b.accept("pending", "tok_ok"), b.accept("held", "tok_ok"), b.paid("released")
	b.do(workflows.ReserveStock, held)
	b.undo(workflows.ReleaseStock, released, order.StatusCancelled, "")
	b.heard("cancelled")
	for _, s := range []workflows.State{pending, held, released} {
		for _, await := range []bool{false, true} {
			s.Terms.AwaitCarrier = await
			if out := b.do(workflows.RequestShipment, s); out.Stop.Status != "FAILED" || out.Stop.Reason == "" {
				t.Errorf("%s, await %v: %+v", s.Order.OrderID, await, out.Stop)
			}
		}
		if out := b.do(workflows.ConfirmShipment, s); out.Stop.Status != "FAILED" {
			t.Errorf("%s: %+v", s.Order.OrderID, out.Stop)
		}
	}
	b.heard()
	if got := b.drain(b.asked, 0); len(got) != 0 {
		t.Errorf("shipped: %v", got)
	}
}

func TestParkSaga(t *testing.T) {
	b := newBench(t)
	b.paid("o")
	const in = `{"state":{"order":{"orderId":"o"}},"stop":{},"Step":"charge","Error":"refunds are down"}`
	for range 2 {
		if _, failure := b.run(workflows.ParkSaga, in); failure != "" {
			t.Error(failure)
		}
		if rec := b.is("o", order.StatusNeedsAttention); rec.Reason != "charge: refunds are down" {
			t.Errorf("%+v", rec)
		}
	}
	b.heard("delayed", "delayed")
	b.must(b.Store.Release(t.Context(), "o", order.StatusFailed, "resolved"))
	if _, failure := b.run(workflows.ParkSaga, in); failure != "" { // a late repetition
		t.Error(failure)
	}
	b.is("o", order.StatusFailed)
}

// TestTechnicalErrors: whatever is away, or does not know the order, makes an
// error to be tried again and never an outcome.
func TestTechnicalErrors(t *testing.T) {
	b := newBench(t)
	s := b.accept("o", "tok_ok")
	b.fails(workflows.ReserveStock, newState("unknown"), "not found")
	b.fails(workflows.ChargePayment, newState("unknown"), "not found")
	b.must(b.Store.MarkNeedsAttention(t.Context(), "o", "by hand"))
	b.fails(workflows.ReserveStock, s, "NEEDS_ATTENTION and holds nothing")

	b.away.Store(true)
	for _, name := range steps {
		b.fails(name, s, "AccessDenied")
	}
	for _, name := range []string{workflows.ReleaseStock, workflows.ParkSaga} {
		if failure := b.undo(name, s, order.StatusFailed, ""); !strings.Contains(failure, "AccessDenied") {
			t.Errorf("%s: %q", name, failure)
		}
	}
	b.away.Store(false)
	for _, name := range append([]string{workflows.ReleaseStock, workflows.RefundPayment, workflows.ParkSaga}, steps...) {
		if result, failure := b.run(name, `[1]`); result != "" || !strings.Contains(failure, "decode") {
			t.Errorf("%s of no state: %q %q", name, result, failure)
		}
	}
}

// TestRateLimited: what the provider's Retry-After says comes first in what the
// saga sees, of a charge and of a refund.
func TestRateLimited(t *testing.T) {
	b := newBench(t)
	s := b.accept("o", "tok_rate_limited_1")
	b.do(workflows.ReserveStock, s)
	in, err := json.Marshal(s)
	b.must(err)
	if _, failure := b.run(workflows.ChargePayment, string(in)); !strings.HasPrefix(failure, "retry after 1s: ") {
		t.Errorf("charge: %q", failure)
	}
	b.do(workflows.ChargePayment, s)

	limited := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(limited.Close)
	payments := payment.New(payment.Options{URL: limited.URL})
	t.Cleanup(payments.Close)
	b.parts.Payments = payments
	b.registry = task.NewTaskRegistry()
	b.must(b.parts.Register(b.registry))
	b.exec = task.NewTaskExecutor(b.registry)
	if failure := b.undo(workflows.RefundPayment, s, order.StatusFailed, ""); !strings.HasPrefix(failure, "retry after 7s: ") {
		t.Errorf("refund: %q", failure)
	}
}

// TestEffectsWithoutTheirMessage has the effect happen and the topic away: the
// next run sends what the first could not.
func TestEffectsWithoutTheirMessage(t *testing.T) {
	b := newBench(t)
	s := b.paid("o")
	broken := b.parts
	broken.Shipments = shipment.New(b.Clients.SNS, b.Resources.ShipmentTopic+"-gone", b.Resources.CustomerTopic+"-gone")
	if _, err := broken.RequestShipment(t.Context(), s); err == nil {
		t.Error("no error")
	}
	b.is("o", order.StatusPaid) // it must not look finished
	b.do(workflows.RequestShipment, s)
	b.is("o", order.StatusCompleted)
	b.heard("confirmed")
	if got := b.drain(b.asked, 1); len(got) != 1 {
		t.Errorf("%v", got)
	}

	s = b.accept("declined", "tok_ok")
	if err := broken.ReleaseStock(t.Context(), s, saga.Stop{Status: "DECLINED"}); err == nil {
		t.Error("no error")
	}
	b.is("declined", order.StatusPending)
	b.undo(workflows.ReleaseStock, s, order.StatusDeclined, "")
	b.is("declined", order.StatusDeclined)
	b.heard("declined")
	// Once it has ended, nothing holds the saga up: nobody would see it.
	b.must(broken.ReleaseStock(t.Context(), s, saga.Stop{Status: "DECLINED"}))
	if rec := b.is("declined", order.StatusDeclined); len(rec.Notes) != 1 || rec.Notes[0].Action != "customer not told" {
		t.Errorf("%+v", rec.Notes)
	}
}

// TestParkingNeedsNobodyToBeTold: a person must see it even when the customer
// cannot.
func TestParkingNeedsNobodyToBeTold(t *testing.T) {
	b := newBench(t)
	s := b.paid("o")
	broken := b.parts
	broken.Shipments = shipment.New(b.Clients.SNS, b.Resources.ShipmentTopic+"-gone", b.Resources.CustomerTopic+"-gone")
	b.must(broken.ParkSaga(t.Context(), s, "ship", "no topic"))
	if rec := b.is("o", order.StatusNeedsAttention); len(rec.Notes) != 1 || rec.Reason != "ship: no topic" {
		t.Errorf("%+v", rec)
	}
}

// decide parks an order and keeps an operator's decision about its step.
func (b *bench) decide(id, step, action string) {
	b.Helper()
	b.must(b.Store.MarkNeedsAttention(b.Context(), id, step+": stuck"))
	b.must(b.Store.Resolve(b.Context(), id, step, action, orderstore.Note{Actor: "ann", Action: action}))
}

// TestCompleteByHand: an order that an operator has sent is COMPLETED, also if
// the customer cannot be told, unless it is undone.
func TestCompleteByHand(t *testing.T) {
	b := newBench(t)
	s := b.paid("o")
	b.decide("o", workflows.StepShip, "resolve")
	broken := b.parts
	broken.Shipments = shipment.New(b.Clients.SNS, b.Resources.ShipmentTopic+"-gone", b.Resources.CustomerTopic+"-gone")
	_, err := broken.CompleteByHand(t.Context(), s)
	b.must(err)
	rec := b.is("o", order.StatusCompleted)
	if last := rec.Notes[len(rec.Notes)-1]; last.Action != "customer not told" {
		t.Errorf("%+v", rec.Notes)
	}
	if out := b.do(workflows.CompleteByHand, s); out.Stop != (saga.Stop{}) { // once more
		t.Errorf("%+v", out)
	}
	b.heard("confirmed")
	b.level(8, 0, 2)

	sent := b.paid("sent")
	sent.Terms.AwaitCarrier = true
	b.do(workflows.RequestShipment, sent)
	_, _, err = b.Store.RecordCarrierAnswer(t.Context(), "sent", orderstore.CarrierAnswer{ShipmentID: "shp-sent", Answer: orderstore.Refused, Reason: "island"})
	b.must(err)
	if out := b.do(workflows.CompleteByHand, sent); out.Stop.Reason != "refused by the carrier: island" {
		t.Errorf("%+v", out)
	}
	b.undo(workflows.RefundPayment, b.paid("undone"), order.StatusFailed, "why")
	b.heard("refunded")
	if out := b.do(workflows.CompleteByHand, newState("undone")); out.Stop.Status != "FAILED" {
		t.Errorf("%+v", out)
	}
	unheld := b.paid("unheld")
	b.decide("unheld", workflows.StepShip, "resolve")
	_, err = b.Clients.DynamoDB.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{
		TableName: aws.String("reservations"), Key: map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: "unheld"}},
	})
	b.must(err)
	b.fails(workflows.CompleteByHand, unheld, "nothing was reserved") // and is not refunded for that
	b.heard()
}

// TestConfirmedThoughSentByHand: the carrier was never asked.
func TestConfirmedThoughSentByHand(t *testing.T) {
	b := newBench(t)
	s := b.paid("o")
	s.Terms.AwaitCarrier = true
	b.decide("o", workflows.StepShip, "resolve")
	if out := b.do(workflows.ConfirmShipment, s); out.Stop != (saga.Stop{}) {
		t.Errorf("%+v", out)
	}
	b.is("o", order.StatusCompleted)
	b.heard("confirmed")
}

// TestRefundedByHand: the money does not go back twice, whatever runs again.
func TestRefundedByHand(t *testing.T) {
	for _, action := range []string{"resolve", "skip"} {
		b := newBench(t)
		s := b.paid("o")
		b.decide("o", workflows.StepCharge, action)
		if failure := b.undo(workflows.RefundPayment, s, order.StatusFailed, "why"); failure != "" {
			t.Error(failure)
		}
		if list, err := b.payments.ChargesOf(t.Context(), "o"); err != nil || len(list) != 1 || list[0].Refunded {
			t.Errorf("%s: %+v %v", action, list, err)
		}
		if out := b.do(workflows.RequestShipment, s); out.Stop.Status != "FAILED" { // a step of an old saga
			t.Errorf("%s: shipped: %+v", action, out)
		}
		b.undo(workflows.ReleaseStock, s, order.StatusFailed, "why")
		b.is("o", order.StatusFailed)
		b.level(10, 0, 0)
	}
}

// TestCancelledBeforeShipping: the orders table has the last word on a cancel
// that the saga has not heard of.
func TestCancelledBeforeShipping(t *testing.T) {
	b := newBench(t)
	s := b.paid("o")
	b.must(b.Store.RequestCancel(t.Context(), "o", orderstore.Note{Actor: "ann", Action: "cancel", Text: "too slow"}))
	if out := b.do(workflows.RequestShipment, s); out.Stop != (saga.Stop{Status: "CANCELLED", Reason: "cancelled by ann: too slow"}) {
		t.Errorf("%+v", out.Stop)
	}
	b.is("o", order.StatusPaid)
	b.heard()
}

// TestSettleApproval: the first decision that the order's record takes is the
// one that counts, whatever came to the saga, and as often as the step runs.
func TestSettleApproval(t *testing.T) {
	b := newBench(t)
	b.SetStock(t, map[string]int64{"A": 1000})
	approved, refused := &workflows.Approval{Approved: true, By: "eve"}, &workflows.Approval{By: "eve", Note: "mine"}
	const late = "nobody approved it within 1h0m0s"
	decide := func(d orderstore.Decision, action string) func(id string) error {
		return func(id string) error {
			return b.Store.Decide(t.Context(), id, d, orderstore.Note{Actor: "ann", Action: action, Text: "why"})
		}
	}
	cancel := func(id string) error {
		return b.Store.RequestCancel(t.Context(), id, orderstore.Note{Actor: "ann", Action: orderstore.NoteCancel, Text: "why"})
	}
	for name, c := range map[string]struct {
		before func(id string) error
		said   *workflows.Approval // to the saga; nil: the time is over
		want   string              // reason, or "" to go on
		holds  orderstore.Decision
	}{
		"approved":                    {nil, approved, "", orderstore.Approved},
		"refused":                     {nil, refused, "approval refused by eve: mine", orderstore.Rejected},
		"expired":                     {nil, nil, late, orderstore.Expired},
		"approved, unheard":           {decide(orderstore.Approved, "approve"), nil, "", orderstore.Approved},
		"rejected, unheard":           {decide(orderstore.Rejected, "reject"), nil, "approval refused by ann: why", orderstore.Rejected},
		"cancelled, unheard":          {cancel, nil, "cancelled by ann: why", ""},
		"approved too late":           {decide(orderstore.Expired, "expire"), approved, "why", orderstore.Expired},
		"rejected, approved past it":  {decide(orderstore.Rejected, "reject"), approved, "approval refused by ann: why", orderstore.Rejected},
		"approved, refused past it":   {decide(orderstore.Approved, "approve"), refused, "", orderstore.Approved},
		"cancelled, approved past it": {cancel, approved, "cancelled by ann: why", ""},
		"ended otherwise in the meanwhile": {func(id string) error {
			return b.Store.Release(t.Context(), id, order.StatusFailed, "by the reconciler")
		}, approved, "the order had ended before", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := b.accept(strings.NewReplacer(" ", "-", ",", "").Replace(name), "tok_ok")
			s.Terms.ApprovalAbove, s.Terms.ApprovalTimeout = 1, time.Hour
			b.do(workflows.ReserveStock, s)
			if c.before != nil {
				b.must(c.before(s.Order.OrderID))
			}
			s.Approval = c.said
			for range 2 {
				if out := b.do(workflows.SettleApproval, s); out.Stop.Reason != c.want || out.State.Approved != (c.want == "") {
					t.Errorf("%+v", out)
				}
			}
			rec, err := b.Store.Get(t.Context(), s.Order.OrderID)
			if err != nil || rec.Decision != c.holds {
				t.Errorf("%+v %v", rec, err)
			}
			// A saga that is begun again does not ask.
			if out := b.do(workflows.ReserveStock, s); !rec.Status.Terminal() && (out.State.Decided != (c.holds != "") || out.State.Approved != (c.holds == orderstore.Approved)) {
				t.Errorf("begun again: %+v", out)
			}
		})
	}
}

// TestChargeOfWhatNobodyApproved: no step charges or ships an order whose approval
// was refused or has expired, be it that a saga of an older version goes on after
// all. One that was charged meanwhile is not taken for one that was not.
func TestChargeOfWhatNobodyApproved(t *testing.T) {
	b := newBench(t)
	b.SetStock(t, map[string]int64{"A": 100})
	for d, action := range map[orderstore.Decision]string{orderstore.Rejected: orderstore.NoteReject, orderstore.Expired: orderstore.NoteExpire} {
		want := map[orderstore.Decision]string{orderstore.Rejected: "CANCELLED: approval refused by ann: why", orderstore.Expired: "CANCELLED: why"}[d]
		waiting := func(id string) workflows.State {
			s := b.accept(id, "tok_ok")
			s.Terms.ApprovalAbove = 1
			b.do(workflows.ReserveStock, s)
			return s
		}
		decide := func(id string) {
			b.must(b.Store.Decide(t.Context(), id, d, orderstore.Note{Actor: "ann", Action: action, Text: "why"}))
		}
		never := waiting("never-" + action)
		decide(never.Order.OrderID)
		for range 2 {
			if out := b.do(workflows.ChargePayment, never); out.Stop.Error() != want {
				t.Errorf("%s: %+v", d, out)
			}
		}
		if charges, err := b.payments.ChargesOf(t.Context(), never.Order.OrderID); err != nil || len(charges) != 0 {
			t.Errorf("%s: charged: %+v %v", d, charges, err)
		}
		b.is(never.Order.OrderID, order.StatusAwaitingApproval)

		meanwhile := waiting("meanwhile-" + action)
		b.charged(payment.Charge{OrderID: meanwhile.Order.OrderID, Amount: 200, Currency: "EUR"})
		decide(meanwhile.Order.OrderID)
		b.fails(workflows.ChargePayment, meanwhile, "stands in the provider's ledger, although the response is: "+want)
		if failure := b.undo(workflows.RefundPayment, meanwhile, order.StatusFailed, "why"); failure != "" {
			t.Error(failure)
		}
	}
}

// TestApprovalIsDecidedWhenStockIsReserved, and not by the terms of a saga that
// is begun again.
func TestApprovalIsDecidedWhenStockIsReserved(t *testing.T) {
	b := newBench(t)
	first := func(id string, above int64) workflows.State {
		s := b.accept(id, "tok_ok")
		s.Terms.ApprovalAbove = above
		if out := b.do(workflows.ReserveStock, s); out.State.Asks || out.State.Approved || out.State.Decided {
			t.Errorf("%s: %+v", id, out)
		}
		return s
	}
	s := first("waits", 1)
	s.Terms.ApprovalAbove = 0
	if out := b.do(workflows.ReserveStock, s); !out.State.NeedsApproval() {
		t.Errorf("%+v", out)
	}
	s = first("does-not", 0)
	s.Terms.ApprovalAbove = 1
	for range 2 {
		if out := b.do(workflows.ReserveStock, s); !out.State.Approved {
			t.Errorf("%+v", out)
		}
		b.do(workflows.ChargePayment, s)
	}
	b.is("does-not", order.StatusPaid)
}

// TestInputsThatOnlyNameTheOrder: compensations, ParkSaga and second tries find
// it in the orders table.
func TestInputsThatOnlyNameTheOrder(t *testing.T) {
	b := newBench(t)
	whole := b.accept("o", "tok_ok")
	named := workflows.State{OrderID: "o", Attempt: 2}
	for _, s := range []workflows.State{whole, named} { // what workers of either release schedule
		b.do(workflows.ReserveStock, s)
		b.do(workflows.ChargePayment, s)
	}
	b.level(8, 2, 0)
	named.Terms.AwaitCarrier = true
	b.do(workflows.RequestShipment, named)
	for _, c := range []string{workflows.RefundPayment, workflows.ReleaseStock} {
		if failure := b.undo(c, workflows.State{OrderID: "o"}, order.StatusFailed, "why"); failure != "" {
			t.Errorf("%s: %s", c, failure)
		}
	}
	if rec := b.is("o", order.StatusFailed); rec.RefundID == "" {
		t.Errorf("%+v", rec)
	}
	b.level(10, 0, 0)
	b.heard("refunded", "failed")

	// Nothing is known of one that has no record, so the provider is asked.
	if failure := b.undo(workflows.RefundPayment, workflows.State{OrderID: "nobody"}, order.StatusFailed, "why"); failure != "" {
		t.Error(failure)
	}
	if failure := b.undo(workflows.ReleaseStock, workflows.State{OrderID: "nobody"}, order.StatusFailed, "why"); !strings.Contains(failure, "nobody") && failure != "" {
		t.Error(failure)
	}
}
