package order

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func valid() Order {
	return Order{
		SpecVersion: 1, OrderID: "o-1", CustomerID: "c-1", Currency: "EUR",
		Lines:    []Line{{SKU: "SKU-1", Quantity: 2, UnitPrice: 1999}},
		Payment:  Payment{Token: "tok_ok"},
		Shipping: 490, Tax: 310, Discount: 100, Agreed: new(int64(4698)),
		ShipTo: &Address{
			Name: "Ada", Line1: "1 Lane", Line2: "Flat 2", City: "Berlin", Region: "Berlin", PostalCode: "10115", Country: "DE",
			Phone: "+49 30 000000",
		},
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

func TestValidateNamesTheInvalidField(t *testing.T) {
	t.Parallel()
	long, tooLong := strings.Repeat("a", 64), strings.Repeat("a", 65)
	wide, tooWide := strings.Repeat("ä", 200), strings.Repeat("ä", 201)
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
		{"", func(o *Order) { o.OrderID = "..." }},
		{"orderId", func(o *Order) { o.OrderID = "" }},
		{"orderId", func(o *Order) { o.OrderID = tooLong }},
		{"orderId", func(o *Order) { o.OrderID = "a/b" }},
		{"orderId", func(o *Order) { o.OrderID = "ä" }},
		{"orderId", func(o *Order) { o.OrderID = "." }},
		{"orderId", func(o *Order) { o.OrderID = ".." }},
		{"", func(o *Order) { o.CustomerID = long }},
		{"customerId", func(o *Order) { o.CustomerID = tooLong }},
		{"customerId", func(o *Order) { o.CustomerID = "" }},
		{"customerId", func(o *Order) { o.CustomerID = "a b" }},
		{"", func(o *Order) { o.Currency = "JPY" }},
		{"currency", func(o *Order) { o.Currency = "" }},
		{"currency", func(o *Order) { o.Currency = "eur" }},
		{"currency", func(o *Order) { o.Currency = "XXX" }},
		{"currency", func(o *Order) { o.Currency = "EURO" }},
		{"lines", func(o *Order) { o.Lines = nil }},
		{"lines", func(o *Order) { o.Lines = []Line{} }},
		{"", func(o *Order) { o.Lines = lines(1) }},
		{"", func(o *Order) { o.Lines = lines(50) }},
		{"lines", func(o *Order) { o.Lines = lines(51) }},
		{"", func(o *Order) { o.Lines = append(o.Lines, o.Lines[0]) }},
		{"", func(o *Order) { o.Lines[0].SKU = long }},
		{"lines[0].sku", func(o *Order) { o.Lines[0].SKU = tooLong }},
		{"lines[0].sku", func(o *Order) { o.Lines[0].SKU = "" }},
		{"lines[49].sku", func(o *Order) { o.Lines = lines(50); o.Lines[49].SKU = "a#b" }},
		{"", func(o *Order) { o.Lines[0].Quantity = 1 }},
		{"", func(o *Order) { o.Lines[0].Quantity = 10_000 }},
		{"lines[0].quantity", func(o *Order) { o.Lines[0].Quantity = 10_001 }},
		{"lines[0].quantity", func(o *Order) { o.Lines[0].Quantity = 0 }},
		{"lines[0].quantity", func(o *Order) { o.Lines[0].Quantity = math.MaxInt64 }},
		{"lines[1].quantity", func(o *Order) { o.Lines = append(o.Lines, Line{SKU: "x", Quantity: -1}) }},
		{"", func(o *Order) { o.Lines[0].UnitPrice = 0 }},
		{"", func(o *Order) { o.Lines[0].UnitPrice = MaxUnitPrice }},
		{"lines[0].unitPrice", func(o *Order) { o.Lines[0].UnitPrice = -1 }},
		{"lines[0].unitPrice", func(o *Order) { o.Lines[0].UnitPrice = MaxUnitPrice + 1 }},
		{"lines[0].unitPrice", func(o *Order) { o.Lines[0].UnitPrice = math.MaxInt64 }},
		{"", func(o *Order) { o.Payment.Token = long }},
		{"payment.token", func(o *Order) { o.Payment.Token = tooLong }},
		{"payment.token", func(o *Order) { o.Payment.Token = "" }},
		{"payment.token", func(o *Order) { o.Payment.Token = "4111 1111" }},
		{"", func(o *Order) { o.ShipTo = nil }},
		{"", func(o *Order) { *o.ShipTo = Address{} }},
		{"shipTo.name", func(o *Order) { o.ShipTo.Name = "a\x00b" }},
		{"shipTo.name", func(o *Order) { o.ShipTo.Name = tooWide }},
		{"", func(o *Order) { o.ShipTo.Line1 = wide }},
		{"shipTo.line1", func(o *Order) { o.ShipTo.Line1 = tooWide }},
		{"shipTo.city", func(o *Order) { o.ShipTo.City = "\xff" }},
		{"shipTo.city", func(o *Order) { o.ShipTo.City = tooWide }},
		{"shipTo.postalCode", func(o *Order) { o.ShipTo.PostalCode = "\n" }},
		{"shipTo.postalCode", func(o *Order) { o.ShipTo.PostalCode = tooWide }},
		{"shipTo.country", func(o *Order) { o.ShipTo.Country = "de" }},
		{"shipTo.country", func(o *Order) { o.ShipTo.Country = "D" }},
		{"shipTo.country", func(o *Order) { o.ShipTo.Country = "DEU" }},
		{"shipTo.country", func(o *Order) { o.ShipTo.Country = "Ä" }}, // two bytes
		{"", func(o *Order) { o.PlacedAt = time.Time{} }},
		{"", func(o *Order) { o.PlacedAt = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }},
		{"placedAt", func(o *Order) { o.PlacedAt = time.Date(1999, 12, 31, 23, 59, 59, 0, time.UTC) }},
		{"", func(o *Order) { o.PlacedAt = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) }},
		{"placedAt", func(o *Order) { o.PlacedAt = time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -3600)) }},
		{"placedAt", func(o *Order) {
			o.PlacedAt = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).In(time.FixedZone("", 3600))
		}},
	} {
		o := valid()
		o.Agreed = nil // TestParseRejectsUnknownAndInvalidFields is about it
		c.change(&o)
		err := o.Validate()
		if c.field == "" {
			if err != nil {
				t.Errorf("Validate of %+v = %v, want nil", o, err)
			}
			continue
		}
		invalid, ok := errors.AsType[*InvalidError](err)
		if !ok || len(invalid.Fields) != 1 || invalid.Fields[0].Field != c.field || invalid.Fields[0].Message == "" {
			t.Errorf("Validate = %v, want one fault in %s", err, c.field)
		}
	}
}

