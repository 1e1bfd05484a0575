package openapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/ordersaga/ordersaga/internal/testkit"
)

// shop is the generated client of a running system.
type shop struct {
	*judge
	*ClientWithResponses
	testkit.System
}

func open(t *testing.T) shop {
	t.Helper()
	s := newSystem(t)
	j := newJudge(t, served(t, s))
	c, err := NewClientWithResponses(s.API, WithHTTPClient(&http.Client{Transport: j}))
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	return shop{j, c, s}
}

// want returns a function that takes a response and fails unless it has the status.
func want[R interface{ StatusCode() int }](t *testing.T, status int) func(R, error) R {
	t.Helper()
	return func(res R, err error) R {
		t.Helper()
		if err != nil || res.StatusCode() != status {
			t.Fatalf("response = %+v, error = %v, want status %d", res, err, status)
		}
		return res
	}
}

// newOrder returns an order. The carrier refuses one for REFUSE, and its refund fails.
func newOrder(id string, price int64, name string) Order {
	token := "tok_ok"
	if name == "REFUSE" {
		token = "tok_refund_down"
	}
	return Order{
		OrderId: id, CustomerId: "c-1", Currency: "EUR", Lines: []Line{{Sku: "A", Quantity: 2, UnitPrice: price}},
		Payment: Payment{Token: token}, ShipTo: &Address{Name: &name, Country: aws.String("DE")},
	}
}

// until polls through the generated client.
func (s shop) until(id, status, runtime string) *Saga {
	s.Helper()
	var saga *Saga
	testkit.Eventually(s, id+" is "+status+" "+runtime, func() error {
		res, err := s.GetSagaWithResponse(s.Context(), id, nil)
		if err != nil {
			return err
		}
		saga = res.JSON200
		if saga == nil || saga.Status != status || runtime != "" && (saga.RuntimeStatus == nil || *saga.RuntimeStatus != runtime) {
			return fmt.Errorf("%s", res.Body)
		}
		return nil
	})
	return saga
}

// first returns the name of a stream's first event and checks that its data is JSON.
func (s shop) first(res *http.Response, err error) (event string) {
	s.Helper()
	if err != nil {
		s.Fatalf("unexpected error: %v", err)
	}
	defer res.Body.Close()
	var data string
	for lines := bufio.NewScanner(res.Body); lines.Scan() && data == ""; {
		if v, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			event = v
		}
		data, _ = strings.CutPrefix(lines.Text(), "data: ")
		if data == lines.Text() {
			data = ""
		}
	}
	if !json.Valid([]byte(data)) {
		s.Errorf("%s: data is %q, want JSON", event, data)
	}
	return event
}

