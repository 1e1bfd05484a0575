package orderstore

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
)

// Record is an order in the read model: a row of the orders table. Amounts are in minor
// units of Currency.
type Record struct {
	OrderID         string         `dynamodbav:"orderId" json:"orderId"`
	CustomerID      string         `dynamodbav:"customerId" json:"customerId"`
	Status          order.Status   `dynamodbav:"status" json:"status"`
	Reason          string         `dynamodbav:"reason,omitempty" json:"reason,omitempty"`
	ShortSKUs       []string       `dynamodbav:"shortSkus,omitempty" json:"shortSkus,omitempty"`
	Currency        string         `dynamodbav:"currency" json:"currency"`
	Total           int64          `dynamodbav:"total" json:"total"`
	Lines           []order.Line   `dynamodbav:"-" json:"lines"`
	Shipping        int64          `dynamodbav:"-" json:"shipping,omitempty"`
	Tax             int64          `dynamodbav:"-" json:"tax,omitempty"`
	Discount        int64          `dynamodbav:"-" json:"discount,omitempty"`
	ShipTo          *order.Address `dynamodbav:"-" json:"shipTo,omitempty"`
	CreatedAt       time.Time      `dynamodbav:"-" json:"createdAt"`
	UpdatedAt       time.Time      `dynamodbav:"-" json:"updatedAt"`
	ChargeID        string         `dynamodbav:"chargeId,omitempty" json:"chargeId,omitempty"`
	RefundID        string         `dynamodbav:"refundId,omitempty" json:"refundId,omitempty"`
	ShipmentID      string         `dynamodbav:"shipmentId,omitempty" json:"shipmentId,omitempty"`
	TrackingID      string         `dynamodbav:"trackingId,omitempty" json:"trackingId,omitempty"`
	TrackingIDs     []string       `dynamodbav:"trackingIds,omitempty" json:"trackingIds,omitempty"`
	Carrier         Carrier        `dynamodbav:"carrier,omitempty" json:"carrier,omitempty"` // the first answer, which counts
	CancelRequested bool           `dynamodbav:"cancelRequested,omitempty" json:"cancelRequested,omitempty"`
	Decision        Decision       `dynamodbav:"decision,omitempty" json:"decision,omitempty"` // on its approval
	Notes           []Note         `dynamodbav:"notes,omitempty" json:"notes,omitempty"`
	Forgotten       bool           `dynamodbav:"forgotten,omitempty" json:"forgotten,omitempty"` // see Forget

	Refunding   bool     `dynamodbav:"refunding,omitempty" json:"-"`         // see MarkRefunding
	Queued      bool     `dynamodbav:"queued,omitempty" json:"-"`            // see AcceptQueued
	Resolution  string   `dynamodbav:"resolution,omitempty" json:"-"`        // see Resolve
	GivenUp     bool     `dynamodbav:"givenUp,omitempty" json:"-"`           // see MarkAbandoned
	Terminated  string   `dynamodbav:"sagaTerminated,omitempty" json:"-"`    // see MarkTerminated
	Token       string   `dynamodbav:"token,omitempty" json:"-"`             // gone once the order ends
	IdleUntil   string   `dynamodbav:"asleepUntil,omitempty" json:"-"`       // see IdleUntil
	Settled     []string `dynamodbav:"settled,stringset,omitempty" json:"-"` // the steps about which Resolve has kept a decision other than retry; see also MarkStepDone
	Trace       string   `dynamodbav:"trace,omitempty" json:"-"`             // W3C trace context of what accepted it
	Fingerprint string   `dynamodbav:"fingerprint" json:"-"`
	Content     string   `dynamodbav:"content" json:"-"` // the order without its token, JSON
	Created     string   `dynamodbav:"createdAt" json:"-"`
	Updated     string   `dynamodbav:"updatedAt" json:"-"`
	Placed      string   `dynamodbav:"placed" json:"-"` // sort key of the indexes: time and id
	StatusShard string   `dynamodbav:"statusShard" json:"-"`
	TimeShard   string   `dynamodbav:"timeShard,omitempty" json:"-"` // "": see BackfillTimeIndex
}

// Carrier is an answer of the carrier; "" means none yet.
type Carrier string

// Answers of the carrier.
const (
	Dispatched Carrier = "dispatched"
	Refused    Carrier = "refused"
)

// Order rebuilds the order as it was accepted. It has its payment token until the order
// ends.
func (r Record) Order() (order.Order, error) {
	o, err := decodeContent(r.Content)
	o.Payment.Token = r.Token
	return o, wrap(err, "order %s", r.OrderID)
}

// Parcels returns the tracking ids of the order. A record from before an order could have
// several parcels has one.
func (r Record) Parcels() []string {
	if len(r.TrackingIDs) == 0 && r.TrackingID != "" {
		return []string{r.TrackingID}
	}
	return r.TrackingIDs
}

// Listed reports whether List and Walk find the order: the status index has it, even if
// under another status.
func (r Record) Listed() bool {
	indexed := func(st order.Status) bool { return r.StatusShard == statusShard(st, r.OrderID) }
	return r.Placed != "" && slices.ContainsFunc(order.Statuses(), indexed)
}

func (r Record) has(sku string) bool {
	return slices.ContainsFunc(r.Lines, func(l order.Line) bool { return l.SKU == sku })
}

func decodeRecord(item map[string]types.AttributeValue) (Record, error) {
	var r Record
	if err := attributevalue.UnmarshalMap(item, &r); err != nil {
		return r, fmt.Errorf("decode the record of %s: %w", keyOf(item), err)
	}
	return r.filled(), nil
}

// filled sets the fields that the table has in another form. A value that cannot be
// decoded stays zero: the record is still worth showing.
func (r Record) filled() Record {
	if o, err := decodeContent(r.Content); err == nil {
		r.Lines, r.ShipTo = o.Lines, o.ShipTo
		r.Shipping, r.Tax, r.Discount = o.Shipping, o.Tax, o.Discount
	}
	r.CreatedAt, _ = time.Parse(TimeFormat, r.Created)
	r.UpdatedAt, _ = time.Parse(TimeFormat, r.Updated)
	return r
}

func encodeContent(o order.Order) (string, error) {
	b, err := json.Marshal(o.WithoutToken())
	if err != nil {
		return "", fmt.Errorf("encode order %s: %w", o.OrderID, err)
	}
	return string(b), nil
}

func decodeContent(s string) (order.Order, error) {
	var o order.Order
	if err := json.Unmarshal([]byte(s), &o); err != nil {
		return o, fmt.Errorf("decode its stored content: %w", err)
	}
	return o, nil
}
