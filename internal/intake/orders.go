package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/ordersaga/ordersaga/activities/stock"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/envelope"
	"github.com/ordersaga/ordersaga/internal/order"
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
	err = s.Sagas.Start(ctx, workflows.OrderSaga, o.OrderID, workflows.State{Order: o.WithoutToken(), Terms: s.Terms})
	if err != nil && !errors.Is(err, engine.ErrActive) {
		return rec, created, fmt.Errorf("start saga of order %s: %w", o.OrderID, err)
	}
	return rec, created, nil
}

// HandleOrder handles an OrderPlaced message: raw, in an SNS envelope, or as a
// CloudEvent.
func (s Starter) HandleOrder(ctx context.Context, body []byte) error {
	payload, _, err := envelope.Unwrap(body, order.EventPlaced)
	if err != nil {
		return &Poison{err}
	}
	o, err := order.Parse(payload)
	if err != nil {
		return &Poison{err}
	}
	_, _, err = s.Start(ctx, o)
	if errors.Is(err, stock.ErrConflict) {
		return &Poison{fmt.Errorf("orderId %s: %w", o.OrderID, err)}
	}
	return err
}

// What a carrier can answer.
const (
	dispatched = "ShipmentDispatched"
	refused    = "ShipmentRefused"
)

// HandleCarrierAnswer passes a carrier's answer to the saga that waits for it.
func HandleCarrierAnswer(sagas Sagas) func(ctx context.Context, body []byte) error {
	return func(ctx context.Context, body []byte) error {
		payload, _, err := envelope.Unwrap(body, dispatched, refused)
		if err != nil {
			return &Poison{err}
		}
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
		err = saga.Send(ctx, sagas, a.OrderID, workflows.EventCarrier, workflows.CarrierAnswer{
			Dispatched: a.Type == dispatched, TrackingID: a.TrackingID, Reason: a.Reason,
		})
		switch {
		case errors.Is(err, engine.ErrEnded):
			return nil // a repetition, or a saga that does not wait for the carrier
		case errors.Is(err, engine.ErrNotFound):
			return &Poison{err}
		}
		return err
	}
}

// Publisher publishes OrderPlaced.
type Publisher struct {
	SNS interface {
		Publish(context.Context, *sns.PublishInput, ...func(*sns.Options)) (*sns.PublishOutput, error)
	}
	TopicARN string
}

// PublishOrder publishes a valid order to the OrderEvents topic.
func (p Publisher) PublishOrder(ctx context.Context, o order.Order) error {
	body, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encode order %s: %w", o.OrderID, err)
	}
	_, err = p.SNS.Publish(ctx, &sns.PublishInput{
		TopicArn: &p.TopicARN, Message: aws.String(string(body)),
		MessageAttributes: map[string]snstypes.MessageAttributeValue{
			"type": {DataType: aws.String("String"), StringValue: aws.String(order.EventPlaced)},
		},
	})
	if err != nil {
		return fmt.Errorf("publish order %s: %w", o.OrderID, err)
	}
	return nil
}
