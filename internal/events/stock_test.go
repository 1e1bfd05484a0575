package events

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/order"
)

func event(fields string) string {
	return `{"type":"StockAdjusted","eventId":"e-1","reason":"delivery","lines":[{"sku":"A","quantity":1}]` + fields + `}`
}

func TestParseStockAdjusted(t *testing.T) {
	t.Parallel()
	e, err := ParseStockAdjusted([]byte(event(`,"specVersion":1,"reference":"dn 1","occurredAt":"2026-11-23T10:00:00+01:00","new":{}`)), "")
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	if err != nil || e.EventID != "e-1" || e.Lines[0] != (StockLine{SKU: "A", Quantity: 1}) || !e.OccurredAt.Equal(at) {
		t.Errorf("parsed %+v, %v, want e-1 with one unit of A at %s", e, err, at)
	}
	for _, raw := range []string{
		adjustment("correction", `{"sku":"A","quantity":-3}`, `{"sku":"B","quantity":3}`),
		adjustment("correction", `{"sku":"A","quantity":-3.0}`, `{"sku":"B","quantity":3e0}`),
	} {
		e, err := ParseStockAdjusted([]byte(raw), "")
		if err != nil || e.Lines[0].Quantity != -3 || e.Lines[1].Quantity != 3 {
			t.Errorf("parsed %s: %+v, %v, want the quantities -3 and 3", raw, e, err)
		}
	}
	untyped := `{"eventId":"e","reason":"delivery","lines":[{"sku":"A","quantity":1}]}`
	e, err = ParseStockAdjusted([]byte(untyped), TypeStockAdjusted)
	if err != nil || e.Type != TypeStockAdjusted {
		t.Errorf("parsed with the type of the envelope: %+v, %v, want type %s", e, err, TypeStockAdjusted)
	}
}

func TestErrorOfAnInvalidStockAdjustedNamesTheField(t *testing.T) {
	t.Parallel()
	for raw, field := range map[string]string{
		"":                                   "body",
		"[]":                                 "body",
		"\xff":                               "body",
		event("") + "1":                      "body",
		strings.Repeat(" ", MaxStockBytes+1): "body",
		event(`,"specVersion":2`):            "specVersion",
		event(`,"specVersion":"1"`):          "specVersion",
		event(`,"eventId":"e-1"`):            "eventId",
		event(`,"occurredAt":"today"`):       "occurredAt",
		event(`,"reference":"a\nb"`):         "reference",
		`{"type":"StockChanged"}`:            "type",
		adjustment("gift", `{"sku":"A","quantity":1}`):                                          "reason",
		adjustment("restock"):                                                                   "lines",
		adjustment("restock", `{"sku":"A","quantity":-1}`):                                      "lines[0].quantity",
		adjustment("restock", `{"sku":"A","quantity":0}`):                                       "lines[0].quantity",
		adjustment("correction", `{"sku":"A","quantity":0}`):                                    "lines[0].quantity",
		adjustment("correction", `{"sku":"A","quantity":-1000001}`):                             "lines[0].quantity",
		adjustment("delivery", `{"sku":"A","quantity":1.5}`):                                    "lines[0].quantity",
		adjustment("delivery", `{"sku":"A","quantity":1}`, `{"sku":"A b","quantity":1}`):        "lines[1].sku",
		adjustment("delivery", `{"sku":"A","quantity":1}`, `{"sku":"A","quantity":1}`):          "lines[1].sku",
		adjustment("delivery", strings.Repeat(`{"sku":"A","quantity":1},`, MaxStockLines)+`{}`): "lines",
	} {
		_, err := ParseStockAdjusted([]byte(raw), "")
		invalid, ok := errors.AsType[*InvalidStockError](err)
		if !ok || !named(invalid.Fields, field) {
			t.Errorf("error of %.100s = %v, want one about %s", raw, err, field)
		}
	}
}

// adjustment returns a StockAdjusted event with these lines, in JSON.
func adjustment(reason string, lines ...string) string {
	return fmt.Sprintf(`{"type":"StockAdjusted","eventId":"e","reason":%q,"lines":[%s]}`, reason, strings.Join(lines, ","))
}

func named(fields []order.FieldError, name string) bool {
	for _, f := range fields {
		if f.Field == name {
			return true
		}
	}
	return false
}

func TestFingerprintCoversTheContentOnly(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	e := StockAdjusted{
		Type: TypeStockAdjusted, EventID: "e", Reason: Delivery, OccurredAt: at,
		Lines: []StockLine{{SKU: "A", Quantity: 1}, {SKU: "B", Quantity: 2}},
	}
	same := e
	same.SpecVersion, same.OccurredAt = 1, at.In(time.FixedZone("", 3600))
	same.Lines = []StockLine{{SKU: "B", Quantity: 2}, {SKU: "A", Quantity: 1}}
	if e.Fingerprint() != same.Fingerprint() || same.Lines[0].SKU != "B" {
		t.Errorf("fingerprints of the same event = %s and %s, first line %+v, want equal ones and the event unchanged",
			e.Fingerprint(), same.Fingerprint(), same.Lines[0])
	}
	e.Lines[0].Quantity = 2
	if e.Fingerprint() == same.Fingerprint() {
		t.Errorf("fingerprint of another quantity = %s, want another one", e.Fingerprint())
	}
}
