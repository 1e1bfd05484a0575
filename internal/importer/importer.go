// Package importer converts orders in the formats of shop software to ordersaga's format. It
// reports each field that it cannot convert, with the reason. It does no I/O.
package importer

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/ordersaga/ordersaga/internal/money"
	"github.com/ordersaga/ordersaga/internal/order"
)

// Formats that Convert supports.
const (
	Shopify       = "shopify"
	WooCommerce   = "woocommerce"
	Commercetools = "commercetools"
	CloudEvents   = "cloudevents"
)

// MaxBytes is the maximum size of an order to convert. The shops' formats have no limit; no real
// order comes near it.
const MaxBytes = 4 << 20

// Options has what a shop's order lacks.
type Options struct {
	PaymentToken string // token of the payment provider; "" if the order contains it
	CustomerID   string // for orders of guests; the order's own customer takes precedence
	// SKUs are ordersaga's SKUs by the shop's, for SKUs with characters that are invalid here.
	SKUs map[string]string
	// LeaveOut are fields to ignore although they could change what is shipped or charged,
	// such as "line_items[].properties".
	LeaveOut []string
}

// Note is a remark about a field of the shop's order.
type Note struct {
	Field   string `json:"field"` // JSON path
	Message string `json:"message"`
	// Refused is true if the order cannot be converted because of the field: something else
	// would be shipped or charged than the customer ordered.
	Refused bool `json:"refused"`
}

// String returns the field and the message.
func (n Note) String() string { return n.Field + ": " + n.Message }

// RefusedError is the error of an order that cannot be converted.
type RefusedError struct{ Notes []Note } // those with Refused

// Error lists the notes.
func (e *RefusedError) Error() string {
	parts := make([]string, len(e.Notes))
	for i, n := range e.Notes {
		parts[i] = n.String()
	}
	return strings.Join(parts, "; ")
}

// Convert converts one order in JSON from one of the formats to a valid order, whose Agreed is
// the shop's total. The notes list what was left out and what is wrong. If any of them is
// refused, the error is a *RefusedError.
func Convert(from string, raw []byte, o Options) (order.Order, []Note, error) {
	var read func(*conversion, *fields)
	switch from {
	case CloudEvents:
		return fromCloudEvents(raw, o)
	case Shopify:
		read = fromShopify
	case WooCommerce:
		read = fromWooCommerce
	case Commercetools:
		read = fromCommercetools
	default:
		return order.Order{}, nil, fmt.Errorf("shop %q: must be %s, %s, %s or %s", from, Shopify, WooCommerce, Commercetools, CloudEvents)
	}
	c := &conversion{opt: o, out: order.Order{
		SpecVersion: order.SpecVersion, CustomerID: o.CustomerID, Payment: order.Payment{Token: o.PaymentToken},
	}}
	if len(raw) > MaxBytes {
		return order.Order{}, nil, fmt.Errorf("the order has %d bytes, at most %d are allowed", len(raw), MaxBytes)
	}
	top := c.parse(raw, "")
	if top == nil {
		return order.Order{}, c.notes, c.refused()
	}
	read(c, top)
	top.rest()
	c.finish()
	return c.result()
}

// conversion is the conversion of one order.
type conversion struct {
	opt   Options
	out   order.Order
	notes []Note
	// total is the shop's total, and totalAt its field.
	total   int64
	totalAt string
}

// result returns the results of Convert.
func (c *conversion) result() (order.Order, []Note, error) {
	slices.SortStableFunc(c.notes, func(a, b Note) int { return cmp.Compare(a.Field, b.Field) })
	if err := c.refused(); err != nil {
		return order.Order{}, c.notes, err
	}
	return c.out, c.notes, nil
}

// refused returns a *RefusedError if any note is refused.
func (c *conversion) refused() error {
	bad := slices.DeleteFunc(slices.Clone(c.notes), func(n Note) bool { return !n.Refused })
	if len(bad) == 0 {
		return nil
	}
	return &RefusedError{Notes: bad}
}

// wrong refuses the order because of a field.
func (c *conversion) wrong(field, format string, args ...any) {
	c.notes = append(c.notes, Note{Field: field, Message: fmt.Sprintf(format, args...), Refused: true})
}

