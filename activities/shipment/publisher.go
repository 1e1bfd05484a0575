// Package shipment asks the carrier to ship and tells the customer, through
// SNS. SNS delivers at least once, and so does this package: a repeated
// message has the same id, by which its receivers drop it.
package shipment

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/ordersaga/ordersaga/internal/order"
)

// SNS is what the publisher uses of *sns.Client.
type SNS interface {
	Publish(context.Context, *sns.PublishInput, ...func(*sns.Options)) (*sns.PublishOutput, error)
}

// Publisher publishes to the two topics.
type Publisher struct {
	sns                          SNS
	shipmentTopic, customerTopic string
}

// New makes a publisher for the ShipmentEvents and CustomerNotifications
// topics, given by ARN.
func New(client SNS, shipmentTopicARN, customerTopicARN string) *Publisher {
	return &Publisher{client, shipmentTopicARN, customerTopicARN}
}

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
	const kind = "ShipmentRequested"
	return p.publish(ctx, p.shipmentTopic, kind, o.OrderID, Request{
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
)

// Notification is the message to the customer, version 1.
type Notification struct {
	SpecVersion    int    `json:"specVersion"`
	NotificationID string `json:"notificationId"` // the same for a repetition
	Type           Kind   `json:"type"`
	OrderID        string `json:"orderId"`
	CustomerID     string `json:"customerId"`
	Reason         string `json:"reason,omitempty"`
}

// Notify tells the customer of an order.
func (p *Publisher) Notify(ctx context.Context, o order.Order, kind Kind, reason string) error {
	return p.publish(ctx, p.customerTopic, string(kind), o.OrderID, Notification{
		SpecVersion: 1, NotificationID: o.OrderID + "-" + string(kind), Type: kind,
		OrderID: o.OrderID, CustomerID: o.CustomerID, Reason: reason,
	})
}

func (p *Publisher) publish(ctx context.Context, topic, kind, orderID string, message any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode %s for order %s: %w", kind, orderID, err)
	}
	attribute := func(v string) types.MessageAttributeValue {
		return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &v}
	}
	_, err = p.sns.Publish(ctx, &sns.PublishInput{
		TopicArn: &topic, Message: aws.String(string(body)),
		MessageAttributes: map[string]types.MessageAttributeValue{"type": attribute(kind), "orderId": attribute(orderID)},
	})
	if err != nil {
		return fmt.Errorf("publish %s for order %s: %w", kind, orderID, err)
	}
	return nil
}
