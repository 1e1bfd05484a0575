package deadletter_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/deadletter"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// secrets are texts that a viewer must not see in a body or a reason.
var secrets = []string{"tok_s3cret", "Erika", "Müller", "Heidestr", "Köln", "51147", "c-4711", "+49", "17b"}

const placed = `{"specVersion":1,"orderId":"o-1","customerId":"c-4711","currency":"EUR","lines":[{"sku":"A","quantity":2,` +
	`"unitPrice":100,"Erika":1}],` +
	`"payment":{"token":"tok_s3cret","more":{"tok_s3cret":true}},"shipTo":{"name":"Erika Müller","line1":"Heidestr 17b","city":"Köln",` +
	`"postalCode":"51147","phone":"+49221"},` +
	`"note":"for Erika","placedAt":"2026-11-29T10:00:00Z"}`

func wrapped(t *testing.T, format map[string]any) string {
	t.Helper()
	b, err := json.Marshal(format)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// encoded returns a text as a JSON string.
func encoded(t *testing.T, text string) string {
	t.Helper()
	b, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestMaskedHidesPersonalData(t *testing.T) {
	t.Parallel()
	sns := wrapped(
		t,
		map[string]any{
			"Type":     "Notification",
			"TopicArn": "arn:aws:sns:eu-central-1:123456789012:OrderEvents",
			"Message":  placed,
			"Subject":  "Erika",
		},
	)
	for name, c := range map[string]struct {
		body  string
		shows []string
	}{
		"order": {placed, []string{
			`"orderId":"o-1"`, `"quantity":2`, `"token":"•••"`, `"line1":"•••"`,
			`"placedAt":"2026-11-29T10:00:00Z"`, `"other fields":"1 •••"`,
		}},
		"SNS": {sns, []string{`"orderId":"o-1"`, "arn:aws:sns:eu-central-1:123456789012:OrderEvents"}},
		"CloudEvent": {wrapped(t,
			map[string]any{
				"specversion": "1.0", "id": "e-1", "source": "/Erika", "type": "OrderPlaced",
				"data": json.RawMessage(placed),
			}), []string{`"orderId":"o-1"`, "OrderPlaced"}},
		"CloudEvent, text": {wrapped(t, map[string]any{"data": placed}), []string{`"orderId":"o-1"`}},
		"CloudEvent, base64": {
			wrapped(t, map[string]any{"data_base64": base64.StdEncoding.EncodeToString([]byte(placed))}),
			[]string{`"orderId":"o-1"`},
		},
		"base64 of no JSON": {wrapped(t, map[string]any{"data_base64": base64.StdEncoding.EncodeToString([]byte("Erika tok_s3cret"))}), nil},
		"EventBridge": {
			wrapped(t, map[string]any{"detail-type": "OrderPlaced", "account": "123", "detail": json.RawMessage(placed)}),
			[]string{`"orderId":"o-1"`, `"detail-type":"OrderPlaced"`},
		},
		"SNS in a CloudEvent":              {wrapped(t, map[string]any{"data": sns}), []string{`"orderId":"o-1"`}},
		"encoded twice":                    {encoded(t, placed), []string{`"orderId":"o-1"`, `"line1":"•••"`}},
		"encoded three times, with spaces": {encoded(t, " "+encoded(t, placed)), []string{`"orderId":"o-1"`}},
		"encoded three times in data":      {wrapped(t, map[string]any{"data": encoded(t, placed)}), []string{`"orderId":"o-1"`}},
		"list in data":                     {wrapped(t, map[string]any{"data": "[" + placed + `,"Erika"]`}), []string{`"orderId":"o-1"`}},
		"text in data": {
			wrapped(t, map[string]any{"data": wrapped(t, map[string]any{"lines": placed, "order": placed})}),
			[]string{`"orderId":"o-1"`},
		},
		"orders in other fields": {
			wrapped(t, map[string]any{"event": placed, "orderId": placed, "sku": `["Erika Müller"]`}),
			[]string{`"other fields":"1 •••"`},
		},
		"text of a list":     {encoded(t, "["+encoded(t, placed)+"]"), []string{"bytes that are not a JSON object"}},
		"text, not JSON":     {encoded(t, "Erika Müller"), []string{"bytes that are not a JSON object"}},
		"text, broken":       {encoded(t, placed[:len(placed)-1]), []string{"bytes that are not a JSON object"}},
		"wrong fields":       {`{"orderId":"Erika Müller","type":"Heidestr 17b","currency":["tok_s3cret !"],"sku":{"Köln":"51147"}}`, nil},
		"a field twice":      {`{"orderId":"Erika Müller","orderId":"o-1"}`, []string{`"orderId":"o-1"`}},
		"other spelling":     {`{"ShipTo":{"Name":"Erika Müller"},"PAYMENT":{"TOKEN":"tok_s3cret"},"customerid":"c-4711"}`, nil},
		"address in a list":  {`{"shipTo":["Erika","Köln"],"lines":["Erika Müller"]}`, nil},
		"person in a number": {`{"customerId":4711,"phone":51147}`, nil},
		"escaped":            {`{"shipTo":{"city":"K\u00f6ln","name":"Erika"},"payment":{"token":"\u0074ok_s3cret"}}`, nil},
		"carrier's answer": {
			`{"type":"ShipmentRefused","orderId":"o-1","reason":"Erika Müller is not at Heidestr 17b"}`,
			[]string{"ShipmentRefused", `"reason":"•••"`},
		},
		"values that look like ids": {
			`{"placedAt":"tok_s3cret","total":"Erika","lines":["tok_s3cret",51147],"time":"c-4711","quantity":"2"}`,
			[]string{`"quantity":"2"`},
		},
		"a text in SNS": {`{"Type":"Notification","Message":"Erika"}`, []string{"Notification"}},
		"broken, in base64": {
			`{"type":"OrderPlaced","data_base64":"eyJuYW1lIjoiRXJpa2Ei"}`,
			[]string{`"data_base64":"•••"`},
		}, // {"name":"Erika"
		"no JSON":        {"Erika Müller, Heidestr 17b, tok_s3cret", []string{"bytes that are not a JSON object"}},
		"broken JSON":    {placed[:len(placed)-1], []string{"bytes that are not a JSON object"}},
		"two values":     {placed + placed, []string{"bytes that are not a JSON object"}},
		"a text":         {wrapped(t, map[string]any{"x": placed})[5:], []string{"bytes that are not a JSON object"}},
		"body in base64": {base64.StdEncoding.EncodeToString([]byte(placed)), []string{"bytes that are not a JSON object"}},
	} {
		l := deadletter.Message{
			ID:     "1",
			Body:   c.body,
			Reason: `shipTo.name: "Erika Müller" of Heidestr 17b, Köln. 51147 for c-4711: tok_s3cret`,
		}.Masked()
		for _, s := range secrets {
			if strings.Contains(l.Body, s) {
				t.Errorf("%s: masked body = %s, want it without %s", name, l.Body, s)
			}
			if strings.Contains(c.body, s) && strings.Contains(l.Reason, s) {
				t.Errorf("%s: masked reason = %s, want it without %s", name, l.Reason, s)
			}
		}
		for _, s := range c.shows {
			if !strings.Contains(l.Body, s) {
				t.Errorf("%s: masked body = %s, want it with %s", name, l.Body, s)
			}
		}
		if !l.Masking || !strings.HasPrefix(l.Reason, "shipTo.name: ") {
			t.Errorf("%s: masked = %+v, want another one", name, l)
		}
	}
	// Escaped in the text, and not in the reason.
	for _, body := range []string{`"{\"shipTo\":{\"city\":\"K\\u00f6ln\"}}"`, `{"event":"[\"K\\u00f6ln\"]"}`, `["\"K\\u00f6ln\""]`} {
		if l := (deadletter.Message{Body: body, Reason: "the city is Köln"}).Masked(); l.Reason != "the city is •••" {
			t.Errorf("masked reason with body %s = %s, want another one", body, l.Reason)
		}
	}
	cut := deadletter.Message{Body: placed, Reason: "orderId o-1: it is for Eri…"}.Masked()
	if cut.Reason != "orderId o-1: it is •••…" && cut.Reason != "orderId o-1: it is ••• •••…" {
		t.Errorf("masked reason of a cut text = %q, want it without the last word", cut.Reason)
	}
	for _, reason := range []string{
		`shipTo to Erika Mü…: is unexpected`, `the body's is "to Erika Mü", only OrderPlaced`,
		`tok_s3…: is unexpected`, `is "tok_s3", only`,
	} {
		if l := (deadletter.Message{Body: placed, Reason: reason}).Masked(); strings.Contains(l.Reason, "Mü") ||
			strings.Contains(l.Reason, "tok") ||
			!strings.Contains(l.Reason, "is ") {
			t.Errorf("masked reason of %q = %q, want another one", reason, l.Reason)
		}
	}
}

func TestConcernsFindsMessagesOfACustomer(t *testing.T) {
	t.Parallel()
	ended, open := map[string]bool{"o-1": true}, map[string]bool{"o-2": true}
	for body, want := range map[string]bool{
		placed: true, `{"orderId":"o-1","type":"ShipmentRefused"}`: true, `{"orderId":"o-9","customerId":"c-4711"}`: true,
		`{"customerId":"c-47110"}`: false, `{"customerId":"c-1","sku":"c-4711"}`: false,
		`{"orderId":"o-2","type":"ShipmentRefused"}`: false, `{"orderId":"o-2","customerId":"c-4711"}`: false, // it is open, and may need this
		`{"Message":"{\"CustomerID\":\"c-4711\"}"}`: true, `{"data_base64":"` + base64.StdEncoding.EncodeToString([]byte(placed)) + `"}`: true,
		`{"customer":{"id":"c-4711"}}`: true, `{"customer_id":"c-4711"}`: true, `{"order":{"id":"o-1"}}`: true, `{"id":"c-4711"}`: false,
		`{"Message":"c-4711, but cut"}`: true, `{"data_base64":"` + base64.StdEncoding.EncodeToString([]byte(placed[:99])) + `"}`: true,
		`{"customerId":"c-4711","orderId":"o-2"`: false, // it is open too
		encoded(t, placed):                       true, encoded(t, encoded(t, placed)): true, wrapped(t, map[string]any{"event": placed}): true,
		wrapped(t, map[string]any{"payload": placed}):                                                                           true,
		"[" + encoded(t, placed) + "]":                                                                                          true,
		wrapped(t, map[string]any{"specversion": "1.0", "data": map[string]any{"order": placed}}):                               true,
		wrapped(t, map[string]any{"Records": []any{map[string]any{"body": placed}}}):                                            true,
		wrapped(t, map[string]any{"Records": []any{map[string]any{"data": base64.StdEncoding.EncodeToString([]byte(placed))}}}): true,

		// In base64, compressed or damaged.
		base64.StdEncoding.EncodeToString([]byte(placed)): true,
		`{"customer":"c-4711","shipTo":{}}`:               true,
		`{"customerId":" c-4711"}`:                        true,
		`{"customerId":"\"c-4711\""}`:                     true,
		`{"orderId":"o-1\n"}`:                             true, `{"Customer":{"ID":"c-4711"}}`: true,
		encoded(t, "c-4711 wants a refund"): true, encoded(t, placed[:99]): true, wrapped(t, map[string]any{"event": placed[:99]}): true,
		`["c-4711","Erika"]`:                   true,
		nested(t, 12):                          true, // nested too deeply: words are compared
		encoded(t, `{"customerId":"c-47110"}`): false, wrapped(t, map[string]any{"event": `{"customerId":"c-47110"}`}): false,
		`{"customer":"c-47110"}`: false,
		encoded(t, `{"customerId":"c-1","sku":"c-4711","metadata":{"note":"c-4711"},"orderId":"c-4711"}`): false,
		`{"customer":{"name":"c-4711"},"event":"c-4711"}`:                                                 false,
		encoded(t, `{"orderId":"o-2","customerId":"c-4711"}`):                                             false, `{"note":"[c-4711]"}`: false,
		`{"note":"\"Erika\" c-4711"}`: false,
		`{"note":"[{c-4711"}`:         true, `{"note":"for c-4711"}`: false,
		`{"customerId":"c-4711"`: true, "c-4711 wants a refund": true, `{"customerId":"c-47112"`: false, "": false,
	} {
		if got := (deadletter.Message{Body: body}).Concerns("c-4711", ended, open); got != want {
			t.Errorf("Concerns of %s = %v, want the opposite", body, got)
		}
	}
}

// nested returns an order that is encoded as a JSON string n times.
func nested(t *testing.T, n int) string {
	t.Helper()
	body := `{"customerId":"c-4711"}`
	for range n {
		body = encoded(t, body)
	}
	return body
}

// TestMaskedHidesPhoneNumbersInAnySpelling: a reason may spell a phone number differently from
// the body.
func TestMaskedHidesPhoneNumbersInAnySpelling(t *testing.T) {
	t.Parallel()
	order := `{"orderId":"4934251","shipTo":{"phone":"+49 3425 123123"},"note":"of 4934251","lines":[{"unitPrice":1231231}]}`
	for _, body := range []string{order, encoded(t, order), order[:len(order)-1], `{"phone":493425123123}`} {
		for reason, want := range map[string]string{
			"called +493425123123":      "called •••",
			"called 03425/123 123":      "called •••",
			"it costs 9231231, not 815": "it costs 9231231, not 815",
		} {
			if l := (deadletter.Message{Body: body, Reason: reason}).Masked(); l.Reason != want {
				t.Errorf("masked reason with body %s = %q, want %q", body, l.Reason, want)
			}
		}
	}
	if l := (deadletter.Message{Body: order, Reason: "order 4934251"}).Masked(); l.Reason != "order 4934251" {
		t.Errorf("masked reason = %q, want another one", l.Reason)
	}
}

// TestMaskedIsFastForManyWords: the sender of a message decides how many words it has, and a
// viewer must not wait until each was compared with all others.
func TestMaskedIsFastForManyWords(t *testing.T) {
	t.Parallel()
	require.AtMostLinear(t, 3000, func(words int) {
		var body strings.Builder
		body.WriteString(`{"lines":[`)
		for n := range words {
			fmt.Fprintf(&body, `{"sku":"sku%d","name":"name%d"},`, n, n)
		}
		body.WriteString(`{}]}`)
		l := deadletter.Message{Body: body.String(), Reason: "sku7 is for name7"}.Masked()
		if l.Reason != "sku7 is for •••" {
			t.Errorf("masked reason = %q, want another one", l.Reason)
		}
	})
}
