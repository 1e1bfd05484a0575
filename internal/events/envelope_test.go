package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

func TestUnwrapReturnsTheInnermostEvent(t *testing.T) {
	t.Parallel()
	const event = `{"specVersion":1,"orderId":"o-1"}`
	inSNS := func(body string) string {
		return `{"Type":"Notification","MessageId":"m","TopicArn":"arn:aws:sns:x","Message":` + quoted(t, body) + `}`
	}
	const cloudHead = `{"specversion":"1.0","type":"OrderPlaced","source":"s","id":"1",`
	cloud := cloudHead + `"data":` + event + `}`
	dapr := strings.Replace(cloud, "OrderPlaced", "com.dapr.event.sent", 1)
	bridge := `{"version":"0","id":"6a7e","detail-type":"OrderPlaced","source":"shop","account":"111122223333",` +
		`"time":"2026-11-23T10:00:00Z","region":"us-east-1","resources":[],"detail":` + event + `}`
	for name, tt := range map[string]struct {
		body string
		kind Envelope
		want string
	}{
		"raw":                   {event, EnvelopeNone, event},
		"no JSON":               {"{", EnvelopeNone, "{"},
		"SNS":                   {inSNS(event), EnvelopeSNS, event},
		"CloudEvent":            {cloud, EnvelopeCloudEvent, event},
		"CloudEvent, string":    {cloudHead + `"data":` + quoted(t, event) + `}`, EnvelopeCloudEvent, event},
		"CloudEvent, base64":    {cloudHead + `"data_base64":"e30="}`, EnvelopeCloudEvent, "{}"},
		"CloudEvent in SNS":     {inSNS(cloud), EnvelopeSNS, event},
		"Dapr's CloudEvent":     {dapr, EnvelopeCloudEvent, event},
		"CloudEvent in Dapr's":  {strings.Replace(dapr, event, cloud, 1), EnvelopeCloudEvent, event},
		"an order with a type":  {`{"type":"OrderPlaced","orderId":"x"}`, EnvelopeNone, `{"type":"OrderPlaced","orderId":"x"}`},
		"with a type of null":   {`{"type":null,"orderId":"x"}`, EnvelopeNone, `{"type":null,"orderId":"x"}`},
		"EventBridge":           {bridge, EnvelopeEventBridge, event},
		"EventBridge in SNS":    {inSNS(bridge), EnvelopeSNS, event},
		"Dapr's in EventBridge": {strings.Replace(bridge, event, dapr, 1), EnvelopeEventBridge, event},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Unwrap(message(tt.body), "OrderPlaced")
			if err != nil || string(got.Payload) != tt.want || got.Kind != tt.kind || got.Traceparent != "" {
				t.Errorf("unwrapped %+v, %v, want %s from envelope %s", got, err, tt.want, tt.kind)
			}
		})
	}
}

func TestErrorOfABrokenEnvelopeNamesTheField(t *testing.T) {
	t.Parallel()
	for field, body := range map[string]string{
		"data_base64": `{"specversion":"1.0","type":"OrderPlaced","source":"s","id":"1","data_base64":"%"}`,
		"data":        `{"specversion":"1.0","type":"OrderPlaced","source":"s","id":"1"}`,
		"detail":      `{"version":"0","id":"1","detail-type":"OrderPlaced","source":"s"}`,
		"detail-type": `{"version":"0","id":"1","detail-type":7,"source":"s","detail":{}}`,
	} {
		if _, err := Unwrap(message(body), "OrderPlaced"); err == nil || !strings.HasPrefix(err.Error(), field+":") {
			t.Errorf("error of %s = %v, want it to begin with %s", body, err, field)
		}
	}
}

