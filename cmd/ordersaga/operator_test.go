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

// shell runs commands against a system.
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

// prints runs a command that must succeed and whose output must have all parts.
// It returns the output.
func (s shell) prints(parts []string, args ...string) string {
	s.Helper()
	status, out, errs := s.run(args...)
	for _, p := range parts {
		if !strings.Contains(out, p) {
			s.Errorf("output of %s = %s, want %q in it", args, out, p)
		}
	}
	if status != 0 || errs != "" {
		s.Errorf("%s: status %d, errors %q, want success", args, status, errs)
	}
	return out
}

// fails runs a command that must print nothing but one line with want on standard
// error.
func (s shell) fails(want string, args ...string) {
	s.Helper()
	status, out, errs := s.run(args...)
	if status != 1 || out != "" || !strings.Contains(errs, want) || strings.Count(errs, "\n") != 1 {
		s.Errorf("%s: status %d, output %q, errors %q, want one line with %q", args, status, out, errs, want)
	}
}

func (s shell) place(id, token string, price int64, until order.Status) {
	s.Helper()
	name := "Ann"
	if token == "tok_refund_down" {
		name = "REFUSE"
	}
	o := order.Order{
		OrderID: id, CustomerID: "c-1", Currency: "EUR", Payment: order.Payment{Token: token},
		Lines: []order.Line{{SKU: "A", Quantity: 2, UnitPrice: price}}, ShipTo: &order.Address{Name: name, Country: "DE"},
	}
	if _, _, err := s.Store.Accept(s.Context(), o); err != nil {
		s.Fatal(err)
	}
	state := workflows.State{Order: o.WithoutToken(), Terms: s.Worker.Terms}
	if err := s.Parts.Engine.Start(s.Context(), workflows.OrderSaga, id, state); err != nil {
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

func TestOperatorActsOnSagasAndStock(t *testing.T) {
	s := shell{t, testkit.NewSystem(t, nil, nil)}
	s.SetStock(t, map[string]int64{"A": 100})
	s.place("good", "tok_ok", 100, order.StatusCompleted)
	s.place("dear", "tok_ok", 100_000, order.StatusAwaitingApproval)
	s.place("held", "tok_ok", 100_000, order.StatusAwaitingApproval)
	s.place("stuck", "tok_refund_down", 100, order.StatusNeedsAttention)

	out := s.prints([]string{"ORDER", "good", "dear", "held", "NEEDS_ATTENTION"}, "saga", "list")
	if strings.Index(out, "stuck") > strings.Index(out, "good") {
		t.Errorf("the list has good before stuck, want the newest first: %s", out)
	}
	out = s.prints([]string{"dear", "held"}, "saga", "list", "--status", "AWAITING_APPROVAL,PENDING", "--since", "1h")
	if strings.Contains(out, "good") {
		t.Errorf("the list has good, which is COMPLETED, want only the requested statuses: %s", out)
	}
	var list []struct{ OrderID, Status string }
	err := json.Unmarshal([]byte(s.prints(nil, "saga", "list", "--limit", "2", "-o", "json")), &list)
	if err != nil || len(list) != 2 || list[0].OrderID != "stuck" {
		t.Errorf("the list in JSON is %+v, %v, want two orders, stuck first", list, err)
	}
	s.prints([]string{"2,000.00 EUR", "2 × A", "AWAITING_APPROVAL", "approve"}, "saga", "show", "dear")
	s.prints([]string{"TaskScheduled", "ReserveStock"}, "saga", "history", "dear")
	s.prints([]string{"ann: approve known"}, "saga", "approve", "dear", "--by", "ann", "--note", "known")
	s.until("dear", order.StatusCompleted)
	s.prints([]string{"suspend"}, "saga", "suspend", "held", "--by", "ann")
	testkit.Eventually(t, "it is suspended", func() error {
		_, out, _ := s.run("saga", "list", "--runtime-status", "SUSPENDED,STALLED")
		if !strings.Contains(out, "SUSPENDED") || strings.Contains(out, "stuck") {
			return errors.New(out)
		}
		return nil
	})
	s.fails("query.runtimeStatus", "saga", "list", "--runtime-status", "ASLEEP")
	s.prints([]string{"resume"}, "saga", "resume", "held")
	s.prints([]string{"cancel changed"}, "saga", "cancel", "held", "--note", "changed")
	s.until("held", order.StatusCancelled)
	s.prints([]string{`"ordersChecked": 1`, `"findings": []`}, "reconcile", "--api-token=none")
	s.prints([]string{"resolve at the bank"}, "saga", "resolve", "stuck", "--action", "resolve", "--note", "at the bank")
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
	s.fails("no saga has this id", "saga", "history", "good")
	s.place("live", "tok_ok", 100_000, order.StatusAwaitingApproval)
	testkit.Eventually(t, "both sagas have ended", func() error {
		_, out, _ := s.run("saga", "list", "--runtime-status", "COMPLETED")
		if !strings.Contains(out, "dear") || !strings.Contains(out, "stuck") {
			return errors.New(out)
		}
		return nil
	})
	s.fails("purged 2 sagas, 2 rejected: live: cannot delete the history of order live: the order is AWAITING_APPROVAL; "+
		"its saga needs the history until it has ended; unknown: order unknown: not found", "saga", "purge", "dear", "live", "unknown", "stuck")
	s.fails("no saga has this id", "saga", "purge", "dear")
	s.fails("must be AWAITING_APPROVAL", "saga", "approve", "good")
	s.fails("order unknown: not found", "saga", "show", "unknown")
	s.fails("query.status", "saga", "list", "--status", "LOST")

	s.prints([]string{"B"}, "stock", "set", "B", "7")
	s.prints([]string{"SKU", "A", "100", "B"}, "stock", "list")
	s.prints([]string{`"available": 7`}, "stock", "get", "B", "-o", "json")
	s.fails("not found", "stock", "get", "C")
	s.fails("body.onHand", "stock", "set", "B", "--", "-1")
	s.prints([]string{"9"}, "stock", "set", "B", "9", "--if-version", "7-0-1")
	s.prints([]string{"9"}, "stock", "set", "B", "9", "--if-version", "7-0-1") // once more
	s.fails("as version 9-0-2: what is on hand has changed since", "stock", "set", "B", "8", "--if-version", "7-0-1")
	s.fails("--if-version must not be empty", "stock", "set", "B", "8", "--if-version", "")
	s.prints([]string{"9"}, "stock", "get", "B")
}

func TestOperatorRedrivesDeadLetters(t *testing.T) {
	s := shell{t, testkit.NewSystem(t, nil, nil)}
	s.SetStock(t, map[string]int64{"A": 100})
	bad := `{"orderId":"o","customerId":"c-1","currency":"EUR","lines":[{"sku":"A","quantity":0,"unitPrice":1}],"payment":{"token":"tok_ok"}}`
	message := &sqs.SendMessageInput{QueueUrl: &s.Resources.OrderQueue, MessageBody: aws.String(bad)}
	if _, err := s.Clients.SQS.SendMessage(t.Context(), message); err != nil {
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
	s.prints([]string{id, "quantity: must be 1 to 10000, got 0"}, "dlq", "list")
	s.prints([]string{bad}, "dlq", "show", id)
	s.fails("no dead letter has this id", "dlq", "show", "x")
	s.fails("no dead letter has this id", "dlq", "redrive", "x")
	s.fails("no dead letter has this id", "dlq", "delete", "x", "--note", "why")
	s.fails("either the id of one dead letter", "dlq", "redrive")
	s.fails("either the id of one dead letter", "dlq", "redrive", "x", "--all")
	for _, rate := range []string{"0", "0.5", "1001", "NaN", "+Inf"} {
		s.fails("--rate", "dlq", "redrive", "--all", "--rate="+rate)
	}
	s.prints([]string{"redriven 0 dead letters"}, "dlq", "redrive", "--all", "--queue", "CarrierAnswersQueue")
	s.prints([]string{"redriven 1 dead letters"}, "dlq", "redrive", "--all")
	testkit.Eventually(t, "it is a dead letter again", func() error {
		_, out, _ := s.run("dlq", "list", "-o", "json")
		if err := json.Unmarshal([]byte(out), &letters); err != nil || len(letters) != 1 {
			return fmt.Errorf("%s %w", out, err)
		}
		return nil
	})
	repaired := filepath.Join(t.TempDir(), "order.json")
	if err := os.WriteFile(repaired, []byte(strings.Replace(bad, `"quantity":0`, `"quantity":1`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.prints(nil, "dlq", "redrive", letters[0].ID, "--body", repaired)
	s.until("o", order.StatusCompleted)
}

func TestCommandWithoutAnAPIFails(t *testing.T) {
	s := shell{T: t}
	s.API = "http://127.0.0.1:1"
	s.fails("the API does not respond", "saga", "list")
}

// TestCountIsRetriedAndRecordedOnce loses the response to a count.
func TestCountIsRetriedAndRecordedOnce(t *testing.T) {
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
	s.prints([]string{"A", "7"}, "stock", "set", "A", "7")
	if l, err := s.Store.GetLevel(t.Context(), "A"); err != nil || l.Available != 7 || l.Counts != 2 || lost != 1 {
		t.Errorf("stock level = %+v, %v, with %d responses lost, want 7 available after 2 counts, 1 lost", l, err, lost)
	}
}

// TestCheckFindsLostOrdersAndUnits checks a list of accepted orders, and finds
// units that are reserved for no order.
func TestCheckFindsLostOrdersAndUnits(t *testing.T) {
	s := shell{t, testkit.NewSystem(t, nil, nil)}
	s.SetStock(t, map[string]int64{"A": 100})
	s.place("good", "tok_ok", 100, order.StatusCompleted)
	if _, err := s.Parts.Engine.Wait(t.Context(), "good"); err != nil {
		t.Fatal(err)
	}
	s.place("dear", "tok_ok", 100_000, order.StatusAwaitingApproval)
	file := filepath.Join(t.TempDir(), "accepted")
	check := func(status int, want string, more ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		args := []string{
			"check", "--aws-endpoint", s.Endpoint, "--payment-url", s.Simulators.PaymentURL, "--carrier-url", s.Simulators.CarrierURL,
		}
		got := run(t.Context(), append(args, more...), &out, &errs)
		if got != status || !strings.Contains(out.String()+errs.String(), want) {
			t.Errorf("check %s: status %d, want %d and %q: %s%s", more, got, status, want, &out, &errs)
		}
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	check(0, `"violations": []`, "--api", s.API)
	check(0, `"byStatus": {`, "--offline")
	for ids, violation := range map[string]string{
		"good\n":         "",
		"good\ndear\n":   "order dear was accepted and has no outcome: it is AWAITING_APPROVAL",
		"good \n\n lost": "order lost was accepted and has no record",
	} {
		if err := os.WriteFile(file, []byte(ids), 0o600); err != nil {
			t.Fatal(err)
		}
		status := 0
		if violation != "" {
			status = 1
		}
		check(status, violation, "--api", s.API, "--accepted", file)
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
	check(1, "ordersaga: violations found: 1\n", "--offline")
}
