package intake_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/embedded"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/internal/sqsconsumer"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

var patientCarrier = workflows.Terms{AwaitCarrier: true, CarrierTimeout: 1 << 42, TimeScale: 0.001}

func (w env) carrierAnswers() intake.CarrierAnswers {
	r := reconcile.Reconciler{Orders: w.Store, Payments: w.payments, Sagas: w.engine, Terms: w.starter.Terms}
	return intake.CarrierAnswers{Orders: w.Store, Sagas: w.engine, Undo: r.UndoRefused}
}

func dispatchedBy(id, tracking string) events.CarrierAnswer {
	return events.CarrierAnswer{SpecVersion: 1, Type: "ShipmentDispatched", ShipmentID: "shp-" + id, OrderID: id, TrackingID: tracking}
}

func refusedBy(id, reason string) events.CarrierAnswer {
	return events.CarrierAnswer{SpecVersion: 1, Type: "ShipmentRefused", ShipmentID: "shp-" + id, OrderID: id, Reason: reason}
}

func (w env) answers(t testing.TB, a events.CarrierAnswer) error {
	t.Helper()
	b, err := json.Marshal(a)
	require.NoError(t, err)
	return w.carrierAnswers().Handle(t.Context(), events.Message{Body: b})
}

// places starts an order's saga, and waits until it waits for the carrier.
func (w env) places(t testing.TB, id string) {
	t.Helper()
	require.NoError(t, w.starter.HandleOrder(t.Context(), message(event(t, id))))
	w.at(t, id, workflows.StepCarrier)
}

func (w env) at(t testing.TB, id, customStatus string) {
	t.Helper()
	testkit.Eventually(t, id+" is at "+customStatus, func() error {
		if i, err := w.engine.Get(t.Context(), id); err != nil || i.CustomStatus != customStatus {
			return fmt.Errorf("saga = %+v, error = %w", i, err)
		}
		return nil
	})
}

func (w env) record(t testing.TB, id string) orderstore.Record { return read(t, w.Store, id) }

func TestCarrierAnswersReachTheirSagas(t *testing.T) {
	t.Parallel()
	w := newEnv(t, patientCarrier)
	for _, c := range []struct {
		answer events.CarrierAnswer
		want   order.Status
	}{
		{dispatchedBy("taken", "trk-1"), order.StatusCompleted},
		{refusedBy("refused", "too far"), order.StatusFailed},
	} {
		id := c.answer.OrderID
		w.places(t, id)
		b, err := json.Marshal(c.answer)
		require.NoError(t, err)
		notification := `{"Type":"Notification","TopicArn":"a","Message":` + quoted(t, string(b)) + `}`
		require.NoError(t, w.carrierAnswers().Handle(t.Context(), message(notification)))
		w.ended(t, id)
		rec := w.record(t, id)
		if rec.Status != c.want || rec.TrackingID != c.answer.TrackingID {
			t.Errorf("order = %+v, want status %s and tracking id %q", rec, c.want, c.answer.TrackingID)
		}
		require.NoError(t, w.answers(t, c.answer)) // again
		if again := w.record(t, id); again.Updated != rec.Updated {
			t.Errorf("order after a repeated answer = %+v, want no update since %s", again, rec.Updated)
		}
	}
	if rec := w.record(t, "refused"); !strings.Contains(rec.Reason, "too far") || rec.RefundID == "" {
		t.Errorf("order = %+v, want a refund and a reason that contains %q", rec, "too far")
	}
}

