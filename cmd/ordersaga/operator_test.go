package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/workflows"
)

// shell is an operator's.
type shell struct {
	*testing.T
	testkit.System
}

func (s shell) run(args ...string) (status int, stdout, stderr string) {
	s.Helper()
	var out, errs bytes.Buffer
	status = run(s.Context(), append([]string{args[0], args[1], "--api", s.API}, args[2:]...), &out, &errs)
	return status, out.String(), errs.String()
}

// says expects success, and an answer with all parts.
func (s shell) says(parts []string, args ...string) string {
	s.Helper()
	status, out, errs := s.run(args...)
	for _, p := range parts {
		if !strings.Contains(out, p) {
			s.Errorf("%s does not say %q: %s", args, p, out)
		}
	}
	if status != 0 || errs != "" {
		s.Errorf("%s: %d %s", args, status, errs)
	}
	return out
}

func (s shell) refuses(say string, args ...string) {
	s.Helper()
	if status, out, errs := s.run(args...); status != 1 || out != "" || !strings.Contains(errs, say) || strings.Count(errs, "\n") != 1 {
		s.Errorf("%s: %d %q %q, want one line with %q", args, status, out, errs, say)
	}
}

func (s shell) place(id, token string, price int64, until order.Status) {
	s.Helper()
	o := order.Order{
		OrderID: id, CustomerID: "c-1", Currency: "EUR", Payment: order.Payment{Token: token}, Lines: []order.Line{{SKU: "A", Quantity: 2, UnitPrice: price}},
		ShipTo: &order.Address{Name: map[bool]string{true: "REFUSE", false: "Ann"}[token == "tok_refund_down"], Country: "DE"},
	}
	if _, _, err := s.Store.Accept(s.Context(), o); err != nil {
		s.Fatal(err)
	}
	if err := s.Parts.Engine.Start(s.Context(), workflows.OrderSaga, id, workflows.State{Order: o.WithoutToken(), Terms: s.Worker.Terms}); err != nil {
		s.Fatal(err)
	}
	s.until(id, until)
}

func (s shell) until(id string, want order.Status) {
	s.Helper()
	testkit.Eventually(s, id+" is "+string(want), func() error {
		if rec, err := s.Store.Get(s.Context(), id); err != nil || rec.Status != want {
			return fmt.Errorf("%s %w", rec.Status, err)
		}
		return nil
	})
}

