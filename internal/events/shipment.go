package events

import "github.com/ordersaga/ordersaga/internal/order"

// ShipmentRequest is the ShipmentRequested event, version 1. A repeated request has the same
// ShipmentID, so the carrier can drop it. ShipTo is null for an order without an address.
type ShipmentRequest struct {
	SpecVersion int            `json:"specVersion" enum:"1" doc:"Version of this event."`
	Type        string         `json:"type" enum:"ShipmentRequested"`
	ShipmentID  string         `json:"shipmentId" doc:"The same in a repeated request."`
	OrderID     string         `json:"orderId"`
	Lines       []order.Demand `json:"lines" nullable:"false" doc:"Units of each SKU; each SKU once."`
	ShipTo      *order.Address `json:"shipTo" doc:"Null if the order has no address."`
}

// NotificationKind is the change of the order that a notification reports. It is also the
// type of the event. The zero value is invalid.
type NotificationKind string

// Kinds of notification.
const (
	NotifyConfirmed NotificationKind = "confirmed"
	NotifyRejected  NotificationKind = "rejected"
	NotifyDeclined  NotificationKind = "declined"
	NotifyCancelled NotificationKind = "cancelled"
	NotifyDelayed   NotificationKind = "delayed"
	NotifyRefunded  NotificationKind = "refunded"
	NotifyFailed    NotificationKind = "failed"
)

// ReasonCode is a reason that customers may read. Notes, names of staff and error texts are
// never sent to customers. The zero value means no reason.
type ReasonCode string

// Reasons that a notification may have.
const (
	ReasonOutOfStock          ReasonCode = "out_of_stock"
	ReasonPaymentDeclined     ReasonCode = "payment_declined"
	ReasonRefusedByCarrier    ReasonCode = "refused_by_carrier"
	ReasonCancelledByCustomer ReasonCode = "cancelled_by_customer"
	ReasonCancelledByShop     ReasonCode = "cancelled_by_shop"
	ReasonTechnical           ReasonCode = "technical"
)

var reasonTexts = map[ReasonCode]string{
	ReasonOutOfStock:          "Something you ordered is out of stock.",
	ReasonPaymentDeclined:     "The payment was declined.",
	ReasonRefusedByCarrier:    "The carrier cannot deliver the order.",
	ReasonCancelledByCustomer: "You have cancelled the order.",
	ReasonCancelledByShop:     "The shop has cancelled the order.",
	ReasonTechnical:           "A technical problem has kept the order from being carried out.",
}

// Text returns the sentence for the customer, or "" for the zero value.
func (c ReasonCode) Text() string { return reasonTexts[c] }

// Notification is the CustomerNotification event, version 1. A repeated notification has the
// same NotificationID, so the receiver can drop it. Reason is the text of ReasonCode.
type Notification struct {
	SpecVersion    int              `json:"specVersion" enum:"1" doc:"Version of this event."`
	NotificationID string           `json:"notificationId" doc:"The same in a repeated notification."`
	Type           NotificationKind `json:"type" enum:"confirmed,rejected,declined,cancelled,delayed,refunded,failed"`
	OrderID        string           `json:"orderId"`
	CustomerID     string           `json:"customerId"`
	ReasonCode     ReasonCode       `json:"reasonCode,omitempty" doc:"Absent if there is no reason to give."`
	Reason         string           `json:"reason,omitempty" doc:"The sentence of reasonCode, in English."`
}