func TestValidateNamesEveryFault(t *testing.T) {
	t.Parallel()
	o := valid()
	o.OrderID, o.Currency, o.Lines[0].Quantity = "", "", 0
	invalid, ok := errors.AsType[*InvalidError](o.Validate())
	if !ok || len(invalid.Fields) != 3 {
		t.Fatalf("Validate = %v, want three faults", invalid)
	}
	for _, want := range []string{"orderId: ", "currency: ", "lines[0].quantity: must be 1 to 10000, got 0"} {
		if !strings.Contains(invalid.Error(), want) {
			t.Errorf("error = %q, want it to contain %q", invalid, want)
		}
	}
}

func TestParseRejectsUnknownAndInvalidFields(t *testing.T) {
	t.Parallel()
	good := `{"orderId":"o-1","customerId":"c-1","currency":"EUR","lines":[{"sku":"A","quantity":1,"unitPrice":1}],"payment":{"token":"t"}`
	for _, c := range []struct{ body, field, message string }{
		{good + `}`, "", ""},
		{good + `,"coupon":"X"}`, "coupon", "no field of this name"},
		{good + `,"shipTo":{"co":"Bob"}}`, "shipTo.co", "no field of this name"},
		{strings.Replace(good, `"unitPrice":1}`, `"unitPrice":1,"gift":true}`, 1) + `}`, "lines[0].gift", "no field of this name"},
		{strings.Replace(good, `"t"`, `"t","card":"4"`, 1) + `}`, "payment.card", "no field of this name"},
		{good + `,"shipto":{"city":"K"}}`, "shipto", `the field's name is "shipTo"`},
		{good + `,"metadata":{"coupon":"X","orderId":"o-2","a":1,"a":2}}`, "", ""},
		{good + `,"metadata":null}`, "", ""},
		{good + `,"metadata":"X"}`, "metadata", "must be an object"},
		{good + `,"shipping":490,"tax":10,"discount":1,"total":500}`, "", ""},
		{good + `,"total":1}`, "", ""},
		{good + `,"total":0}`, "total", "is 0 (0.00 EUR), and the lines, shipping and tax, less the discount, are 1 (0.01 EUR)"},
		{good + `,"shipping":284,"total":1}`, "total", "is 1 (0.01 EUR), and the lines, shipping and tax, less the discount, are 285 (2.85 EUR)"},
		{good + `,"discount":2}`, "discount", "more than the 1 (0.01 EUR)"},
		{good + `,"tax":-1}`, "tax", "0 to 1000000000000000"},
		{good + `,"shipping":1000000000000001}`, "shipping", "0 to 1000000000000000"},
		{good + `,"total":"1"}`, "total", "string"},
		{good + `,"shipTo":null,"placedAt":null}`, "", ""},
		{good + `,"specVersion":0}`, "", ""},
		{good + `,"specVersion":1}`, "", ""},
		{good + `,"specVersion":2}`, "specVersion", "must be 1, got 2"},
		{good + `,"specVersion":"1"}`, "specVersion", "string"},
		{"  " + good + "}\n", "", ""},
		{good + `,"type":"OrderPlaced"}`, "", ""},
		{good + `,"type":null}`, "", ""},
		{good + `,"type":"OrderCancelled"}`, "type", `is "OrderCancelled", only OrderPlaced`},
		{good + `,"Type":"OrderPlaced"}`, "Type", `the field's name is "type"`},
		{good + `,"type":"orderplaced"}`, "type", "only OrderPlaced"},
		{good + `,"type":""}`, "type", "only OrderPlaced"},
		{good + `,"type":1}`, "type", "must be a string"},
		{good + `,"type":"OrderPlaced","Type":"OrderPlaced"}`, "type", "more than once"},
		{good + `,"orderId":"o-2"}`, "orderId", "appears more than once"},
		{good + `,"orderId":"o-1"}`, "orderId", "appears more than once"}, // the same value: also a broken producer
		{good + `,"ORDERID":"o-2"}`, "orderId", `as "orderId" and as "ORDERID"`},
		{good + `,"ORDER\u0049D":"o-2"}`, "orderId", `as "orderId" and as "ORDERID"`},
		{good + `,"payment":{"token":"u"}}`, "payment", "more than once"},
		{good + `,"lineſ":[]}`, "lines", "more than once"}, // the decoder folds this s too
		{strings.Replace(good, `"t"`, `"t","Token":"u"`, 1) + `}`, "payment.token", "more than once"},
		{strings.Replace(good, `"unitPrice":1}`, `"unitPrice":1},{"sku":"B","sku":"C","quantity":1}`, 1) + `}`, "lines[1].sku", "more than once"},
		{good + `,"shipTo":{"name":"A","city":"K","name":"B"}}`, "shipTo.name", "more than once"},
		{good + strings.Repeat(" ", MaxEventBytes-len(good)-1) + `}`, "", ""},
		{good + strings.Repeat(" ", MaxEventBytes-len(good)) + `}`, "body", "at most"},
		{``, "body", "EOF"},
		{`null`, "orderId", IDRule},
		{`{}`, "orderId", IDRule},
		{`[]`, "body", "array"},
		{`"x"`, "body", "string"},
		{`7`, "body", "number"},
		{`true`, "body", "bool"},
		{"\xef\xbb\xbf" + good + `}`, "body", "JSON"},
		{strings.Repeat("[", 20_000), "body", "JSON"},
		{good, "body", "unexpected EOF"},
		{good + `} {}`, "body", "after the JSON value"},
		{good + `}x`, "body", "after the JSON value"},
		{good + ",\"shipTo\":{\"city\":\"K\xf6ln\"}}", "body", "UTF-8"},
		{"\xff\xfe", "body", "UTF-8"},
		{strings.Replace(good, `"quantity":1`, `"quantity":"1"`, 1) + `}`, "lines[0].quantity", "string"},
		{strings.Replace(good, `"quantity":1`, `"quantity":2.0`, 1) + `}`, "", ""},
		{strings.Replace(good, `"quantity":1`, `"quantity":1e0`, 1) + `,"shipping":4.9e2,"total":491.00}`, "", ""},
		{strings.Replace(good, `"quantity":1`, `"quantity":1.5`, 1) + `}`, "lines[0].quantity", "number"},
		{strings.Replace(good, `"quantity":1`, `"quantity":1e40`, 1) + `}`, "lines[0].quantity", "number"},
		{strings.Replace(good, `"quantity":1`, `"quantity":9223372036854775808`, 1) + `}`, "lines[0].quantity", "number"},
		{strings.Replace(good, `"quantity":1`, `"quantity":null`, 1) + `}`, "lines[0].quantity", "got 0"},
		{strings.Replace(good, `"unitPrice":1}`, `"unitPrice":1},{"sku":true}`, 1) + `}`, "lines[1].sku", "bool"},
		{strings.Replace(good, `"unitPrice":1}`, `"unitPrice":1},7`, 1) + `} trailing`, "lines[1]", "number"},
		{strings.Replace(good, `[{"sku":"A","quantity":1,"unitPrice":1}]`, `{}`, 1) + `}`, "lines", "object"},
		{strings.Replace(good, `[{"sku":"A","quantity":1,"unitPrice":1}]`, `[]`, 1) + `}`, "lines", "0 lines"},
		{strings.Replace(good, `"o-1"`, `7`, 1) + `}`, "orderId", "number"},
		{strings.Replace(good, `"c-1"`, `{}`, 1) + `}`, "customerId", "object"},
		{strings.Replace(good, `"EUR"`, `978`, 1) + `}`, "currency", "number"},
		{strings.Replace(good, `{"token":"t"}`, `"t"`, 1) + `}`, "payment", "string"},
		{strings.Replace(good, `{"token":"t"}`, `{"token":1}`, 1) + `}`, "payment.token", "number"},
		{good + `,"shipTo":{"country":49}}`, "shipTo.country", "number"},
		{good + `,"placedAt":"yesterday"}`, "placedAt", "RFC 3339"},
		{good + `,"placedAt":7}`, "placedAt", "RFC 3339"},
		{good + `,"placedAt":"2026-11-23T10:00:00+24:00"}`, "placedAt", "RFC 3339"},
	} {
		o, err := Parse([]byte(c.body))
		if c.field == "" {
			if err != nil || o.OrderID != "o-1" {
				t.Errorf("Parse(%.200s) = %v, want no error", c.body, err)
			}
			continue
		}
		invalid, ok := errors.AsType[*InvalidError](err)
		if !ok || invalid.Fields[0].Field != c.field || !strings.Contains(err.Error(), c.message) {
			t.Errorf("Parse(%.200s) = %v, want a fault in %s with %q", c.body, err, c.field, c.message)
		}
		if !reflect.DeepEqual(o, Order{}) {
			t.Errorf("Parse(%.200s) returns the order %+v with its error, want none", c.body, o)
		}
	}
}

