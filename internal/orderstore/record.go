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
	OrderID         string         `dynamodbav:"orderId"`
	CustomerID      string         `dynamodbav:"customerId"`
	Status          order.Status   `dynamodbav:"status"`
	Reason          string         `dynamodbav:"reason,omitempty"`
	ShortSKUs       []string       `dynamodbav:"shortSkus,omitempty"`
	Currency        string         `dynamodbav:"currency"`
	Total           int64          `dynamodbav:"total"`
	Lines           []order.Line   `dynamodbav:"-"`
	Shipping        int64          `dynamodbav:"-"`
	Tax             int64          `dynamodbav:"-"`
	Discount        int64          `dynamodbav:"-"`
	ShipTo          *order.Address `dynamodbav:"-"`
	CreatedAt       time.Time      `dynamodbav:"-"`
	UpdatedAt       time.Time      `dynamodbav:"-"`
	ChargeID        string         `dynamodbav:"chargeId,omitempty"`
	RefundID        string         `dynamodbav:"refundId,omitempty"`
	ShipmentID      string         `dynamodbav:"shipmentId,omitempty"`
	TrackingID      string         `dynamodbav:"trackingId,omitempty"`
	TrackingIDs     []string       `dynamodbav:"trackingIds,omitempty"`
	Carrier         Carrier        `dynamodbav:"carrier,omitempty"` // the first answer, which counts
	CancelRequested bool           `dynamodbav:"cancelRequested,omitempty"`
	Decision        Decision       `dynamodbav:"decision,omitempty"` // on its approval
	Notes           []Note         `dynamodbav:"notes,omitempty"`
	Forgotten       bool           `dynamodbav:"forgotten,omitempty"` // see Forget

	Refunding   bool     `dynamodbav:"refunding,omitempty"`         // see MarkRefunding
	Queued      bool     `dynamodbav:"queued,omitempty"`            // see AcceptQueued
	Restored    bool     `dynamodbav:"restored,omitempty"`          // see Restore
	Resolution  string   `dynamodbav:"resolution,omitempty"`        // see Resolve
	GivenUp     bool     `dynamodbav:"givenUp,omitempty"`           // see MarkAbandoned
	Terminated  string   `dynamodbav:"sagaTerminated,omitempty"`    // see MarkTerminated
	Token       string   `dynamodbav:"token,omitempty"`             // gone once the order ends
	IdleUntil   string   `dynamodbav:"asleepUntil,omitempty"`       // see IdleUntil
	Settled     []string `dynamodbav:"settled,stringset,omitempty"` // the steps about which Resolve has kept a decision other than retry; see also MarkStepDone
	Trace       string   `dynamodbav:"trace,omitempty"`             // W3C trace context of what accepted it
	Fingerprint string   `dynamodbav:"fingerprint"`
	Content     string   `dynamodbav:"content"` // the order without its token, JSON
	Created     string   `dynamodbav:"createdAt"`
	Updated     string   `dynamodbav:"updatedAt"`
	Placed      string   `dynamodbav:"placed"` // sort key of the indexes: time and id
	StatusShard string   `dynamodbav:"statusShard"`
	TimeShard   string   `dynamodbav:"timeShard,omitempty"` // "": see BackfillTimeIndex
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