// TestEveryOperationMatchesTheDocument sends a request of each operation through the generated client; the
// judge checks requests and responses against the document.
func TestEveryOperationMatchesTheDocument(t *testing.T) {
	s := open(t)
	ctx, ann := t.Context(), ActionNote{By: aws.String("ann"), Note: aws.String("known customer")}

	want[*HealthzResult](t, 200)(s.HealthzWithResponse(ctx))
	want[*ReadyzResult](t, 200)(s.ReadyzWithResponse(ctx))
	want[*LoadResult](t, 200)(s.LoadWithResponse(ctx))
	if me := want[*WhoAmIResult](t, 200)(s.WhoAmIWithResponse(ctx)); !me.JSON200.Open {
		t.Errorf("body of whoami = %s, want open", me.Body)
	}

	if a := want[*PlaceOrderResult](t, 202)(s.PlaceOrderWithResponse(ctx, nil, newOrder("good", 100,
		"Ann"))); a.JSON202.OrderId != "good" || a.HTTPResponse.Header.Get("Location") != "/v1/sagas/good" {
		t.Errorf("accepted order = %s at %q, want good at /v1/sagas/good", a.Body, a.HTTPResponse.Header.Get("Location"))
	}
	want[*StartSagaResult](t, 202)(s.StartSagaWithResponse(ctx, nil, newOrder("direct", 100, "Ann")))
	for _, id := range []string{"approved", "rejected", "cancelled", "terminated"} {
		want[*PlaceOrderResult](t, 202)(s.PlaceOrderWithResponse(ctx, nil, newOrder(id, 100_000, "Ann")))
	}
	want[*PlaceOrderResult](t, 202)(s.PlaceOrderWithResponse(ctx, nil, newOrder("stuck", 100, "REFUSE")))

	if saga := s.until("good", "COMPLETED", "COMPLETED"); saga.Reservation == nil || *saga.Reservation != "SOLD" {
		t.Errorf("saga = %+v, want a SOLD reservation", saga)
	}
	known := want[*GetSagaResult](t, 200)(s.GetSagaWithResponse(ctx, "good", nil)).HTTPResponse.Header.Get("ETag")
	want[*GetSagaResult](t, 304)(s.GetSagaWithResponse(ctx, "good", &GetSagaParams{IfNoneMatch: &[]string{known}}))
	if h := want[*GetHistoryResult](t, 200)(s.GetHistoryWithResponse(ctx, "good", nil)); len(h.JSON200.Events) < 5 {
		t.Errorf("history = %s, want at least 5 events", h.Body)
	}
	if e := s.first(s.FollowSaga(ctx, "good")); e != "saga" {
		t.Errorf("first event = %q, want saga", e)
	}
	s.until("direct", "COMPLETED", "COMPLETED")

	s.until("approved", "AWAITING_APPROVAL", "")
	want[*SuspendSagaResult](t, 202)(s.SuspendSagaWithResponse(ctx, "approved", ann))
	s.until("approved", "AWAITING_APPROVAL", "SUSPENDED")
	want[*ResumeSagaResult](t, 202)(s.ResumeSagaWithResponse(ctx, "approved", ann))
	want[*ApproveSagaResult](t, 202)(s.ApproveSagaWithResponse(ctx, "approved", ann))
	s.until("approved", "COMPLETED", "COMPLETED")
	s.until("rejected", "AWAITING_APPROVAL", "")
	want[*RejectSagaResult](t, 202)(s.RejectSagaWithResponse(ctx, "rejected", ann))
	s.until("rejected", "CANCELLED", "")
	s.until("cancelled", "AWAITING_APPROVAL", "")
	customer := CancelRequestFor("customer")
	cancel := CancelRequest{By: ann.By, Note: ann.Note, For: &customer}
	want[*CancelSagaResult](t, 202)(s.CancelSagaWithResponse(ctx, "cancelled", cancel))
	s.until("cancelled", "CANCELLED", "")
	s.until("terminated", "AWAITING_APPROVAL", "")
	want[*TerminateSagaResult](t, 202)(s.TerminateSagaWithResponse(ctx, "terminated", ann))
	s.until("stuck", "NEEDS_ATTENTION", "")
	stuck := want[*ListSagasResult](t, 200)(s.ListSagasWithResponse(ctx, &ListSagasParams{Stuck: aws.Bool(true)}))
	if len(stuck.JSON200.Sagas) == 0 || stuck.JSON200.Sagas[0].LastError == nil {
		t.Errorf("stuck list = %s, want a saga with its last error", stuck.Body)
	}
	resolve := ResolveRequestAction("resolve")
	resolution := ResolveRequest{Action: &resolve, By: ann.By, Note: aws.String("refunded at the bank")}
	want[*ResolveSagaResult](t, 202)(s.ResolveSagaWithResponse(ctx, "stuck", resolution))
	s.until("stuck", "FAILED", "")
	want[*RetrySagaResult](t, 409)(s.RetrySagaWithResponse(ctx, "stuck", resolution))
	want[*PurgeSagaResult](t, 204)(s.PurgeSagaWithResponse(ctx, "good", &PurgeSagaParams{By: ann.By, Note: aws.String("over")}))
	want[*ReconcileResult](t, 200)(s.ReconcileWithResponse(ctx))
	if run := want[*GetReconciliationResult](t, 200)(s.GetReconciliationWithResponse(ctx)); run.JSON200.StartedAt == nil ||
		run.JSON200.Running {
		t.Errorf("reconciliation = %s, want one that has started and ended", run.Body)
	}

	page := want[*ListSagasResult](t, 200)(s.ListSagasWithResponse(ctx, &ListSagasParams{Limit: aws.Int64(3), Since: aws.String("1h")}))
	want[*ListSagasResult](t, 200)(s.ListSagasWithResponse(ctx, &ListSagasParams{
		Limit: aws.Int64(3), Cursor: page.JSON200.Next,
		Status: &[]ListSagasParamsStatus{"COMPLETED", "FAILED"}, Customer: aws.String("c-1"), Sku: aws.String("A"), Before: aws.String("0s"),
	}))
	want[*OverviewResult](t, 200)(s.OverviewWithResponse(ctx))
	if e := s.first(s.FollowOverview(ctx)); e != "overview" {
		t.Errorf("first event = %q, want overview", e)
	}

	want[*ListStockResult](t, 200)(s.ListStockWithResponse(ctx, &ListStockParams{Limit: aws.Int64(1)}))
	none := want[*GetStockResult](t, 200)(s.GetStockWithResponse(ctx, "NONE")).HTTPResponse.Header.Get("ETag")
	if l := want[*SetStockResult](t, 200)(s.SetStockWithResponse(ctx, "NONE", &SetStockParams{IfMatch: &none},
		SetInputBody{OnHand: 7})); l.JSON200.Available != 7 {
		t.Errorf("stock level = %s, want 7 available", l.Body)
	}
	want[*SetStockResult](t, 412)(s.SetStockWithResponse(ctx, "NONE", &SetStockParams{IfMatch: &none}, SetInputBody{OnHand: 8}))

	s.deadLetters(ctx)

	want[*GetSagaResult](t, 404)(s.GetSagaWithResponse(ctx, "nobody", nil))
	want[*CancelSagaResult](t, 409)(s.CancelSagaWithResponse(ctx, "approved", cancel))
	want[*PlaceOrderResult](t, 409)(s.PlaceOrderWithResponse(ctx, nil, newOrder("good", 999, "Bob")))
	want[*ListSagasResult](t, 400)(s.ListSagasWithResponse(ctx, &ListSagasParams{Cursor: aws.String("broken")}))

	if f := want[*ForgetCustomerResult](t, 200)(s.ForgetCustomerWithResponse(ctx, "c-1", ann)); f.JSON200.Erased < 5 {
		t.Errorf("result = %s, want at least 5 erased orders", f.Body)
	}

	for path, item := range s.model.Paths.PathItems.FromOldest() {
		for method, op := range item.GetOperations().FromOldest() {
			if len(s.seen[op.OperationId]) == 0 {
				t.Errorf("no request of %s %s (%s) was sent, want one of each", method, path, op.OperationId)
			}
		}
	}
}

