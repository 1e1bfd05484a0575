package events

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/text"
)

// CarrierAnswer is the carrier's answer to a shipment request: ShipmentDispatched
// or ShipmentRefused, version 1.
type CarrierAnswer struct {
	SpecVersion int    `json:"specVersion" required:"false" enum:"1" doc:"Version of this event; 1 when absent."`
	Type        string `json:"type" required:"false" doc:"Required unless the envelope states it."`
	ShipmentID  string `json:"shipmentId" minLength:"1" doc:"That of the ShipmentRequested event."`
	OrderID     string `json:"orderId" minLength:"1" maxLength:"64" doc:"That of the ShipmentRequested event."`
	TrackingID  string `json:"trackingId,omitempty" maxLength:"200" doc:"Of one parcel. A dispatched order may have several."`
	Reason      string `json:"reason,omitempty" doc:"Of a refusal. Only the first 1000 characters are kept."`
}

// ParseCarrierAnswer decodes and validates a carrier's answer. Unknown fields are ignored, and
// a reason longer than text.Max characters is cut. An error begins with the name of the
// invalid field; it is permanent.
func ParseCarrierAnswer(e Event) (a CarrierAnswer, err error) {
	raw, faults := order.Tolerant(e.Payload, a)
	if len(faults) > 0 {
		return a, faults[0]
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok { // its text contains names of Go types
			return a, order.FieldError{
				Field: cmp.Or(wrong.Field, "body"), Message: "must not be a JSON " + wrong.Value + " in a carrier's answer",
			}
		}
		return a, fmt.Errorf("body: is not a carrier's answer: %w", err)
	}
	a.Type = cmp.Or(a.Type, e.Type) // the envelope may be the only place that states it
	switch {
	case a.SpecVersion != 0 && a.SpecVersion != SpecVersion:
		return a, fmt.Errorf("specVersion: is %d, only %d is supported", a.SpecVersion, SpecVersion)
	case a.Type != TypeShipmentDispatched && a.Type != TypeShipmentRefused:
		return a, fmt.Errorf("type: %.100q is neither %s nor %s", a.Type, TypeShipmentDispatched, TypeShipmentRefused)
	case !order.ValidID(a.OrderID):
		return a, order.FieldError{Field: "orderId", Message: order.IDRule}
	case a.ShipmentID == "":
		return a, errors.New("shipmentId: is missing; it is that of the shipment request")
	case a.TrackingID != "" && !text.IsID(a.TrackingID):
		return a, fmt.Errorf("trackingId: has %d bytes; an id is valid UTF-8 of at most %d, without control characters",
			len(a.TrackingID), text.MaxID)
	}
	a.Reason = text.Cut(a.Reason, text.Max)
	return a, nil
}
