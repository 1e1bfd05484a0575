// Package stockevent is the events about what lies on the shelf that orders do
// not cause: StockAdjusted comes in, StockChanged and LowStock go out. Like
// package order it does no I/O.
package stockevent

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

// Types of events.
const (
	TypeAdjusted = "StockAdjusted"
	TypeChanged  = "StockChanged"
	TypeLow      = "LowStock"
)

// Reason is why the shelf changed.
type Reason string

// Reasons.
const (
	Restock    Reason = "restock"    // pieces came back into sale
	Delivery   Reason = "delivery"   // a supplier's
	Correction Reason = "correction" // found or lost: the one that may take away
)

// Limits of the events, version 1.
const (
	SpecVersion = 1
	// MaxLines is half of what DynamoDB takes in one transaction, 100 items:
	// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
	MaxLines    = 50
	MaxQuantity = 1_000_000 // pieces of one line, either way
	MaxBytes    = 64 << 10  // bytes of JSON; fifty lines take about 6 KiB
)

// Adjusted is the StockAdjusted event, version 1:
//
//	{"specVersion": 1, "type": "StockAdjusted", "eventId": "dn-2231", "reason": "delivery",
//	 "lines": [{"sku": "SKU-1", "quantity": 250}], "reference": "delivery note 2231",
//	 "occurredAt": "2026-11-23T10:00:00Z"}
//
// specVersion, reference and occurredAt may be absent. All lines count or none.
type Adjusted struct {
	SpecVersion int       `json:"specVersion,omitempty"`
	Type        string    `json:"type"`
	EventID     string    `json:"eventId"` // as order.ValidID; a repetition has the same
	Reason      Reason    `json:"reason"`
	Lines       []Line    `json:"lines"` // 1 to MaxLines, each SKU once
	Reference   string    `json:"reference,omitempty"`
	OccurredAt  time.Time `json:"occurredAt,omitzero"` // RFC 3339
}

// Line is the change of one SKU, in pieces; only a correction's may be negative.
type Line struct {
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
}

// Changed is the StockChanged event, version 1. The levels are those at its
// publication: never older than the change, perhaps newer. SNS may deliver it
// twice, and out of order.
type Changed struct {
	SpecVersion int    `json:"specVersion"`
	Type        string `json:"type"`
	EventID     string `json:"eventId"` // the same for a repetition
	Cause       string `json:"cause"`   // eventId of the StockAdjusted
	Reason      Reason `json:"reason"`
	SKU         string `json:"sku"`
	Change      int64  `json:"change"` // pieces
	Available   int64  `json:"available"`
	Reserved    int64  `json:"reserved"`
}

// Low is the LowStock event, version 1: an adjustment has left, or found, fewer
// pieces available than the threshold.
type Low struct {
	SpecVersion int    `json:"specVersion"`
	Type        string `json:"type"`
	EventID     string `json:"eventId"` // the same for a repetition
	Cause       string `json:"cause"`
	SKU         string `json:"sku"`
	Available   int64  `json:"available"`
	Threshold   int64  `json:"threshold"`
}

// InvalidError lists every fault found in one event.
type InvalidError struct{ Fields []order.FieldError }

func (e *InvalidError) Error() string {
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = f.Error()
	}
	return "invalid stock event: " + strings.Join(parts, "; ")
}

// Parse decodes and validates a StockAdjusted event. said is its type by what
// carried it, "" if that says none; it counts if the event itself says none.
// Unknown fields are ignored, an unknown specVersion is refused. The error is an
// *InvalidError.
func Parse(raw []byte, said string) (Adjusted, error) {
	var e Adjusted
	if len(raw) > MaxBytes {
		return e, invalid("body", "has %d bytes, at most %d are allowed", len(raw), MaxBytes)
	}
	if !utf8.Valid(raw) {
		return e, invalid("body", "is not UTF-8")
	}
	raw, faults := order.Tolerant(raw, e)
	if len(faults) > 0 {
		return Adjusted{}, &InvalidError{faults}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&e); err != nil {
		return Adjusted{}, undecodable(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Adjusted{}, invalid("body", "has data after the JSON value")
	}
	e.Type = cmp.Or(e.Type, said)
	if err := e.Validate(); err != nil {
		return Adjusted{}, err
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
	return invalid("body", "is not a %s event in JSON: %v", TypeAdjusted, err)
}

func invalid(field, format string, args ...any) *InvalidError {
	return &InvalidError{[]order.FieldError{{Field: field, Message: fmt.Sprintf(format, args...)}}}
}

// Validate returns an *InvalidError naming every wrong field, or nil.
func (e Adjusted) Validate() error {
	var faults []order.FieldError
	check := func(ok bool, field, format string, args ...any) {
		if !ok {
			faults = append(faults, invalid(field, format, args...).Fields...)
		}
	}
	check(e.SpecVersion == 0 || e.SpecVersion == SpecVersion, "specVersion", "is %d, only %d is known", e.SpecVersion, SpecVersion)
	check(e.Type == TypeAdjusted, "type", "is %.100q, only %s is handled here", e.Type, TypeAdjusted)
	check(order.ValidID(e.EventID), "eventId", order.IDRule)
	least := int64(1)
	switch e.Reason {
	case Restock, Delivery:
	case Correction:
		least = -MaxQuantity
	default:
		check(false, "reason", "is %.100q, must be %s, %s or %s", string(e.Reason), Restock, Delivery, Correction)
	}
	check(1 <= len(e.Lines) && len(e.Lines) <= MaxLines, "lines", "has %d lines, 1 to %d are allowed", len(e.Lines), MaxLines)
	seen := map[string]bool{}
	for i, l := range e.Lines[:min(len(e.Lines), MaxLines)] {
		at := fmt.Sprintf("lines[%d].", i)
		check(order.ValidID(l.SKU), at+"sku", order.IDRule)
		check(!seen[l.SKU], at+"sku", "%.100q is on a line before", l.SKU)
		seen[l.SKU] = true
		check(l.Quantity != 0 && least <= l.Quantity && l.Quantity <= MaxQuantity, at+"quantity", "is %d, %d to %d and not 0 are allowed", l.Quantity, least, MaxQuantity)
	}
	check(utf8.RuneCountInString(e.Reference) <= order.MaxTextLength && !strings.ContainsFunc(e.Reference, unicode.IsControl),
		"reference", "must be at most %d printable characters", order.MaxTextLength)
	_, err := e.OccurredAt.MarshalJSON() // such as +24:00, which can be decoded and not encoded
	check(err == nil, "occurredAt", "cannot be written in RFC 3339")
	if len(faults) > 0 {
		return &InvalidError{faults}
	}
	return nil
}

// Fingerprint identifies what a valid event says: the same eventId with another
// one is another event under a used id. The order of lines does not matter.
func (e Adjusted) Fingerprint() string {
	e.SpecVersion, e.OccurredAt = SpecVersion, e.OccurredAt.UTC()
	e.Lines = slices.SortedFunc(slices.Values(e.Lines), func(a, b Line) int { return cmp.Compare(a.SKU, b.SKU) })
	b, err := json.Marshal(e)
	if err != nil {
		panic("stockevent: fingerprint of an event that was not validated: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