// TestAnswersWithoutARequestAreDeadLettered: the reason of the dead letter names the missing
// request. The order stays unchanged, whatever is requested from the carrier later.
func TestAnswersWithoutARequestAreDeadLettered(t *testing.T) {
	t.Parallel()
	terms := patientCarrier
	terms.ApprovalAbove, terms.ApprovalTimeout = 1, time.Hour
	w := newEnv(t, terms)
	require.NoError(t, w.starter.HandleOrder(t.Context(), message(event(t, "o"))))
	w.at(t, "o", workflows.StepApprove)
	poison := func(a events.CarrierAnswer, want string) {
		t.Helper()
		before := w.record(t, "o")
		err := w.answers(t, a)
		if p, ok := errors.AsType[*sqsconsumer.PermanentError](err); !ok || !strings.Contains(p.Error(), want) {
			t.Errorf("%+v: %v, want %q", a, err, want)
		}
		if rec := w.record(t, "o"); rec.Updated != before.Updated {
			t.Errorf("order after the answer %+v = %+v, want no update since %s", a, rec, before.Updated)
		}
	}
	foreign := refusedBy("o", "island")
	foreign.ShipmentID = "shp-of-another"
	none := ` of order o, which is AWAITING_APPROVAL: no shipment was requested`
	poison(foreign, `the carrier has refused shipment "shp-of-another"`+none)
	poison(refusedBy("o", "island"), `the carrier has refused shipment "shp-o"`+none)
	poison(dispatchedBy("o", "trk"), `the carrier has dispatched shipment "shp-o"`+none)

	require.NoError(t, saga.Send(t.Context(), w.engine, "o", workflows.EventApproval, workflows.Approval{Approved: true}))
	w.at(t, "o", workflows.StepCarrier)
	poison(foreign, `the carrier has refused shipment "shp-of-another" of order o, whose shipment is shp-o`)
	require.NoError(t, w.answers(t, dispatchedBy("o", "trk")))
	w.ended(t, "o")
	if rec := w.record(t, "o"); rec.Status != order.StatusCompleted || rec.RefundID != "" || rec.TrackingID != "trk" {
		t.Errorf("order = %+v, want status COMPLETED, no refund, and tracking id trk", rec)
	}
}

// What becomes of an answer.
const (
	kept        = "kept"
	undone      = "undone"   // kept, and the order's saga starts again
	repeated    = "repeated" // changes nothing
	parcel      = "a further parcel"
	unasked     = "dead letter: no shipment was requested"
	changed     = "dead letter: the carrier had answered otherwise"
	comeBack    = "dead letter: the parcel may have to come back"
	notByItself = "dead letter: could not be undone by itself"
)

// became classifies an answer by the order before and after, the handler's error, and
// whether the saga starts again.
func became(before, after orderstore.Record, err error, again bool) string {
	if p, poison := errors.AsType[*sqsconsumer.PermanentError](err); poison {
		for what, text := range map[string]string{
			unasked: "no shipment was requested", changed: ", which it had ",
			comeBack: "the parcel may have to come back", notByItself: "could not be undone by itself",
		} {
			if strings.Contains(p.Error(), text) {
				return what
			}
		}
	}
	switch {
	case err != nil:
		return err.Error()
	case again:
		return undone
	case before.Carrier == "" && after.Carrier != "":
		return kept
	case len(after.TrackingIDs) == len(before.TrackingIDs)+1:
		return parcel
	case after.Updated == before.Updated:
		return repeated
	}
	return "changed in another way"
}

