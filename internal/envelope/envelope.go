// Package envelope takes an event out of what carried it: an SNS notification,
// a CloudEvent, both, or nothing.
package envelope

import (
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
}

// Unwrap returns the innermost payload, which may be any bytes. It fails only
// if an envelope is recognised and broken, or is a CloudEvent of a type that is
// none of those wanted. Dapr's own type passes: the payload has to tell.
func Unwrap(body []byte, wanted ...string) (payload []byte, kind Kind, err error) {
	kind = Raw
	for depth := range maxDepth + 1 {
		inner, k, err := open(body, wanted)
		if err != nil {
			return nil, kind, err
		}
		if k == Raw {
			return body, kind, nil
		}
		if depth == 0 {
			kind = k
		}
		body = inner
	}
	return nil, kind, fmt.Errorf("body: wrapped more than %d times", maxDepth)
}

func open(body []byte, wanted []string) ([]byte, Kind, error) {
	var p probe
	if json.Unmarshal(body, &p) != nil { // not an object of known form: whoever parses it says why
		return body, Raw, nil //nolint:nilerr // not an envelope
	}
	var kind, version string
	_ = json.Unmarshal(p.Type, &kind)           // not a string: not an SNS notification
	_ = json.Unmarshal(p.SpecVersion, &version) // a number: our own specVersion, which matches without case
	switch {
	case kind == "Notification" && p.Message != nil && p.TopicArn != "":
		return []byte(*p.Message), SNS, once(body)
	case version == "1.0" && len(p.Source) > 0 && len(p.ID) > 0:
		if err := once(body); err != nil {
			return nil, CloudEvent, err
		}
		if err := typed(p.Type, kind, wanted); err != nil {
			return nil, CloudEvent, err
		}
		inner, err := data(p)
		return inner, CloudEvent, err
	}
	return body, Raw, nil
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
