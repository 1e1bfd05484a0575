package events

import "github.com/ordersaga/ordersaga/internal/order"

// ShipmentRequest is the ShipmentRequested event, version 1. A repeated request
// has the same ShipmentID.
type ShipmentRequest struct {
	SpecVersion int            `json:"specVersion"`
	Type        string         `json:"type"`
	ShipmentID  string         `json:"shipmentId"`
	OrderID     string         `json:"orderId"`
	Lines       []order.Demand `json:"lines"`
	ShipTo      *order.Address `json:"shipTo"`
}

// NotificationKind is what happened to the customer's order. It is also the
// type of the event.
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

// ReasonCode is one of the few reasons that customers may read. Notes, names of
// staff and error texts are never sent to customers. The zero value gives no
// reason.
type ReasonCode string

// Reason codes.
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

// Text is the code in words, or "" for the zero value.
func (c ReasonCode) Text() string { return reasonTexts[c] }

// Notification is a message to the customer, version 1. A repeated one has the
// same NotificationID.
type Notification struct {
	SpecVersion    int              `json:"specVersion"`
	NotificationID string           `json:"notificationId"`
	Type           NotificationKind `json:"type"`
	OrderID        string           `json:"orderId"`
	CustomerID     string           `json:"customerId"`
	ReasonCode     ReasonCode       `json:"reasonCode,omitempty"`
	Reason         string           `json:"reason,omitempty"` // ReasonCode in words
}
