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

func TestParse(t *testing.T) {
	e, err := ParseStockAdjusted([]byte(event(`,"specVersion":1,"reference":"dn 1","occurredAt":"2026-11-23T10:00:00+01:00","new":{}`)), "")
	if err != nil || e.EventID != "e-1" || e.Lines[0] != (StockLine{"A", 1}) || !e.OccurredAt.Equal(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v %v", e, err)
	}
	line := func(reason string, lines ...string) string {
		return fmt.Sprintf(`{"type":"StockAdjusted","eventId":"e","reason":%q,"lines":[%s]}`, reason, strings.Join(lines, ","))
	}
	if _, err := ParseStockAdjusted([]byte(line("correction", `{"sku":"A","quantity":-3}`, `{"sku":"B","quantity":3}`)), ""); err != nil {
		t.Error(err)
	}
	if e, err := ParseStockAdjusted([]byte(line("correction", `{"sku":"A","quantity":-3.0}`, `{"sku":"B","quantity":3e0}`)), ""); err != nil || e.Lines[0].Quantity != -3 || e.Lines[1].Quantity != 3 {
		t.Errorf("whole numbers: %+v %v", e, err)
	}
	if e, err := ParseStockAdjusted([]byte(`{"eventId":"e","reason":"delivery","lines":[{"sku":"A","quantity":1}]}`), TypeStockAdjusted); err != nil || e.Type != TypeStockAdjusted {
		t.Errorf("its envelope says what it is: %+v %v", e, err)
	}
	for raw, field := range map[string]string{
		"":                                       "body",
		"[]":                                     "body",
		"\xff":                                   "body",
		event("") + "1":                          "body",
		strings.Repeat(" ", MaxStockBytes+1):     "body",
		event(`,"specVersion":2`):                "specVersion",
		event(`,"specVersion":"1"`):              "specVersion",
		event(`,"eventId":"e-1"`):                "eventId",
		event(`,"occurredAt":"today"`):           "occurredAt",
		event(`,"reference":"a\nb"`):             "reference",
		`{"type":"StockChanged"}`:                "type",
		line("gift", `{"sku":"A","quantity":1}`): "reason",
		line("restock"):                          "lines",
		line("restock", `{"sku":"A","quantity":-1}`):                                      "lines[0].quantity",
		line("restock", `{"sku":"A","quantity":0}`):                                       "lines[0].quantity",
		line("correction", `{"sku":"A","quantity":0}`):                                    "lines[0].quantity",
		line("correction", `{"sku":"A","quantity":-1000001}`):                             "lines[0].quantity",
		line("delivery", `{"sku":"A","quantity":1.5}`):                                    "lines[0].quantity",
		line("delivery", `{"sku":"A","quantity":1}`, `{"sku":"A b","quantity":1}`):        "lines[1].sku",
		line("delivery", `{"sku":"A","quantity":1}`, `{"sku":"A","quantity":1}`):          "lines[1].sku",
		line("delivery", strings.Repeat(`{"sku":"A","quantity":1},`, MaxStockLines)+`{}`): "lines",
	} {
		_, err := ParseStockAdjusted([]byte(raw), "")
		invalid, ok := errors.AsType[*InvalidStockError](err)
		if !ok || !named(invalid.Fields, field) {
			t.Errorf("%.100s: %v, want %s", raw, err, field)
		}
	}
}

func named(fields []order.FieldError, name string) bool {
	for _, f := range fields {
		if f.Field == name {
			return true
		}
	}
	return false
}

func TestFingerprint(t *testing.T) {
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	e := StockAdjusted{Type: TypeStockAdjusted, EventID: "e", Reason: Delivery, Lines: []StockLine{{"A", 1}, {"B", 2}}, OccurredAt: at}
	same := e
	same.SpecVersion, same.Lines, same.OccurredAt = 1, []StockLine{{"B", 2}, {"A", 1}}, at.In(time.FixedZone("", 3600))
	if e.Fingerprint() != same.Fingerprint() || same.Lines[0].SKU != "B" {
		t.Error("the same event has two fingerprints, or was changed")
	}
	e.Lines[0].Quantity = 2
	if e.Fingerprint() == same.Fingerprint() {
		t.Error("two events have one fingerprint")
	}
}
