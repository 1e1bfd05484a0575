package events

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ordersaga/ordersaga/internal/order"
)

// Envelope is the format in which a broker wraps an event. The zero value is invalid.
type Envelope string

// Kinds of envelope.
const (
	EnvelopeNone        Envelope = "raw"        // not wrapped
	EnvelopeSNS         Envelope = "sns"        // SNS without raw message delivery
	EnvelopeCloudEvent  Envelope = "cloudevent" // CloudEvents 1.0, structured JSON
	EnvelopeEventBridge Envelope = "eventbridge"
)

// UntypedDapr is the type that Dapr gives a CloudEvent whose publisher set none. It does not
// identify the content. See
// https://docs.dapr.io/developing-applications/building-blocks/pubsub/pubsub-cloudevents/
const UntypedDapr = "com.dapr.event.sent"

// maxDepth is more envelopes than any chain of brokers adds. Deeper nesting is malformed or
// malicious.
const maxDepth = 4

// typeAttributes are the message attributes with an event's type: ours, and those of
// CloudEvents in binary mode with the prefixes of its protocol bindings. Case is ignored,
// because some producers copy HTTP headers, whose names are case-insensitive. See
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md
var typeAttributes = []string{"type", "ce-type", "ce_type", "cloudEvents:type", "cloudEvents_type"}

// IsTypeAttribute reports whether the message attribute of this name holds the event's type.
// Components that forward a message must keep such an attribute.
func IsTypeAttribute(name string) bool { return contains(typeAttributes, name) }

// HasType reports whether the outermost layer of a body states the event's type. It ignores
// UntypedDapr, and returns false for a broken envelope.
func HasType(body []byte) bool {
	l, err := open(body)
	return err == nil && slices.ContainsFunc(l.types, func(t statedType) bool { return t.name != UntypedDapr })
}

// traceAttributes are the message attributes with a W3C trace context: ours, and those of
// CloudEvents.
var traceAttributes = []string{"traceparent", "ce-traceparent", "ce_traceparent", "cloudEvents:traceparent", "cloudEvents_traceparent"}

// contains reports whether name is among names, in any case.
func contains(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

// Message is a message as a queue delivers it. Unwrap returns its event.
type Message struct {
	Body       []byte            // may be any bytes
	Attributes map[string]string // message attributes by name; nil if it has none
}

// probe has the fields by which open recognizes each envelope. An OrderPlaced event cannot be
// mistaken for one: it lacks a field that each envelope requires.
type probe struct {
	Type        json.RawMessage `json:"type"`        // SNS: "Notification"; CloudEvents, or the body's own: the event's type
	Message     json.RawMessage `json:"message"`     // SNS
	TopicArn    json.RawMessage `json:"topicArn"`    // SNS
	SpecVersion json.RawMessage `json:"specversion"` // CloudEvents: "1.0"
	Data        json.RawMessage `json:"data"`
	DataBase64  json.RawMessage `json:"data_base64"`
	ID          json.RawMessage `json:"id"`
	Source      json.RawMessage `json:"source"`
	Attributes  json.RawMessage `json:"messageAttributes"` // SNS
	Traceparent json.RawMessage `json:"traceparent"`       // CloudEvents' extension, which Dapr sets
	DetailType  json.RawMessage `json:"detail-type"`       // EventBridge: the event's type
	Detail      json.RawMessage `json:"detail"`            // EventBridge
}

// Event is an event without its envelopes.
type Event struct {
	Payload []byte   // may be any bytes
	Kind    Envelope // the outermost envelope
	// Type is the type that body, envelopes and attributes agree on, one of the wanted types;
	// "" if none of them states it.
	Type string
	// Traceparent is the sender's W3C trace context, or "". If several envelopes have one, it
	// is the outermost one: its span is the nearest.
	Traceparent string
}

// layer is one opened envelope. If kind is EnvelopeNone, inner is the event itself.
type layer struct {
	inner []byte
	kind  Envelope
	trace string
	types []statedType
}

// statedType is the event's type as one source states it. source is a phrase for error texts.
type statedType struct{ source, name string }

// Unwrap removes the envelopes of a message and returns the event. It returns an error, which
// is permanent, if an envelope is broken, if more than four are nested, if a stated type is not
// among the wanted types, or if two stated types differ. UntypedDapr is ignored. A message that
// states no type passes; its parser decides.
func Unwrap(m Message, wanted ...string) (Event, error) {
	e := Event{Payload: m.Body, Kind: EnvelopeNone}
	trace, types := attributes("message", m.Attributes)
	e.Traceparent = trace
	for depth := range maxDepth + 1 {
		l, err := open(e.Payload)
		if err != nil {
			return Event{Kind: e.Kind}, err
		}
		types = append(types, l.types...)
		if l.kind == EnvelopeNone {
			e.Type, err = agreed(types, wanted)
			if err != nil {
				return Event{Kind: e.Kind}, err
			}
			return e, nil
		}
		if depth == 0 {
			e.Kind = l.kind
		}
		e.Payload, e.Traceparent = l.inner, cmp.Or(e.Traceparent, l.trace)
	}
	return Event{Kind: e.Kind}, fmt.Errorf("body: wrapped more than %d times", maxDepth)
}

// agreed returns the type that all sources state, "" if there is none, or an error if they
// differ or the type is not wanted.
func agreed(types []statedType, wanted []string) (string, error) {
	types = slices.DeleteFunc(types, func(t statedType) bool { return t.name == UntypedDapr })
	if len(types) == 0 {
		return "", nil
	}
	first := types[0]
	for _, t := range types[1:] {
		if t.name != first.name {
			return "", order.FieldError{Field: "type", Message: fmt.Sprintf("%s's is %.100q, %s's is %.100q: they must agree",
				first.source, first.name, t.source, t.name)}
		}
	}
	if !slices.Contains(wanted, first.name) {
		return "", order.FieldError{Field: "type", Message: fmt.Sprintf("%s's is %.200q, only %s is handled here",
			first.source, first.name, strings.Join(wanted, " or "))}
	}
	return first.name, nil
}

// attributes returns the trace context and the types among the attributes of a message or of
// an SNS notification. of names it in error texts.
func attributes(of string, all map[string]string) (trace string, types []statedType) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		switch {
		case IsTypeAttribute(name):
			types = append(types, statedType{source: fmt.Sprintf("the %s attribute %s", of, name), name: all[name]})
		case trace == "" && contains(traceAttributes, name):
			trace = all[name]
		}
	}
	return trace, types
}

