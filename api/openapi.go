package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordersaga/ordersaga/internal/auth"
	"github.com/ordersaga/ordersaga/internal/deadletter"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/fleet"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// document adds to an operation its examples and what all operations have in common: the
// rejections before its handler is called.
func (s *server) document(doc *huma.OpenAPI, op *huma.Operation) {
	delete(op.Responses, "default") // each status is listed
	refusals := []int{
		http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity,
		http.StatusInternalServerError, http.StatusServiceUnavailable,
	}
	if s.Auth == nil {
		refusals = append(refusals, http.StatusMisdirectedRequest) // see OnLoopback
	}
	if isProtected(op.Path) {
		refusals = append(refusals, http.StatusForbidden) // also for a page of another origin
		if s.Auth != nil {
			refusals = append(refusals, http.StatusUnauthorized)
		}
		if s.limit.requests != nil || op.Responses["200"] != nil && op.Responses["200"].Content["text/event-stream"] != nil {
			refusals = append(refusals, http.StatusTooManyRequests)
		}
	}
	for _, status := range refusals {
		if code := strconv.Itoa(status); op.Responses[code] == nil {
			op.Responses[code] = &huma.Response{Description: http.StatusText(status), Content: map[string]*huma.MediaType{
				"application/problem+json": {Schema: &huma.Schema{Ref: "#/components/schemas/ErrorModel"}},
			}}
		}
	}
	if r := op.Responses[strconv.Itoa(http.StatusTooManyRequests)]; r != nil {
		r.Headers = map[string]*huma.Param{"Retry-After": {Description: "Seconds until a retry.", Schema: &huma.Schema{Type: huma.TypeInteger}}}
	}
	if op.OperationID == "placeOrder" || op.OperationID == "startSaga" { // huma documents a raw body as a file
		op.RequestBody.Content["application/json"].Schema = &huma.Schema{Ref: "#/components/schemas/Order"}
	}
	eg := examples()[op.OperationID]
	if op.RequestBody != nil && eg.in != nil {
		op.RequestBody.Content["application/json"].Example = eg.in
	}
	for code, r := range op.Responses {
		content := r.Content
		switch {
		case code[0] == '2' && content["application/json"] != nil:
			content["application/json"].Example = eg.out
		case code[0] == '2' && content["text/event-stream"] != nil:
			content["text/event-stream"].Example = eg.out
		case content["application/problem+json"] != nil:
			status, _ := strconv.Atoi(code) // a code is always a number
			content["application/problem+json"].Example = huma.ErrorModel{
				Title: http.StatusText(status), Status: status, Detail: "the order is not valid",
				Errors: []*huma.ErrorDetail{{Location: "body.lines[0].quantity", Message: "must be 1 to 10000, got 0"}},
			}
		}
	}
	doc.Components.Schemas.Map()["ErrorModel"].AdditionalProperties = true // RFC 9457: clients ignore unknown members
}

// given is the example request body and response of an operation.
type given struct{ in, out any }