func (s shop) deadLetters(ctx context.Context) {
	s.Helper()
	const queue = "OrderProcessingQueue"
	if _, err := s.Clients.SQS.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl:    &s.Resources.OrderQueue,
		MessageBody: aws.String(`{"orderId":"bad"}`),
	}); err != nil {
		s.Fatalf("unexpected error: %v", err)
	}
	var letter Message
	testkit.Eventually(s, "it is a dead letter", func() error {
		l, err := s.ListDeadLettersWithResponse(ctx, queue, &ListDeadLettersParams{Limit: aws.Int64(10)})
		if err != nil {
			return err
		}
		if l.JSON200 == nil || l.JSON200.Letters == nil || len(*l.JSON200.Letters) == 0 {
			return errors.New(string(l.Body))
		}
		letter = (*l.JSON200.Letters)[0]
		return nil
	})
	repaired, err := json.Marshal(newOrder("repaired", 100, "Ann"))
	if err != nil {
		s.Fatalf("unexpected error: %v", err)
	}
	want[*RedriveDeadLetterResult](s.T, 204)(s.RedriveDeadLetterWithResponse(ctx, queue, letter.Id,
		RedriveInputBody{Body: aws.String(string(repaired))}))
	s.until("repaired", "COMPLETED", "")
	want[*ListQueuesResult](s.T, 200)(s.ListQueuesWithResponse(ctx))
	rate := 10.0
	want[*RedriveDeadLettersResult](s.T, 200)(s.RedriveDeadLettersWithResponse(ctx, queue, &RedriveDeadLettersParams{Rate: &rate}))
	want[*RedriveDeadLetterResult](s.T, 404)(s.RedriveDeadLetterWithResponse(ctx, queue, "nobody", RedriveInputBody{}))
	want[*DeleteDeadLetterResult](s.T, 404)(s.DeleteDeadLetterWithResponse(ctx, queue, "nobody",
		&DeleteDeadLetterParams{By: aws.String("ann"), Note: aws.String("sent by hand")}))
}

// TestJudgeReportsContradictions: if it did not, the other tests could not fail.
func TestJudgeReportsContradictions(t *testing.T) {
	s := newSystem(t)
	available := regexp.MustCompile(`"available":\{[^}]*"type":"integer"\}`)
	document := served(t, s)
	if n := len(available.FindAll(document, -1)); n != 1 {
		t.Fatalf("numbers named available in the document = %d, want 1", n)
	}
	j := newJudge(t, available.ReplaceAll(document, []byte(`"available":{"type":"string"}`)))
	var faults []string
	j.fault = func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	c, err := NewClientWithResponses(s.API, WithHTTPClient(&http.Client{Transport: j}))
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	if _, err := c.GetStockWithResponse(t.Context(), "A"); err != nil || len(faults) == 0 || !strings.HasPrefix(faults[0], "response to GET") {
		t.Errorf("response that contradicts the document: faults = %v, error = %v, want a fault of the response", faults, err)
	}
	faults = nil
	if _, err := c.ListStockWithResponse(t.Context(), &ListStockParams{Limit: aws.Int64(0)}); err != nil || len(faults) == 0 ||
		!strings.HasPrefix(faults[0], "request GET") {
		t.Errorf("request that the document does not allow: faults = %v, error = %v, want a fault of the request", faults, err)
	}
}

// TestExamplesMatchTheirSchemas also checks that each operation has examples.
func TestExamplesMatchTheirSchemas(t *testing.T) {
	s := open(t)
	for path, item := range s.model.Paths.PathItems.FromOldest() {
		for method, op := range item.GetOperations().FromOldest() {
			what := method + " " + path
			if body := op.RequestBody; body != nil {
				for kind, media := range body.Content.FromOldest() {
					s.check(what+" request "+kind, media)
				}
			}
			for status, response := range op.Responses.Codes.FromOldest() {
				for kind, media := range response.Content.FromOldest() {
					s.check(what+" "+status+" "+kind, media)
				}
			}
		}
	}
}