// An ambiguous envelope is one that two readers can read differently. The error names the field.
func TestOtherEventsAndAmbiguousEnvelopesAreRejected(t *testing.T) {
	t.Parallel()
	const good = `{"specversion":"1.0","type":"OrderPlaced","source":"s","id":"1","data":{}}`
	dapr := strings.Replace(good, "OrderPlaced", "com.dapr.event.sent", 1)
	other := strings.Replace(good, "OrderPlaced", "OrderCancelled", 1)
	const unlikeSNS = `{"Type":"Notification","TopicArn":"a","Message":"{}","MessageAttributes":{"type":"OrderPlaced"}}`
	const twoMessages = `{"Type":"Notification","TopicArn":"a","Message":"1","message":"2"}`
	const twoTypes = `{"source":"s","detail-type":"OrderPlaced","type":"OrderCancelled","detail":{}}`
	const repeated = `{"source":"s","detail-type":"OrderPlaced","Detail-Type":"x","detail":{}}`
	const differ = `type: the EventBridge event's is "OrderPlaced", its field type's is "OrderCancelled": they must agree`
	const wrong = `"OrderCancelled", only OrderPlaced is handled here`
	for body, want := range map[string]string{
		other:                                 `type: the CloudEvent's is ` + wrong,
		strings.Replace(dapr, "{}", other, 1): `type: the CloudEvent's is ` + wrong,
		`{"Type":"Notification","TopicArn":"a","Message":` + quoted(t, other) + `}`: `type: the CloudEvent's is ` + wrong,
		strings.Replace(good, `"OrderPlaced"`, `7`, 1):                              `type: the CloudEvent has none`,
		strings.Replace(good, `"type":"OrderPlaced",`, ``, 1):                       `type: the CloudEvent has none`,
		strings.Replace(good, `"type"`, `"type":"OrderCancelled","type"`, 1):        `type: appears more than once`,
		strings.Replace(good, `"data"`, `"data":{"a":1},"Data"`, 1):                 `data: appears more than once: as "data" and as "Data"`,
		twoMessages: `message: appears more than once: as "Message" and as "message"`,
		strings.Replace(good, `"data"`, `"data_base64":"e30=","data"`, 1): `data_base64: must be text, and the event's only data`,
		`{"type":"OrderPlaced","Type":"OrderCancelled"}`:                  `type: appears more than once: as "type" and as "Type"`,
		`{"type":7}`:                `type: the body's is "7", only OrderPlaced is handled here`,
		`{"type":"x","message":5}`:  `type: the body's is "x", only OrderPlaced is handled here`,
		`{"type":"","orderId":"x"}`: `type: the body's is "", only OrderPlaced is handled here`,
		unlikeSNS:                   `type: the SNS attribute type's is "\"OrderPlaced\"", only OrderPlaced is handled here`,
		twoTypes:                    differ,
		repeated:                    `detail-type: appears more than once: as "detail-type" and as "Detail-Type"`,
	} {
		got, err := Unwrap(message(body), "OrderPlaced")
		var field order.FieldError
		if !errors.As(err, &field) || err.Error() != want || got.Payload != nil {
			t.Errorf("unwrapped %s: %+v, %v, want the error %s", body, got, err, want)
		}
	}
}

func TestOutermostTraceContextIsReturned(t *testing.T) {
	t.Parallel()
	cloud := `{"specversion":"1.0","type":"OrderPlaced","source":"s","id":"1","traceparent":"inner","data":{}}`
	sns := func(attributes string) string {
		return `{"Type":"Notification","TopicArn":"a","Message":` + quoted(t, cloud) + `,"MessageAttributes":` + attributes + `}`
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
			t.Errorf("trace context of %s = %q, %v, want %q", body, got.Traceparent, err, want)
		}
	}
}