// examples returns the examples by operation. They are typed, so that they change with the
// types; a test checks them against the schemas.
func examples() map[string]given {
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	note := ActionNote{By: "ann", Note: "known customer"}
	one := Saga{
		OrderID: "o-1042", CustomerID: "c-7", Status: order.StatusAwaitingApproval, Currency: "EUR", Total: 399_800,
		Lines:     []order.Line{{SKU: "SKU-1", Quantity: 2, UnitPrice: 199_900}},
		ShipTo:    &order.Address{Name: "Ada Example", Line1: "1 Loopback Lane", City: "Berlin", PostalCode: "10115", Country: "DE"},
		CreatedAt: at, UpdatedAt: at.Add(20 * time.Millisecond),
		Runtime: engine.Running, Step: "approval", Cancellable: true,
	}
	whole := one
	whole.Engine = "embedded"
	acted := one
	acted.Notes = []Note{{At: "2026-11-23T10:05:00.000000000Z", Actor: "ann", Action: "approve", Text: "known customer"}}
	level := toLevel(orderstore.Level{SKU: "SKU-1", Available: 96, Reserved: 1, Sold: 3, Received: 100, Counts: 1})
	view := Overview{
		At: at, Unknown: []string{}, Live: map[order.Status]int{order.StatusPaid: 3, order.StatusNeedsAttention: 1}, Low: []Level{},
		Ended:   map[order.Status]Count{order.StatusCompleted: {N: 1000, More: true}, order.StatusFailed: {N: 12}},
		Workers: []Worker{{ID: "worker-1/1", Sagas: 4, SeenAt: at}}, Stuck: Count{N: 1},
		Queues: []Queue{{Name: "OrderProcessingQueue", Visible: 12, InFlight: 8, Dead: 1}},
		Recent: Recent{
			Since: at.Add(-fleet.RecentTime), Started: 40, Ended: map[order.Status]int{order.StatusCompleted: 35},
			P50: 0.24, P99: 1.9, Starts: []float64{0.6, 1}, Ends: []float64{0.4, 1},
			EndsByStatus: map[order.Status][]float64{order.StatusCompleted: {0.4, 1}},
			Latency:      []LatencyBucket{{UpTo: 0.5, Count: 30}, {UpTo: 2, Count: 5}},
		},
	}
	letter := deadletter.Message{
		ID: "5c0f7b1e-0000-4000-8000-000000000000", Queue: "OrderProcessingQueue", SentAt: at,
		Reason: "invalid order: lines[0].quantity: must be 1 to 10000, got 0", Body: `{"orderId":"o-1043"}`,
	}
	zero := 0
	events := History{Events: []engine.Event{
		{ID: 0, At: at, Type: "TaskScheduled", Name: workflows.ReserveStock},
		{ID: -1, At: at.Add(4 * time.Millisecond), Type: "TaskCompleted", RelatesTo: &zero},
	}}
	levels, letters, queues := levelsOutput{}, deadLettersOutput{}, queuesOutput{}
	levels.Body.Stock, letters.Body.Letters, queues.Body.Queues = []Level{level}, []deadletter.Message{letter}, view.Queues
	all, healthy, set := redriveAllOutput{}, healthOutput{}, setInput{}
	all.Body.Redriven, healthy.Body.Status, set.Body.OnHand = 13, "ok", 100
	until := at.Add(time.Hour)
	reconciled := reconcile.Reconciliation{
		Report:    reconcile.Report{Orders: 12, Reservations: 9, Charges: 9, Findings: []reconcile.Finding{}},
		StartedAt: at, EndedAt: at.Add(time.Second),
	}
	stream := func(event string, data any) []map[string]any { return []map[string]any{{"event": event, "data": data}} }

	placed := given{in: example, out: accepted("o-1042", order.StatusPending).Body}
	act := given{in: note, out: acted}
	byHand := ActionNote{By: "ann", Note: "refunded at the bank"}
	resolved := given{in: ResolveRequest{ActionNote: byHand, Action: saga.ActionResolve}, out: acted}
	byPhone := ActionNote{By: "ann", Note: "called on the phone"}
	return map[string]given{
		"placeOrder": placed, "startSaga": placed,
		"listSagas":  {out: List{Sagas: []Saga{one}, Next: "MToyMDI2LTExLTIz"}},
		"getSaga":    {out: whole},
		"getHistory": {out: events},
		"followSaga": {out: stream("saga", one)},

		"cancelSaga":  {in: CancelRequest{ActionNote: byPhone, For: orderstore.Customer}, out: acted},
		"approveSaga": act, "rejectSaga": act, "suspendSaga": act, "resumeSaga": act, "terminateSaga": act,
		"resolveSaga": resolved, "retrySaga": resolved,
		"forgetCustomer": {
			in:  ActionNote{By: "ann", Note: "request of 23 November"},
			out: Forgotten{Erased: 12, Open: []string{"o-1042"}, Letters: 1},
		},
		"reconcile": {out: reconciled}, "getReconciliation": {out: reconciled},

		"overview": {out: view}, "followOverview": {out: stream("overview", view)},
		"listStock": {out: levels.Body}, "getStock": {out: level}, "setStock": {in: set.Body, out: level},
		"listQueues": {out: queues.Body}, "listDeadLetters": {out: letters.Body},
		"redriveDeadLetter":  {in: map[string]string{"body": `{"orderId":"o-1043","customerId":"c-7"}`}},
		"redriveDeadLetters": {out: all.Body}, "deleteDeadLetter": {},

		"load": {out: Backlog{Work: 9, Live: 12, Asleep: 3}}, "healthz": {out: healthy.Body}, "readyz": {out: healthy.Body},
		"whoAmI": {out: Who{Name: "ann", Subject: "auth0|5f7c", Roles: []auth.Role{auth.Operator}, Until: &until}},
	}
}
