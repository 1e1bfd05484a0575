// Package importer turns an order as a shop's software writes it into ours, or
// says of each field that has no place why not. It does no I/O.
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

// Shops are the names that Convert knows.
const (
	Shopify       = "shopify"
	WooCommerce   = "woocommerce"
	Commercetools = "commercetools"
	CloudEvents   = "cloudevents"
)

// MaxBytes is more than any shop's order has, with all its texts and pictures.
const MaxBytes = 4 << 20

// Options are what a shop's order does not say.
type Options struct {
	PaymentToken string // the payment provider's; "" if the order has it
	CustomerID   string // of a guest; what the order says counts more
	// SKUs are ours, by the shop's: for those that have other characters.
	SKUs map[string]string
	// LeaveOut are fields to do without, although they have no place and could
	// change what is shipped or charged, such as "line_items[].properties".
	LeaveOut []string
}

// Note is about a field of the shop's order.
type Note struct {
	Field   string `json:"field"` // its path
	Message string `json:"message"`
	// Refused says that without it, or with it, something else would be shipped
	// or charged than the customer ordered: there is no order then.
	Refused bool `json:"refused"`
}

func (n Note) String() string { return n.Field + ": " + n.Message }

// RefusedError is why there is no order.
type RefusedError struct{ Notes []Note } // those that are refused

func (e *RefusedError) Error() string {
	parts := make([]string, len(e.Notes))
	for i, n := range e.Notes {
		parts[i] = n.String()
	}
	return strings.Join(parts, "; ")
}

// Convert turns one order of a shop, as JSON, into a valid one of ours, whose
// Agreed is the shop's total. The notes say what was left out, and what is wrong;
// if any is refused, the error is a *RefusedError.
func Convert(from string, raw []byte, o Options) (order.Order, []Note, error) {
	shops := map[string]func(*conversion, *fields){
		Shopify: fromShopify, WooCommerce: fromWooCommerce, Commercetools: fromCommercetools,
	}
	c := &conversion{opt: o, out: order.Order{SpecVersion: order.SpecVersion, CustomerID: o.CustomerID, Payment: order.Payment{Token: o.PaymentToken}}}
	read, known := shops[from]
	switch {
	case from == CloudEvents:
		return fromCloudEvents(raw, o)
	case !known:
		return order.Order{}, nil, fmt.Errorf("shop %q: must be %s, %s, %s or %s", from, Shopify, WooCommerce, Commercetools, CloudEvents)
	case len(raw) > MaxBytes:
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

// conversion is the work on one order.
type conversion struct {
	opt   Options
	out   order.Order
	notes []Note
	// total is the shop's, and where it says so; "" if that could not be read.
	total   int64
	totalAt string
}

func (c *conversion) result() (order.Order, []Note, error) {
	slices.SortStableFunc(c.notes, func(a, b Note) int { return cmp.Compare(a.Field, b.Field) })
	if err := c.refused(); err != nil {
		return order.Order{}, c.notes, err
	}
	return c.out, c.notes, nil
}

func (c *conversion) refused() error {
	bad := slices.DeleteFunc(slices.Clone(c.notes), func(n Note) bool { return !n.Refused })
	if len(bad) == 0 {
		return nil
	}
	return &RefusedError{bad}
}

// wrong refuses the order for a field.
func (c *conversion) wrong(field, format string, args ...any) {
	c.notes = append(c.notes, Note{field, fmt.Sprintf(format, args...), true})
}

// note says what becomes of a field that changes nothing that matters.
func (c *conversion) note(field, format string, args ...any) {
	c.notes = append(c.notes, Note{field, fmt.Sprintf(format, args...), false})
}

var index = regexp.MustCompile(`\[[0-9]+\]`)

// noPlace refuses the order for a field that has no place in ours and could
// change what is shipped or charged, unless it is to be left out.
func (c *conversion) noPlace(field, why string) {
	general := index.ReplaceAllString(field, "[]")
	if slices.Contains(c.opt.LeaveOut, field) || slices.Contains(c.opt.LeaveOut, general) {
		c.note(field, "has no place in our order, and is left out as you wish: %s", why)
		return
	}
	c.wrong(field, "has no place in our order: %s", why)
}

// id makes one of ours of a shop's. It is never changed: two of the shop's could
// become the same.
func (c *conversion) id(field, id string) string {
	switch {
	case id == "":
		c.wrong(field, "is missing")
	case !order.ValidID(id):
		c.wrong(field, "is %.100q, and an id of ours %s", id, order.IDRule)
	}
	return id
}

func (c *conversion) sku(field, sku string) string {
	if ours, ok := c.opt.SKUs[sku]; ok {
		return c.id(field, ours)
	}
	if sku != "" && !order.ValidID(sku) {
		c.wrong(field, "is %.100q, and a SKU of ours %s; say which of ours it is", sku, order.IDRule)
		return sku
	}
	return c.id(field, sku)
}

// amount reads a decimal number of the order's currency.
func (c *conversion) amount(field, number string) int64 {
	minor, err := money.Parse(number, c.out.Currency)
	switch {
	case err != nil:
		c.wrong(field, "%v", err)
	case minor < 0:
		c.wrong(field, "is %s; an amount of ours is 0 or more", number)
	}
	return max(minor, 0)
}

// line adds pieces that cost so much in all. Where that is no whole number each,
// it is two lines: some pieces cost the smallest unit more than the others.
func (c *conversion) line(sku string, quantity, all int64) {
	if quantity < 1 || quantity > order.MaxQuantity { // Validate says so
		c.out.Lines = append(c.out.Lines, order.Line{SKU: sku, Quantity: quantity})
		return
	}
	each, more := all/quantity, all%quantity
	if more > 0 {
		c.out.Lines = append(c.out.Lines, order.Line{SKU: sku, Quantity: more, UnitPrice: each + 1})
	}
	c.out.Lines = append(c.out.Lines, order.Line{SKU: sku, Quantity: quantity - more, UnitPrice: each})
}

// finish holds our order against the shop's.
func (c *conversion) finish() {
	if c.refused() != nil {
		return // sums of what could not be read say nothing
	}
	if c.out.Payment.Token == "" {
		c.wrong("payment", "the shop's order has no payment token: give the payment provider's, with --payment-token")
	}
	if c.out.CustomerID == "" {
		c.wrong("customer", "the order is a guest's: say whose it is, with --customer-id")
	}
	if c.out.ShipTo == nil || *c.out.ShipTo == (order.Address{}) {
		c.wrong("shipTo", "the shop's order has no shipping address")
	}
	c.out.Agreed = &c.total
	if sum := c.out.Total(); sum != c.total {
		c.wrong(c.totalAt, "is %s, and lines, shipping and tax, less the discount, are %s", money.Format(c.total, c.out.Currency), money.Format(sum, c.out.Currency))
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

// join puts the parts that are there into one text.
func join(sep string, parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), sep)
}

// Encode is an order as it is published: one line of JSON.
func Encode(o order.Order) ([]byte, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("encode order %s: %w", o.OrderID, err)
	}
	return b, nil
}
