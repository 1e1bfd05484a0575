package intake

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/activities/stock"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/envelope"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/text"
	"github.com/ordersaga/ordersaga/internal/topic"
	"github.com/ordersaga/ordersaga/internal/tracing"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// Orders is what the starter uses of *stock.Store.
type Orders interface {
	Accept(ctx context.Context, o order.Order) (rec stock.Record, created bool, err error)
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
func (s Starter) Start(ctx context.Context, o order.Order) (rec stock.Record, created bool, err error) {
	rec, created, err = s.Orders.Accept(ctx, o)
	if err != nil {
		return rec, false, err
	}
	// PENDING and not new: a worker may have died between the record and the
	// start. Starting again is harmless, for no step has begun or it is found.
	if rec.Status != order.StatusPending {
		return rec, false, nil
	}
	state := workflows.State{
		Order: o.WithoutToken(), Terms: s.Terms, Trace: cmp.Or(rec.Trace, tracing.Parent(ctx)), Accepted: rec.CreatedAt.UnixMilli(),
	}
	err = s.Sagas.Start(ctx, workflows.OrderSaga, o.OrderID, state)
	if err != nil && !errors.Is(err, engine.ErrActive) {
		return rec, created, fmt.Errorf("start saga of order %s: %w", o.OrderID, err)
	}
	return rec, created, nil
}

// HandleOrder handles an OrderPlaced message: raw, in an SNS envelope, or as a
// CloudEvent.
func (s Starter) HandleOrder(ctx context.Context, body []byte) error {
	return Unwrapped(ctx, order.TopicOrderEvents, body, func(ctx context.Context, payload []byte) error {
		o, err := order.Parse(payload)
		if err != nil {
			return &Poison{err}
		}
		tracing.Concerns(ctx, o.OrderID)
		_, _, err = s.Start(ctx, o)
		if errors.Is(err, stock.ErrConflict) {
			return &Poison{fmt.Errorf("orderId %s: %w", o.OrderID, err)}
		}
		return err
	}, order.EventPlaced)
}

// Unwrapped handles the event in a message's body, in the trace of who sent it.
// from is where it comes from, types are what CloudEvents may be. A broken
// envelope is *Poison.
func Unwrapped(ctx context.Context, from string, body []byte, handle func(ctx context.Context, payload []byte) error, types ...string) (err error) {
	e, err := envelope.Unwrap(body, types...)
	ctx, span := tracing.Process(tracing.Continue(ctx, e.Traceparent), from)
	defer func() { tracing.End(span, err) }()
	if err != nil {
		return &Poison{err}
	}
	return handle(ctx, e.Payload)
}

// What a carrier can answer.
const (
	dispatched = "ShipmentDispatched"
	refused    = "ShipmentRefused"
)

// AnswersOfCarrier is what spans call the way that those take.
const AnswersOfCarrier = "CarrierAnswers"

// Answered is what the carrier's answers are kept with, of *stock.Store.
type Answered interface {
	CarrierAnswered(ctx context.Context, orderID string, a stock.Carrier, trackingID, reason string) (stock.Record, error)
	AddNote(ctx context.Context, orderID string, n stock.Note) error
}

// HandleCarrierAnswer keeps a carrier's answer with its order, and passes it to
// the saga. One that contradicts what has become of the order is for a person:
// it goes to the dead letters with the reason.
func HandleCarrierAnswer(orders Answered, sagas Sagas) func(ctx context.Context, body []byte) error {
	answer := func(ctx context.Context, payload []byte) error {
		var a struct {
			Type       string `json:"type"`
			OrderID    string `json:"orderId"`
			TrackingID string `json:"trackingId"`
			Reason     string `json:"reason"`
		}
		if err := json.Unmarshal(payload, &a); err != nil {
			return &Poison{fmt.Errorf("body: is not a carrier's answer: %w", err)}
		}
		if faults := order.Repeated(payload, a); len(faults) > 0 {
			return &Poison{faults[0]}
		}
		if !order.ValidID(a.OrderID) {
			return &Poison{errors.New("orderId: " + order.IDRule)}
		}
		if a.Type != dispatched && a.Type != refused {
			return &Poison{fmt.Errorf("type: %q is neither %s nor %s", a.Type, dispatched, refused)}
		}
		if a.TrackingID != "" && !text.IsID(a.TrackingID) {
			return &Poison{fmt.Errorf("trackingId: has %d bytes; an id is valid UTF-8 of at most %d, without control characters", len(a.TrackingID), text.MaxID)}
		}
		a.Reason = text.Cut(a.Reason, text.Max)
		tracing.Concerns(ctx, a.OrderID)
		said := stock.Refused
		if a.Type == dispatched {
			said = stock.Dispatched
		}
		rec, err := orders.CarrierAnswered(ctx, a.OrderID, said, a.TrackingID, a.Reason)
		switch {
		case errors.Is(err, stock.ErrNotFound):
			return &Poison{err}
		case err != nil:
			return err
		case rec.Status.Terminal():
			return contradicted(ctx, orders, rec, said)
		}
		err = saga.Send(ctx, sagas, a.OrderID, workflows.EventCarrier, workflows.CarrierAnswer{
			Dispatched: said == stock.Dispatched, TrackingID: a.TrackingID, Reason: a.Reason,
		})
		switch {
		case errors.Is(err, engine.ErrEnded):
			return nil // it is about to end the order, or the reconciler is; they find the answer there
		case errors.Is(err, engine.ErrNotFound): // another worker has it, or the reconciler begins it again
			return fmt.Errorf("the carrier has %s order %s, which is %s and has no saga here: %w", said, a.OrderID, rec.Status, err)
		}
		return err
	}
	return func(ctx context.Context, body []byte) error {
		return Unwrapped(ctx, AnswersOfCarrier, body, answer, dispatched, refused)
	}
}

// contradicted looks at what the carrier says of an order that has ended, and
// returns *Poison if a person must find out which of the two holds.
func contradicted(ctx context.Context, orders Answered, rec stock.Record, said stock.Carrier) error {
	completed := rec.Status == order.StatusCompleted
	if completed == (said == stock.Dispatched) {
		return nil
	}
	what := fmt.Sprintf("the carrier has dispatched order %s, which is %s: the parcel may have to come back", rec.OrderID, rec.Status)
	if completed {
		what = fmt.Sprintf("the carrier has refused order %s (%s), which is COMPLETED: nothing was refunded or released", rec.OrderID, rec.RefusedFor())
	}
	zerolog.Ctx(ctx).Error().Str("status", string(rec.Status)).Str("carrier", string(said)).Msg("the carrier contradicts an order that has ended; its answer goes to the dead letters")
	if err := orders.AddNote(ctx, rec.OrderID, stock.Note{Actor: "intake", Action: "flagged", Text: what}); err != nil {
		return err
	}
	return &Poison{errors.New(what)}
}

// Publisher publishes OrderPlaced.
type Publisher struct {
	Topic *topic.Topic // OrderEvents
}

// PublishOrder publishes a valid order to the OrderEvents topic.
func (p Publisher) PublishOrder(ctx context.Context, o order.Order) error {
	body, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encode order %s: %w", o.OrderID, err)
	}
	ctx, span := tracing.Send(ctx, order.TopicOrderEvents, o.OrderID)
	err = p.Topic.Publish(ctx, body, map[string]string{"type": order.EventPlaced})
	tracing.End(span, err)
	if err != nil {
		return fmt.Errorf("publish order %s: %w", o.OrderID, err)
	}
	return nil
}
