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

// orderInput takes the body as it comes: order.Parse is the one judge of what
// an order is, here as for messages from the queue.
type orderInput struct {
	Type string `header:"ce-type" enum:"OrderPlaced" doc:"The event's type, of a CloudEvent in binary mode. May be left out."`

	RawBody []byte `contentType:"application/json"`
}

// Resolve refuses a type that is stated twice: huma reads the first header only.
func (*orderInput) Resolve(ctx huma.Context) []error {
	n := 0
	ctx.EachHeader(func(name, _ string) {
		if strings.EqualFold(name, "ce-type") {
			n++
		}
	})
	if n > 1 {
		return []error{&huma.ErrorDetail{Location: "header.ce-type", Message: "is given more than once"}}
	}
	return nil
}

// Accepted answers an order that has been taken.
type Accepted struct {
	OrderID string       `json:"orderId" example:"o-1042"`
	Status  order.Status `json:"status" example:"PENDING"`
	Saga    string       `json:"saga" doc:"Where to follow it." example:"/v1/sagas/o-1042"`
}

type acceptedOutput struct {
	Location string `header:"Location" doc:"Where to follow the saga."`
	Body     Accepted
}

func accepted(id string, st order.Status) *acceptedOutput {
	at := "/v1/sagas/" + id
	return &acceptedOutput{Location: at, Body: Accepted{OrderID: id, Status: st, Saga: at}}
}

func (s *server) orders(h huma.API) {
	h.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[order.Order](), true, "Order")
	// What order.Parse takes besides the order itself; it refuses all else.
	properties := h.OpenAPI().Components.Schemas.Map()["Order"].Properties
	properties["type"] = &huma.Schema{Type: huma.TypeString, Enum: []any{events.TypeOrderPlaced}, Description: "May be left out."}
	properties["metadata"] = &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Description: "For the producer's own use: neither read nor kept."}
	body := &huma.RequestBody{Required: true, Description: "An OrderPlaced event, version 1."}
	conflict := []int{http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusServiceUnavailable}
	huma.Register(h, huma.Operation{
		OperationID: "placeOrder", Method: http.MethodPost, Path: "/v1/orders", Tags: []string{"orders"},
		Summary: "Place an order", Description: "Records the order as PENDING, then publishes OrderPlaced to the OrderEvents topic. Repeating the request with the same content gives the same answer, " +
			"and is the right thing to do after no answer or one of 500 and above: the order may be recorded, and then its saga runs sooner or later also without a repetition. " +
			"Another order under the same id is a conflict, told at once.",
		DefaultStatus: http.StatusAccepted, RequestBody: body, SkipValidateBody: true, MaxBodyBytes: maxBody + 1, Errors: conflict,
	}, s.placeOrder)
	huma.Register(h, huma.Operation{
		OperationID: "startSaga", Method: http.MethodPost, Path: "/v1/sagas", Tags: []string{"sagas"},
		Summary: "Start the saga of an order directly", Description: "Does not go through the queue. Repeating the request with the same content gives the same answer.",
		DefaultStatus: http.StatusAccepted, RequestBody: body, SkipValidateBody: true, MaxBodyBytes: maxBody + 1, Errors: conflict,
	}, s.startSaga)
}

var example = map[string]any{
	"specVersion": 1, "orderId": "o-1042", "customerId": "c-7", "currency": "EUR",
	"lines":    []any{map[string]any{"sku": "SKU-1", "quantity": 2, "unitPrice": 1999}},
	"shipping": 490, "total": 4488,
	"payment":  map[string]any{"token": "tok_ok"},
	"shipTo":   map[string]any{"name": "Ada Example", "line1": "1 Loopback Lane", "line2": "Flat 12b", "city": "Berlin", "postalCode": "10115", "country": "DE", "phone": "+49 30 000000"},
	"placedAt": "2026-11-23T10:00:00Z",
}

func (s *server) placeOrder(ctx context.Context, in *orderInput) (*acceptedOutput, error) {
	o, err := order.Parse(in.RawBody)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	tracing.Concerns(ctx, o.OrderID)
	ctx, cancel := carriedOut(ctx)
	defer cancel()
	// Recorded before it is published: another order under the same id is told
	// so here and now, and not by a dead letter later.
	rec, _, err := s.Orders.AcceptQueued(ctx, o)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	if rec.Status == order.StatusPending { // new, or its publication may have failed
		if err := s.Publisher.PublishOrder(ctx, o); err != nil {
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
	ctx, cancel := carriedOut(ctx)
	defer cancel()
	if _, _, err := s.Starter.Start(ctx, o); err != nil {
		return nil, s.failed(ctx, err)
	}
	return accepted(o.OrderID, order.StatusPending), nil
}