// TestEveryAnswerInEveryState tests the table of docs/adr/0024: what happens to an answer, by
// the order's state and the carrier's earlier answer.
func TestEveryAnswerInEveryState(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.SetStock(t, map[string]int64{"A": 1000})
	s, idle := a.Store, newIdle(t)

	type step func(id string) error
	then := func(steps ...step) step {
		return func(id string) error {
			for _, step := range steps {
				if err := step(id); err != nil {
					return err
				}
			}
			return nil
		}
	}
	nothing := then()
	reserve := func(to order.Status) step {
		return func(id string) error {
			o, err := order.Parse([]byte(event(t, id)))
			require.NoError(t, err)
			if to == order.StatusAwaitingApproval {
				_, err = s.ReserveForApproval(t.Context(), o, 0)
			} else {
				_, err = s.Reserve(t.Context(), o)
			}
			return err
		}
	}
	paid := then(reserve(order.StatusReserved), func(id string) error { return s.MarkPaid(t.Context(), id, "ch") })
	sent := then(paid, func(id string) error { return s.MarkShipmentRequested(t.Context(), id, "shp-"+id) })
	parked := func(id string) error { return s.MarkNeedsAttention(t.Context(), id, "x") }
	refunding := func(id string) error { _, err := s.MarkRefunding(t.Context(), id); return err }
	givenUp := func(id string) error { return s.MarkAbandoned(t.Context(), id) }
	resolved := func(id string) error {
		return s.AddNote(t.Context(), id, orderstore.Note{Actor: "ann", Action: "resolve"})
	}
	sold := func(id string) error { return s.Complete(t.Context(), id, "shp-"+id, "") }
	ended := func(final order.Status) step {
		return func(id string) error { return s.Release(t.Context(), id, final, "x") }
	}

	none := func(string) events.CarrierAnswer { return events.CarrierAnswer{} }
	dispatched := func(id string) events.CarrierAnswer { return dispatchedBy(id, "trk-1") }
	other := func(id string) events.CarrierAnswer { return dispatchedBy(id, "trk-2") }
	refused := func(id string) events.CarrierAnswer { return refusedBy(id, "island") }
	type row struct {
		before, now func(id string) events.CarrierAnswer
		want        string
	}
	notSent := []row{{none, dispatched, unasked}, {none, refused, unasked}}
	live := []row{
		{none, dispatched, kept},
		{none, refused, kept},
		{dispatched, dispatched, repeated},
		{dispatched, other, parcel},
		{dispatched, refused, changed},
		{refused, refused, repeated},
		{refused, dispatched, changed},
	}
	undoing := []row{ // or it was undone
		{none, dispatched, comeBack},
		{none, refused, kept},
		{dispatched, dispatched, comeBack},
		{dispatched, other, comeBack},
		{dispatched, refused, changed},
		{refused, refused, repeated},
		{refused, dispatched, changed},
	}
	n := 0
	for _, c := range []struct {
		state         string
		before, after step // the first answer
		rows          []row
	}{
		{"PENDING", nothing, nothing, notSent},
		{"RESERVED", reserve(order.StatusReserved), nothing, notSent},
		{"AWAITING_APPROVAL", reserve(order.StatusAwaitingApproval), nothing, notSent},
		{"PAID, nothing requested", paid, nothing, notSent},
		{"NEEDS_ATTENTION, nothing requested", then(paid, parked), nothing, notSent},
		{"REJECTED", func(id string) error { return s.End(t.Context(), id, order.StatusRejected, "x") }, nothing, notSent},
		{"DECLINED", then(reserve(order.StatusReserved), ended(order.StatusDeclined)), nothing, notSent},
		{"CANCELLED", then(paid, ended(order.StatusCancelled)), nothing, notSent},
		{"FAILED, nothing requested", then(paid, ended(order.StatusFailed)), nothing, notSent},
		{"PAID", sent, nothing, live},
		{"NEEDS_ATTENTION", then(sent, parked), nothing, live},
		{"PAID, being refunded", sent, refunding, undoing},
		{"NEEDS_ATTENTION, being refunded", then(sent, parked), refunding, undoing},
		{"NEEDS_ATTENTION, given up", then(sent, parked), givenUp, undoing},
		{"FAILED", sent, ended(order.StatusFailed), undoing},
		{"CANCELLED, after it was requested", sent, ended(order.StatusCancelled), undoing},
		{"COMPLETED, having waited", sent, sold, []row{
			{dispatched, dispatched, repeated}, {dispatched, other, parcel}, {dispatched, refused, changed},
		}},
		{"COMPLETED, not having waited", then(sent, sold), nothing, []row{
			{none, dispatched, kept},
			{none, refused, undone},
			{dispatched, dispatched, repeated},
			{dispatched, other, parcel},
			{dispatched, refused, changed},
		}},
		{"COMPLETED by an operator", then(sent, resolved, sold), nothing, []row{
			{none, dispatched, kept},
			{none, refused, notByItself},
			{refused, refused, notByItself},
			{refused, dispatched, changed},
		}},
	} {
		for i, r := range c.rows {
			n++
			id := fmt.Sprint("o-", n)
			where := fmt.Sprintf("%s, row %d", c.state, i)
			o, err := order.Parse([]byte(event(t, id)))
			require.NoError(t, err)
			_, _, err = s.Accept(t.Context(), o)
			require.NoError(t, err)
			require.NoError(t, c.before(id))
			if !strings.HasPrefix(c.state, "COMPLETED") {
				require.NoError(t, idle.Start(t.Context(), "lingers", id, nil))
			}
			again := false
			answers := intake.CarrierAnswers{Orders: s, Sagas: idle, Undo: func(context.Context, string) error { again = true; return nil }}
			handle := func(a events.CarrierAnswer) error {
				b, err := json.Marshal(a)
				require.NoError(t, err)
				return answers.Handle(t.Context(), events.Message{Body: b})
			}
			before, now := r.before(id), r.now(id)
			if before.Type != "" {
				_ = handle(before) // it has a row of its own
			}
			require.NoError(t, c.after(id))
			for attempt := range 2 { // the message is delivered twice
				old := read(t, s, id)
				again = false
				err := handle(now)
				after := read(t, s, id)
				want := r.want
				if attempt > 0 && (want == kept || want == parcel) {
					want = repeated
				}
				if is := became(old, after, err, again); is != want {
					t.Errorf("%s: %s, want %s\n%v\n%+v", where, is, want, err, after)
				}
				if err == nil || want == unasked {
					continue
				}
				facts := []string{now.TrackingID, now.Reason, string(after.Status)}
				if want == changed {
					facts = append(facts, before.TrackingID, before.Reason)
				}
				for _, fact := range facts {
					if !strings.Contains(err.Error(), fact) {
						t.Errorf("%s: the dead letter does not contain %q: %v", where, fact, err)
					}
				}
				noted := 0
				for _, n := range after.Notes {
					if n.Actor == "intake" && n.Action == "flagged" && n.Text == err.Error() {
						noted++
					}
				}
				if noted != 1 {
					t.Errorf("%s: %d notes flag the dead letter, want 1: %+v", where, noted, after.Notes)
				}
			}
		}
	}
}