func TestTotalAndDemand(t *testing.T) {
	t.Parallel()
	o := valid()
	o.Lines = []Line{{SKU: "B", Quantity: 2, UnitPrice: 10}, {SKU: "A", Quantity: 1, UnitPrice: 5}, {SKU: "B", Quantity: 3, UnitPrice: 100}}
	if got := o.Total(); got != 325+490+310-100 {
		t.Errorf("Total() = %d, want %d", got, 325+490+310-100)
	}
	if got, want := o.Demand(), []Demand{{SKU: "A", Quantity: 1}, {SKU: "B", Quantity: 5}}; !reflect.DeepEqual(got, want) {
		t.Errorf("Demand() = %v, want %v", got, want)
	}
	for i := range o.Lines {
		o.Lines[i] = Line{SKU: "A", Quantity: MaxQuantity, UnitPrice: MaxUnitPrice}
	}
	o.Lines = append(o.Lines, make([]Line, MaxLines-len(o.Lines))...)
	for i := range o.Lines {
		o.Lines[i] = Line{SKU: "A", Quantity: MaxQuantity, UnitPrice: MaxUnitPrice}
	}
	o.Shipping, o.Tax, o.Discount = MaxExtra, MaxExtra, 0
	if got := o.Total(); got != MaxLines*MaxQuantity*MaxUnitPrice+2*MaxExtra || got < 0 {
		t.Errorf("Total() of the largest order = %d, want %d", got, int64(MaxLines*MaxQuantity*MaxUnitPrice+2*MaxExtra))
	}
}

