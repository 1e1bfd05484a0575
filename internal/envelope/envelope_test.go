package envelope

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestUnwrap(t *testing.T) {
	const event = `{"specVersion":1,"orderId":"o-1"}`
	quoted, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	sns := `{"Type":"Notification","MessageId":"m","TopicArn":"arn:aws:sns:x","Message":` + string(quoted) + `}`
	cloud := `{"specversion":"1.0","type":"com.x","source":"s","id":"1","data":` + event + `}`
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
		"CloudEvent, string":   {`{"specversion":"1.0","source":"s","id":"1","data":` + string(quoted) + `}`, CloudEvent, event},
		"CloudEvent, base64":   {`{"specversion":"1.0","source":"s","id":"1","data_base64":"e30="}`, CloudEvent, "{}"},
		"CloudEvent in SNS":    {`{"Type":"Notification","TopicArn":"a","Message":` + string(quotedCloud) + `}`, SNS, event},
		"an order with a type": {`{"Type":"Notification","orderId":"x"}`, Raw, `{"Type":"Notification","orderId":"x"}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, kind, err := Unwrap([]byte(tt.body))
			if err != nil || string(got) != tt.want || kind != tt.kind {
				t.Errorf("%s %q, %v", kind, got, err)
			}
		})
	}
}

func TestBrokenEnvelopeNamesItsField(t *testing.T) {
	for field, body := range map[string]string{
		"data_base64": `{"specversion":"1.0","source":"s","id":"1","data_base64":"%"}`,
		"data":        `{"specversion":"1.0","source":"s","id":"1"}`,
	} {
		if _, _, err := Unwrap([]byte(body)); err == nil || !strings.HasPrefix(err.Error(), field+":") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestEndlessWrappingIsRefused(t *testing.T) {
	body := `{"orderId":"o"}`
	for depth := range 7 {
		payload, kind, err := Unwrap([]byte(body))
		switch {
		case depth <= 4 && (err != nil || string(payload) != `{"orderId":"o"}` || (kind == Raw) != (depth == 0)):
			t.Errorf("%d envelopes: %s %s, %v", depth, payload, kind, err)
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
	f.Add([]byte(`{"specversion":"1.0","source":"s","id":"1","data":{"specversion":"1.0","source":"s","id":"1","data":1}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, kind, err := Unwrap(body)
		if err == nil && kind == Raw && !bytes.Equal(got, body) {
			t.Errorf("raw body changed: %q to %q", body, got)
		}
		if err == nil {
			if again, _, err := Unwrap(got); err != nil || !bytes.Equal(again, got) {
				t.Errorf("payload %q unwraps further to %q, %v", got, again, err)
			}
		}
	})
}
