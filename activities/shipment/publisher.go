// Package shipment asks the carrier to ship and tells the customer, through
// SNS or another bus. SNS delivers at least once, and so does this package: a repeated
// message has the same id, by which its receivers drop it.
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

// Bus carries a message to a topic, given by its name. kind and orderID go
// with it where the bus has attributes.
type Bus interface {
	Publish(ctx context.Context, topic, kind, orderID string, body []byte) error
}

// Publisher publishes to the ShipmentEvents and CustomerNotifications topics.
type Publisher struct{ bus Bus }

// New makes a publisher straight to SNS, with the topics' ARNs.
func New(client snspublisher.SNS, shipmentTopicARN, customerTopicARN string) *Publisher {
	return Over(snsBus{
		events.TopicShipmentEvents: snspublisher.New(client, shipmentTopicARN), events.TopicCustomerNotifications: snspublisher.New(client, customerTopicARN),
	})
}

// Over makes a publisher over another bus.
func Over(bus Bus) *Publisher { return &Publisher{bus} }

// ID is the shipment id of an order: an order ships once.
func ID(orderID string) string { return "shp-" + orderID }

// RequestShipment publishes the request for an order.
func (p *Publisher) RequestShipment(ctx context.Context, o order.Order) error {
	const kind = events.TypeShipmentRequested
	return p.publish(ctx, events.TopicShipmentEvents, kind, o.OrderID, events.ShipmentRequest{
		SpecVersion: 1, Type: kind, ShipmentID: ID(o.OrderID), OrderID: o.OrderID, Lines: o.Demand(), ShipTo: o.ShipTo,
	})
}

// Notify tells the customer of an order.
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