// note adds a note about a field that does not change what is shipped or charged.
func (c *conversion) note(field, format string, args ...any) {
	c.notes = append(c.notes, Note{Field: field, Message: fmt.Sprintf(format, args...)})
}

var index = regexp.MustCompile(`\[[0-9]+\]`)

// noPlace refuses the order because of a field that has no counterpart and could change what is
// shipped or charged, unless Options.LeaveOut has the field.
func (c *conversion) noPlace(field, why string) {
	general := index.ReplaceAllString(field, "[]")
	if slices.Contains(c.opt.LeaveOut, field) || slices.Contains(c.opt.LeaveOut, general) {
		c.note(field, "has no counterpart and is left out as requested: %s", why)
		return
	}
	c.wrong(field, "has no counterpart: %s", why)
}

// id checks an id of the shop. It never changes one: two of the shop's ids could become equal.
func (c *conversion) id(field, id string) string {
	switch {
	case id == "":
		c.wrong(field, "is missing")
	case !order.ValidID(id):
		c.wrong(field, "is %.100q, but an id %s", id, order.IDRule)
	}
	return id
}

// sku returns the SKU for one of the shop's.
func (c *conversion) sku(field, sku string) string {
	if ours, ok := c.opt.SKUs[sku]; ok {
		return c.id(field, ours)
	}
	if sku != "" && !order.ValidID(sku) {
		c.wrong(field, "is %.100q, but a SKU %s; map it with --sku", sku, order.IDRule)
		return sku
	}
	return c.id(field, sku)
}

// amount parses a decimal number in the order's currency.
func (c *conversion) amount(field, number string) int64 {
	minor, err := money.Parse(number, c.out.Currency)
	switch {
	case err != nil:
		c.wrong(field, "%v", err)
	case minor < 0:
		c.wrong(field, "is %s, but an amount must be 0 or more", number)
	}
	return max(minor, 0)
}

// line adds units that cost all minor units together. If the price of one is not a whole number,
// it adds two lines: some units cost one minor unit more than the others.
func (c *conversion) line(sku string, quantity, all int64) {
	if quantity < 1 || quantity > order.MaxQuantity { // Validate reports it
		c.out.Lines = append(c.out.Lines, order.Line{SKU: sku, Quantity: quantity})
		return
	}
	each, more := all/quantity, all%quantity
	if more > 0 {
		c.out.Lines = append(c.out.Lines, order.Line{SKU: sku, Quantity: more, UnitPrice: each + 1})
	}
	c.out.Lines = append(c.out.Lines, order.Line{SKU: sku, Quantity: quantity - more, UnitPrice: each})
}

// finish adds what the shop's order lacks, compares the totals and validates the result.
func (c *conversion) finish() {
	if c.refused() != nil {
		return // without valid parts there is no sum to compare
	}
	if c.out.Payment.Token == "" {
		c.wrong("payment", "the shop's order has no payment token; set it with --payment-token")
	}
	if c.out.CustomerID == "" {
		c.wrong("customer", "the order is a guest's; set the customer with --customer-id")
	}
	if c.out.ShipTo == nil || *c.out.ShipTo == (order.Address{}) {
		c.wrong("shipTo", "the shop's order has no shipping address")
	}
	c.out.Agreed = &c.total
	if sum := c.out.Total(); sum != c.total {
		c.wrong(c.totalAt, "is %s, and lines, shipping and tax, less the discount, are %s",
			money.Format(c.total, c.out.Currency), money.Format(sum, c.out.Currency))
	}
	if c.refused() != nil {
		return
	}
	if invalid, ok := errors.AsType[*order.InvalidError](c.out.Validate()); ok {
		for _, f := range invalid.Fields {
			c.wrong("our "+f.Field, "%s", f.Message)
		}
	}
}

// join joins the parts that are not empty.
func join(sep string, parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), sep)
}

// Encode returns an order as it is published: one line of JSON.
func Encode(o order.Order) ([]byte, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("encode order %s: %w", o.OrderID, err)
	}
	return b, nil
}