func TestMoreThanFourEnvelopesAreRejected(t *testing.T) {
	t.Parallel()
	body := `{"orderId":"o"}`
	for depth := range 7 {
		got, err := Unwrap(message(body))
		switch {
		case depth <= 4 && (err != nil || string(got.Payload) != `{"orderId":"o"}` || (got.Kind == EnvelopeNone) != (depth == 0)):
			t.Errorf("%d envelopes: unwrapped %+v, %v, want the event", depth, got, err)
		case depth > 4 && (err == nil || err.Error() != "body: wrapped more than 4 times"):
			t.Errorf("%d envelopes: error = %v, want one for more than 4", depth, err)
		}
		body = `{"Type":"Notification","TopicArn":"a","Message":` + quoted(t, body) + `}`
	}
}

func FuzzUnwrap(f *testing.F) {
	f.Add([]byte(`{"Type":"Notification","TopicArn":"a","Message":"{}"}`))
	const cloud = `{"specversion":"1.0","type":"OrderPlaced","source":"s","id":"1","data":1}`
	f.Add([]byte(strings.Replace(cloud, `"data":1`, `"data":`+cloud, 1)))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := Unwrap(Message{Body: body}, "OrderPlaced")
		if err == nil && got.Kind == EnvelopeNone && !bytes.Equal(got.Payload, body) {
			t.Errorf("payload of an unwrapped body = %q, want the body %q", got.Payload, body)
		}
		if err == nil {
			if again, err := Unwrap(Message{Body: got.Payload}, "OrderPlaced"); err != nil || !bytes.Equal(again.Payload, got.Payload) {
				t.Errorf("payload unwrapped again = %q, %v, want %q unchanged", again.Payload, err, got.Payload)
			}
		}
	})
}

// Another type is rejected wherever it is stated, and so are two types that differ: the error
// names both sources.
func TestTypesOfAllSourcesAreChecked(t *testing.T) {
	t.Parallel()
	const event = `{"orderId":"o-1"}`
	// Each source has its name in error texts, and a function that states the type there.
	sources := []struct {
		name  string
		state func(m Message, kind string) Message
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
	for _, p := range sources {
		got, err := Unwrap(p.state(message(event), "OrderPlaced"), "OrderPlaced", "OrderChanged")
		if err != nil || got.Type != "OrderPlaced" {
			t.Errorf("stated by %s: unwrapped %+v, %v, want type OrderPlaced", p.name, got, err)
		}
		_, err = Unwrap(p.state(message(event), "OrderCancelled"), "OrderPlaced")
		if want := "type: " + p.name + `'s is "OrderCancelled", only OrderPlaced is handled here`; err == nil || err.Error() != want {
			t.Errorf("error = %v, want %s", err, want)
		}
		for _, other := range sources {
			if other.name == p.name {
				continue
			}
			m := other.state(p.state(message(event), "OrderCancelled"), "OrderPlaced")
			if other.name == "the body" { // stated before the body is wrapped
				m = p.state(other.state(message(event), "OrderPlaced"), "OrderCancelled")
			}
			// Both types are wanted, but they differ.
			_, err := Unwrap(m, "OrderPlaced", "OrderCancelled")
			first, second := p.name+`'s is "OrderCancelled"`, other.name+`'s is "OrderPlaced"`
			if err == nil || !strings.Contains(err.Error(), first) || !strings.Contains(err.Error(), second) {
				t.Errorf("error = %v, want it to contain %s and %s", err, first, second)
			}
		}
	}
	if got, err := Unwrap(attribute("type")(message(event), UntypedDapr), "OrderPlaced"); err != nil || got.Type != "" {
		t.Errorf("stated by Dapr only: unwrapped %+v, %v, want no type", got, err)
	}
}

func attribute(name string) func(Message, string) Message {
	return func(m Message, kind string) Message {
		all := map[string]string{"other": "x", name: kind}
		maps.Copy(all, m.Attributes)
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

// quoted returns text as a JSON string.
func quoted(t *testing.T, text string) string {
	t.Helper()
	b, err := json.Marshal(text)
	require.NoError(t, err)
	return string(b)
}

func message(body string) Message { return Message{Body: []byte(body)} }
