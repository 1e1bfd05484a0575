package importer

import (
	"encoding/json"
	"errors"

	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/order"
)

// fromCloudEvents takes our own event out of its envelope: a CloudEvent of type
// OrderPlaced, or an SNS notification or an EventBridge event. The options fill
// in what it lacks.
func fromCloudEvents(raw []byte, o Options) (order.Order, []Note, error) {
	refuse := func(field, message string) (order.Order, []Note, error) {
		n := []Note{{field, message, true}}
		return order.Order{}, n, &RefusedError{n}
	}
	e, err := events.Unwrap(events.Message{Body: raw}, events.TypeOrderPlaced)
	if err != nil {
		if f, ok := errors.AsType[order.FieldError](err); ok {
			return refuse(f.Field, f.Message)
		}
		return refuse("body", err.Error())
	}
	if e.Kind == events.EnvelopeNone {
		return refuse("body", "is no CloudEvent: specversion 1.0, id and source must be there")
	}
	payload := e.Payload
	var all map[string]json.RawMessage
	if json.Unmarshal(payload, &all) == nil && len(all) > 0 { // else Parse says what is wrong
		fill := func(key, with string, value any) {
			if _, there := all[key]; there || with == "" {
				return
			}
			b, _ := json.Marshal(value) // text
			// In the text and not in the map: a field that is there twice must stay so.
			payload = append([]byte(`{"`+key+`":`+string(b)+`,`), trimOpen(payload)...)
		}
		fill("payment", o.PaymentToken, order.Payment{Token: o.PaymentToken})
		fill("customerId", o.CustomerID, o.CustomerID)
	}
	out, err := order.Parse(payload)
	if invalid, ok := errors.AsType[*order.InvalidError](err); ok {
		var notes []Note
		for _, f := range invalid.Fields {
			notes = append(notes, Note{"data." + f.Field, f.Message, true})
		}
		return order.Order{}, notes, &RefusedError{notes}
	}
	if err != nil {
		return refuse("data", err.Error())
	}
	var notes []Note
	if m := all["metadata"]; m != nil && !zero.Match(m) {
		notes = append(notes, Note{"data.metadata", "has no place in our order, and is left out", false})
	}
	total := out.Total() // what the event itself says it is, if it does
	out.Agreed = &total
	return out, notes, nil
}

// trimOpen is a JSON object without what opens it.
func trimOpen(object []byte) []byte {
	for i, b := range object {
		if b == '{' {
			return object[i+1:]
		}
	}
	return object
}
