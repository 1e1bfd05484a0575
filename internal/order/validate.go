package order

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ordersaga/ordersaga/internal/money"
)

// FieldError is a fault of one field of the input.
type FieldError struct {
	Field   string // JSON path, such as "lines[2].quantity"
	Message string // predicate of a sentence about the field, such as "must be an object"
}

// Error returns the field and the message.
func (e FieldError) Error() string { return e.Field + ": " + e.Message }

// InvalidError lists all faults found in one input.
type InvalidError struct{ Fields []FieldError }

// Error lists the faults.
func (e *InvalidError) Error() string {
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = f.Error()
	}
	return "invalid order: " + strings.Join(parts, "; ")
}

// event is an OrderPlaced message: the order, and two optional fields.
type event struct {
	Order

	Type     json.RawMessage `json:"type"`     // OrderPlaced
	Metadata json.RawMessage `json:"metadata"` // an object for the producer's own use: neither read nor stored
}

// Parse decodes and validates an OrderPlaced event. It rejects everything unknown, because
// that may change what is to be shipped or charged: fields, a specVersion, another event
// type. It also rejects a field that appears twice or is spelled in another case. Producers
// may put their own data into "metadata". The error is always an *InvalidError.
func Parse(raw []byte) (Order, error) {
	if len(raw) > MaxEventBytes {
		return Order{}, invalid("body", fmt.Sprintf("must have at most %d bytes, got %d", MaxEventBytes, len(raw)))
	}
	// The decoder would replace invalid bytes by U+FFFD, and the parcel would be sent to a
	// mangled address.
	if !utf8.Valid(raw) {
		return Order{}, invalid("body", "is not UTF-8")
	}
	raw, faults := Strict(raw, event{})
	if len(faults) > 0 {
		return Order{}, &InvalidError{Fields: faults}
	}
	var e event
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&e); err != nil {
		return Order{}, undecodable(raw, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Order{}, invalid("body", "has data after the JSON value")
	}
	if err := checkType(e.Type); err != nil {
		return Order{}, err
	}
	if m := e.Metadata; len(m) > 0 && m[0] != '{' && string(m) != "null" {
		return Order{}, invalid("metadata", "must be an object; its content is ignored")
	}
	if err := e.Validate(); err != nil {
		return Order{}, err
	}
	return e.Order, nil
}

// checkType rejects another event that looks like an order: an OrderCancelled that contains
// the order must not be charged. The type is optional.
func checkType(raw json.RawMessage) error {
	var t string
	switch {
	case len(raw) == 0 || string(raw) == "null":
	case json.Unmarshal(raw, &t) != nil:
		return invalid("type", "must be a string: "+EventPlaced)
	case t != EventPlaced:
		return invalid("type", fmt.Sprintf("is %.200q, only %s is handled here", t, EventPlaced))
	}
	return nil
}

// undecodable returns the decoder's error as a fault of the field that it failed at.
func undecodable(raw []byte, err error) *InvalidError {
	var typeErr *json.UnmarshalTypeError
	var syntaxErr *json.SyntaxError
	switch {
	case errors.As(err, &typeErr) && typeErr.Field == "":
		return invalid("body", "is not an OrderPlaced event in JSON: must be an object, not "+typeErr.Value)
	case errors.As(err, &typeErr):
		return invalid(indexed(raw, strings.TrimPrefix(typeErr.Field, "Order.")), "must not be a JSON "+typeErr.Value)
	case errors.As(err, &syntaxErr), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return invalid("body", "is not an OrderPlaced event in JSON: "+err.Error())
	default: // placedAt is the only field with its own decoder
		return invalid("placedAt", "must be RFC 3339, such as 2026-11-23T10:00:00Z")
	}
}

// indexed adds the position to the decoder's path of a field in lines: the decoder's errors
// contain names only.
func indexed(raw []byte, path string) string {
	rest, ok := strings.CutPrefix(path, "lines")
	var o struct{ Lines []json.RawMessage }
	if !ok || json.NewDecoder(bytes.NewReader(raw)).Decode(&o) != nil {
		return path
	}
	for i, l := range o.Lines {
		if json.Unmarshal(l, new(Line)) != nil {
			return fmt.Sprintf("lines[%d]%s", i, rest)
		}
	}
	return path
}

// invalid returns an error with one fault.
func invalid(field, message string) *InvalidError {
	return &InvalidError{Fields: []FieldError{{Field: field, Message: message}}}
}