// eachLeaf visits the fields of an order that contain no other fields.
func eachLeaf(v reflect.Value, visit func(reflect.Value)) {
	switch v.Kind() {
	case reflect.Pointer:
		eachLeaf(v.Elem(), visit)
	case reflect.Slice:
		eachLeaf(v.Index(0), visit)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return // it has no fields to change
		}
		for _, field := range v.Fields() {
			eachLeaf(field, visit)
		}
	default:
		visit(v)
	}
}

func TestFingerprintCoversEveryField(t *testing.T) {
	t.Parallel()
	want := valid().Fingerprint()
	same := map[string]func(*Order){
		"specVersion absent": func(o *Order) { o.SpecVersion = 0 },
		"other time zone":    func(o *Order) { o.PlacedAt = o.PlacedAt.In(time.FixedZone("", 3600)) },
	}
	other := map[string]func(*Order){
		"no address": func(o *Order) { o.ShipTo = nil }, "no time": func(o *Order) { o.PlacedAt = time.Time{} },
		"instant":    func(o *Order) { o.PlacedAt = o.PlacedAt.Add(1) },
		"more lines": func(o *Order) { o.Lines = append(o.Lines, Line{SKU: "X", Quantity: 1}) },
		"split line": func(o *Order) {
			o.Lines[0].Quantity--
			o.Lines = append(o.Lines, Line{SKU: "SKU-1", Quantity: 1, UnitPrice: 1999})
		},
	}
	// All fields, also those that are added later.
	o := valid()
	n := 0
	eachLeaf(reflect.ValueOf(&o), func(field reflect.Value) {
		n++
		if field.Addr().Interface() == &o.SpecVersion {
			return
		}
		was := reflect.New(field.Type()).Elem()
		was.Set(field)
		switch field.Kind() {
		case reflect.String:
			field.SetString(field.String() + "x")
		case reflect.Int64:
			field.SetInt(field.Int() + 1)
		default:
			t.Fatalf("field %d has kind %s, want string or int64, which this test can change", n, field.Kind())
		}
		if o.Fingerprint() == want {
			t.Errorf("fingerprint with field %d changed to %v = %s as before, want another", n, field, want)
		}
		field.Set(was)
	})
	if n != 20 || o.Fingerprint() != want {
		t.Errorf("visited %d fields, want 20 and the fingerprint unchanged afterwards", n)
	}
	for name, change := range same {
		o := valid()
		change(&o)
		if o.Fingerprint() != want {
			t.Errorf("fingerprint with %s = %s, want %s", name, o.Fingerprint(), want)
		}
	}
	for name, change := range other {
		o := valid()
		change(&o)
		if o.Fingerprint() == want {
			t.Errorf("fingerprint with %s = %s as before, want another", name, want)
		}
	}
}

