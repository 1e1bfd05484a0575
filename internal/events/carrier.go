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
	SpecVersion int    `json:"specVersion"`
	Type        string `json:"type"`
	ShipmentID  string `json:"shipmentId"` // of the ShipmentRequest
	OrderID     string `json:"orderId"`
	TrackingID  string `json:"trackingId,omitempty"`
	Reason      string `json:"reason,omitempty"` // of a refusal, at most text.Max bytes
}

// ParseCarrierAnswer decodes and validates a carrier's answer. Unknown fields
// are ignored, and a long reason is cut. An error names the field that is wrong.
func ParseCarrierAnswer(e Event) (a CarrierAnswer, err error) {
	raw, faults := order.Tolerant(e.Payload, a)
	if len(faults) > 0 {
		return a, faults[0]
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok { // its text has Go's type names
			return a, order.FieldError{Field: cmp.Or(wrong.Field, "body"), Message: "must not be a JSON " + wrong.Value + " in a carrier's answer"}
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
		return a, errors.New("orderId: " + order.IDRule)
	case a.ShipmentID == "":
		return a, errors.New("shipmentId: is missing; it is that of the shipment request")
	case a.TrackingID != "" && !text.IsID(a.TrackingID):
		return a, fmt.Errorf("trackingId: has %d bytes; an id is valid UTF-8 of at most %d, without control characters", len(a.TrackingID), text.MaxID)
	}
	a.Reason = text.Cut(a.Reason, text.Max)
	return a, nil
}
