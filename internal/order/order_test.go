package order

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func valid() Order {
	return Order{
		SpecVersion: 1, OrderID: "o-1", CustomerID: "c-1", Currency: "EUR",
		Lines:    []Line{{SKU: "SKU-1", Quantity: 2, UnitPrice: 1999}},
		Payment:  Payment{Token: "tok_ok"},
		ShipTo:   &Address{Name: "Ada", Line1: "1 Lane", City: "Berlin", PostalCode: "10115", Country: "DE"},
		PlacedAt: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC),
	}
}

func lines(n int) []Line {
	out := make([]Line, n)
	for i := range out {
		out[i] = Line{SKU: fmt.Sprintf("SKU-%d", i), Quantity: 1, UnitPrice: 1}
	}
	return out
}

func TestValidate(t *testing.T) {
	long, tooLong := strings.Repeat("a", 64), strings.Repeat("a", 65)
	for _, c := range []struct {
		field  string // "" is valid
		change func(*Order)
	}{
		{"", func(*Order) {}},
		{"", func(o *Order) { o.SpecVersion = 0 }},
		{"specVersion", func(o *Order) { o.SpecVersion = 2 }},
		{"specVersion", func(o *Order) { o.SpecVersion = -1 }},
		{"", func(o *Order) { o.OrderID = long }},
		{"", func(o *Order) { o.OrderID = "A.z_0-9" }},
		{"orderId", func(o *Order) { o.OrderID = "" }},
		{"orderId", func(o *Order) { o.OrderID = tooLong }},
		{"orderId", func(o *Order) { o.OrderID = "a/b" }},
		{"orderId", func(o *Order) { o.OrderID = "ä" }},
		{"orderId", func(o *Order) { o.OrderID = ".." }},
		{"customerId", func(o *Order) { o.CustomerID = "a b" }},
		{"currency", func(o *Order) { o.Currency = "" }},
		{"currency", func(o *Order) { o.Currency = "eur" }},
		{"currency", func(o *Order) { o.Currency = "XXX" }},
		{"lines", func(o *Order) { o.Lines = nil }},
		{"", func(o *Order) { o.Lines = lines(50) }},
		{"lines", func(o *Order) { o.Lines = lines(51) }},
		{"lines[0].sku", func(o *Order) { o.Lines[0].SKU = "" }},
		{"", func(o *Order) { o.Lines[0].Quantity = 10_000 }},
		{"lines[0].quantity", func(o *Order) { o.Lines[0].Quantity = 10_001 }},
		{"lines[0].quantity", func(o *Order) { o.Lines[0].Quantity = 0 }},
		{"lines[1].quantity", func(o *Order) { o.Lines = append(o.Lines, Line{SKU: "x", Quantity: -1}) }},
		{"", func(o *Order) { o.Lines[0].UnitPrice = 0 }},
		{"lines[0].unitPrice", func(o *Order) { o.Lines[0].UnitPrice = -1 }},
		{"lines[0].unitPrice", func(o *Order) { o.Lines[0].UnitPrice = MaxUnitPrice + 1 }},
		{"payment.token", func(o *Order) { o.Payment.Token = "" }},
		{"", func(o *Order) { o.ShipTo = nil }},
		{"", func(o *Order) { *o.ShipTo = Address{} }},
		{"shipTo.name", func(o *Order) { o.ShipTo.Name = "a\x00b" }},
		{"shipTo.line1", func(o *Order) { o.ShipTo.Line1 = strings.Repeat("ä", 201) }},
		{"", func(o *Order) { o.ShipTo.Line1 = strings.Repeat("ä", 200) }},
		{"shipTo.city", func(o *Order) { o.ShipTo.City = "\xff" }},
		{"shipTo.postalCode", func(o *Order) { o.ShipTo.PostalCode = "\n" }},
		{"shipTo.country", func(o *Order) { o.ShipTo.Country = "de" }},
		{"", func(o *Order) { o.PlacedAt = time.Time{} }},
		{"placedAt", func(o *Order) { o.PlacedAt = time.Date(1999, 12, 31, 23, 0, 0, 0, time.UTC) }},
	} {
		o := valid()
		c.change(&o)
		err := o.Validate()
		if c.field == "" {
			if err != nil {
				t.Errorf("%+v: %v", o, err)
			}
			continue
		}
		invalid, ok := errors.AsType[*InvalidError](err)
		if !ok || len(invalid.Fields) != 1 || invalid.Fields[0].Field != c.field || invalid.Fields[0].Message == "" {
			t.Errorf("want one fault in %s, got %v", c.field, err)
		}
	}
}

func TestValidateNamesEveryFault(t *testing.T) {
	o := valid()
	o.OrderID, o.Currency, o.Lines[0].Quantity = "", "", 0
	invalid, ok := errors.AsType[*InvalidError](o.Validate())
	if !ok || len(invalid.Fields) != 3 {
		t.Fatalf("want three faults, got %v", invalid)
	}
	for _, say := range []string{"orderId: ", "currency: ", "lines[0].quantity: is 0"} {
		if !strings.Contains(invalid.Error(), say) {
			t.Errorf("%q does not say %q", invalid, say)
		}
	}
}