// TestDifferencesIgnoreDescriptiveFields also checks that all other differences are named.
func TestDifferencesIgnoreDescriptiveFields(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Order){
		"nothing": func(*Order) {}, "placedAt": func(o *Order) { o.PlacedAt = o.PlacedAt.Add(time.Hour) },
		"no placedAt": func(o *Order) { o.PlacedAt = time.Time{} },
		"specVersion": func(o *Order) { o.SpecVersion = 0 }, "total": func(o *Order) { o.Agreed = nil },
	} {
		o := valid()
		change(&o)
		if len(Differences(valid(), o)) > 0 || len(Differences(o, valid())) > 0 {
			t.Errorf("Differences after a change of %s = %q, want none", name, Differences(valid(), o))
		}
	}
	for field, change := range map[string]func(*Order){
		"lines":               func(o *Order) { o.Lines = append(o.Lines, Line{SKU: "X", Quantity: 1}) },
		"lines[0].sku":        func(o *Order) { o.Lines[0].SKU = "X" },
		"lines[0].quantity":   func(o *Order) { o.Lines[0].Quantity++ },
		"lines[0].unitPrice":  func(o *Order) { o.Lines[0].UnitPrice++ },
		"shipTo.name":         func(o *Order) { o.ShipTo.Name += "x" },
		"shipTo.line2":        func(o *Order) { o.ShipTo.Line2 = "" },
		"payment.token":       func(o *Order) { o.Payment.Token = "other" },
		"shipping":            func(o *Order) { o.Shipping++ },
		"tax":                 func(o *Order) { o.Tax++ },
		"discount":            func(o *Order) { o.Discount++ },
		"currency":            func(o *Order) { o.Currency = "USD" },
		"customerId":          func(o *Order) { o.CustomerID = "c-2" },
		"currency customerId": func(o *Order) { o.Currency, o.CustomerID = "USD", "c-2" },
	} {
		o := valid()
		change(&o)
		want := strings.Fields(field)
		if got := Differences(valid(), o); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
			t.Errorf("Differences = %q, want %q", got, want)
		}
		if got := Differences(o, valid()); len(got) != len(want) {
			t.Errorf("Differences with swapped arguments = %q, want %q", got, want)
		}
	}
	o, empty := valid(), valid()
	o.ShipTo, empty.ShipTo = nil, new(Address)
	if got := Differences(valid(), o); len(got) != 8 {
		t.Errorf("Differences to an order without an address = %q, want 8", got)
	}
	if got := Differences(o, empty); len(got) > 0 {
		t.Errorf("Differences between no address and an empty one = %q, want none", got)
	}
}