// open removes the outermost envelope of body, if it has one.
func open(body []byte) (layer, error) {
	var p probe
	if json.Unmarshal(body, &p) != nil { // not a JSON object: the event's parser reports why
		return layer{inner: body, kind: EnvelopeNone}, nil //nolint:nilerr // not an envelope
	}
	kind, isText := jsonString(p.Type)
	message, hasMessage := jsonString(p.Message)
	topic, _ := jsonString(p.TopicArn)
	version, _ := jsonString(p.SpecVersion) // a number is our own specVersion, which matches without case
	switch {
	case kind == "Notification" && hasMessage && topic != "":
		trace, types := attributes("SNS", notified(p.Attributes))
		return layer{inner: []byte(message), kind: EnvelopeSNS, trace: trace, types: types}, unambiguous(body, probe{})
	case version == "1.0" && len(p.Source) > 0 && len(p.ID) > 0:
		l := layer{kind: EnvelopeCloudEvent, types: []statedType{{source: "the CloudEvent", name: kind}}}
		if err := unambiguous(body, probe{}); err != nil {
			return l, err
		}
		if kind == "" {
			return l, order.FieldError{Field: "type", Message: "the CloudEvent has none"}
		}
		l.trace, _ = jsonString(p.Traceparent) // absent or not a string: no trace
		var err error
		l.inner, err = data(p)
		return l, err
	case len(p.DetailType) > 0:
		return bridged(body, p)
	case len(p.Type) > 0 && string(p.Type) != "null":
		if !isText {
			kind = string(p.Type)
		}
		// The event's parser could take another field of this name.
		return layer{inner: body, kind: EnvelopeNone, types: []statedType{{source: "the body", name: kind}}}, unambiguous(body, struct {
			Type json.RawMessage `json:"type"`
		}{})
	}
	return layer{inner: body, kind: EnvelopeNone}, nil
}

// bridged removes the envelope of EventBridge. See
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html
func bridged(body []byte, p probe) (layer, error) {
	kind, _ := jsonString(p.DetailType)
	l := layer{kind: EnvelopeEventBridge, types: []statedType{{source: "the EventBridge event", name: kind}}}
	if len(p.Type) > 0 && string(p.Type) != "null" { // EventBridge sets none; an input transformer may
		t, ok := jsonString(p.Type)
		if !ok {
			t = string(p.Type)
		}
		l.types = append(l.types, statedType{source: "its field type", name: t})
	}
	if err := unambiguous(body, probe{}); err != nil {
		return l, err
	}
	if kind == "" {
		return l, order.FieldError{Field: "detail-type", Message: "the EventBridge event has none"}
	}
	if len(p.Detail) == 0 || string(p.Detail) == "null" {
		return l, order.FieldError{Field: "detail", Message: "the EventBridge event has none"}
	}
	l.inner = p.Detail
	return l, nil
}

// jsonString returns the value of a JSON string; ok is false if raw is empty or another value.
func jsonString(raw json.RawMessage) (s string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

// notified returns the attributes of an SNS notification. A type attribute that does not have
// the form of SNS is returned as its JSON text, so that it is rejected and not overlooked.
func notified(raw json.RawMessage) map[string]string {
	var all map[string]json.RawMessage
	_ = json.Unmarshal(raw, &all) // another value than an object has no attributes
	out := make(map[string]string, len(all))
	for name, a := range all {
		var v struct{ Value *string }
		switch {
		case json.Unmarshal(a, &v) == nil && v.Value != nil:
			out[name] = *v.Value
		case IsTypeAttribute(name):
			out[name] = string(a)
		}
	}
	return out
}

// unambiguous returns an error if a field of v's type appears twice in body: two readers
// could take different values.
func unambiguous(body []byte, v any) error {
	if faults := order.Repeated(body, v); len(faults) > 0 {
		return faults[0]
	}
	return nil
}

// data returns the event in a CloudEvent: its data or data_base64, one of which it must have.
func data(p probe) ([]byte, error) {
	plain := len(p.Data) > 0 && string(p.Data) != "null"
	if len(p.DataBase64) > 0 && string(p.DataBase64) != "null" {
		encoded, ok := jsonString(p.DataBase64)
		if !ok || plain {
			return nil, order.FieldError{Field: "data_base64", Message: "must be text, and the event's only data"}
		}
		b, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, fmt.Errorf("data_base64: is not base64: %w", err)
		}
		return b, nil
	}
	if !plain {
		return nil, order.FieldError{Field: "data", Message: "the CloudEvent has none"}
	}
	if t, ok := jsonString(p.Data); ok { // JSON in a string, as some brokers send it
		return []byte(t), nil
	}
	return p.Data, nil
}
