package activities_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/dapr/durabletask-go/task"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/workflows"
)

// next takes the next message out of a queue into v, and gives its text.
func (b *bench) next(url string, v any) string {
	b.Helper()
	out, err := b.Clients.SQS.ReceiveMessage(b.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, WaitTimeSeconds: 5})
	b.must(err)
	if len(out.Messages) != 1 {
		b.Fatalf("%d messages", len(out.Messages))
	}
	b.must(json.Unmarshal([]byte(*out.Messages[0].Body), v))
	_, err = b.Clients.SQS.DeleteMessage(b.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: out.Messages[0].ReceiptHandle})
	b.must(err)
	return *out.Messages[0].Body
}

// TestCustomersGetACode: a notification has a code and its fixed text, never a note or an
// error, also where an older release has begun the saga.
func TestCustomersGetACode(t *testing.T) {
	const inside = "ann@shop.example: do not tell him, dial tcp 10.0.0.7"
	cancel := func(behalf orderstore.OnBehalf) func(b *bench, id string) {
		return func(b *bench, id string) {
			b.must(b.Store.RequestCancel(b.Context(), id, orderstore.Note{Actor: "ann@shop.example", Action: orderstore.NoteCancel, Text: inside, For: behalf}))
		}
	}
	decide := func(d orderstore.Decision) func(b *bench, id string) {
		return func(b *bench, id string) {
			b.must(b.Store.Decide(b.Context(), id, d, orderstore.Note{Actor: "ann@shop.example", Action: orderstore.NoteReject, Text: inside}))
		}
	}
	refuse := func(b *bench, id string) {
		b.must(b.Store.MarkPaid(b.Context(), id, "ch"))
		b.must(b.Store.MarkShipmentRequested(b.Context(), id, shipment.ID(id)))
		_, _, err := b.Store.RecordCarrierAnswer(b.Context(), id, orderstore.CarrierAnswer{ShipmentID: shipment.ID(id), Answer: orderstore.Refused, Reason: inside})
		b.must(err)
	}
	b := newBench(t)
	for name, c := range map[string]struct {
		happens func(b *bench, id string)
		status  order.Status
		kind    events.NotificationKind
		code    events.ReasonCode
	}{
		"declined":    {nil, order.StatusDeclined, events.NotifyDeclined, events.ReasonPaymentDeclined},
		"short":       {nil, order.StatusRejected, events.NotifyRejected, events.ReasonOutOfStock},
		"technical":   {nil, order.StatusFailed, events.NotifyFailed, events.ReasonTechnical},
		"refused":     {refuse, order.StatusFailed, events.NotifyFailed, events.ReasonRefusedByCarrier},
		"by-customer": {cancel(orderstore.Customer), order.StatusCancelled, events.NotifyCancelled, events.ReasonCancelledByCustomer},
		"by-shop":     {cancel(orderstore.Shop), order.StatusCancelled, events.NotifyCancelled, events.ReasonCancelledByShop},
		"nobody-says": {cancel(""), order.StatusCancelled, events.NotifyCancelled, events.ReasonCancelledByShop}, // of an older release
		"not-kept":    {nil, order.StatusCancelled, events.NotifyCancelled, events.ReasonCancelledByShop},        // by a durable-task client
		"rejected":    {decide(orderstore.Rejected), order.StatusCancelled, events.NotifyCancelled, events.ReasonCancelledByShop},
		"expired":     {decide(orderstore.Expired), order.StatusCancelled, events.NotifyCancelled, events.ReasonCancelledByShop},
		// It was going to fail when the customer asked.
		"fails-first": {cancel(orderstore.Customer), order.StatusFailed, events.NotifyFailed, events.ReasonTechnical},
	} {
		s := b.accept(name, "tok_ok")
		next := order.StatusReserved
		if c.status == order.StatusCancelled {
			next = order.StatusAwaitingApproval
		}
		wanted, reason := s.Order, inside
		if c.status == order.StatusRejected { // by the reservation, not by ReleaseStock
			wanted.Lines, reason = []order.Line{{SKU: "none", Quantity: 1, UnitPrice: 100}}, "out of stock: none"
		}
		var err error
		if next == order.StatusAwaitingApproval {
			_, err = b.Store.ReserveForApproval(t.Context(), wanted, 0)
		} else {
			_, err = b.Store.Reserve(t.Context(), wanted)
		}
		b.must(err)
		if c.happens != nil {
			c.happens(b, name)
		}
		if name != "refused" {
			_, err := b.payments.Charge(t.Context(), payment.Charge{OrderID: name, Amount: 200, Currency: "EUR", Token: "tok_ok"})
			b.must(err)
			s.Order = s.Order.ForHistory() // as sagas begin from this release on
			b.refunds(s, c.status, inside, c.code)
		}
		if failure := b.undo(workflows.ReleaseStock, s, c.status, inside); failure != "" {
			t.Errorf("%s: %s", name, failure)
		}
		var told events.Notification
		text := b.next(b.told, &told)
		want := events.Notification{SpecVersion: 1, NotificationID: name + "-" + string(c.kind), Type: c.kind, OrderID: name, CustomerID: "c-1", ReasonCode: c.code, Reason: told.Reason}
		if told != want || told.Reason == "" || strings.Contains(text, "ann@") || strings.Contains(text, "10.0") {
			t.Errorf("%s: %s", name, text)
		}
		if rec := b.is(name, c.status); rec.Reason != reason { // for operators
			t.Errorf("%s: the record's reason = %q, want %q", name, rec.Reason, reason)
		}
	}
	b.heard()
}

