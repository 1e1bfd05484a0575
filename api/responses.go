package api

import (
	"time"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// The response types are separate from the rows in DynamoDB. A field of a row, such as
// the payment token, is in a response only if it is listed here and copied by the
// mapping function below its type.

// Saga is an order together with the state of its saga.
type Saga struct {
	OrderID         string              `json:"orderId" doc:"Id of the order and of its saga."`
	CustomerID      string              `json:"customerId" doc:"Id of the customer. Empty once the customer is erased."`
	Status          order.Status        `json:"status"`
	Reason          string              `json:"reason,omitempty" doc:"Why the order ended, or needs attention. Absent if there is no reason."`
	ShortSKUs       []string            `json:"shortSkus,omitempty" doc:"SKUs that were out of stock. Absent unless the order was rejected."`
	Currency        string              `json:"currency" doc:"ISO 4217 code."`
	Total           int64               `json:"total" doc:"Total in minor units: the lines, shipping and tax, less the discount."`
	Lines           []order.Line        `json:"lines" doc:"Lines of the order."`
	Shipping        int64               `json:"shipping,omitempty" doc:"Price of shipping, in minor units. Absent if 0."`
	Tax             int64               `json:"tax,omitempty" doc:"Tax that is not included in the prices, in minor units. Absent if 0."`
	Discount        int64               `json:"discount,omitempty" doc:"Discount, in minor units. Absent if 0."`
	ShipTo          *order.Address      `json:"shipTo,omitempty" doc:"Shipping address. Absent if the order has none, or once the customer is erased."`
	CreatedAt       time.Time           `json:"createdAt" doc:"When the order was accepted, RFC 3339."`
	UpdatedAt       time.Time           `json:"updatedAt" doc:"When the order last changed, RFC 3339."`
	ChargeID        string              `json:"chargeId,omitempty" doc:"Id of the charge at the payment provider. Absent until it is charged, and for an order that costs nothing."`
	RefundID        string              `json:"refundId,omitempty" doc:"Id of the refund at the payment provider. Absent unless it was refunded."`
	ShipmentID      string              `json:"shipmentId,omitempty" doc:"Id of the requested shipment. Absent until it is requested."`
	TrackingID      string              `json:"trackingId,omitempty" doc:"The carrier's tracking id of the first parcel. Absent until there is one."`
	TrackingIDs     []string            `json:"trackingIds,omitempty" doc:"Tracking ids of all parcels; trackingId is the first one."`
	Carrier         orderstore.Carrier  `json:"carrier,omitempty" doc:"The carrier's first answer, which is final: dispatched or refused. Absent until there is one."`
	CancelRequested bool                `json:"cancelRequested,omitempty" doc:"Whether a cancellation was requested. Absent if not."`
	Decision        orderstore.Decision `json:"decision,omitempty" doc:"Decision on the approval: approved, rejected or expired. Absent until there is one."`
	Notes           []Note              `json:"notes,omitempty" doc:"Audit trail of the order, oldest first. Absent if it is empty."`
	Forgotten       bool                `json:"forgotten,omitempty" doc:"Whether the customer and the address were erased."`

	Hold        orderstore.HoldState `json:"reservation,omitempty" doc:"State of the reservation: HELD, SOLD or RELEASED. Absent in lists, and if no stock was ever reserved."`
	Runtime     engine.RuntimeStatus `json:"runtimeStatus,omitempty" doc:"Status in the workflow engine. Absent if the engine has no such saga, and in lists without stuck, undoing or runtimeStatus. A saga that was terminated before its order ended stays TERMINATED."`
	Step        string               `json:"step,omitempty" doc:"The saga's step, or its last one if it ended early."`
	LastError   string               `json:"lastError,omitempty" doc:"Error of the most recent failed step. Set only when stuck or undoing is requested."`
	Cancellable bool                 `json:"cancellable" doc:"Whether the order can still be cancelled."`
	Engine      string               `json:"engine,omitempty" enum:"embedded,dapr" doc:"Engine that runs the saga. Absent in lists."`
	TraceID     string               `json:"traceId,omitempty" doc:"Id of the order's OpenTelemetry trace, if it was traced." example:"4bf92f3577b34da6a3ce929d0e0e4736"`
}

// toSaga maps an order's row to the part of a Saga that does not depend on the engine.
func toSaga(rec orderstore.Record) Saga {
	return Saga{
		OrderID: rec.OrderID, CustomerID: rec.CustomerID, Status: rec.Status, Reason: rec.Reason, ShortSKUs: rec.ShortSKUs,
		Currency: rec.Currency, Total: rec.Total, Lines: rec.Lines, Shipping: rec.Shipping, Tax: rec.Tax, Discount: rec.Discount,
		ShipTo: rec.ShipTo, CreatedAt: rec.CreatedAt, UpdatedAt: rec.UpdatedAt, ChargeID: rec.ChargeID, RefundID: rec.RefundID,
		ShipmentID: rec.ShipmentID, TrackingID: rec.TrackingID, TrackingIDs: rec.TrackingIDs, Carrier: rec.Carrier,
		CancelRequested: rec.CancelRequested, Decision: rec.Decision, Notes: toNotes(rec.Notes), Forgotten: rec.Forgotten,
		Cancellable: notCancellable(rec) == "", TraceID: tracing.IDOf(rec.Trace),
	}
}

// Parcels returns the tracking ids of all parcels; none before the carrier has any.
func (s Saga) Parcels() []string {
	if len(s.TrackingIDs) == 0 && s.TrackingID != "" {
		return []string{s.TrackingID}
	}
	return s.TrackingIDs
}

// Note is an entry of an order's audit trail: who acted, and why.
type Note struct {
	At      string              `json:"at" doc:"When it happened, RFC 3339 in UTC."`
	Actor   string              `json:"actor" doc:"Who acted: an operator, or a part of the system such as reconciler. anonymous for an operator without a name."`
	Action  string              `json:"action" doc:"What was done, such as approve."`
	Text    string              `json:"text,omitempty" doc:"Why. Absent if no reason was given."`
	Subject string              `json:"subject,omitempty" doc:"The issuer's identifier of the actor, which never changes. Absent without authentication."`
	For     orderstore.OnBehalf `json:"for,omitempty" doc:"On whose behalf a cancellation was requested: customer or shop. Absent means the shop."`
}

func toNote(n orderstore.Note) Note {
	return Note{At: n.At, Actor: n.Actor, Action: n.Action, Text: n.Text, Subject: n.Subject, For: n.For}
}

func toNotes(notes []orderstore.Note) []Note {
	var out []Note
	for _, n := range notes {
		out = append(out, toNote(n))
	}
	return out
}

// Level is the stock of one SKU in units, with its version. Available + Reserved + Sold
// is Received.
type Level struct {
	SKU       string `json:"sku" doc:"SKU of the item."`
	Available int64  `json:"available" doc:"Units that new orders can reserve."`
	Reserved  int64  `json:"reserved" doc:"Units that orders hold until they are sold or released."`
	Sold      int64  `json:"sold" doc:"Units of completed orders."`
	Received  int64  `json:"received" doc:"Units ever received: available, reserved and sold together."`
	Version   string `json:"version" doc:"Changes with the stock on hand (available and reserved): with each delivery, sale and count. In quotes it is the level's ETag, for If-Match." example:"120-7-3"`
}

func toLevel(l orderstore.Level) Level {
	return Level{SKU: l.SKU, Available: l.Available, Reserved: l.Reserved, Sold: l.Sold, Received: l.Received, Version: l.Version()}
}

// Count is a number of orders. With More it is a lower bound.
type Count struct {
	N    int  `json:"count" doc:"Number of orders."`
	More bool `json:"more,omitempty" doc:"Whether count is a lower bound."`
}

func toCount(c orderstore.Count) Count { return Count{N: c.N, More: c.More} }

func toCounts(counts map[order.Status]orderstore.Count) map[order.Status]Count {
	out := make(map[order.Status]Count, len(counts))
	for status, c := range counts {
		out[status] = toCount(c)
	}
	return out
}
