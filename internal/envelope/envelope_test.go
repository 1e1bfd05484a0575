package envelope

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
	for name, tt := range map[string]struct {
		body string
		kind Kind
		want string
	}{
		"raw":                  {event, Raw, event},
		"no JSON":              {"{", Raw, "{"},
		"SNS":                  {sns, SNS, event},
		"CloudEvent":           {cloud, CloudEvent, event},
		"CloudEvent, string":   {`{"specversion":"1.0","type":"OrderPlaced","source":"s","id":"1","data":` + string(quoted) + `}`, CloudEvent, event},
		"CloudEvent, base64":   {`{"specversion":"1.0","type":"OrderPlaced","source":"s","id":"1","data_base64":"e30="}`, CloudEvent, "{}"},
		"CloudEvent in SNS":    {`{"Type":"Notification","TopicArn":"a","Message":` + string(quotedCloud) + `}`, SNS, event},
		"Dapr's CloudEvent":    {strings.Replace(cloud, "OrderPlaced", "com.dapr.event.sent", 1), CloudEvent, event},
		"CloudEvent in Dapr's": {strings.Replace(strings.Replace(cloud, "OrderPlaced", "com.dapr.event.sent", 1), event, cloud, 1), CloudEvent, event},
		"an order with a type": {`{"Type":"Notification","orderId":"x"}`, Raw, `{"Type":"Notification","orderId":"x"}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Unwrap([]byte(tt.body), "OrderPlaced")
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
	} {
		if _, err := Unwrap([]byte(body), "OrderPlaced"); err == nil || !strings.HasPrefix(err.Error(), field+":") {
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
	} {
		got, err := Unwrap([]byte(body), "OrderPlaced")
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
		sns(`{"type":{"Type":"String","Value":"x"}}`):            "inner",
		sns(`{"traceparent":"of another form"}`):                 "inner",
		sns(`null`):                                              "inner",
		strings.Replace(cloud, `"inner"`, `7`, 1):                "",
		`{"traceparent":"of no envelope"}`:                       "",
	} {
		if got, err := Unwrap([]byte(body), "OrderPlaced"); got.Traceparent != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", body, got.Traceparent, err, want)
		}
	}
}

func TestEndlessWrappingIsRefused(t *testing.T) {
	body := `{"orderId":"o"}`
	for depth := range 7 {
		got, err := Unwrap([]byte(body))
		switch {
		case depth <= 4 && (err != nil || string(got.Payload) != `{"orderId":"o"}` || (got.Kind == Raw) != (depth == 0)):
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
		got, err := Unwrap(body, "OrderPlaced")
		if err == nil && got.Kind == Raw && !bytes.Equal(got.Payload, body) {
			t.Errorf("raw body changed: %q to %q", body, got.Payload)
		}
		if err == nil {
			if again, err := Unwrap(got.Payload, "OrderPlaced"); err != nil || !bytes.Equal(again.Payload, got.Payload) {
				t.Errorf("payload %q unwraps further to %q, %v", got.Payload, again.Payload, err)
			}
		}
	})
}
