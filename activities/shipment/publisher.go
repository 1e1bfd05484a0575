// Package shipment asks the carrier to ship and tells the customer, through
// SNS or another bus. SNS delivers at least once, and so does this package: a repeated
// message has the same id, by which its receivers drop it.
package shipment

import (
	"context"
	"encoding/json"
	"fmt"

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
		order.TopicShipmentEvents: snspublisher.New(client, shipmentTopicARN), order.TopicCustomerNotifications: snspublisher.New(client, customerTopicARN),
	})
}

// Over makes a publisher over another bus.
func Over(bus Bus) *Publisher { return &Publisher{bus} }

// ID is the shipment id of an order: an order ships once.
func ID(orderID string) string { return "shp-" + orderID }

// Request is the ShipmentRequested event, version 1.
type Request struct {
	SpecVersion int            `json:"specVersion"`
	Type        string         `json:"type"`
	ShipmentID  string         `json:"shipmentId"`
	OrderID     string         `json:"orderId"`
	Lines       []order.Demand `json:"lines"`
	ShipTo      *order.Address `json:"shipTo"`
}

// RequestShipment publishes the request for an order.
func (p *Publisher) RequestShipment(ctx context.Context, o order.Order) error {
	const kind = order.EventShipmentRequested
	return p.publish(ctx, order.TopicShipmentEvents, kind, o.OrderID, Request{
		SpecVersion: 1, Type: kind, ShipmentID: ID(o.OrderID), OrderID: o.OrderID, Lines: o.Demand(), ShipTo: o.ShipTo,
	})
}

// Kind is what a customer is told.
type Kind string

// Kinds of notification.
const (
	Confirmed Kind = "confirmed"
	Rejected  Kind = "rejected"
	Declined  Kind = "declined"
	Cancelled Kind = "cancelled"
	Delayed   Kind = "delayed"
	Refunded  Kind = "refunded"
	Failed    Kind = "failed"
)

// Code is why: one of few reasons that are meant for customers. Notes, names of
// staff and errors stay inside. "" gives none.
type Code string

// Codes.
const (
	OutOfStock          Code = "out_of_stock"
	PaymentDeclined     Code = "payment_declined"
	RefusedByCarrier    Code = "refused_by_carrier"
	CancelledByCustomer Code = "cancelled_by_customer"
	CancelledByShop     Code = "cancelled_by_shop"
	Technical           Code = "technical"
)

// texts say the codes in words.
var texts = map[Code]string{
	OutOfStock:          "Something you ordered is out of stock.",
	PaymentDeclined:     "The payment was declined.",
	RefusedByCarrier:    "The carrier cannot deliver the order.",
	CancelledByCustomer: "You have cancelled the order.",
	CancelledByShop:     "The shop has cancelled the order.",
	Technical:           "A technical problem has kept the order from being carried out.",
}

// Notification is the message to the customer, version 1.
type Notification struct {
	SpecVersion    int    `json:"specVersion"`
	NotificationID string `json:"notificationId"` // the same for a repetition
	Type           Kind   `json:"type"`
	OrderID        string `json:"orderId"`
	CustomerID     string `json:"customerId"`
	ReasonCode     Code   `json:"reasonCode,omitempty"`
	Reason         string `json:"reason,omitempty"` // ReasonCode in words
}

// Notify tells the customer of an order.
func (p *Publisher) Notify(ctx context.Context, o order.Order, kind Kind, why Code) error {
	return p.publish(ctx, order.TopicCustomerNotifications, string(kind), o.OrderID, Notification{
		SpecVersion: 1, NotificationID: o.OrderID + "-" + string(kind), Type: kind,
		OrderID: o.OrderID, CustomerID: o.CustomerID, ReasonCode: why, Reason: texts[why],
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