func TestOperate(t *testing.T) {
	s := shell{t, testkit.NewSystem(t, nil, nil)}
	s.SetStock(t, map[string]int64{"A": 100})
	s.place("good", "tok_ok", 100, order.StatusCompleted)
	s.place("dear", "tok_ok", 100_000, order.StatusAwaitingApproval)
	s.place("held", "tok_ok", 100_000, order.StatusAwaitingApproval)
	s.place("stuck", "tok_refund_down", 100, order.StatusNeedsAttention)

	if out := s.says([]string{"ORDER", "good", "dear", "held", "NEEDS_ATTENTION"}, "saga", "list"); strings.Index(out, "stuck") > strings.Index(out, "good") {
		t.Errorf("not newest first: %s", out)
	}
	if out := s.says([]string{"dear", "held"}, "saga", "list", "--status", "AWAITING_APPROVAL,PENDING", "--since", "1h"); strings.Contains(out, "good") {
		t.Error(out)
	}
	var list []struct{ OrderID, Status string }
	if err := json.Unmarshal([]byte(s.says(nil, "saga", "list", "--limit", "2", "-o", "json")), &list); err != nil || len(list) != 2 || list[0].OrderID != "stuck" {
		t.Errorf("%+v %v", list, err)
	}
	s.says([]string{"2,000.00 EUR", "2 × A", "AWAITING_APPROVAL", "approve"}, "saga", "show", "dear")
	s.says([]string{"TaskScheduled", "ReserveStock"}, "saga", "history", "dear")
	s.says([]string{"ann: approve known"}, "saga", "approve", "dear", "--by", "ann", "--note", "known")
	s.until("dear", order.StatusCompleted)
	s.says([]string{"suspend"}, "saga", "suspend", "held", "--by", "ann")
	testkit.Eventually(t, "it is suspended", func() error {
		if _, out, _ := s.run("saga", "list", "--runtime-status", "SUSPENDED,STALLED"); !strings.Contains(out, "SUSPENDED") || strings.Contains(out, "stuck") {
			return errors.New(out)
		}
		return nil
	})
	s.refuses("query.runtimeStatus", "saga", "list", "--runtime-status", "ASLEEP")
	s.says([]string{"resume"}, "saga", "resume", "held")
	s.says([]string{"cancel changed"}, "saga", "cancel", "held", "--note", "changed")
	s.until("held", order.StatusCancelled)
	s.says([]string{`"ordersChecked": 1`, `"findings": []`}, "reconcile", "--api-token=none")
	s.says([]string{"resolve at the bank"}, "saga", "resolve", "stuck", "--action", "resolve", "--note", "at the bank")
	s.until("stuck", order.StatusFailed)
	status, _, errs := s.run("saga", "retry", "good")
	if status != 1 || !strings.Contains(errs, "saga retry is deprecated: use saga resolve") || !strings.Contains(errs, "NEEDS_ATTENTION") {
		t.Errorf("saga retry of an order that is not stuck: status %d, %q, want 1, a warning and the reason", status, errs)
	}
	testkit.Eventually(t, "its saga has ended", func() error {
		if status, _, errs := s.run("saga", "purge", "good"); status != 0 {
			return errors.New(errs)
		}
		return nil
	})
	s.refuses("no saga has this id", "saga", "history", "good")
	s.place("live", "tok_ok", 100_000, order.StatusAwaitingApproval)
	testkit.Eventually(t, "both sagas have ended", func() error {
		if _, out, _ := s.run("saga", "list", "--runtime-status", "COMPLETED"); !strings.Contains(out, "dear") || !strings.Contains(out, "stuck") {
			return errors.New(out)
		}
		return nil
	})
	s.refuses("purged 2 sagas, 2 rejected: live: the order is AWAITING_APPROVAL; what its saga has done is needed until it has ended; unknown: order unknown: not found", "saga", "purge", "dear", "live", "unknown", "stuck")
	s.refuses("no saga has this id", "saga", "purge", "dear")
	s.refuses("must be AWAITING_APPROVAL", "saga", "approve", "good")
	s.refuses("order unknown: not found", "saga", "show", "unknown")
	s.refuses("query.status", "saga", "list", "--status", "LOST")

	s.says([]string{"B"}, "stock", "set", "B", "7")
	s.says([]string{"SKU", "A", "100", "B"}, "stock", "list")
	s.says([]string{`"available": 7`}, "stock", "get", "B", "-o", "json")
	s.refuses("not found", "stock", "get", "C")
	s.refuses("body.onHand", "stock", "set", "B", "--", "-1")
	s.says([]string{"9"}, "stock", "set", "B", "9", "--if-version", "7-0-1")
	s.says([]string{"9"}, "stock", "set", "B", "9", "--if-version", "7-0-1") // once more
	s.refuses("as version 9-0-2: what is on hand has changed since", "stock", "set", "B", "8", "--if-version", "7-0-1")
	s.refuses("--if-version must not be empty", "stock", "set", "B", "8", "--if-version", "")
	s.says([]string{"9"}, "stock", "get", "B")
}

