// Package intake handles the messages that sagas depend on: OrderPlaced starts a saga, a
// carrier's answer is sent to one. It also has the publisher of OrderPlaced.
package intake

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/sagastart"
	"github.com/ordersaga/ordersaga/internal/snspublisher"
	"github.com/ordersaga/ordersaga/internal/sqsconsumer"
	"github.com/ordersaga/ordersaga/internal/tracing"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// Orders has the methods of *orderstore.Store that a Starter uses.
type Orders interface {
	Accept(ctx context.Context, o order.Order) (rec orderstore.Record, created bool, err error)
}

// Sagas has the methods of an engine that intake uses.
type Sagas interface {
	Start(ctx context.Context, workflow, id string, input any) error
	Raise(ctx context.Context, id, event string, payload any) error
}

// Starter starts the saga of an order, at most once. The record that it writes first is
// the guard: engines differ in what they do with the id of a saga that has ended (Dapr
// runs it again). It is safe for concurrent use.
type Starter struct {
	Orders Orders
	Sagas  Sagas
	Terms  workflows.Terms
}

// Start accepts the order and starts its saga. For an order that was accepted
// before it returns the record and created is false. It returns orderstore.ErrConflict if
// the id belongs to a different order.
func (s Starter) Start(ctx context.Context, o order.Order) (rec orderstore.Record, created bool, err error) {
	rec, created, err = s.Orders.Accept(ctx, o)
	if err != nil {
		return rec, false, err
	}
	// PENDING and not new: a worker may have crashed between the record and the start.
	// Starting again is harmless: no step has begun, or the engine finds the saga. But a
	// message does not restart a saga that was terminated.
	if rec.Status != order.StatusPending || rec.Terminated != "" {
		return rec, false, nil
	}
	rec.Trace = cmp.Or(rec.Trace, tracing.Parent(ctx)) // a record from before orders were traced has none
	err = sagastart.Start(ctx, s.Sagas, rec, s.Terms)
	if err != nil && !errors.Is(err, engine.ErrActive) {
		return rec, created, err
	}
	return rec, created, nil
}

// HandleOrder handles an OrderPlaced message, raw or in any envelope: it starts the order's
// saga. It returns when the start is durable. An invalid order is a
// *sqsconsumer.PermanentError.
func (s Starter) HandleOrder(ctx context.Context, m events.Message) error {
	return sqsconsumer.HandleEvent(ctx, events.TopicOrderEvents, m, func(ctx context.Context, e events.Event) error {
		o, err := order.Parse(e.Payload)
		if err != nil {
			return &sqsconsumer.PermanentError{Reason: err}
		}
		tracing.Concerns(ctx, o.OrderID)
		_, _, err = s.Start(ctx, o)
		if errors.Is(err, orderstore.ErrConflict) {
			return &sqsconsumer.PermanentError{Reason: fmt.Errorf("orderId %s: %w", o.OrderID, err)}
		}
		return err
	}, events.TypeOrderPlaced)
}

// CarrierAnswersSource is the source of the carrier's answers in spans.
const CarrierAnswersSource = "CarrierAnswers"

// CarrierStore has the methods of *orderstore.Store that CarrierAnswers uses.
type CarrierStore interface {
	RecordCarrierAnswer(ctx context.Context, orderID string, a orderstore.CarrierAnswer) (rec orderstore.Record, reopened bool, err error)
	Get(ctx context.Context, orderID string) (orderstore.Record, error)
	Flag(ctx context.Context, rec orderstore.Record, actor, text string) error
}

// CarrierAnswers handles the carrier's answers to shipment requests. It is safe for
// concurrent use.
type CarrierAnswers struct {
	Orders CarrierStore
	Sagas  Sagas
	// Undo restarts the saga of an order that the carrier has refused after the saga had
	// ended, or when it was about to end: the saga compensates.
	Undo func(ctx context.Context, orderID string) error
}

// Handle records a carrier's answer with its order and sends it to the saga. An answer
// without a shipment request becomes a dead letter. An answer that contradicts an earlier
// one, or the order's outcome, needs an operator: it is noted with the order, and becomes
// a dead letter too; see docs/adr/0024.
func (c CarrierAnswers) Handle(ctx context.Context, m events.Message) error {
	return sqsconsumer.HandleEvent(ctx, CarrierAnswersSource, m, c.answer, events.TypeShipmentDispatched, events.TypeShipmentRefused)
}

func (c CarrierAnswers) answer(ctx context.Context, e events.Event) error {
	in, err := events.ParseCarrierAnswer(e)
	if err != nil {
		return &sqsconsumer.PermanentError{Reason: err}
	}
	tracing.Concerns(ctx, in.OrderID)
	a := orderstore.CarrierAnswer{ShipmentID: in.ShipmentID, Answer: orderstore.Refused, Reason: in.Reason}
	if in.Type == events.TypeShipmentDispatched {
		a = orderstore.CarrierAnswer{ShipmentID: in.ShipmentID, Answer: orderstore.Dispatched, TrackingID: in.TrackingID}
	}
	rec, reopened, err := c.Orders.RecordCarrierAnswer(ctx, in.OrderID, a)
	switch {
	case errors.Is(err, orderstore.ErrNotFound):
		return &sqsconsumer.PermanentError{Reason: err}
	case errors.Is(err, orderstore.ErrNotRequested):
		return &sqsconsumer.PermanentError{Reason: notRequested(rec, a)}
	case errors.Is(err, orderstore.ErrTooManyParcels):
		return &sqsconsumer.PermanentError{Reason: fmt.Errorf(
			"the carrier has dispatched order %s with a further tracking id, %.100q: %w", rec.OrderID, a.TrackingID, err)}
	case err != nil:
		return err
	case reopened:
		zerolog.Ctx(ctx).Warn().Msg("the carrier has refused an order that was COMPLETED; it is compensated")
		return c.Undo(ctx, rec.OrderID)
	}
	if what := contradiction(rec, a); what != "" {
		return c.reportContradiction(ctx, rec, what)
	}
	if rec.Status.Terminal() {
		return nil
	}
	return c.send(ctx, rec, a)
}

