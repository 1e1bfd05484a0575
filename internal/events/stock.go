package events

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ordersaga/ordersaga/internal/order"
)

// StockReason is the reason for a change of the stock on hand. The zero value is invalid.
type StockReason string

// Reasons for a change of the stock on hand.
const (
	Restock    StockReason = "restock"    // returned units are for sale again
	Delivery   StockReason = "delivery"   // a supplier delivered units
	Correction StockReason = "correction" // units were found or lost; the only reason with negative quantities
)

// Limits of the stock events, version 1.
const (
	// MaxStockLines is half of DynamoDB's limit for one transaction, 100 items:
	// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
	MaxStockLines    = 50
	MaxStockQuantity = 1_000_000 // units of one line, added or removed; ours
	MaxStockBytes    = 64 << 10  // bytes of JSON; ours: fifty lines take about 6 KiB
)

// StockAdjusted is the StockAdjusted event, version 1:
//
//	{"specVersion": 1, "type": "StockAdjusted", "eventId": "dn-2231", "reason": "delivery",
//	 "lines": [{"sku": "SKU-1", "quantity": 250}], "reference": "delivery note 2231",
//	 "occurredAt": "2026-11-23T10:00:00Z"}
//
// specVersion, reference and occurredAt are optional. Either all lines are applied or none.
type StockAdjusted struct {
	SpecVersion int         `json:"specVersion,omitempty" enum:"1" doc:"Version of this event; 1 when absent."`
	Type        string      `json:"type" required:"false" enum:"StockAdjusted" doc:"Required unless the envelope states it."`
	EventID     string      `json:"eventId" minLength:"1" maxLength:"64" doc:"The same in a repeated event."`
	Reason      StockReason `json:"reason" enum:"restock,delivery,correction"`
	Lines       []StockLine `json:"lines" minItems:"1" maxItems:"50" nullable:"false" doc:"Each SKU once. All are applied or none."`
	Reference   string      `json:"reference,omitempty" maxLength:"200" doc:"Such as the number of a delivery note."`
	OccurredAt  time.Time   `json:"occurredAt,omitzero" doc:"RFC 3339."`
}

// StockLine is the change of one SKU, in units. Only a correction may have a negative
// Quantity; no reason may have 0.
type StockLine struct {
	SKU      string `json:"sku" minLength:"1" maxLength:"64"`
	Quantity int64  `json:"quantity" minimum:"-1000000" maximum:"1000000" doc:"Units, not 0. Negative only in a correction."`
}

// StockChanged is the StockChanged event, version 1. Available and Reserved, in units, are read
// when the event is published: they include the change, and may include later ones. SNS may
// deliver the event more than once, and out of order.
type StockChanged struct {
	SpecVersion int         `json:"specVersion" enum:"1" doc:"Version of this event."`
	Type        string      `json:"type" enum:"StockChanged"`
	EventID     string      `json:"eventId" doc:"The same in a repeated event."`
	Cause       string      `json:"cause" doc:"eventId of the StockAdjusted event."`
	Reason      StockReason `json:"reason" enum:"restock,delivery,correction"`
	SKU         string      `json:"sku"`
	Change      int64       `json:"change" doc:"Units added, or removed if negative."`
	Available   int64       `json:"available" doc:"Units available at publication."`
	Reserved    int64       `json:"reserved" doc:"Units reserved at publication."`
}

// LowStock is the LowStock event, version 1. It reports that after an adjustment fewer units
// than Threshold are available, whether or not the adjustment is the cause.
type LowStock struct {
	SpecVersion int    `json:"specVersion" enum:"1" doc:"Version of this event."`
	Type        string `json:"type" enum:"LowStock"`
	EventID     string `json:"eventId" doc:"The same in a repeated event."`
	Cause       string `json:"cause" doc:"eventId of the StockAdjusted event."`
	SKU         string `json:"sku"`
	Available   int64  `json:"available" doc:"Units available at publication."`
	Threshold   int64  `json:"threshold" doc:"Units; fewer are low stock."`
}

// InvalidStockError lists every fault found in one StockAdjusted event. It is permanent: a
// retry finds the same faults.
type InvalidStockError struct{ Fields []order.FieldError }

// Error lists the faults.
func (e *InvalidStockError) Error() string {
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = f.Error()
	}
	return "invalid stock event: " + strings.Join(parts, "; ")
}

