// Package shipment publishes shipment requests to the carrier and notifications
// to the customer, through SNS or another bus. Delivery is at least once: a repeated
// message has the same id, so receivers can drop it.
package shipment

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/snspublisher"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// Bus publishes messages to topics. Implementations are safe for concurrent use.
type Bus interface {
	// Publish publishes body to the topic of that name, and returns once the bus has
	// accepted it. A bus with message attributes also sends kind and orderID.
	Publish(ctx context.Context, topic, kind, orderID string, body []byte) error
}

// Publisher publishes to the ShipmentEvents and CustomerNotifications topics. It is
// safe for concurrent use. New or Over creates one; the zero value is not usable.
type Publisher struct{ bus Bus }

// New returns a publisher that calls SNS directly, with the ARNs of the two topics.
func New(client snspublisher.SNS, shipmentTopicARN, customerTopicARN string) *Publisher {
	return Over(snsBus{
		events.TopicShipmentEvents:        snspublisher.New(client, shipmentTopicARN),
		events.TopicCustomerNotifications: snspublisher.New(client, customerTopicARN),
	})
}

// Over returns a publisher that uses another bus.
func Over(bus Bus) *Publisher { return &Publisher{bus: bus} }

// ID returns the shipment id of an order. It depends on the order only, as an order
// ships once.
func ID(orderID string) string { return "shp-" + orderID }

// RequestShipment publishes the shipment request of an order.
func (p *Publisher) RequestShipment(ctx context.Context, o order.Order) error {
	const kind = events.TypeShipmentRequested
	return p.publish(ctx, events.TopicShipmentEvents, kind, o.OrderID, events.ShipmentRequest{
		SpecVersion: 1, Type: kind, ShipmentID: ID(o.OrderID), OrderID: o.OrderID, Lines: o.Demand(), ShipTo: o.ShipTo,
	})
}

// Notify publishes a notification to the customer of an order.
func (p *Publisher) Notify(ctx context.Context, o order.Order, kind events.NotificationKind, why events.ReasonCode) error {
	return p.publish(ctx, events.TopicCustomerNotifications, string(kind), o.OrderID, events.Notification{
		SpecVersion: 1, NotificationID: o.OrderID + "-" + string(kind), Type: kind,
		OrderID: o.OrderID, CustomerID: o.CustomerID, ReasonCode: why, Reason: why.Text(),
	})
}

func (p *Publisher) publish(ctx context.Context, topic, kind, orderID string, message any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode %s for order %s: %w", kind, orderID, err)
	}
	ctx, span := tracing.Send(ctx, topic, orderID)
	err = p.bus.Publish(ctx, topic, kind, orderID, body)
	tracing.End(span, err)
	if err != nil {
		return fmt.Errorf("publish %s for order %s: %w", kind, orderID, err)
	}
	return nil
}