func read(t testing.TB, s *orderstore.Store, id string) orderstore.Record {
	t.Helper()
	rec, err := s.Get(t.Context(), id)
	require.NoError(t, err)
	return rec
}

// newIdle is an engine on which workflows only linger.
func newIdle(t *testing.T) *embedded.Engine {
	t.Helper()
	eng, err := embedded.Open(embedded.Options{Logger: zerolog.Nop()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, eng.Close()) })
	registry := task.NewTaskRegistry()
	require.NoError(t, registry.AddWorkflowN("lingers", lingers))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- eng.Run(ctx, registry) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return eng
}

// TestLateRefusalCompensatesTheOrder: the order's saga refunds, releases the stock and
// notifies the customer.
func TestLateRefusalCompensatesTheOrder(t *testing.T) {
	t.Parallel()
	w := newEnv(t, workflows.Terms{TimeScale: 0.001}) // no saga waits for the carrier
	for _, id := range []string{"known", "forgotten"} {
		require.NoError(t, w.starter.HandleOrder(t.Context(), message(event(t, id))))
		w.ended(t, id)
		if rec := w.record(t, id); rec.Status != order.StatusCompleted {
			t.Fatalf("order = %+v, want status COMPLETED", rec)
		}
	}
	require.NoError(t, w.engine.Purge(t.Context(), "forgotten"))
	for _, id := range []string{"known", "forgotten"} {
		for range 2 { // the message is delivered twice
			require.NoError(t, w.answers(t, refusedBy(id, "island")))
		}
		w.ended(t, id)
		rec := w.record(t, id)
		if rec.Status != order.StatusFailed || rec.Reason != "refused by the carrier: island" || rec.RefundID == "" ||
			rec.RefusedFor() != "island" {
			t.Errorf("order = %+v, want status FAILED, a refund, refusal for island, and reason %q", rec, "refused by the carrier: island")
		}
		require.NoError(t, w.answers(t, refusedBy(id, "island"))) // long after
		if again := w.record(t, id); again.Updated != rec.Updated {
			t.Errorf("order after a repeated answer = %+v, want no update since %s", again, rec.Updated)
		}
		if err := w.answers(t, dispatchedBy(id, "trk")); err == nil || !strings.Contains(err.Error(), "trk") ||
			!strings.Contains(err.Error(), "island") {
			t.Errorf("a dispatch after the refusal: error = %v, want one that names trk and island", err)
		}
	}
	if l, err := w.Store.GetLevel(t.Context(), "A"); err != nil || l.Available != 100 || l.Reserved != 0 || l.Sold != 0 {
		t.Errorf("stock level = %+v, error = %v, want 100 available, none reserved or sold", l, err)
	}
	charges, _, err := w.payments.Charges(t.Context(), "", 100)
	if err != nil || len(charges) != 2 || !charges[0].Refunded || !charges[1].Refunded {
		t.Errorf("charges = %+v, error = %v, want 2, both refunded", charges, err)
	}
	if m := w.Receive(t, w.Resources.CarrierRequests, 2); len(m) != 2 {
		t.Errorf("shipment requests = %d, want 2", len(m))
	}
	if v, _ := w.Depth(t, w.Resources.CarrierRequests); v != "0" {
		t.Errorf("further shipment requests = %s, want 0", v)
	}
}