// ParseStockAdjusted decodes and validates a StockAdjusted event. envelopeType is the type that
// its envelope states, or ""; it is used if the body has no type. Unknown fields are ignored, an
// unknown specVersion is rejected. The error is always an *InvalidStockError.
func ParseStockAdjusted(raw []byte, envelopeType string) (StockAdjusted, error) {
	var e StockAdjusted
	if len(raw) > MaxStockBytes {
		return e, invalid("body", "must have at most %d bytes, got %d", MaxStockBytes, len(raw))
	}
	if !utf8.Valid(raw) {
		return e, invalid("body", "is not UTF-8")
	}
	raw, faults := order.Tolerant(raw, e)
	if len(faults) > 0 {
		return StockAdjusted{}, &InvalidStockError{Fields: faults}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&e); err != nil {
		return StockAdjusted{}, undecodable(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return StockAdjusted{}, invalid("body", "has data after the JSON value")
	}
	e.Type = cmp.Or(e.Type, envelopeType)
	if err := e.Validate(); err != nil {
		return StockAdjusted{}, err
	}
	return e, nil
}

func undecodable(err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return invalid(cmp.Or(wrong.Field, "body"), "must not be a JSON %s", wrong.Value)
	}
	if _, ok := errors.AsType[*time.ParseError](err); ok {
		return invalid("occurredAt", "must be RFC 3339, such as 2026-11-23T10:00:00Z")
	}
	return invalid("body", "is not a %s event in JSON: %v", TypeStockAdjusted, err)
}

func invalid(field, format string, args ...any) *InvalidStockError {
	return &InvalidStockError{Fields: []order.FieldError{{Field: field, Message: fmt.Sprintf(format, args...)}}}
}

// Validate returns nil, or an *InvalidStockError with every fault of the event.
func (e StockAdjusted) Validate() error {
	var faults []order.FieldError
	check := func(ok bool, field, format string, args ...any) {
		if !ok {
			faults = append(faults, invalid(field, format, args...).Fields...)
		}
	}
	check(e.SpecVersion == 0 || e.SpecVersion == SpecVersion, "specVersion", "is %d, only %d is supported", e.SpecVersion, SpecVersion)
	check(e.Type == TypeStockAdjusted, "type", "is %.100q, only %s is handled here", e.Type, TypeStockAdjusted)
	check(order.ValidID(e.EventID), "eventId", order.IDRule)
	least := int64(1)
	switch e.Reason {
	case Restock, Delivery:
	case Correction:
		least = -MaxStockQuantity
	default:
		check(false, "reason", "is %.100q, must be %s, %s or %s", string(e.Reason), Restock, Delivery, Correction)
	}
	check(1 <= len(e.Lines) && len(e.Lines) <= MaxStockLines, "lines", "must have 1 to %d lines, got %d", MaxStockLines, len(e.Lines))
	seen := map[string]bool{}
	for i, l := range e.Lines[:min(len(e.Lines), MaxStockLines)] {
		at := fmt.Sprintf("lines[%d].", i)
		check(order.ValidID(l.SKU), at+"sku", order.IDRule)
		check(!seen[l.SKU], at+"sku", "%.100q is already on an earlier line", l.SKU)
		seen[l.SKU] = true
		check(l.Quantity != 0 && least <= l.Quantity && l.Quantity <= MaxStockQuantity, at+"quantity",
			"is %d, must be %d to %d and not 0", l.Quantity, least, MaxStockQuantity)
	}
	check(utf8.RuneCountInString(e.Reference) <= order.MaxTextLength && !strings.ContainsFunc(e.Reference, unicode.IsControl),
		"reference", "must be at most %d printable characters", order.MaxTextLength)
	_, err := e.OccurredAt.MarshalJSON() // fails for an offset such as +24:00, which can be decoded but not encoded
	check(err == nil, "occurredAt", "cannot be written in RFC 3339")
	if len(faults) > 0 {
		return &InvalidStockError{Fields: faults}
	}
	return nil
}

// Fingerprint returns a hash of the content of a valid event. Two events with one EventID and
// different fingerprints are different events: the second uses a taken id. The order of the
// lines does not matter. Fingerprint panics for an event that Validate rejects.
func (e StockAdjusted) Fingerprint() string {
	e.SpecVersion, e.OccurredAt = SpecVersion, e.OccurredAt.UTC()
	e.Lines = slices.SortedFunc(slices.Values(e.Lines), func(a, b StockLine) int { return cmp.Compare(a.SKU, b.SKU) })
	b, err := json.Marshal(e)
	if err != nil {
		panic("events: fingerprint of an event that was not validated: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
