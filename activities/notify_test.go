package activities_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// TestNotificationsHaveAReasonCodeAndNoInternalText: a notification has a reason code and
// that code's text. It never has a note or an error, even if an older release has started
// the saga.
func TestNotificationsHaveAReasonCodeAndNoInternalText(t *testing.T) {
	t.Parallel()
	const inside = "ann@shop.example: not for the customer, dial tcp 10.0.0.7"
	cancel := func(behalf orderstore.OnBehalf) func(h *harness, id string) {
		return func(h *harness, id string) {
			require.NoError(h, h.Store.RequestCancel(h.Context(), id, orderstore.Note{
				Actor: "ann@shop.example", Action: orderstore.NoteCancel, Text: inside, For: behalf,
			}))
		}
	}
	decide := func(d orderstore.Decision) func(h *harness, id string) {
		return func(h *harness, id string) {
			require.NoError(h, h.Store.Decide(h.Context(), id, d, orderstore.Note{
				Actor: "ann@shop.example", Action: orderstore.NoteReject, Text: inside,
			}))
		}
	}
	refuse := func(h *harness, id string) {
		require.NoError(h, h.Store.MarkPaid(h.Context(), id, "ch"))
		require.NoError(h, h.Store.MarkShipmentRequested(h.Context(), id, shipment.ID(id)))
		h.recordAnswer(id, orderstore.CarrierAnswer{Answer: orderstore.Refused, Reason: inside})
	}
	h := newHarness(t)
	for name, c := range map[string]struct {
		happens func(h *harness, id string)
		status  order.Status
		kind    events.NotificationKind
		code    events.ReasonCode
	}{
		"declined":     {nil, order.StatusDeclined, events.NotifyDeclined, events.ReasonPaymentDeclined},
		"short":        {nil, order.StatusRejected, events.NotifyRejected, events.ReasonOutOfStock},
		"technical":    {nil, order.StatusFailed, events.NotifyFailed, events.ReasonTechnical},
		"refused":      {refuse, order.StatusFailed, events.NotifyFailed, events.ReasonRefusedByCarrier},
		"by-customer":  {cancel(orderstore.Customer), order.StatusCancelled, events.NotifyCancelled, events.ReasonCancelledByCustomer},
		"by-shop":      {cancel(orderstore.Shop), order.StatusCancelled, events.NotifyCancelled, events.ReasonCancelledByShop},
		"no-behalf":    {cancel(""), order.StatusCancelled, events.NotifyCancelled, events.ReasonCancelledByShop}, // of an older release
		"not-recorded": {nil, order.StatusCancelled, events.NotifyCancelled, events.ReasonCancelledByShop},        // by a durable-task client
		"rejected":     {decide(orderstore.Rejected), order.StatusCancelled, events.NotifyCancelled, events.ReasonCancelledByShop},
		"expired":      {decide(orderstore.Expired), order.StatusCancelled, events.NotifyCancelled, events.ReasonCancelledByShop},
		// The saga was already failing when the customer cancelled.
		"fails-first": {cancel(orderstore.Customer), order.StatusFailed, events.NotifyFailed, events.ReasonTechnical},
	} {
		s := h.accept(name, "tok_ok")
		next := order.StatusReserved
		if c.status == order.StatusCancelled {
			next = order.StatusAwaitingApproval
		}
		var err error
		if next == order.StatusAwaitingApproval {
			_, err = h.Store.ReserveForApproval(t.Context(), s.Order, 0)
		} else {
			_, err = h.Store.Reserve(t.Context(), s.Order)
		}
		require.NoError(h, err)
		if c.happens != nil {
			c.happens(h, name)
		}
		if name != "refused" {
			_, err := h.payments.Charge(t.Context(), payment.Charge{OrderID: name, Amount: 200, Currency: "EUR", Token: "tok_ok"})
			require.NoError(h, err)
			s.Order = s.Order.ForHistory() // as this release starts sagas
			h.wantRefunded(s, c.status, inside, c.code)
		}
		h.mustUndo(workflows.ReleaseStock, s, c.status, inside)
		var got events.Notification
		text := h.receive(h.customers, &got)
		want := events.Notification{
			SpecVersion: 1, NotificationID: name + "-" + string(c.kind), Type: c.kind,
			OrderID: name, CustomerID: "c-1", ReasonCode: c.code, Reason: got.Reason,
		}
		if got != want || got.Reason == "" || strings.Contains(text, "ann@") || strings.Contains(text, "10.0") {
			t.Errorf("%s: notification = %s, want %+v with a reason and without internal text", name, text, want)
		}
		if rec := h.wantStatus(name, c.status); rec.Reason != inside { // for operators
			t.Errorf("%s: the record's reason = %q, want %q", name, rec.Reason, inside)
		}
	}
	h.wantNotified()
}

