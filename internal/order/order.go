// Package order is the domain: what an order is, which states its saga can be
// in, and what makes one valid. It does no I/O and imports the standard
// library only, so that every other package may depend on it.
package order

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"
)

// Names of the topics and queues, as the reference architecture calls them.
const (
	TopicOrderEvents           = "OrderEvents"
	TopicShipmentEvents        = "ShipmentEvents"
	TopicCustomerNotifications = "CustomerNotifications"
	QueueOrderProcessing       = "OrderProcessingQueue"
	QueueOrderProcessingDLQ    = "OrderProcessingQueue-dlq"
	QueueCarrierRequests       = "CarrierRequestsQueue"
	QueueCarrierRequestsDLQ    = "CarrierRequestsQueue-dlq"
	QueueCarrierAnswers        = "CarrierAnswersQueue"
	QueueCarrierAnswersDLQ     = "CarrierAnswersQueue-dlq"
)

// EventPlaced is the type of the event that an Order is, where one is named.
const EventPlaced = "OrderPlaced"

// Limits of the OrderPlaced event, version 1.
const (
	SpecVersion   = 1
	MaxLines      = 50
	MaxQuantity   = 10_000
	MaxUnitPrice  = 1_000_000_000 // minor units; keeps every total far below 2^63
	MaxIDLength   = 64
	MaxTextLength = 200
	MaxEventBytes = 256 << 10 // bytes of JSON; fifty lines take about 4 KiB
)

// Order is the OrderPlaced event, version 1. Money is in minor units of
// Currency (ISO 4217).
type Order struct {
	SpecVersion int       `json:"specVersion,omitempty" enum:"1" doc:"Version of this event; 1 when absent."`
	OrderID     string    `json:"orderId" minLength:"1" maxLength:"64" pattern:"^(\\.?\\.?[A-Za-z0-9_-]|\\.\\.\\.)[A-Za-z0-9._-]*$" doc:"Also the saga's id." example:"o-1042"`
	CustomerID  string    `json:"customerId" minLength:"1" maxLength:"64" pattern:"^(\\.?\\.?[A-Za-z0-9_-]|\\.\\.\\.)[A-Za-z0-9._-]*$" example:"c-7"`
	Currency    string    `json:"currency" pattern:"^[A-Z]{3}$" doc:"ISO 4217 code." example:"EUR"`
	Lines       []Line    `json:"lines" minItems:"1" maxItems:"50" nullable:"false" doc:"A SKU may appear on several lines."`
	Payment     Payment   `json:"payment"`
	ShipTo      *Address  `json:"shipTo,omitempty"`
	PlacedAt    time.Time `json:"placedAt,omitzero" doc:"When the customer placed it, RFC 3339."`
}

// Line is one position of an order.
type Line struct {
	SKU       string `json:"sku" minLength:"1" maxLength:"64" pattern:"^(\\.?\\.?[A-Za-z0-9_-]|\\.\\.\\.)[A-Za-z0-9._-]*$" example:"SKU-1"`
	Quantity  int64  `json:"quantity" minimum:"1" maximum:"10000" doc:"Pieces." example:"2"`
	UnitPrice int64  `json:"unitPrice" minimum:"0" maximum:"1000000000" doc:"Minor units of the order's currency." example:"1999"`
}

// Payment carries the payment provider's token, never card data.
type Payment struct {
	Token string `json:"token" minLength:"1" maxLength:"64" pattern:"^(\\.?\\.?[A-Za-z0-9_-]|\\.\\.\\.)[A-Za-z0-9._-]*$" example:"tok_ok"`
}

// Address is where the goods go.
type Address struct {
	Name       string `json:"name,omitempty" maxLength:"200"`
	Line1      string `json:"line1,omitempty" maxLength:"200"`
	City       string `json:"city,omitempty" maxLength:"200"`
	PostalCode string `json:"postalCode,omitempty" maxLength:"200"`
	Country    string `json:"country,omitempty" pattern:"^([A-Z]{2})?$" doc:"ISO 3166-1 alpha-2." example:"DE"`
}

// Demand is how many pieces of one SKU an order takes, over all its lines.
type Demand struct {
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
}

// Total is the sum of quantity times unit price, in minor units.
func (o Order) Total() int64 {
	var sum int64
	for _, l := range o.Lines {
		sum += l.Quantity * l.UnitPrice
	}
	return sum
}

// Demand merges lines of the same SKU and sorts by SKU. The order is the same
// for every order that shares SKUs, and DynamoDB allows an item only once in a
// transaction.
func (o Order) Demand() []Demand {
	bySKU := make(map[string]int64, len(o.Lines))
	for _, l := range o.Lines {
		bySKU[l.SKU] += l.Quantity
	}
	out := make([]Demand, 0, len(bySKU))
	for sku, q := range bySKU {
		out = append(out, Demand{SKU: sku, Quantity: q})
	}
	slices.SortFunc(out, func(a, b Demand) int { return cmp.Compare(a.SKU, b.SKU) })
	return out
}

// Fingerprint identifies the content of an order: the same id with another
// fingerprint is another order under a used id. SpecVersion 0 and 1 mean the
// same and the instant counts, not its time zone.
func (o Order) Fingerprint() string {
	o.SpecVersion = SpecVersion
	o.PlacedAt = o.PlacedAt.UTC()
	b, err := json.Marshal(o)
	if err != nil { // only a year outside 0..9999 can do this; Validate refuses it
		panic("order: fingerprint of an order that was not validated: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// WithoutToken is the order as it may appear in workflow history, logs and
// answers.
func (o Order) WithoutToken() Order {
	o.Payment.Token = ""
	return o
}