// refunds expects that the customer hears of a refund, and why by a code.
func (b *bench) refunds(s workflows.State, status order.Status, inside string, code events.ReasonCode) {
	b.Helper()
	if failure := b.undo(workflows.RefundPayment, s, status, inside); failure != "" {
		b.Error(failure)
	}
	var told events.Notification
	if text := b.next(b.told, &told); told.Type != events.NotifyRefunded || told.ReasonCode != code || told.CustomerID != "c-1" || strings.Contains(text, "ann@") {
		b.Errorf("%s: %s", s.Order.OrderID, text)
	}
}

// TestStepsReadWhoseOrderItIs in the order's record: the saga does not say.
func TestStepsReadWhoseOrderItIs(t *testing.T) {
	b := newBench(t)
	s := newState("o")
	s.Order.ShipTo = &order.Address{Name: "Ann", Line1: "1 Lane", Country: "DE"}
	o := s.Order
	o.Payment.Token = "tok_ok"
	_, _, err := b.Store.Accept(t.Context(), o)
	b.must(err)
	where := *s.Order.ShipTo
	s = workflows.NewState(o, workflows.Terms{})
	if s.OrderID != "o" { // workers of the release before go by it, and read the table
		t.Errorf("%+v", s)
	}
	if in, err := json.Marshal(s); err != nil || strings.Contains(string(in), "c-1") || strings.Contains(string(in), "Lane") {
		t.Fatalf("%s %v", in, err)
	}
	b.do(workflows.ReserveStock, s)
	b.do(workflows.ChargePayment, s)
	calls := b.Clients.Calls()
	b.do(workflows.RequestShipment, s)
	if n := b.Clients.Calls() - calls; n != 4 { // mark, ask, tell, sell: the mark's answer says whose it is
		t.Errorf("%d calls", n)
	}
	var asked events.ShipmentRequest
	b.next(b.asked, &asked)
	if asked.ShipTo == nil || *asked.ShipTo != where {
		t.Errorf("it goes to %+v", asked.ShipTo)
	}
	var told events.Notification
	if text := b.next(b.told, &told); told.CustomerID != "c-1" || told.Type != events.NotifyConfirmed {
		t.Error(text)
	}

	short := newState("short")
	short.Order.Lines[0].Quantity = 100
	_, _, err = b.Store.Accept(t.Context(), short.Order)
	b.must(err)
	short.Order = short.Order.ForHistory()
	b.do(workflows.ReserveStock, short)
	if text := b.next(b.told, &told); told.CustomerID != "c-1" || told.ReasonCode != events.ReasonOutOfStock {
		t.Error(text)
	}
}

// TestTokenThatTheProviderQuotes goes no further.
func TestTokenThatTheProviderQuotes(t *testing.T) {
	const token = "tok_4711secret"
	for what, answer := range map[string]struct {
		status int
		body   string
	}{
		"declined": {402, `{"code":"no_` + token + `","message":"` + strings.Repeat("x", 995) + ` ` + token + `"}`},
		"failed":   {200, `{"id":"ch_1","status":"failed","orderId":"failed","amount":200,"currency":"EUR","code":"` + token + `","message":"of ` + token + `"}`},
		"broken":   {500, `{"code":"x","message":"` + strings.Repeat("y", 495) + token + `"}`},
		"odd":      {200, `{"id":"ch_1","status":"` + token + `"}`},
		"twice":    {200, `{"id":"ch_1","id":"` + token + `"}`},
		"key":      {200, `{"id":"ch_1","` + token + `":1,"` + token + `":2}`},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				_, _ = w.Write([]byte(`{"charges":[]}`))
				return
			}
			w.WriteHeader(answer.status)
			_, _ = w.Write([]byte(answer.body))
		}))
		t.Cleanup(server.Close)
		b := newBench(t)
		client := payment.New(payment.Options{URL: server.URL})
		t.Cleanup(client.Close)
		b.parts.Payments = client
		b.registry = task.NewTaskRegistry()
		b.must(b.parts.Register(b.registry))
		b.exec = task.NewTaskExecutor(b.registry)

		s := b.accept(what, token)
		b.do(workflows.ReserveStock, s)
		in, err := json.Marshal(s)
		b.must(err)
		result, failure := b.run(workflows.ChargePayment, string(in))
		if result+failure == "" || strings.Contains(result+failure, token[:9]) {
			t.Errorf("%s: %s %s", what, result, failure)
		}
	}
}
