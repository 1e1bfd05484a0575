// Package events defines every event that ordersaga receives or publishes: its type, its
// version, its JSON document and the envelopes that brokers add. It does no I/O. The order
// itself, the document of OrderPlaced, is in package order.
//
// Each event has an example and a JSON Schema in testdata. docs/events.md lists who sends and
// who receives it.
package events

import "github.com/ordersaga/ordersaga/internal/order"

// Types of events. The body, an envelope or a message attribute states the type. If several
// do, they must agree. A Notification has its NotificationKind as its type.
const (
	TypeOrderPlaced        = order.EventPlaced
	TypeShipmentRequested  = "ShipmentRequested"
	TypeShipmentDispatched = "ShipmentDispatched"
	TypeShipmentRefused    = "ShipmentRefused"
	TypeStockAdjusted      = "StockAdjusted"
	TypeStockChanged       = "StockChanged"
	TypeLowStock           = "LowStock"
)

// Names of the SNS topics. On Dapr they are topics of the pub/sub component.
const (
	TopicOrderEvents           = "OrderEvents"
	TopicShipmentEvents        = "ShipmentEvents"
	TopicCustomerNotifications = "CustomerNotifications"
)

// Names of the SQS queues, each with its dead-letter queue.
const (
	QueueOrderProcessing    = "OrderProcessingQueue"
	QueueOrderProcessingDLQ = "OrderProcessingQueue-dlq"
	QueueCarrierRequests    = "CarrierRequestsQueue"
	QueueCarrierRequestsDLQ = "CarrierRequestsQueue-dlq"
	QueueCarrierAnswers     = "CarrierAnswersQueue"
	QueueCarrierAnswersDLQ  = "CarrierAnswersQueue-dlq"
)

// SpecVersion is the version of all events that this release publishes, and the only one
// that it accepts. An event without a version has version 1.
const SpecVersion = 1

// OrderPlaced is the OrderPlaced event, version 1, as it is published: an order with the type
// of its event. The type is in the body because the filter policy of a topic may read it there.
// order.Parse decodes a received one.
type OrderPlaced struct {
	Type string `json:"type" required:"false" enum:"OrderPlaced" doc:"Optional."`
	order.Order
}
