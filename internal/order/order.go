// Package order is the domain model: the order, its validation, and the state machine of its
// saga. It does no I/O and imports only package money of this module, so that every other
// package may depend on it.
package order

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// EventPlaced is the message type of an Order.
const EventPlaced = "OrderPlaced"

// Limits of the OrderPlaced event, version 1.
const (
	SpecVersion   = 1
	MaxLines      = 50
	MaxQuantity   = 10_000
	MaxUnitPrice  = 1_000_000_000         // minor units; keeps every total far below 2^63
	MaxExtra      = 1_000_000_000_000_000 // minor units, for each of shipping, tax and discount; keeps totals below 2^63
	MaxIDLength   = 64
	MaxTextLength = 200
	MaxEventBytes = 256 << 10 // bytes of JSON; fifty lines take about 4 KiB
)

// Order is the OrderPlaced event, version 1. Amounts are in minor units of Currency
// (ISO 4217). Total is the amount that is charged. docs/orders.md explains each field.
type Order struct {
	SpecVersion int       `json:"specVersion,omitempty" enum:"1" doc:"Version of this event; 1 when absent."`
	OrderID     string    `json:"orderId" minLength:"1" maxLength:"64" pattern:"^(\\.?\\.?[A-Za-z0-9_-]|\\.\\.\\.)[A-Za-z0-9._-]*$" doc:"Also the saga's id." example:"o-1042"`
	CustomerID  string    `json:"customerId" minLength:"1" maxLength:"64" pattern:"^(\\.?\\.?[A-Za-z0-9_-]|\\.\\.\\.)[A-Za-z0-9._-]*$" doc:"Id of the customer." example:"c-7"`
	Currency    string    `json:"currency" pattern:"^[A-Z]{3}$" doc:"ISO 4217 code." example:"EUR"`
	Lines       []Line    `json:"lines" minItems:"1" maxItems:"50" nullable:"false" doc:"A SKU may appear on several lines."`
	Shipping    int64     `json:"shipping,omitempty" minimum:"0" maximum:"1000000000000000" doc:"Price of shipping, in minor units." example:"490"`
	Tax         int64     `json:"tax,omitempty" minimum:"0" maximum:"1000000000000000" doc:"Tax that is not included in the prices, in minor units." example:"0"`
	Discount    int64     `json:"discount,omitempty" minimum:"0" maximum:"1000000000000000" doc:"Discount, in minor units; at most the sum of the lines, shipping and tax." example:"0"`
	Agreed      *int64    `json:"total,omitempty" minimum:"0" doc:"Total that the customer agreed to, in minor units. If present, it must equal the lines plus shipping and tax, less the discount." example:"4488"`
	Payment     Payment   `json:"payment" doc:"Means of payment."`
	ShipTo      *Address  `json:"shipTo,omitempty" doc:"Shipping address."`
	PlacedAt    time.Time `json:"placedAt,omitzero" doc:"When the customer placed it, RFC 3339."`
}

// Line is one position of an order.
type Line struct {
	SKU       string `json:"sku" minLength:"1" maxLength:"64" pattern:"^(\\.?\\.?[A-Za-z0-9_-]|\\.\\.\\.)[A-Za-z0-9._-]*$" doc:"SKU of the item." example:"SKU-1"`
	Quantity  int64  `json:"quantity" minimum:"1" maximum:"10000" doc:"Units." example:"2"`
	UnitPrice int64  `json:"unitPrice" minimum:"0" maximum:"1000000000" doc:"Minor units of the order's currency." example:"1999"`
}

// Payment identifies the means of payment: a token of the payment provider, never card data.
type Payment struct {
	Token string `json:"token" minLength:"1" maxLength:"64" pattern:"^(\\.?\\.?[A-Za-z0-9_-]|\\.\\.\\.)[A-Za-z0-9._-]*$" doc:"Token of the payment provider, never card data." example:"tok_ok"`
}

