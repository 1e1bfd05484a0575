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

// Orders is what the starter uses of *stock.Store.
type Orders interface {
	Accept(ctx context.Context, o order.Order) (rec orderstore.Record, created bool, err error)
}

// Sagas is what intake uses of an engine.
type Sagas interface {
	Start(ctx context.Context, workflow, id string, input any) error
	Raise(ctx context.Context, id, event string, payload any) error
}

// Starter starts the saga of an order, at most once. The record that it writes
// first is the guard: engines differ in what they do with the id of a saga
// that has ended (Dapr runs it again).
type Starter struct {
	Orders Orders
	Sagas  Sagas
	Terms  workflows.Terms
}

// Start accepts the order and starts its saga. For an order that was accepted
// before it returns the record and created is false; stock.ErrConflict if the
// id belongs to another order.
func (s Starter) Start(ctx context.Context, o order.Order) (rec orderstore.Record, created bool, err error) {
	rec, created, err = s.Orders.Accept(ctx, o)
	if err != nil {
		return rec, false, err
	}
	// PENDING and not new: a worker may have died between the record and the
	// start. Starting again is harmless, for no step has begun or it is found.
	// But one that somebody has terminated is not brought back by a message.
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

// HandleOrder handles an OrderPlaced message: raw, or in any envelope.
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

// AnswersOfCarrier is what spans call the way that those take.
const AnswersOfCarrier = "CarrierAnswers"

// Answered is what the carrier's answers are kept with, of *stock.Store.
type Answered interface {
	RecordCarrierAnswer(ctx context.Context, orderID string, a orderstore.CarrierAnswer) (rec orderstore.Record, reopened bool, err error)
	Get(ctx context.Context, orderID string) (orderstore.Record, error)
	Flag(ctx context.Context, rec orderstore.Record, actor, text string) error
}

// CarrierAnswers takes in what the carrier says.
type CarrierAnswers struct {
	Orders Answered
	Sagas  Sagas
	// Undo starts the saga of an order again that the carrier has refused after
	// the saga had ended, or when it was about to.
	Undo func(ctx context.Context, orderID string) error
}

// Handle keeps a carrier's answer with its order, and passes it to the saga. An
// answer to nothing that was asked is a dead letter. One that contradicts what
// the carrier said before, or what has become of the order, is for a person: it
// is noted with the order, and is a dead letter too; see docs/adr/0024.
func (c CarrierAnswers) Handle(ctx context.Context, m events.Message) error {
	return sqsconsumer.HandleEvent(ctx, AnswersOfCarrier, m, c.answer, events.TypeShipmentDispatched, events.TypeShipmentRefused)
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
		return &sqsconsumer.PermanentError{Reason: fmt.Errorf("the carrier has dispatched order %s with a further tracking id, %.100q: %w", rec.OrderID, a.TrackingID, err)}
	case err != nil:
		return err
	case reopened:
		zerolog.Ctx(ctx).Warn().Msg("the carrier has refused an order that was COMPLETED; it is undone")
		return c.Undo(ctx, rec.OrderID)
	}
	if what := contradiction(rec, a); what != "" {
		return c.contradicted(ctx, rec, what)
	}
	if rec.Status.Terminal() {
		return nil
	}
	return c.send(ctx, rec, a)
}