func TestParse(t *testing.T) {
	good := `{"orderId":"o-1","customerId":"c-1","currency":"EUR","lines":[{"sku":"A","quantity":1,"unitPrice":1}],"payment":{"token":"t"}`
	for _, c := range []struct{ body, field, say string }{
		{good + `}`, "", ""},
		{good + `,"coupon":"a later producer's field"}`, "", ""},
		{good + `,"shipTo":null,"placedAt":null}`, "", ""},
		{"  " + good + "}\n", "", ""},
		{``, "body", "EOF"},
		{`null`, "orderId", IDRule},
		{`[]`, "body", "array"},
		{`"x"`, "body", "string"},
		{good, "body", "unexpected EOF"},
		{good + `} {}`, "body", "after the JSON value"},
		{good + `}x`, "body", "after the JSON value"},
		{strings.Replace(good, `"quantity":1`, `"quantity":"1"`, 1) + `}`, "lines.quantity", "string"},
		{strings.Replace(good, `"quantity":1`, `"quantity":1.5`, 1) + `}`, "lines.quantity", "number"},
		{strings.Replace(good, `"quantity":1`, `"quantity":1e40`, 1) + `}`, "lines.quantity", "number"},
		{strings.Replace(good, `"o-1"`, `7`, 1) + `}`, "orderId", "number"},
		{good + `,"placedAt":"yesterday"}`, "body", "yesterday"},
		{good + `,"specVersion":7}`, "specVersion", "only 1"},
		{good + strings.Repeat(" ", MaxEventBytes) + `}`, "body", "at most"},
	} {
		o, err := Parse([]byte(c.body))
		if c.field == "" {
			if err != nil || o.OrderID != "o-1" {
				t.Errorf("%.200s: %v", c.body, err)
			}
			continue
		}
		invalid, ok := errors.AsType[*InvalidError](err)
		if !ok || invalid.Fields[0].Field != c.field || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%.200s: want %s: …%s…, got %v", c.body, c.field, c.say, err)
		}
		if !reflect.DeepEqual(o, Order{}) {
			t.Errorf("%.200s: an order comes with the error", c.body)
		}
	}
}

func TestTotalAndDemand(t *testing.T) {
	o := valid()
	o.Lines = []Line{{"B", 2, 10}, {"A", 1, 5}, {"B", 3, 100}}
	if got := o.Total(); got != 325 {
		t.Errorf("total is %d", got)
	}
	if got, want := o.Demand(), []Demand{{"A", 1}, {"B", 5}}; !reflect.DeepEqual(got, want) {
		t.Errorf("demand is %v, want %v", got, want)
	}
	for i := range o.Lines {
		o.Lines[i] = Line{"A", MaxQuantity, MaxUnitPrice}
	}
	o.Lines = append(o.Lines, make([]Line, MaxLines-len(o.Lines))...)
	for i := range o.Lines {
		o.Lines[i] = Line{"A", MaxQuantity, MaxUnitPrice}
	}
	if got := o.Total(); got != MaxLines*MaxQuantity*MaxUnitPrice || got < 0 {
		t.Errorf("the largest order's total is %d", got)
	}
}

func TestFingerprint(t *testing.T) {
	want := valid().Fingerprint()
	same := map[string]func(*Order){
		"specVersion absent": func(o *Order) { o.SpecVersion = 0 },
		"other time zone":    func(o *Order) { o.PlacedAt = o.PlacedAt.In(time.FixedZone("", 3600)) },
	}
	other := map[string]func(*Order){
		"order id": func(o *Order) { o.OrderID = "o-2" }, "customer": func(o *Order) { o.CustomerID = "c-2" },
		"currency": func(o *Order) { o.Currency = "USD" }, "quantity": func(o *Order) { o.Lines[0].Quantity++ },
		"price": func(o *Order) { o.Lines[0].UnitPrice++ }, "token": func(o *Order) { o.Payment.Token = "t" },
		"city": func(o *Order) { o.ShipTo.City = "Bonn" }, "no address": func(o *Order) { o.ShipTo = nil },
		"instant": func(o *Order) { o.PlacedAt = o.PlacedAt.Add(1) }, "line": func(o *Order) { o.Lines = append(o.Lines, Line{"X", 1, 0}) },
	}
	for name, change := range same {
		o := valid()
		if change(&o); o.Fingerprint() != want {
			t.Errorf("%s changes the fingerprint", name)
		}
	}
	for name, change := range other {
		o := valid()
		if change(&o); o.Fingerprint() == want {
			t.Errorf("%s does not change the fingerprint", name)
		}
	}
}

func TestWithoutToken(t *testing.T) {
	o := valid()
	b, err := json.Marshal(o.WithoutToken())
	if err != nil || strings.Contains(string(b), "tok_ok") || o.Payment.Token != "tok_ok" {
		t.Errorf("%s %v; the original has token %q", b, err, o.Payment.Token)
	}
}

func TestStatuses(t *testing.T) {
	if n := len(Statuses()); n != 10 {
		t.Errorf("%d statuses", n)
	}
	terminal := 0
	for _, s := range Statuses() {
		if !s.Valid() {
			t.Errorf("%s is not valid", s)
		}
		if s.Terminal() {
			terminal++
		}
	}
	if terminal != 5 || Status("DONE").Valid() || Status("").Valid() {
		t.Errorf("%d terminal statuses", terminal)
	}
}

// FuzzParse: no panic; every refusal names a field; what is accepted survives
// a round trip as the same order.
func FuzzParse(f *testing.F) {
	b, err := json.Marshal(valid())
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(b), "", "null", "{", `{"lines":[{}]}`, `{"orderId":"o","placedAt":"9999-12-31T23:59:59-23:59"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		o, err := Parse(raw)
		if err != nil {
			invalid, ok := errors.AsType[*InvalidError](err)
			if !ok || len(invalid.Fields) == 0 {
				t.Fatalf("%T %v", err, err)
			}
			for _, f := range invalid.Fields {
				if f.Field == "" || f.Message == "" {
					t.Fatalf("a fault without field or message: %+v", invalid.Fields)
				}
			}
			return
		}
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(b)
		if err != nil || again.Fingerprint() != o.Fingerprint() || again.Total() != o.Total() {
			t.Fatalf("%s becomes %+v, %v", b, again, err)
		}
	})
}