// TestLateRefusalWaitsForTheSagaToEnd: the order is COMPLETED a moment before its saga ends.
func TestLateRefusalWaitsForTheSagaToEnd(t *testing.T) {
	t.Parallel()
	w := newEnv(t, workflows.Terms{TimeScale: 0.001})
	o, err := order.Parse([]byte(event(t, "o")))
	require.NoError(t, err)
	_, _, err = w.Store.Accept(t.Context(), o)
	require.NoError(t, err)
	id, err := w.payments.Charge(t.Context(), payment.Charge{OrderID: "o", Amount: o.Total(), Currency: o.Currency, Token: "tok_ok"})
	require.NoError(t, err)
	_, err = w.Store.Reserve(t.Context(), o)
	require.NoError(t, errors.Join(err, w.Store.MarkPaid(t.Context(), "o", id), w.Store.MarkShipmentRequested(t.Context(), "o",
		"shp-o"), w.Store.Complete(t.Context(), "o", "shp-o", "")))
	// It runs until the event comes.
	require.NoError(t, w.engine.Start(t.Context(), "lingers", "o", nil))
	handled := make(chan error, 1)
	go func() { handled <- w.answers(t, refusedBy("o", "island")) }()
	testkit.Eventually(t, "it is reopened", func() error {
		if rec := w.record(t, "o"); rec.Status != order.StatusPaid {
			return fmt.Errorf("order = %+v", rec)
		}
		return nil
	})
	require.NoError(t, w.engine.Raise(t.Context(), "o", "end", nil))
	require.NoError(t, <-handled)
	w.ended(t, "o")
	if rec := w.record(t, "o"); rec.Status != order.StatusFailed || rec.RefundID == "" {
		t.Errorf("order = %+v, want status FAILED and a refund", rec)
	}
}

// TestAnswerForAMissingSagaIsRetried: another worker may run the saga, or it is yet to be
// restarted. The answer is not poison and is delivered again.
func TestAnswerForAMissingSagaIsRetried(t *testing.T) {
	t.Parallel()
	w := newEnv(t, patientCarrier)
	o, err := order.Parse([]byte(event(t, "o")))
	require.NoError(t, err)
	_, _, err = w.Store.Accept(t.Context(), o)
	require.NoError(t, err)
	_, err = w.Store.Reserve(t.Context(), o)
	require.NoError(t, errors.Join(err, w.Store.MarkPaid(t.Context(), "o", "ch"), w.Store.MarkShipmentRequested(t.Context(), "o", "shp-o")))
	err = w.answers(t, dispatchedBy("o", "trk"))
	if _, poison := errors.AsType[*sqsconsumer.PermanentError](err); poison || !errors.Is(err, engine.ErrNotFound) ||
		!strings.Contains(err.Error(), "the carrier has dispatched order o, which is PAID and has no saga here") {
		t.Errorf("error = %v, want the dispatch of order o reported as without a saga, to be retried", err)
	}
	require.NoError(t, w.engine.Start(t.Context(), workflows.OrderSaga, "o", workflows.State{Order: o.WithoutToken(), Terms: w.starter.Terms}))
	w.at(t, "o", workflows.StepCarrier)
	require.NoError(t, w.answers(t, dispatchedBy("o", "trk")))
	w.ended(t, "o")
	if rec := w.record(t, "o"); rec.Status != order.StatusCompleted || rec.TrackingID != "trk" {
		t.Errorf("order = %+v, want status COMPLETED and tracking id trk", rec)
	}
}