// wantRefunded runs the refund and expects its notification, with that reason code.
func (h *harness) wantRefunded(s workflows.State, status order.Status, inside string, code events.ReasonCode) {
	h.Helper()
	h.mustUndo(workflows.RefundPayment, s, status, inside)
	var got events.Notification
	text := h.receive(h.customers, &got)
	if got.Type != events.NotifyRefunded || got.ReasonCode != code || got.CustomerID != "c-1" || strings.Contains(text, "ann@") {
		h.Errorf("order %s: notification = %s, want a refund with the reason %s for c-1", s.Order.OrderID, text, code)
	}
}

// TestStepsReadCustomerAndAddressFromTheRecord: the saga's state has neither.
func TestStepsReadCustomerAndAddressFromTheRecord(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := newState("o")
	s.Order.ShipTo = &order.Address{Name: "Ann", Line1: "1 Lane", Country: "DE"}
	o := s.Order
	o.Payment.Token = "tok_ok"
	_, _, err := h.Store.Accept(t.Context(), o)
	require.NoError(h, err)
	where := *s.Order.ShipTo
	s = workflows.NewState(o, workflows.Terms{})
	if s.OrderID != "o" { // workers of the previous release read the record by it
		t.Errorf("OrderID = %q, want o", s.OrderID)
	}
	if in, err := json.Marshal(s); err != nil || strings.Contains(string(in), "c-1") || strings.Contains(string(in), "Lane") {
		t.Fatalf("saga's input = %s, %v, want neither customer nor address", in, err)
	}
	h.do(workflows.ReserveStock, s)
	h.do(workflows.ChargePayment, s)
	calls := h.Clients.Calls()
	h.do(workflows.RequestShipment, s)
	// Mark the order, request the shipment, notify the customer, complete the order: the
	// first call returns the record, so no call reads it.
	if n := h.Clients.Calls() - calls; n != 4 {
		t.Errorf("the step made %d AWS calls, want 4", n)
	}
	var request events.ShipmentRequest
	h.receive(h.carrier, &request)
	if request.ShipTo == nil || *request.ShipTo != where {
		t.Errorf("shipment request to %+v, want %+v", request.ShipTo, where)
	}
	var got events.Notification
	if text := h.receive(h.customers, &got); got.CustomerID != "c-1" || got.Type != events.NotifyConfirmed {
		t.Errorf("notification = %s, want a confirmation for c-1", text)
	}

	short := newState("short")
	short.Order.Lines[0].Quantity = 100
	_, _, err = h.Store.Accept(t.Context(), short.Order)
	require.NoError(h, err)
	short.Order = short.Order.ForHistory()
	h.do(workflows.ReserveStock, short)
	if text := h.receive(h.customers, &got); got.CustomerID != "c-1" || got.ReasonCode != events.ReasonOutOfStock {
		t.Errorf("notification = %s, want OUT_OF_STOCK for c-1", text)
	}
}

// TestRetrySendsTheMessageThatFailed: the topics do not exist in the first run, after the
// order's record has changed. The second run publishes the message.
func TestRetrySendsTheMessageThatFailed(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.paid("o")
	broken := h.withoutTopics()
	if _, err := broken.Ship(t.Context(), s); err == nil {
		t.Error("Ship without topics returned no error, want one")
	}
	h.wantStatus("o", order.StatusPaid) // it must not look finished
	h.do(workflows.RequestShipment, s)
	h.wantStatus("o", order.StatusCompleted)
	h.wantNotified("confirmed")
	if got := h.drain(h.carrier, 1); len(got) != 1 {
		t.Errorf("shipment requests = %v, want 1", got)
	}

	s = h.accept("declined", "tok_ok")
	if err := broken.ReleaseStock(t.Context(), s, saga.Stop{Status: "DECLINED"}); err == nil {
		t.Error("ReleaseStock without topics returned no error, want one")
	}
	h.wantStatus("declined", order.StatusPending)
	h.undo(workflows.ReleaseStock, s, order.StatusDeclined, "")
	h.wantStatus("declined", order.StatusDeclined)
	h.wantNotified("declined")
	// Once the order has ended, a failed notification does not delay the saga: no list would
	// show it.
	require.NoError(h, broken.ReleaseStock(t.Context(), s, saga.Stop{Status: "DECLINED"}))
	if rec := h.wantStatus("declined", order.StatusDeclined); len(rec.Notes) != 1 || rec.Notes[0].Action != "customer not notified" {
		t.Errorf("notes = %+v, want one: \"customer not notified\"", rec.Notes)
	}
}
