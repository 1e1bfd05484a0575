package importer

import (
	"encoding/json"
	"errors"

	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/order"
)

// fromCloudEvents unwraps an OrderPlaced event from its envelope: a CloudEvent, an SNS
// notification or an EventBridge event. The options replace missing fields.
func fromCloudEvents(raw []byte, o Options) (order.Order, []Note, error) {
	refuse := func(field, message string) (order.Order, []Note, error) {
		n := []Note{{Field: field, Message: message, Refused: true}}
		return order.Order{}, n, &RefusedError{Notes: n}
	}
	e, err := events.Unwrap(events.Message{Body: raw}, events.TypeOrderPlaced)
	if err != nil {
		if f, ok := errors.AsType[order.FieldError](err); ok {
			return refuse(f.Field, f.Message)
		}
		return refuse("body", err.Error())
	}
	if e.Kind == events.EnvelopeNone {
		return refuse("body", "is not a CloudEvent: specversion 1.0, id and source are required")
	}
	payload := e.Payload
	var all map[string]json.RawMessage
	if json.Unmarshal(payload, &all) == nil && len(all) > 0 { // otherwise Parse reports what is wrong
		fill := func(key, with string, value any) {
			if _, there := all[key]; there || with == "" {
				return
			}
			b, _ := json.Marshal(value) // strings only: no error
			// In the text and not in the map: a repeated field must stay repeated.
			payload = append([]byte(`{"`+key+`":`+string(b)+`,`), trimOpen(payload)...)
		}
		fill("payment", o.PaymentToken, order.Payment{Token: o.PaymentToken})
		fill("customerId", o.CustomerID, o.CustomerID)
	}
	out, err := order.Parse(payload)
	if invalid, ok := errors.AsType[*order.InvalidError](err); ok {
		var notes []Note
		for _, f := range invalid.Fields {
			notes = append(notes, Note{Field: "data." + f.Field, Message: f.Message, Refused: true})
		}
		return order.Order{}, notes, &RefusedError{Notes: notes}
	}
	if err != nil {
		return refuse("data", err.Error())
	}
	var notes []Note
	if m := all["metadata"]; m != nil && !zero.Match(m) {
		notes = append(notes, Note{Field: "data.metadata", Message: "has no counterpart and is left out"})
	}
	total := out.Total() // equal to the event's own total, if it has one
	out.Agreed = &total
	return out, notes, nil
}

// trimOpen returns a JSON object without its opening brace.
func trimOpen(object []byte) []byte {
	for i, b := range object {
		if b == '{' {
			return object[i+1:]
		}
	}
	return object
}
