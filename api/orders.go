package api

import (
	"context"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// orderInput leaves the body unparsed: order.Parse validates all orders, also those from
// the queue.
type orderInput struct {
	Type string `header:"ce-type" enum:"OrderPlaced" doc:"Type of the event, for a CloudEvent in binary mode. Optional."`

	RawBody []byte `contentType:"application/json"`
}

// Resolve rejects two ce-type headers: huma reads only the first.
func (*orderInput) Resolve(ctx huma.Context) []error {
	n := 0
	ctx.EachHeader(func(name, _ string) {
		if strings.EqualFold(name, "ce-type") {
			n++
		}
	})
	if n > 1 {
		return []error{&huma.ErrorDetail{Location: "header.ce-type", Message: givenTwice}}
	}
	return nil
}

// Accepted is the response for an order that was accepted.
type Accepted struct {
	OrderID string       `json:"orderId" doc:"Id of the order and of its saga." example:"o-1042"`
	Status  order.Status `json:"status" example:"PENDING"`
	Saga    string       `json:"saga" doc:"Path of the saga." example:"/v1/sagas/o-1042"`
}

type acceptedOutput struct {
	Location string `header:"Location" doc:"Path of the saga."`
	Body     Accepted
}

func accepted(id string, st order.Status) *acceptedOutput {
	path := "/v1/sagas/" + id
	return &acceptedOutput{Location: path, Body: Accepted{OrderID: id, Status: st, Saga: path}}
}

func (s *server) orders(h huma.API) {
	h.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[order.Order](), true, "Order")
	// order.Parse accepts these two as well, and nothing else.
	properties := h.OpenAPI().Components.Schemas.Map()["Order"].Properties
	properties["type"] = &huma.Schema{Type: huma.TypeString, Enum: []any{events.TypeOrderPlaced}, Description: "Optional."}
	properties["metadata"] = &huma.Schema{
		Type: huma.TypeObject, AdditionalProperties: true, Description: "For the producer's own use: neither read nor stored.",
	}
	body := &huma.RequestBody{Required: true, Description: "An OrderPlaced event, version 1."}
	refusals := []int{
		http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
		http.StatusUnprocessableEntity, http.StatusServiceUnavailable,
	}
	huma.Register(h, huma.Operation{
		OperationID: "placeOrder", Method: http.MethodPost, Path: "/v1/orders", Tags: []string{"orders"},
		Summary: "Place an order",
		Description: "Records the order as PENDING, then publishes OrderPlaced to the OrderEvents topic. " +
			"A repetition with the same content returns the same response. Repeat the request if there was no response, or one of 500 and above: " +
			"the order may be recorded, and then its saga runs also without a repetition. " +
			"A different order with the same id gets 409.",
		DefaultStatus: http.StatusAccepted, RequestBody: body, SkipValidateBody: true, MaxBodyBytes: maxBody + 1, Errors: refusals,
	}, s.placeOrder)
	huma.Register(h, huma.Operation{
		OperationID: "startSaga", Method: http.MethodPost, Path: "/v1/sagas", Tags: []string{"sagas"},
		Summary:       "Start the saga of an order directly",
		Description:   "Does not use the queue. A repetition with the same content returns the same response.",
		DefaultStatus: http.StatusAccepted, RequestBody: body, SkipValidateBody: true, MaxBodyBytes: maxBody + 1, Errors: refusals,
	}, s.startSaga)
}

var example = map[string]any{
	"specVersion": 1, "orderId": "o-1042", "customerId": "c-7", "currency": "EUR",
	"lines":    []any{map[string]any{"sku": "SKU-1", "quantity": 2, "unitPrice": 1999}},
	"shipping": 490, "total": 4488,
	"payment": map[string]any{"token": "tok_ok"},
	"shipTo": map[string]any{
		"name": "Ada Example", "line1": "1 Loopback Lane", "line2": "Flat 12b", "city": "Berlin", "postalCode": "10115", "country": "DE",
		"phone": "+49 30 000000",
	},
	"placedAt": "2026-11-23T10:00:00Z",
}

func (s *server) placeOrder(ctx context.Context, in *orderInput) (*acceptedOutput, error) {
	o, err := order.Parse(in.RawBody)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	tracing.Concerns(ctx, o.OrderID)
	ctx, cancel := detached(ctx)
	defer cancel()
	// It is recorded before it is published, so that a different order with the same id is
	// rejected in the response, and not by a dead letter later.
	rec, _, err := s.Orders.AcceptQueued(ctx, o)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	if rec.Status == order.StatusPending { // new, or its publication may have failed
		err := s.Publisher.PublishOrder(ctx, o)
		if err != nil {
			return nil, s.failed(ctx, err)
		}
	}
	return accepted(o.OrderID, order.StatusPending), nil
}

func (s *server) startSaga(ctx context.Context, in *orderInput) (*acceptedOutput, error) {
	o, err := order.Parse(in.RawBody)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	tracing.Concerns(ctx, o.OrderID)
	ctx, cancel := detached(ctx)
	defer cancel()
	_, _, err = s.Starter.Start(ctx, o)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	return accepted(o.OrderID, order.StatusPending), nil
}