// send sends a recorded answer to the order's saga.
func (c CarrierAnswers) send(ctx context.Context, rec orderstore.Record, a orderstore.CarrierAnswer) error {
	err := saga.Send(ctx, c.Sagas, rec.OrderID, workflows.EventCarrier, workflows.CarrierAnswer{
		Dispatched: a.Answer == orderstore.Dispatched, TrackingID: a.TrackingID, Reason: rec.Redact(a.Reason),
	})
	gone := errors.Is(err, engine.ErrNotFound) && rec.Terminated == ""
	ended := errors.Is(err, engine.ErrEnded) || errors.Is(err, engine.ErrNotFound) && !gone // and purged
	switch {
	case (ended || gone) && a.Answer == orderstore.Refused && rec.Status == order.StatusPaid: // perhaps reopened before a crash
		return c.Undo(ctx, rec.OrderID)
	case gone: // another worker has it, or the reconciler restarts it
		return fmt.Errorf("the carrier has %s order %s, which is %s and has no saga here: %w", a.Answer, rec.OrderID, rec.Status, err)
	case !ended:
		return err
	}
	// The saga or the reconciler has ended the order, or is about to: it finds the answer in
	// the record. But the order may have been compensated since.
	rec, err = c.Orders.Get(ctx, rec.OrderID)
	if err != nil {
		return err
	}
	if what := contradiction(rec, a); what != "" {
		return c.reportContradiction(ctx, rec, what)
	}
	return nil
}

// notRequested returns how an answer differs from the shipment request.
func notRequested(rec orderstore.Record, a orderstore.CarrierAnswer) error {
	if rec.ShipmentID == "" {
		return fmt.Errorf("the carrier has %s shipment %.100q of order %s, which is %s: no shipment was requested",
			a.Answer, a.ShipmentID, rec.OrderID, rec.Status)
	}
	return fmt.Errorf("the carrier has %s shipment %.100q of order %s, whose shipment is %s",
		a.Answer, a.ShipmentID, rec.OrderID, rec.ShipmentID)
}

// contradiction describes how the carrier's answer contradicts the order, as it was when
// the answer was recorded; "" if it does not.
func contradiction(rec orderstore.Record, a orderstore.CarrierAnswer) string {
	// Text from outside comes last: a text that is too long is cut.
	now := fmt.Sprintf("order %s is %s, and the carrier has %s it", rec.OrderID, rec.Status, a.Answer)
	answer := ": " + detail(a.Answer, a.TrackingID, rec.Redact(a.Reason))
	ended := rec.Status.Terminal()
	switch {
	case rec.Carrier != "" && rec.Carrier != a.Answer:
		before := ": " + detail(rec.Carrier, rec.TrackingID, rec.RefusedFor())
		if rec.Carrier == orderstore.Dispatched { // an id, which is short
			answer, before = before, answer
		}
		return now + ", which it had " + string(rec.Carrier) + " before" + answer + before
	case a.Answer == orderstore.Refused && rec.Status == order.StatusCompleted:
		return now + "; it could not be undone by itself, and nothing was refunded or released" + answer
	case a.Answer == orderstore.Dispatched && ended && rec.Status != order.StatusCompleted:
		return now + "; the parcel may have to come back" + answer
	case a.Answer == orderstore.Dispatched && (rec.Refunding || rec.GivenUp):
		return now + ", while it is being refunded; the parcel may have to come back" + answer
	}
	return ""
}

// detail returns the part of an answer that an operator needs.
func detail(answer orderstore.Carrier, trackingID, reason string) string {
	if answer == orderstore.Refused {
		return cmp.Or(reason, "no reason given")
	}
	return cmp.Or(trackingID, "no tracking id")
}

// reportContradiction reports a contradiction to the operators: with a note, a line in the
// log, and a *sqsconsumer.PermanentError. The order continues.
func (c CarrierAnswers) reportContradiction(ctx context.Context, rec orderstore.Record, what string) error {
	zerolog.Ctx(ctx).Error().Str("status", string(rec.Status)).Str("what", what).
		Msg("the carrier contradicts itself or the order; its answer goes to the dead-letter queue")
	if err := c.Orders.Flag(ctx, rec, "intake", what); err != nil {
		return err
	}
	return &sqsconsumer.PermanentError{Reason: errors.New(what)}
}

// Publisher publishes OrderPlaced events. It is safe for concurrent use.
type Publisher struct {
	Topic *snspublisher.Topic // OrderEvents
}

// PublishOrder publishes a valid order to the OrderEvents topic.
func (p Publisher) PublishOrder(ctx context.Context, o order.Order) error {
	// The topic's filter policy reads the body, and some SNS emulators reject a body
	// without a type.
	body, err := json.Marshal(events.OrderPlaced{Type: events.TypeOrderPlaced, Order: o})
	if err != nil {
		return fmt.Errorf("encode order %s: %w", o.OrderID, err)
	}
	ctx, span := tracing.Send(ctx, events.TopicOrderEvents, o.OrderID)
	err = p.Topic.Publish(ctx, body, map[string]string{"type": events.TypeOrderPlaced})
	tracing.End(span, err)
	if err != nil {
		return fmt.Errorf("publish order %s: %w", o.OrderID, err)
	}
	return nil
}
