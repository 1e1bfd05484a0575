// Package envelope takes an event out of what carried it: an SNS notification,
// a CloudEvent, both, or nothing.
package envelope

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/ordersaga/ordersaga/internal/order"
)

// Kind is what the outermost wrapping was.
type Kind string

// Kinds of envelope.
const (
	Raw        Kind = "raw"
	SNS        Kind = "sns"        // SNS without raw delivery
	CloudEvent Kind = "cloudevent" // CloudEvents 1.0, structured JSON
)

// daprType is what Dapr calls an event whose publisher gave it no type: it
// says nothing about what is inside. See
// https://docs.dapr.io/developing-applications/building-blocks/pubsub/pubsub-cloudevents/
const daprType = "com.dapr.event.sent"

// maxDepth is more than any chain of brokers wraps; beyond it somebody plays.
const maxDepth = 4

// probe has the fields that tell the envelopes apart. An OrderPlaced event has
// none of those that decide.
type probe struct {
	Type        json.RawMessage `json:"type"`        // SNS: "Notification"; CloudEvents: the event's type
	Message     *string         `json:"message"`     // SNS
	TopicArn    string          `json:"topicArn"`    // SNS
	SpecVersion json.RawMessage `json:"specversion"` // CloudEvents: "1.0"
	Data        json.RawMessage `json:"data"`
	DataBase64  *string         `json:"data_base64"`
	ID          json.RawMessage `json:"id"`
	Source      json.RawMessage `json:"source"`
	Attributes  json.RawMessage `json:"messageAttributes"` // SNS
	Traceparent json.RawMessage `json:"traceparent"`       // CloudEvents' extension, which Dapr sets
}

// Event is what was in the envelopes.
type Event struct {
	Payload []byte // may be any bytes
	Kind    Kind
	// Traceparent is the sender's trace context, "" if no envelope has one. The
	// outermost counts: it is the nearest.
	Traceparent string
}

// Unwrap returns the innermost event. It fails only if an envelope is
// recognised and broken, or is a CloudEvent of a type that is none of those
// wanted. Dapr's own type passes: the payload has to tell.
func Unwrap(body []byte, wanted ...string) (Event, error) {
	e := Event{Payload: body, Kind: Raw}
	for depth := range maxDepth + 1 {
		inner, k, trace, err := open(e.Payload, wanted)
		if err != nil {
			return Event{Kind: e.Kind}, err
		}
		if k == Raw {
			return e, nil
		}
		if depth == 0 {
			e.Kind = k
		}
		e.Payload, e.Traceparent = inner, cmp.Or(e.Traceparent, trace)
	}
	return Event{Kind: e.Kind}, fmt.Errorf("body: wrapped more than %d times", maxDepth)
}

func open(body []byte, wanted []string) (inner []byte, _ Kind, trace string, err error) {
	var p probe
	if json.Unmarshal(body, &p) != nil { // not an object of known form: whoever parses it says why
		return body, Raw, "", nil //nolint:nilerr // not an envelope
	}
	var kind, version string
	_ = json.Unmarshal(p.Type, &kind)           // not a string: not an SNS notification
	_ = json.Unmarshal(p.SpecVersion, &version) // a number: our own specVersion, which matches without case
	switch {
	case kind == "Notification" && p.Message != nil && p.TopicArn != "":
		var a struct{ Traceparent struct{ Value string } }
		_ = json.Unmarshal(p.Attributes, &a) // without it, or with another form of it, there is no trace
		return []byte(*p.Message), SNS, a.Traceparent.Value, once(body)
	case version == "1.0" && len(p.Source) > 0 && len(p.ID) > 0:
		if err := once(body); err != nil {
			return nil, CloudEvent, "", err
		}
		if err := typed(p.Type, kind, wanted); err != nil {
			return nil, CloudEvent, "", err
		}
		_ = json.Unmarshal(p.Traceparent, &trace) // as above
		inner, err = data(p)
		return inner, CloudEvent, trace, err
	}
	return body, Raw, "", nil
}

// once refuses an envelope in which a field appears twice: what it says would
// depend on who reads it.
func once(body []byte) error {
	if faults := order.Repeated(body, probe{}); len(faults) > 0 {
		return faults[0]
	}
	return nil
}

func typed(raw json.RawMessage, kind string, wanted []string) error {
	switch {
	case kind == "":
		return order.FieldError{Field: "type", Message: "the CloudEvent has none"}
	case kind == daprType || slices.Contains(wanted, kind):
		return nil
	}
	return order.FieldError{Field: "type", Message: fmt.Sprintf("the CloudEvent's is %.200s, only %s is handled here", raw, strings.Join(wanted, " or "))}
}

func data(p probe) ([]byte, error) {
	if p.DataBase64 != nil {
		b, err := base64.StdEncoding.DecodeString(*p.DataBase64)
		if err != nil {
			return nil, fmt.Errorf("data_base64: %w", err)
		}
		return b, nil
	}
	if len(p.Data) == 0 || string(p.Data) == "null" {
		return nil, order.FieldError{Field: "data", Message: "the CloudEvent has none"}
	}
	var text string
	if json.Unmarshal(p.Data, &text) == nil { // JSON in a string, as some brokers send it
		return []byte(text), nil
	}
	return p.Data, nil
}
