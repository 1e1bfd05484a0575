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

// Envelope is what the outermost wrapping was.
type Envelope string

// Kinds of envelope.
const (
	EnvelopeNone        Envelope = "raw"
	EnvelopeSNS         Envelope = "sns"        // SNS without raw delivery
	EnvelopeCloudEvent  Envelope = "cloudevent" // CloudEvents 1.0, structured JSON
	EnvelopeEventBridge Envelope = "eventbridge"
)

// UntypedDapr is what Dapr calls an event whose publisher gave it no type: it
// says nothing about what is inside. See
// https://docs.dapr.io/developing-applications/building-blocks/pubsub/pubsub-cloudevents/
const UntypedDapr = "com.dapr.event.sent"

// maxDepth is more than any chain of brokers wraps; beyond it somebody plays.
const maxDepth = 4

// Attributes that say an event's type: ours, and those of CloudEvents in binary
// mode, by the prefixes of its protocol bindings. Case does not count: HTTP's
// headers, which some copy, have none. See
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md
var typeAttributes = []string{"type", "ce-type", "ce_type", "cloudEvents:type", "cloudEvents_type"}

// IsTypeAttribute reports whether a message attribute of this name says what the event
// is. Such a one must not get lost on the way.
func IsTypeAttribute(name string) bool { return isOne(name, typeAttributes) }

// HasType reports whether a body's outermost layer states what the event is.
// Dapr's own type does not count.
func HasType(body []byte) bool {
	l, err := open(body)
	return err == nil && slices.ContainsFunc(l.types, func(s said) bool { return s.is != UntypedDapr })
}

var traceAttributes = []string{"traceparent", "ce-traceparent", "ce_traceparent", "cloudEvents:traceparent", "cloudEvents_traceparent"}

func isOne(name string, of []string) bool {
	return slices.ContainsFunc(of, func(n string) bool { return strings.EqualFold(n, name) })
}

// Message is what a queue has delivered.
type Message struct {
	Body       []byte            // may be any bytes
	Attributes map[string]string // the message's own, by name; nil if it has none
}

// probe has the fields that tell the envelopes apart. An OrderPlaced event has
// none of those that decide.
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

// Event is what was in the envelopes.
type Event struct {
	Payload []byte // may be any bytes
	Kind    Envelope
	// Type is what all that say it call the event, one of those wanted; "" if
	// nobody says it.
	Type string
	// Traceparent is the sender's trace context, "" if no envelope has one. The
	// outermost counts: it is the nearest.
	Traceparent string
}

// layer is one envelope, opened, or what is in the innermost.
type layer struct {
	inner []byte
	kind  Envelope // Raw: inner is no envelope
	trace string
	types []said
}

// said is an event's type, by one of those that say it.
type said struct{ by, is string }

// Unwrap returns the innermost event. It fails if an envelope is recognised and
// broken, and if the event is said to be another than those wanted, or two
// things at once. Dapr's own type passes: the others have to tell.
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
			if e.Type, err = agreed(types, wanted); err != nil {
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

// agreed is what all say, or why that is not wanted.
func agreed(types []said, wanted []string) (string, error) {
	types = slices.DeleteFunc(types, func(s said) bool { return s.is == UntypedDapr })
	if len(types) == 0 {
		return "", nil
	}
	first := types[0]
	for _, s := range types[1:] {
		if s.is != first.is {
			return "", order.FieldError{Field: "type", Message: fmt.Sprintf("%s's is %.100q, %s's is %.100q: which of them it is cannot be known", first.by, first.is, s.by, s.is)}
		}
	}
	if !slices.Contains(wanted, first.is) {
		return "", order.FieldError{Field: "type", Message: fmt.Sprintf("%s's is %.200q, only %s is handled here", first.by, first.is, strings.Join(wanted, " or "))}
	}
	return first.is, nil
}

// attributes is what a message's attributes say, or a notification's.
func attributes(of string, all map[string]string) (trace string, types []said) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		switch {
		case IsTypeAttribute(name):
			types = append(types, said{fmt.Sprintf("the %s attribute %s", of, name), all[name]})
		case trace == "" && isOne(name, traceAttributes):
			trace = all[name]
		}
	}
	return trace, types
}

func open(body []byte) (layer, error) {
	var p probe
	if json.Unmarshal(body, &p) != nil { // not a JSON object: whoever parses it says why
		return layer{inner: body, kind: EnvelopeNone}, nil //nolint:nilerr // not an envelope
	}
	kind, isText := jsonString(p.Type)
	message, hasMessage := jsonString(p.Message)
	topic, _ := jsonString(p.TopicArn)
	version, _ := jsonString(p.SpecVersion) // a number is our own specVersion, which matches without case
	switch {
	case kind == "Notification" && hasMessage && topic != "":
		trace, types := attributes("SNS", notified(p.Attributes))
		return layer{[]byte(message), EnvelopeSNS, trace, types}, once(body, probe{})
	case version == "1.0" && len(p.Source) > 0 && len(p.ID) > 0:
		l := layer{kind: EnvelopeCloudEvent, types: []said{{"the CloudEvent", kind}}}
		if err := once(body, probe{}); err != nil {
			return l, err
		}
		if kind == "" {
			return l, order.FieldError{Field: "type", Message: "the CloudEvent has none"}
		}
		l.trace, _ = jsonString(p.Traceparent) // without it, or with another form of it, there is no trace
		var err error
		l.inner, err = data(p)
		return l, err
	case len(p.DetailType) > 0:
		return bridged(body, p)
	case len(p.Type) > 0 && string(p.Type) != "null":
		if !isText {
			kind = string(p.Type)
		}
		// A field of this name twice: whoever parses it may take the other.
		return layer{inner: body, kind: EnvelopeNone, types: []said{{"the body", kind}}}, once(body, struct {
			Type json.RawMessage `json:"type"`
		}{})
	}
	return layer{inner: body, kind: EnvelopeNone}, nil
}

// bridged opens EventBridge's envelope; see
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html
func bridged(body []byte, p probe) (layer, error) {
	kind, _ := jsonString(p.DetailType)
	l := layer{kind: EnvelopeEventBridge, types: []said{{"the EventBridge event", kind}}}
	if len(p.Type) > 0 && string(p.Type) != "null" { // EventBridge sets none; an input transformer may
		t, ok := jsonString(p.Type)
		if !ok {
			t = string(p.Type)
		}
		l.types = append(l.types, said{"its field type", t})
	}
	if err := once(body, probe{}); err != nil {
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

// text is a JSON string's; ok is false if raw is something else, or nothing.
func jsonString(raw json.RawMessage) (s string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

// notified are the attributes of an SNS notification. One of another form than
// SNS's counts with all its text: nobody knows what it says.
func notified(raw json.RawMessage) map[string]string {
	var all map[string]json.RawMessage
	_ = json.Unmarshal(raw, &all) // no object: there are none
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

// once refuses an envelope in which a field appears twice: what it says would
// depend on who reads it.
func once(body []byte, v any) error {
	if faults := order.Repeated(body, v); len(faults) > 0 {
		return faults[0]
	}
	return nil
}

func data(p probe) ([]byte, error) {
	plain := len(p.Data) > 0 && string(p.Data) != "null"
	if len(p.DataBase64) > 0 && string(p.DataBase64) != "null" {
		packed, ok := jsonString(p.DataBase64)
		if !ok || plain {
			return nil, order.FieldError{Field: "data_base64", Message: "must be text, and the event's only data"}
		}
		b, err := base64.StdEncoding.DecodeString(packed)
		if err != nil {
			return nil, fmt.Errorf("data_base64: %w", err)
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