// Address is the shipping address.
type Address struct {
	Name       string `json:"name,omitempty" maxLength:"200" doc:"Name of the recipient."`
	Line1      string `json:"line1,omitempty" maxLength:"200" doc:"Street and number."`
	Line2      string `json:"line2,omitempty" maxLength:"200" doc:"Flat, floor, company."`
	City       string `json:"city,omitempty" maxLength:"200" doc:"City or town."`
	Region     string `json:"region,omitempty" maxLength:"200" doc:"State, province or county, where addresses have one."`
	PostalCode string `json:"postalCode,omitempty" maxLength:"200" doc:"Postal code, where addresses have one."`
	Country    string `json:"country,omitempty" pattern:"^([A-Z]{2})?$" doc:"ISO 3166-1 alpha-2." example:"DE"`
	Phone      string `json:"phone,omitempty" maxLength:"200" doc:"For the carrier's driver."`
}

// String returns the address on one line, without its empty fields.
func (a Address) String() string {
	city := strings.TrimSpace(a.PostalCode + " " + a.City)
	parts := []string{a.Name, a.Line1, a.Line2, city, a.Region, a.Country, a.Phone}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}

// Demand is the number of units of one SKU in all lines of an order.
type Demand struct {
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
}

// Total returns the amount that is charged, in minor units: the sum of the lines' quantities
// times unit prices, plus shipping and tax, less the discount.
func (o Order) Total() int64 {
	sum := o.Shipping + o.Tax - o.Discount
	for _, l := range o.Lines {
		sum += l.Quantity * l.UnitPrice
	}
	return sum
}

// Demand returns the units of each SKU, sorted by SKU. Lines of the same SKU are merged:
// DynamoDB allows an item only once in a transaction.
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

// Fingerprint returns a hash of the whole content of an order. SpecVersion 0 and 1 are
// equal, and so are equal times in different time zones. Orders with the same fingerprint are
// the same; orders with different ones may be, see Differences. It panics for an order that
// Validate rejects because of its time.
func (o Order) Fingerprint() string {
	o.SpecVersion = SpecVersion
	o.PlacedAt = o.PlacedAt.UTC()
	b, err := json.Marshal(o)
	if err != nil { // only for a year outside 0..9999, which Validate rejects
		panic("order: fingerprint of an order that was not validated: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Differences returns the JSON paths in which two orders with the same id differ. None means
// that the second is a repetition of the first. It ignores placedAt, which many producers
// set again when they repeat an order, specVersion, and the total, which follows from other
// fields.
func Differences(a, b Order) []string {
	a.PlacedAt, a.SpecVersion, a.Agreed = b.PlacedAt, b.SpecVersion, b.Agreed
	a.ShipTo, b.ShipTo = cmp.Or(a.ShipTo, &Address{}), cmp.Or(b.ShipTo, &Address{})
	return differences(reflect.ValueOf(a), reflect.ValueOf(b), "")
}

// differences compares two values of the same type, at a JSON path.
func differences(a, b reflect.Value, at string) (fields []string) {
	switch {
	case a.Kind() == reflect.Pointer && !a.IsNil() && !b.IsNil():
		return differences(a.Elem(), b.Elem(), at)
	case a.Kind() == reflect.Slice && a.Len() == b.Len():
		for i := range a.Len() {
			fields = append(fields, differences(a.Index(i), b.Index(i), fmt.Sprintf("%s[%d]", at, i))...)
		}
		return fields
	case a.Kind() == reflect.Struct && a.Type() != reflect.TypeFor[time.Time]():
		for i, f := range fieldsOf(a.Type()) { // none is embedded
			fields = append(fields, differences(a.Field(i), b.Field(i), strings.TrimPrefix(at+"."+f.name, "."))...)
		}
		return fields
	case !reflect.DeepEqual(a.Interface(), b.Interface()):
		return []string{at}
	}
	return nil
}

// ForHistory returns the order as it is stored in a workflow's history, where nothing can be
// deleted later: without the token, the customer id and the address. Steps that need them
// read the orders table.
func (o Order) ForHistory() Order {
	o.CustomerID, o.ShipTo = "", nil
	return o.WithoutToken()
}

// WithoutToken returns the order without the payment token, as responses contain it.
func (o Order) WithoutToken() Order {
	o.Payment.Token = ""
	return o
}