// Validate returns an *InvalidError with every invalid field, or nil.
func (o Order) Validate() error {
	var c checker
	if o.SpecVersion != 0 && o.SpecVersion != SpecVersion {
		c.add("specVersion", "must be %d, got %d", SpecVersion, o.SpecVersion)
	}
	c.id("orderId", o.OrderID)
	c.id("customerId", o.CustomerID)
	if !money.Known(o.Currency) {
		c.add("currency", "must be an ISO 4217 code in capitals, such as EUR")
	}
	if n := len(o.Lines); n < 1 || n > MaxLines {
		c.add("lines", "must have 1 to %d lines, got %d", MaxLines, n)
	}
	for i, l := range o.Lines {
		if i >= MaxLines {
			break
		}
		at := fmt.Sprintf("lines[%d].", i)
		c.id(at+"sku", l.SKU)
		if l.Quantity < 1 || l.Quantity > MaxQuantity {
			c.add(at+"quantity", "must be 1 to %d, got %d", MaxQuantity, l.Quantity)
		}
		if l.UnitPrice < 0 || l.UnitPrice > MaxUnitPrice {
			c.add(at+"unitPrice", "must be 0 to %d minor units, got %d", MaxUnitPrice, l.UnitPrice)
		}
	}
	c.amounts(o)
	c.id("payment.token", o.Payment.Token)
	if a := o.ShipTo; a != nil {
		c.text("shipTo.name", a.Name)
		c.text("shipTo.line1", a.Line1)
		c.text("shipTo.line2", a.Line2)
		c.text("shipTo.city", a.City)
		c.text("shipTo.region", a.Region)
		c.text("shipTo.postalCode", a.PostalCode)
		c.text("shipTo.phone", a.Phone)
		if a.Country != "" && !isAlpha2(a.Country) {
			c.add("shipTo.country", "must be two capital letters (ISO 3166-1)")
		}
	}
	if y := o.PlacedAt.UTC().Year(); !o.PlacedAt.IsZero() && (y < 2000 || y > 9999) {
		c.add("placedAt", "is in the year %d", y)
	} else if _, err := o.PlacedAt.MarshalJSON(); err != nil {
		// A time zone such as +24:00 can be decoded, but not encoded.
		c.add("placedAt", "cannot be written in RFC 3339")
	}
	if len(c.fields) > 0 {
		return &InvalidError{Fields: c.fields}
	}
	return nil
}

// ValidID reports whether s is 1 to 64 of A-Z a-z 0-9 . _ -, the format of order ids,
// customer ids, SKUs and payment tokens. "." and ".." are invalid: in a URL they would be
// another path.
func ValidID(s string) bool {
	if s == "" || len(s) > MaxIDLength || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		switch b := s[i]; {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '.', b == '_', b == '-':
		default:
			return false
		}
	}
	return true
}

// ValidID's rule for messages and schemas.
const (
	// IDRule is the rule in words.
	IDRule = "must be 1 to 64 of A-Z a-z 0-9 . _ - and not . or .."
	// IDPattern is the rule as a regular expression, without the length of 1 to MaxIDLength.
	IDPattern = `^(\.?\.?[A-Za-z0-9_-]|\.\.\.)[A-Za-z0-9._-]*$`
)

// checker collects faults.
type checker struct{ fields []FieldError }

func (c *checker) add(field, format string, args ...any) {
	c.fields = append(c.fields, FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
}

// amounts checks shipping, tax, discount and total. It does not compare the total if any part
// of it is out of range.
func (c *checker) amounts(o Order) {
	before := len(c.fields)
	for _, extra := range []struct {
		field string
		minor int64
	}{{"shipping", o.Shipping}, {"tax", o.Tax}, {"discount", o.Discount}} {
		if extra.minor < 0 || extra.minor > MaxExtra {
			c.add(extra.field, "must be 0 to %d minor units, got %d", int64(MaxExtra), extra.minor)
		}
	}
	if before > 0 || len(c.fields) > before {
		return
	}
	switch total := o.Total(); {
	case total < 0:
		c.add("discount", "is %d (%s), more than the %d (%s) that it is deducted from",
			o.Discount, money.Format(o.Discount, o.Currency), total+o.Discount, money.Format(total+o.Discount, o.Currency))
	case o.Agreed != nil && *o.Agreed != total:
		c.add("total", "is %d (%s), and the lines, shipping and tax, less the discount, are %d (%s)",
			*o.Agreed, money.Format(*o.Agreed, o.Currency), total, money.Format(total, o.Currency))
	}
}

func (c *checker) id(field, s string) {
	if !ValidID(s) {
		c.add(field, IDRule)
	}
}

func (c *checker) text(field, s string) {
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > MaxTextLength ||
		strings.ContainsFunc(s, unicode.IsControl) {
		c.add(field, "must be at most %d printable characters", MaxTextLength)
	}
}

func isAlpha2(s string) bool {
	return len(s) == 2 && 'A' <= s[0] && s[0] <= 'Z' && 'A' <= s[1] && s[1] <= 'Z'
}
