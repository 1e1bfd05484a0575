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

// StockReason is why the shelf changed.
type StockReason string

// Reasons.
const (
	Restock    StockReason = "restock"    // pieces came back into sale
	Delivery   StockReason = "delivery"   // a supplier's
	Correction StockReason = "correction" // found or lost: the one that may take away
)

// Limits of the events, version 1.
const (
	// MaxStockLines is half of what DynamoDB takes in one transaction, 100 items:
	// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
	MaxStockLines    = 50
	MaxStockQuantity = 1_000_000 // pieces of one line, either way
	MaxStockBytes    = 64 << 10  // bytes of JSON; fifty lines take about 6 KiB
)

// StockAdjusted is the StockAdjusted event, version 1:
//
//	{"specVersion": 1, "type": "StockAdjusted", "eventId": "dn-2231", "reason": "delivery",
//	 "lines": [{"sku": "SKU-1", "quantity": 250}], "reference": "delivery note 2231",
//	 "occurredAt": "2026-11-23T10:00:00Z"}
//
// specVersion, reference and occurredAt may be absent. All lines count or none.
type StockAdjusted struct {
	SpecVersion int         `json:"specVersion,omitempty"`
	Type        string      `json:"type"`
	EventID     string      `json:"eventId"` // as order.ValidID; a repetition has the same
	Reason      StockReason `json:"reason"`
	Lines       []StockLine `json:"lines"` // 1 to MaxStockLines, each SKU once
	Reference   string      `json:"reference,omitempty"`
	OccurredAt  time.Time   `json:"occurredAt,omitzero"` // RFC 3339
}

// StockLine is the change of one SKU, in pieces; only a correction's may be negative.
type StockLine struct {
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
}

// StockChanged is the StockChanged event, version 1. The levels are those at its
// publication: never older than the change, perhaps newer. SNS may deliver it
// twice, and out of order.
type StockChanged struct {
	SpecVersion int         `json:"specVersion"`
	Type        string      `json:"type"`
	EventID     string      `json:"eventId"` // the same for a repetition
	Cause       string      `json:"cause"`   // eventId of the StockAdjusted
	Reason      StockReason `json:"reason"`
	SKU         string      `json:"sku"`
	Change      int64       `json:"change"` // pieces
	Available   int64       `json:"available"`
	Reserved    int64       `json:"reserved"`
}

// LowStock is the LowStock event, version 1: an adjustment has left, or found, fewer
// pieces available than the threshold.
type LowStock struct {
	SpecVersion int    `json:"specVersion"`
	Type        string `json:"type"`
	EventID     string `json:"eventId"` // the same for a repetition
	Cause       string `json:"cause"`
	SKU         string `json:"sku"`
	Available   int64  `json:"available"`
	Threshold   int64  `json:"threshold"`
}

// InvalidStockError lists every fault found in one event.
type InvalidStockError struct{ Fields []order.FieldError }

func (e *InvalidStockError) Error() string {
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = f.Error()
	}
	return "invalid stock event: " + strings.Join(parts, "; ")
}

// ParseStockAdjusted decodes and validates a StockAdjusted event. said is its type by what
// carried it, "" if that says none; it counts if the event itself says none.
// Unknown fields are ignored, an unknown specVersion is refused. The error is an
// *InvalidStockError.
func ParseStockAdjusted(raw []byte, said string) (StockAdjusted, error) {
	var e StockAdjusted
	if len(raw) > MaxStockBytes {
		return e, invalid("body", "has %d bytes, at most %d are allowed", len(raw), MaxStockBytes)
	}
	if !utf8.Valid(raw) {
		return e, invalid("body", "is not UTF-8")
	}
	raw, faults := order.Tolerant(raw, e)
	if len(faults) > 0 {
		return StockAdjusted{}, &InvalidStockError{faults}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&e); err != nil {
		return StockAdjusted{}, undecodable(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return StockAdjusted{}, invalid("body", "has data after the JSON value")
	}
	e.Type = cmp.Or(e.Type, said)
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
	return &InvalidStockError{[]order.FieldError{{Field: field, Message: fmt.Sprintf(format, args...)}}}
}

// Validate returns an *InvalidStockError naming every wrong field, or nil.
func (e StockAdjusted) Validate() error {
	var faults []order.FieldError
	check := func(ok bool, field, format string, args ...any) {
		if !ok {
			faults = append(faults, invalid(field, format, args...).Fields...)
		}
	}
	check(e.SpecVersion == 0 || e.SpecVersion == SpecVersion, "specVersion", "is %d, only %d is known", e.SpecVersion, SpecVersion)
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
	check(1 <= len(e.Lines) && len(e.Lines) <= MaxStockLines, "lines", "has %d lines, 1 to %d are allowed", len(e.Lines), MaxStockLines)
	seen := map[string]bool{}
	for i, l := range e.Lines[:min(len(e.Lines), MaxStockLines)] {
		at := fmt.Sprintf("lines[%d].", i)
		check(order.ValidID(l.SKU), at+"sku", order.IDRule)
		check(!seen[l.SKU], at+"sku", "%.100q is on a line before", l.SKU)
		seen[l.SKU] = true
		check(l.Quantity != 0 && least <= l.Quantity && l.Quantity <= MaxStockQuantity, at+"quantity", "is %d, %d to %d and not 0 are allowed", l.Quantity, least, MaxStockQuantity)
	}
	check(utf8.RuneCountInString(e.Reference) <= order.MaxTextLength && !strings.ContainsFunc(e.Reference, unicode.IsControl),
		"reference", "must be at most %d printable characters", order.MaxTextLength)
	_, err := e.OccurredAt.MarshalJSON() // such as +24:00, which can be decoded and not encoded
	check(err == nil, "occurredAt", "cannot be written in RFC 3339")
	if len(faults) > 0 {
		return &InvalidStockError{faults}
	}
	return nil
}

// Fingerprint identifies what a valid event says: the same eventId with another
// one is another event under a used id. The order of lines does not matter.
func (e StockAdjusted) Fingerprint() string {
	e.SpecVersion, e.OccurredAt = SpecVersion, e.OccurredAt.UTC()
	e.Lines = slices.SortedFunc(slices.Values(e.Lines), func(a, b StockLine) int { return cmp.Compare(a.SKU, b.SKU) })
	b, err := json.Marshal(e)
	if err != nil {
		panic("stockevent: fingerprint of an event that was not validated: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