func TestWithoutTokenKeepsTheOriginal(t *testing.T) {
	t.Parallel()
	o := valid()
	b, err := json.Marshal(o.WithoutToken())
	if err != nil || strings.Contains(string(b), "tok_ok") || o.Payment.Token != "tok_ok" {
		t.Errorf("WithoutToken = %s, %v, want no token there and the original's unchanged: %q", b, err, o.Payment.Token)
	}
}

// TestIDPatternMatchesValidID: the pattern in schemas matches what ValidID accepts.
func TestIDPatternMatchesValidID(t *testing.T) {
	t.Parallel()
	re := regexp.MustCompile(IDPattern)
	for _, s := range []string{"", ".", "..", "...", "....", ".a", "..a", "a", "a.", "a..", "-", "_", "A/b", "a b", "ä", "a\n", "%2e"} {
		if re.MatchString(s) != ValidID(s) {
			t.Errorf("%q matches the pattern: %v, ValidID = %v, want the same", s, re.MatchString(s), ValidID(s))
		}
	}
}

func TestStatusesAreValidAndFiveAreTerminal(t *testing.T) {
	t.Parallel()
	if n := len(Statuses()); n != 10 {
		t.Errorf("there are %d statuses, want 10", n)
	}
	var terminal []Status
	for _, s := range Statuses() {
		if !s.Valid() {
			t.Errorf("%s.Valid() = false, want true", s)
		}
		if s.Terminal() {
			terminal = append(terminal, s)
		}
	}
	if want := []Status{"COMPLETED", "REJECTED", "DECLINED", "CANCELLED", "FAILED"}; !reflect.DeepEqual(terminal, want) {
		t.Errorf("terminal statuses = %v, want %v", terminal, want)
	}
	for _, s := range []Status{"", "DONE", "completed"} {
		if s.Valid() || s.Terminal() {
			t.Errorf("%q: Valid() = %v, Terminal() = %v, want false", s, s.Valid(), s.Terminal())
		}
	}
}

// FuzzParse: Parse does not panic, every error names a field, and an accepted order survives a
// round trip.
func FuzzParse(f *testing.F) {
	b, err := json.Marshal(valid())
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(b), "", "null", "{", `{"lines":[{}]}`, `{"lines":[7]}`, `{"Lines":[{"SKU":"A","sku":"B"}],"type":7}`,
		`{"shipTo":{"name":"\ud800"}}`,
		strings.Replace(string(b), "00Z", "00+24:00", 1), strings.Replace(string(b), "2026-11-23T10:00:00Z", "9999-12-31T23:59:59-23:59", 1),
	} {
		f.Add([]byte(seed))
	}
	path := regexp.MustCompile(`^(body|type|metadata|specVersion|orderId|customerId|currency|placedAt|shipping|tax|discount|total|` +
		`payment(\.token)?|shipTo(\.(name|line1|line2|city|region|postalCode|country|phone))?|` +
		`lines(\[\d+\](\.(sku|quantity|unitPrice))?)?)$`)
	f.Fuzz(func(t *testing.T, raw []byte) {
		o, err := Parse(raw)
		if err != nil {
			invalid, ok := errors.AsType[*InvalidError](err)
			if !ok || len(invalid.Fields) == 0 {
				t.Fatalf("error is a %T: %v, want an InvalidError with fields", err, err)
			}
			for _, f := range invalid.Fields {
				unknown := strings.Contains(f.Message, "the field's name is") || strings.Contains(f.Message, "no field of this name")
				if !path.MatchString(f.Field) && !unknown || f.Message == "" {
					t.Fatalf("faults = %+v, want each with a field of an order and a message", invalid.Fields)
				}
			}
			return
		}
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(b)
		if err != nil || again.Fingerprint() != o.Fingerprint() || !again.PlacedAt.Equal(o.PlacedAt) {
			t.Fatalf("Parse(%s) = %+v, %v, want the same order", b, again, err)
		}
		again.PlacedAt = o.PlacedAt
		if !reflect.DeepEqual(again, o) {
			t.Fatalf("round trip of %+v = %+v, want no difference", o, again)
		}
	})
}