// TestAnswerForATerminatedSagaIsRecorded: the answer is recorded with its order. It is not
// retried, even if the saga was purged.
func TestAnswerForATerminatedSagaIsRecorded(t *testing.T) {
	t.Parallel()
	w := newEnv(t, patientCarrier)
	for _, a := range []events.CarrierAnswer{dispatchedBy("taken", "trk"), refusedBy("refused", "island")} {
		o, err := order.Parse([]byte(event(t, a.OrderID)))
		require.NoError(t, err)
		_, _, err = w.Store.Accept(t.Context(), o)
		require.NoError(t, err)
		_, err = w.Store.Reserve(t.Context(), o)
		require.NoError(t, errors.Join(err, w.Store.MarkPaid(t.Context(), o.OrderID, "ch"), w.Store.MarkShipmentRequested(t.Context(),
			o.OrderID, "shp-"+o.OrderID),
			w.Store.MarkTerminated(t.Context(), o.OrderID, "enough"), w.Store.MarkNeedsAttention(t.Context(), o.OrderID,
				"its saga has ended TERMINATED")))
		require.NoError(t, w.answers(t, a))
		if rec := w.record(t, o.OrderID); rec.Carrier == "" || rec.Status != order.StatusNeedsAttention {
			t.Errorf("order = %+v, want status NEEDS_ATTENTION and the carrier's answer on record", rec)
		}
	}
}

// TestLongReasonsDoNotHideTheContradiction: the note begins with the facts that an operator
// needs and is added once, however long the carrier's reason is.
func TestLongReasonsDoNotHideTheContradiction(t *testing.T) {
	t.Parallel()
	w := newEnv(t, workflows.Terms{})
	o, err := order.Parse([]byte(event(t, "o")))
	require.NoError(t, err)
	_, _, err = w.Store.Accept(t.Context(), o)
	require.NoError(t, err)
	_, err = w.Store.Reserve(t.Context(), o)
	require.NoError(t, errors.Join(err, w.Store.MarkPaid(t.Context(), "o", "ch"), w.Store.MarkShipmentRequested(t.Context(), "o",
		"shp-o"), w.Store.Complete(t.Context(), "o", "shp-o", "")))
	_, _, err = w.Store.RecordCarrierAnswer(
		t.Context(),
		"o",
		orderstore.CarrierAnswer{ShipmentID: "shp-o", Answer: orderstore.Dispatched, TrackingID: "trk"},
	)
	require.NoError(t, err)
	for range 2 {
		if err := w.answers(t, refusedBy("o", strings.Repeat("island ", 1000))); err == nil {
			t.Error("contradiction was accepted, want an error")
		}
	}
	const want = "order o is COMPLETED, and the carrier has refused it, which it had dispatched before: trk: island"
	if notes := w.record(t, "o").Notes; len(notes) != 1 || !strings.HasPrefix(notes[0].Text, want) {
		t.Errorf("notes = %+v, want one, which begins with %q", notes, want)
	}
}