func TestOperateDeadLetters(t *testing.T) {
	s := shell{t, testkit.NewSystem(t, nil, nil)}
	s.SetStock(t, map[string]int64{"A": 100})
	bad := `{"orderId":"o","customerId":"c-1","currency":"EUR","lines":[{"sku":"A","quantity":0,"unitPrice":1}],"payment":{"token":"tok_ok"}}`
	if _, err := s.Clients.SQS.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &s.Resources.OrderQueue, MessageBody: aws.String(bad)}); err != nil {
		t.Fatal(err)
	}
	var letters []struct{ ID, Reason string }
	testkit.Eventually(t, "it is a dead letter", func() error {
		_, out, errs := s.run("dlq", "list", "-o", "json")
		if err := json.Unmarshal([]byte(out), &letters); err != nil || len(letters) != 1 {
			return fmt.Errorf("%s %s %w", out, errs, err)
		}
		return nil
	})
	id := letters[0].ID
	s.says([]string{id, "quantity: is 0"}, "dlq", "list")
	s.says([]string{bad}, "dlq", "show", id)
	s.refuses("no dead letter has this id", "dlq", "show", "x")
	s.refuses("no dead letter has this id", "dlq", "redrive", "x")
	s.refuses("no dead letter has this id", "dlq", "delete", "x", "--note", "why")
	s.refuses("either the id of one dead letter", "dlq", "redrive")
	s.refuses("either the id of one dead letter", "dlq", "redrive", "x", "--all")
	for _, rate := range []string{"0", "0.5", "1001", "NaN", "+Inf"} {
		s.refuses("--rate", "dlq", "redrive", "--all", "--rate="+rate)
	}
	s.says([]string{"redriven 0 dead letters"}, "dlq", "redrive", "--all", "--queue", "CarrierAnswersQueue")
	s.says([]string{"redriven 1 dead letters"}, "dlq", "redrive", "--all")
	testkit.Eventually(t, "it is a dead letter again", func() error {
		_, out, _ := s.run("dlq", "list", "-o", "json")
		if err := json.Unmarshal([]byte(out), &letters); err != nil || len(letters) != 1 {
			return fmt.Errorf("%s %w", out, err)
		}
		return nil
	})
	mended := filepath.Join(t.TempDir(), "order.json")
	if err := os.WriteFile(mended, []byte(strings.Replace(bad, `"quantity":0`, `"quantity":1`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.says(nil, "dlq", "redrive", letters[0].ID, "--body", mended)
	s.until("o", order.StatusCompleted)
}

func TestOperateWithoutAnAPI(t *testing.T) {
	s := shell{T: t}
	s.API = "http://127.0.0.1:1"
	s.refuses("the API does not respond", "saga", "list")
}

// TestCountWhoseAnswerIsLost is sent once more, and recorded once.
func TestCountWhoseAnswerIsLost(t *testing.T) {
	s := shell{t, testkit.NewSystem(t, nil, nil)}
	s.SetStock(t, map[string]int64{"A": 10})
	at, err := url.Parse(s.API)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(at)
	lost := 0
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut || lost > 0 {
			r.Host = at.Host
			proxy.ServeHTTP(w, r)
			return
		}
		lost++
		proxy.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}))
	defer front.Close()
	s.API = front.URL
	s.says([]string{"A", "7"}, "stock", "set", "A", "7")
	if l, err := s.Store.GetLevel(t.Context(), "A"); err != nil || l.Available != 7 || l.Counts != 2 || lost != 1 {
		t.Errorf("%+v %v, %d answers lost", l, err, lost)
	}
}

// TestCheckCommand proves that nothing is lost from what was noted down
// elsewhere, and finds pieces that leaked.
func TestCheckCommand(t *testing.T) {
	s := shell{t, testkit.NewSystem(t, nil, nil)}
	s.SetStock(t, map[string]int64{"A": 100})
	s.place("good", "tok_ok", 100, order.StatusCompleted)
	if _, err := s.Parts.Engine.Wait(t.Context(), "good"); err != nil {
		t.Fatal(err)
	}
	s.place("dear", "tok_ok", 100_000, order.StatusAwaitingApproval)
	file := filepath.Join(t.TempDir(), "accepted")
	check := func(status int, say string, more ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		args := append([]string{"check", "--aws-endpoint", s.Endpoint, "--payment-url", s.Simulators.PaymentURL, "--carrier-url", s.Simulators.CarrierURL}, more...)
		if got := run(t.Context(), args, &out, &errs); got != status || !strings.Contains(out.String()+errs.String(), say) {
			t.Errorf("%s: %d, want %d and %q: %s%s", more, got, status, say, &out, &errs)
		}
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	check(0, `"violations": []`, "--api", s.API)
	check(0, `"byStatus": {`, "--offline")
	for ids, say := range map[string]string{"good\n": "", "good\ndear\n": "order dear was accepted and has no outcome: it is AWAITING_APPROVAL", "good \n\n lost": "order lost was accepted and has no record"} {
		if err := os.WriteFile(file, []byte(ids), 0o600); err != nil {
			t.Fatal(err)
		}
		check(map[bool]int{true: 1}[say != ""], say, "--api", s.API, "--accepted", file)
	}
	_, err := s.Clients.DynamoDB.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
		TableName: aws.String("stock"), Key: map[string]types.AttributeValue{"sku": &types.AttributeValueMemberS{Value: "A"}},
		UpdateExpression:          aws.String("SET reserved = reserved + :n, available = available - :n"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":n": &types.AttributeValueMemberN{Value: "5"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	check(1, "A: 7 units are reserved, and orders hold 2", "--offline")
}
