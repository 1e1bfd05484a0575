package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/order"
)

func TestUnwrap(t *testing.T) {
	const event = `{"specVersion":1,"orderId":"o-1"}`
	quoted, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	sns := `{"Type":"Notification","MessageId":"m","TopicArn":"arn:aws:sns:x","Message":` + string(quoted) + `}`
	cloud := `{"specversion":"1.0","type":"OrderPlaced","source":"s","id":"1","data":` + event + `}`
	quotedCloud, err := json.Marshal(cloud)
	if err != nil {
		t.Fatal(err)
	}
	bridge := `{"version":"0","id":"6a7e","detail-type":"OrderPlaced","source":"shop","account":"111122223333","time":"2026-11-23T10:00:00Z","region":"us-east-1","resources":[],"detail":` + event + `}`
	quotedBridge, err := json.Marshal(bridge)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		body string
		kind Envelope
		want string
	}{
		"raw":                   {event, EnvelopeNone, event},
		"no JSON":               {"{", EnvelopeNone, "{"},
		"SNS":                   {sns, EnvelopeSNS, event},
		"CloudEvent":            {cloud, EnvelopeCloudEvent, event},
		"CloudEvent, string":    {`{"specversion":"1.0","type":"OrderPlaced","source":"s","id":"1","data":` + string(quoted) + `}`, EnvelopeCloudEvent, event},
		"CloudEvent, base64":    {`{"specversion":"1.0","type":"OrderPlaced","source":"s","id":"1","data_base64":"e30="}`, EnvelopeCloudEvent, "{}"},
		"CloudEvent in SNS":     {`{"Type":"Notification","TopicArn":"a","Message":` + string(quotedCloud) + `}`, EnvelopeSNS, event},
		"Dapr's CloudEvent":     {strings.Replace(cloud, "OrderPlaced", "com.dapr.event.sent", 1), EnvelopeCloudEvent, event},
		"CloudEvent in Dapr's":  {strings.Replace(strings.Replace(cloud, "OrderPlaced", "com.dapr.event.sent", 1), event, cloud, 1), EnvelopeCloudEvent, event},
		"an order with a type":  {`{"type":"OrderPlaced","orderId":"x"}`, EnvelopeNone, `{"type":"OrderPlaced","orderId":"x"}`},
		"with a type of null":   {`{"type":null,"orderId":"x"}`, EnvelopeNone, `{"type":null,"orderId":"x"}`},
		"EventBridge":           {bridge, EnvelopeEventBridge, event},
		"EventBridge in SNS":    {`{"Type":"Notification","TopicArn":"a","Message":` + string(quotedBridge) + `}`, EnvelopeSNS, event},
		"EventBridge of Dapr's": {strings.Replace(bridge, event, strings.Replace(cloud, "OrderPlaced", "com.dapr.event.sent", 1), 1), EnvelopeEventBridge, event},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Unwrap(message(tt.body), "OrderPlaced")
			if err != nil || string(got.Payload) != tt.want || got.Kind != tt.kind || got.Traceparent != "" {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func TestBrokenEnvelopeNamesItsField(t *testing.T) {
	for field, body := range map[string]string{
		"data_base64": `{"specversion":"1.0","type":"OrderPlaced","source":"s","id":"1","data_base64":"%"}`,
		"data":        `{"specversion":"1.0","type":"OrderPlaced","source":"s","id":"1"}`,
		"detail":      `{"version":"0","id":"1","detail-type":"OrderPlaced","source":"s"}`,
		"detail-type": `{"version":"0","id":"1","detail-type":7,"source":"s","detail":{}}`,
	} {
		if _, err := Unwrap(message(body), "OrderPlaced"); err == nil || !strings.HasPrefix(err.Error(), field+":") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// TestWhatIsNotWanted: another event, or an envelope of which two readers can
// read two things, is refused with the field that is at fault.
func TestWhatIsNotWanted(t *testing.T) {
	const good = `{"specversion":"1.0","type":"OrderPlaced","source":"s","id":"1","data":{}}`
	dapr := strings.Replace(good, "OrderPlaced", "com.dapr.event.sent", 1)
	other := strings.Replace(good, "OrderPlaced", "OrderCancelled", 1)
	quoted, err := json.Marshal(other)
	if err != nil {
		t.Fatal(err)
	}
	for body, say := range map[string]string{
		other:                                 `type: the CloudEvent's is "OrderCancelled", only OrderPlaced is handled here`,
		strings.Replace(dapr, "{}", other, 1): `type: the CloudEvent's is "OrderCancelled", only OrderPlaced is handled here`,
		`{"Type":"Notification","TopicArn":"a","Message":` + string(quoted) + `}`: `type: the CloudEvent's is "OrderCancelled", only OrderPlaced is handled here`,
		strings.Replace(good, `"OrderPlaced"`, `7`, 1):                            `type: the CloudEvent has none`,
		strings.Replace(good, `"type":"OrderPlaced",`, ``, 1):                     `type: the CloudEvent has none`,
		strings.Replace(good, `"type"`, `"type":"OrderCancelled","type"`, 1):      `type: appears more than once`,
		strings.Replace(good, `"data"`, `"data":{"a":1},"Data"`, 1):               `data: appears more than once: as "data" and as "Data"`,
		`{"Type":"Notification","TopicArn":"a","Message":"1","message":"2"}`:      `message: appears more than once: as "Message" and as "message"`,
		strings.Replace(good, `"data"`, `"data_base64":"e30=","data"`, 1):         `data_base64: must be text, and the event's only data`,
		`{"type":"OrderPlaced","Type":"OrderCancelled"}`:                          `type: appears more than once: as "type" and as "Type"`,
		`{"type":7}`:                `type: the body's is "7", only OrderPlaced is handled here`,
		`{"type":"x","message":5}`:  `type: the body's is "x", only OrderPlaced is handled here`,
		`{"type":"","orderId":"x"}`: `type: the body's is "", only OrderPlaced is handled here`,
		`{"Type":"Notification","TopicArn":"a","Message":"{}","MessageAttributes":{"type":"OrderPlaced"}}`: `type: the SNS attribute type's is "\"OrderPlaced\"", only OrderPlaced is handled here`,
		`{"source":"s","detail-type":"OrderPlaced","type":"OrderCancelled","detail":{}}`:                   `type: the EventBridge event's is "OrderPlaced", its field type's is "OrderCancelled": which of them it is cannot be known`,
		`{"source":"s","detail-type":"OrderPlaced","Detail-Type":"x","detail":{}}`:                         `detail-type: appears more than once: as "detail-type" and as "Detail-Type"`,
	} {
		got, err := Unwrap(message(body), "OrderPlaced")
		var field order.FieldError
		if !errors.As(err, &field) || err.Error() != say || got.Payload != nil {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
}

func TestTraceparent(t *testing.T) {
	cloud := `{"specversion":"1.0","type":"OrderPlaced","source":"s","id":"1","traceparent":"inner","data":{}}`
	quoted, err := json.Marshal(cloud)
	if err != nil {
		t.Fatal(err)
	}
	sns := func(attributes string) string {
		return `{"Type":"Notification","TopicArn":"a","Message":` + string(quoted) + `,"MessageAttributes":` + attributes + `}`
	}
	for body, want := range map[string]string{
		cloud: "inner",
		sns(`{"traceparent":{"Type":"String","Value":"outer"}}`): "outer",
		sns(`{"type":{"Type":"String","Value":"OrderPlaced"}}`):  "inner",
		sns(`{"ce-traceparent":{"Type":"String","Value":"b"}}`):  "b",
		sns(`{"traceparent":"of another form"}`):                 "inner",
		sns(`null`):                                              "inner",
		strings.Replace(cloud, `"inner"`, `7`, 1):                "",
		`{"traceparent":"of no envelope"}`:                       "",
	} {
		if got, err := Unwrap(message(body), "OrderPlaced"); got.Traceparent != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", body, got.Traceparent, err, want)
		}
	}
}

func TestEndlessWrappingIsRefused(t *testing.T) {
	body := `{"orderId":"o"}`
	for depth := range 7 {
		got, err := Unwrap(message(body))
		switch {
		case depth <= 4 && (err != nil || string(got.Payload) != `{"orderId":"o"}` || (got.Kind == EnvelopeNone) != (depth == 0)):
			t.Errorf("%d envelopes: %+v, %v", depth, got, err)
		case depth > 4 && (err == nil || err.Error() != "body: wrapped more than 4 times"):
			t.Errorf("%d envelopes: %v", depth, err)
		}
		inner, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		body = `{"Type":"Notification","TopicArn":"a","Message":` + string(inner) + `}`
	}
}

func FuzzUnwrap(f *testing.F) {
	f.Add([]byte(`{"Type":"Notification","TopicArn":"a","Message":"{}"}`))
	f.Add([]byte(`{"specversion":"1.0","type":"OrderPlaced","source":"s","id":"1","data":{"specversion":"1.0","type":"OrderPlaced","source":"s","id":"1","data":1}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := Unwrap(Message{Body: body}, "OrderPlaced")
		if err == nil && got.Kind == EnvelopeNone && !bytes.Equal(got.Payload, body) {
			t.Errorf("raw body changed: %q to %q", body, got.Payload)
		}
		if err == nil {
			if again, err := Unwrap(Message{Body: got.Payload}, "OrderPlaced"); err != nil || !bytes.Equal(again.Payload, got.Payload) {
				t.Errorf("payload %q unwraps further to %q, %v", got.Payload, again.Payload, err)
			}
		}
	})
}

// TestTypeCountsWhereverItIsSaid: another event than the one that is wanted is
// refused, and two that disagree, naming both.
func TestTypeCountsWhereverItIsSaid(t *testing.T) {
	const event = `{"orderId":"o-1"}`
	// Each says what an order is, in one place, and what it is called there.
	places := []struct {
		name string
		says func(m Message, kind string) Message
	}{
		{"the message attribute type", attribute("type")},
		{"the message attribute ce-type", attribute("ce-type")},
		{"the message attribute ce_type", attribute("ce_type")},
		{"the message attribute CE-Type", attribute("CE-Type")},
		{"the message attribute cloudEvents:type", attribute("cloudEvents:type")},
		{"the message attribute cloudEvents_type", attribute("cloudEvents_type")},
		{"the SNS attribute type", notification("type")},
		{"the SNS attribute ce-type", notification("ce-type")},
		{"the CloudEvent", func(m Message, kind string) Message {
			m.Body = []byte(`{"specversion":"1.0","id":"1","source":"s","type":"` + kind + `","data":` + string(m.Body) + `}`)
			return m
		}},
		{"the EventBridge event", func(m Message, kind string) Message {
			m.Body = []byte(`{"version":"0","id":"1","source":"s","detail-type":"` + kind + `","detail":` + string(m.Body) + `}`)
			return m
		}},
		{"the body", func(m Message, kind string) Message {
			m.Body = []byte(strings.Replace(string(m.Body), `"orderId"`, `"type":"`+kind+`","orderId"`, 1))
			return m
		}},
	}
	for _, p := range places {
		got, err := Unwrap(p.says(message(event), "OrderPlaced"), "OrderPlaced", "OrderChanged")
		if err != nil || got.Type != "OrderPlaced" {
			t.Errorf("%s: %+v, %v", p.name, got, err)
		}
		_, err = Unwrap(p.says(message(event), "OrderCancelled"), "OrderPlaced")
		if want := "type: " + p.name + `'s is "OrderCancelled", only OrderPlaced is handled here`; err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		for _, other := range places {
			if other.name == p.name {
				continue
			}
			m := other.says(p.says(message(event), "OrderCancelled"), "OrderPlaced")
			if other.name == "the body" { // before it is wrapped
				m = p.says(other.says(message(event), "OrderPlaced"), "OrderCancelled")
			}
			// Both are wanted: they still disagree.
			_, err := Unwrap(m, "OrderPlaced", "OrderCancelled")
			if err == nil || !strings.Contains(err.Error(), p.name+`'s is "OrderCancelled"`) || !strings.Contains(err.Error(), other.name+`'s is "OrderPlaced"`) {
				t.Errorf("%s and %s: %v", p.name, other.name, err)
			}
		}
	}
	if got, err := Unwrap(attribute("type")(message(event), UntypedDapr), "OrderPlaced"); err != nil || got.Type != "" {
		t.Errorf("Dapr's: %+v, %v", got, err)
	}
}

func attribute(name string) func(Message, string) Message {
	return func(m Message, kind string) Message {
		all := map[string]string{"other": "x", name: kind}
		for n, v := range m.Attributes {
			all[n] = v
		}
		m.Attributes = all
		return m
	}
}

func notification(name string) func(Message, string) Message {
	return func(m Message, kind string) Message {
		b, err := json.Marshal(map[string]any{
			"Type": "Notification", "TopicArn": "a", "Message": string(m.Body),
			"MessageAttributes": map[string]any{name: map[string]string{"Type": "String", "Value": kind}},
		})
		if err != nil {
			panic(err)
		}
		m.Body = b
		return m
	}
}

func message(body string) Message { return Message{Body: []byte(body)} }