// send passes an answer that was kept to the order's saga.
func (c CarrierAnswers) send(ctx context.Context, rec orderstore.Record, a orderstore.CarrierAnswer) error {
	err := saga.Send(ctx, c.Sagas, rec.OrderID, workflows.EventCarrier, workflows.CarrierAnswer{
		Dispatched: a.Answer == orderstore.Dispatched, TrackingID: a.TrackingID, Reason: rec.Redact(a.Reason),
	})
	gone := errors.Is(err, engine.ErrNotFound) && rec.Terminated == ""
	ended := errors.Is(err, engine.ErrEnded) || errors.Is(err, engine.ErrNotFound) && !gone // and purged
	switch {
	case (ended || gone) && a.Answer == orderstore.Refused && rec.Status == order.StatusPaid: // reopened, perhaps, and then a process died
		return c.Undo(ctx, rec.OrderID)
	case gone: // another worker has it, or the reconciler begins it again
		return fmt.Errorf("the carrier has %s order %s, which is %s and has no saga here: %w", a.Answer, rec.OrderID, rec.Status, err)
	case !ended:
		return err
	}
	// It is about to end the order, or has, or the reconciler is: they find the
	// answer in the record. But the order may have been undone since.
	if rec, err = c.Orders.Get(ctx, rec.OrderID); err != nil {
		return err
	}
	if what := contradiction(rec, a); what != "" {
		return c.contradicted(ctx, rec, what)
	}
	return nil
}

// notRequested says how far an answer is from what was asked of the carrier.
func notRequested(rec orderstore.Record, a orderstore.CarrierAnswer) error {
	if rec.ShipmentID == "" {
		return fmt.Errorf("the carrier has %s shipment %.100q of order %s, which is %s: no shipment was requested", a.Answer, a.ShipmentID, rec.OrderID, rec.Status)
	}
	return fmt.Errorf("the carrier has %s shipment %.100q of order %s, whose shipment is %s", a.Answer, a.ShipmentID, rec.OrderID, rec.ShipmentID)
}

// contradiction says what does not fit between the carrier's answer and the
// order, as it was when the answer was kept; "" if all does.
func contradiction(rec orderstore.Record, a orderstore.CarrierAnswer) string {
	// What others have written comes last: a text that is too long is cut.
	now := fmt.Sprintf("order %s is %s, and the carrier has %s it", rec.OrderID, rec.Status, a.Answer)
	said := ": " + detail(a.Answer, a.TrackingID, rec.Redact(a.Reason))
	ended := rec.Status.Terminal()
	switch {
	case rec.Carrier != "" && rec.Carrier != a.Answer:
		before := ": " + detail(rec.Carrier, rec.TrackingID, rec.RefusedFor())
		if rec.Carrier == orderstore.Dispatched { // an id, which is short
			said, before = before, said
		}
		return now + ", which it had " + string(rec.Carrier) + " before" + said + before
	case a.Answer == orderstore.Refused && rec.Status == order.StatusCompleted:
		return now + "; it could not be undone by itself, and nothing was refunded or released" + said
	case a.Answer == orderstore.Dispatched && ended && rec.Status != order.StatusCompleted:
		return now + "; the parcel may have to come back" + said
	case a.Answer == orderstore.Dispatched && (rec.Refunding || rec.GivenUp):
		return now + ", while it is being refunded; the parcel may have to come back" + said
	}
	return ""
}

// detail is what matters of an answer.
func detail(said orderstore.Carrier, trackingID, reason string) string {
	if said == orderstore.Refused {
		return cmp.Or(reason, "no reason given")
	}
	return cmp.Or(trackingID, "no tracking id")
}

// contradicted takes a contradiction to a person: a note, a line in the log,
// and *sqsconsumer.PermanentError. The order keeps its course.
func (c CarrierAnswers) contradicted(ctx context.Context, rec orderstore.Record, what string) error {
	zerolog.Ctx(ctx).Error().Str("status", string(rec.Status)).Str("what", what).Msg("the carrier contradicts itself or the order; its answer goes to the dead letters")
	if err := c.Orders.Flag(ctx, rec, "intake", what); err != nil {
		return err
	}
	return &sqsconsumer.PermanentError{Reason: errors.New(what)}
}

// Publisher publishes OrderPlaced.
type Publisher struct {
	Topic *snspublisher.Topic // OrderEvents
}

// PublishOrder publishes a valid order to the OrderEvents topic.
func (p Publisher) PublishOrder(ctx context.Context, o order.Order) error {
	// The topic's filter policy goes by the body, and not every stand-in for SNS
	// takes a body without a type for what it is.
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