// TestAnswerMayHaveItsTypeInTheEnvelope: the type counts as if it were in the body.
func TestAnswerMayHaveItsTypeInTheEnvelope(t *testing.T) {
	t.Parallel()
	w := newEnv(t, patientCarrier)
	w.places(t, "o")
	const body = `{"specVersion":1.0,"orderId":"o","shipmentId":"shp-o","trackingId":"trk"}` // 1.0 is a whole number
	for want, m := range map[string]events.Message{
		`type: the message attribute type's is "ShipmentDispatched", the body's is "ShipmentRefused"`: {
			Body:       []byte(`{"type":"ShipmentRefused","orderId":"o","shipmentId":"shp-o"}`),
			Attributes: map[string]string{"type": "ShipmentDispatched"},
		},
		`type: the message attribute ce-type's is "ShipmentLost", only ShipmentDispatched or ShipmentRefused`: {
			Body: []byte(body), Attributes: map[string]string{"ce-type": "ShipmentLost"},
		},
	} {
		if p, ok := errors.AsType[*sqsconsumer.PermanentError](w.carrierAnswers().Handle(t.Context(), m)); !ok ||
			!strings.Contains(p.Error(), want) {
			t.Errorf("%v, want %s", p, want)
		}
	}
	require.NoError(
		t,
		w.carrierAnswers().
			Handle(t.Context(), events.Message{Body: []byte(body), Attributes: map[string]string{"ce-type": "ShipmentDispatched"}}),
	)
	w.ended(t, "o")
	if rec := w.record(t, "o"); rec.Status != order.StatusCompleted || rec.TrackingID != "trk" {
		t.Errorf("order = %+v, want status COMPLETED and tracking id trk", rec)
	}
}

func TestInvalidAnswersArePoison(t *testing.T) {
	t.Parallel()
	w := newEnv(t, workflows.Terms{})
	for body, want := range map[string]string{
		`{`: "body: is not a carrier's answer",
		`{"type":"ShipmentDispatched","orderId":"a b","shipmentId":"s"}`: "orderId: must be",
		`{"type":"ShipmentDispatched","shipmentId":"s"}`:                 "orderId: must be",
		`{"type":"ShipmentDispatched","orderId":"o"}`: "shipmentId: is " +
			"missing",
		`{"type":"ShipmentDispatched","orderId":"o","shipmentId":""}`: "shipmentId: is " +
			"missing",
		`{"orderId":"o","shipmentId":"shp-o"}`: `type: "" is neither`,
		`{"type":"ShipmentLost","orderId":"o","shipmentId":"shp-o"}`: `type: the ` +
			`body's is "ShipmentLost", only ShipmentDispatched or ShipmentRefused`,
		`{"specVersion":2,"type":"ShipmentRefused","orderId":"o","shipmentId":"shp-o"}`: "specVersion: is " +
			"2, only 1 is supported",
		`{"type":"ShipmentRefused","orderId":"nobody","shipmentId":"shp-nobody"}`: "order nobody: " +
			"not found",
		`{"specversion":"1.0","type":"ShipmentRefused","source":"s","id":"1"}`: "data: the " +
			"CloudEvent has none",
		`{"specversion":"1.0","type":"ShipmentLost","source":"s","id":"1","data":{}}`: "only " +
			"ShipmentDispatched or ShipmentRefused is handled",
		`{"type":"ShipmentRefused","orderId":"o","shipmentId":"shp-o","Type":"ShipmentDispatched"}`: `type: appears ` +
			`more than once`,
		`{"type":"ShipmentRefused","orderId":"o","shipmentId":"shp-other","shipmentID":"shp-o"}`: `shipmentId: ` +
			`appears more than once`,
		`{"type":"ShipmentDispatched","orderId":"o","shipmentId":"shp-o","trackingId":"` + strings.Repeat("x", 201) +
			`"}`: "trackingId: has 201 bytes",
		`{"type":"ShipmentDispatched","orderId":"o","shipmentId":"shp-o","trackingId":"a\u0000"}`: "trackingId: has " +
			"2 bytes",
		`{"type":"ShipmentRefused","orderId":"o","shipmentId":["shp-o"]}`: "shipmentId: " +
			"must not be a JSON array in a carrier's answer",
		`{"specVersion":1.5,"type":"ShipmentRefused","orderId":"o","shipmentId":"shp-o"}`: "specVersion: " +
			"must be a whole number",
		`[]`: "body: must not be a JSON array in a carrier's answer",
	} {
		err := w.carrierAnswers().Handle(t.Context(), message(body))
		if p, ok := errors.AsType[*sqsconsumer.PermanentError](err); !ok || !strings.Contains(p.Reason.Error(), want) {
			t.Errorf("body = %s: error = %v, want a permanent one with %q", body, err, want)
		}
	}
}
