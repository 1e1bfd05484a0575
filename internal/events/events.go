// Package events has every event that ordersaga receives or publishes: its
// type, its version, its document and its envelope. It does no I/O. The order
// itself, the document of OrderPlaced, is in package order.
package events

import "github.com/ordersaga/ordersaga/internal/order"

// Types of events. The type is in the event's body, in its envelope, or in a
// message attribute; all that state it must agree.
const (
	TypeOrderPlaced        = order.EventPlaced
	TypeShipmentRequested  = "ShipmentRequested"
	TypeShipmentDispatched = "ShipmentDispatched"
	TypeShipmentRefused    = "ShipmentRefused"
	TypeStockAdjusted      = "StockAdjusted"
	TypeStockChanged       = "StockChanged"
	TypeLowStock           = "LowStock"
)

// Topics that events are published to.
const (
	TopicOrderEvents           = "OrderEvents"
	TopicShipmentEvents        = "ShipmentEvents"
	TopicCustomerNotifications = "CustomerNotifications"
)

// Queues, and their dead-letter queues.
const (
	QueueOrderProcessing    = "OrderProcessingQueue"
	QueueOrderProcessingDLQ = "OrderProcessingQueue-dlq"
	QueueCarrierRequests    = "CarrierRequestsQueue"
	QueueCarrierRequestsDLQ = "CarrierRequestsQueue-dlq"
	QueueCarrierAnswers     = "CarrierAnswersQueue"
	QueueCarrierAnswersDLQ  = "CarrierAnswersQueue-dlq"
)

// SpecVersion is the version of all events that this release publishes, and the
// only one that it reads. An event without a version has this one.
const SpecVersion = 1

// OrderPlaced is an order with the type of its event, as it is published. A
// topic's filter policy may read the type from the body.
type OrderPlaced struct {
	Type string `json:"type"` // TypeOrderPlaced
	order.Order
}
