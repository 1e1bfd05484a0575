package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/worker"
	"github.com/ordersaga/ordersaga/workflows"
)

// theirs is an order of the customer who is to be forgotten, which goes to a
// street of its own.
func theirs(id, street string, change func(*order.Order)) order.Order {
	o := order.Order{
		OrderID: id, CustomerID: "c-erika", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"},
		Lines:  []order.Line{{SKU: "A", Quantity: 1, UnitPrice: 100}},
		ShipTo: &order.Address{Name: "Erika Mustermann", Line1: street, City: "Köln", Country: "DE"},
	}
	if change != nil {
		change(&o)
	}
	return o
}

// beginOld takes an order in as an older release did: its history has all of it.
func (c client) beginOld(o order.Order, want string) {
	c.t.Helper()
	if _, _, err := c.Store.Accept(c.t.Context(), o); err != nil {
		c.t.Fatal(err)
	}
	if err := c.Parts.Engine.Start(c.t.Context(), workflows.OrderSaga, o.OrderID, workflows.State{
		Order: o.WithoutToken(),
		Terms: c.Worker.Terms,
	}); err != nil {
		c.t.Fatal(err)
	}
	c.until(o.OrderID, want)
}

func (c client) dead(queue string, n int) (letters []struct{ ID, Body string }) {
	c.t.Helper()
	testkit.Eventually(c.t, fmt.Sprint(n, " dead letters are there"), func() error {
		var page struct{ Letters []struct{ ID, Body string } }
		c.get("/v1/dead-letters/"+queue).json(c.t, &page)
		letters = page.Letters
		if len(letters) != n {
			return fmt.Errorf("%+v", letters)
		}
		return nil
	})
	return letters
}

// over waits until the engine reports the end, too.
func (c client) over(id string) {
	c.t.Helper()
	testkit.Eventually(c.t, "the saga of "+id+" has ended", func() error {
		if i, err := c.Parts.Engine.Get(c.t.Context(), id); err != nil || !i.Status.Ended() {
			return fmt.Errorf("%s %w", i.Status, err)
		}
		return nil
	})
}

// inFiles reports whether a text is in a file below dir.
func inFiles(t *testing.T, dir, text string) (found bool) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		found = found || bytes.Contains(b, []byte(text))
		return err
	})
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	return found
}

type forgotten struct {
	Erased      int
	Open        []string
	DeadLetters int
	Complete    bool
}

func (c client) forgets(want forgotten) {
	c.t.Helper()
	a := c.post("/v1/customers/c-erika/forget", `{"by":"ann","note":"by letter of today"}`)
	var got forgotten
	a.json(c.t, &got)
	if a.status != http.StatusOK || fmt.Sprint(got) != fmt.Sprint(want) {
		c.t.Errorf("%d %s, want %+v", a.status, a.body, want)
	}
}

func TestForgetCustomerErasesPersonalData(t *testing.T) {
	t.Parallel()
	var log book
	var fails atomic.Bool
	dir := t.TempDir()
	s := testkit.NewSystem(t, func(w *worker.Worker) { w.DataDir, w.Logger = dir, zerolog.New(&log) }, func(o *awslocal.Options) {
		o.Fault = func(_, action string) error {
			if fails.Load() && strings.HasSuffix(action, "UpdateItem") {
				return &awslocal.Error{
					Status: 400, Code: "AccessDeniedException",
					Shape: "com.amazon.coral.service#AccessDeniedException", Message: "away",
				}
			}
			return nil
		}
	})
	s.SetStock(t, map[string]int64{"A": 1_000_000})
	c := newClient(t, s)
	engine := filepath.Join(dir, "engine")

	c.beginOld(theirs("done", "Heidestr 17", nil), "COMPLETED")
	c.beginOld(theirs("refused", "Ringweg 3", func(o *order.Order) { o.ShipTo.Name = "REFUSE" }), "FAILED")
	c.beginOld(theirs("open", "Domplatz 4", func(o *order.Order) { o.Lines[0].UnitPrice = 5_000_000 }), "AWAITING_APPROVAL")
	if a := c.post("/v1/sagas", newOrder("somebody-elses", nil)); a.status != http.StatusAccepted {
		t.Fatalf("status = %v, body = %v, want 202", a.status, a.body)
	}
	for _, id := range []string{"done", "refused"} {
		c.over(id)
	}
	c.until("somebody-elses", "COMPLETED")
	send := func(queue, body string) {
		if _, err := c.Clients.SQS.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &queue, MessageBody: &body}); err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
	}
	send(c.Resources.OrderQueue, `{"orderId":"never","customerId":"c-erika","shipTo":{"line1":"Heidestr 17"}}`)
	send(c.Resources.OrderQueue, `"{\"orderId\":\"never\",\"customerId\":\"c-erika\",\"shipTo\":{\"line1\":\"Heidestr 17\"}}"`)
	send(c.Resources.OrderQueue, `{"orderId":"never","customerId":"c-1"}`)
	send(c.Resources.CarrierAnswers, `{"type":"ShipmentRefused","orderId":"done","shipmentId":"other","reason":"Heidestr 17 is closed"}`)
	send(c.Resources.CarrierAnswers, `{"type":"ShipmentRefused","orderId":"open","shipmentId":"other","reason":"x"}`)
	c.dead("OrderProcessingQueue", 3)
	c.dead("CarrierAnswersQueue", 2)
	if !inFiles(t, engine, "Heidestr") || !inFiles(t, engine, "Domplatz") {
		t.Fatal("the engine's files lack an address, want Heidestr and Domplatz in the histories of an older release")
	}

	// It fails half way: what was found by then is found again.
	fails.Store(true)
	if a := c.post("/v1/customers/c-erika/forget", ""); a.status < 500 {
		t.Errorf("status = %d, body = %s, want 500 or above while DynamoDB refuses updates", a.status, a.body)
	}
	fails.Store(false)
	log.Reset()
	c.forgets(forgotten{Erased: 2, Open: []string{"open"}})
	for _, street := range []string{"Heidestr", "Ringweg"} {
		if inFiles(t, engine, street) {
			t.Errorf("%s is in the engine's files, want it erased", street)
		}
	}
	if l := c.dead("OrderProcessingQueue", 1); !strings.Contains(l[0].Body, "c-1") {
		t.Errorf("dead letters = %+v, want the one of the other customer, c-1", l)
	}
	if l := c.dead("CarrierAnswersQueue", 1); !strings.Contains(l[0].Body, `"open"`) {
		t.Errorf("dead letters = %+v, want the one of the order open", l)
	}
	c.get("/v1/sagas/done/history").wantProblem(t, "history", http.StatusNotFound, "", "no saga")
	if a := c.get("/v1/sagas/done"); !strings.Contains(a.body, `"forgotten":true`) || !strings.Contains(a.body,
		`"action":"forget"`) || !strings.Contains(a.body, "by letter of today") || strings.Contains(a.body, "rika") {
		t.Errorf("body = %v, want it forgotten, with the action forget and its note, without the customer's name", a.body)
	}
	if a := c.get("/v1/sagas/open"); !strings.Contains(a.body, "c-erika") || !strings.Contains(a.body, "Domplatz") {
		t.Errorf("body = %s, want c-erika and Domplatz, which an open order needs", a.body)
	}
	if said := log.audits(t); len(said) != 1 || said[0]["path"] != "/v1/customers/{id}/forget" || said[0]["status"] != 200.0 ||
		strings.Contains(log.String(), "c-erika") {
		t.Errorf("log = %s, want one audit line, with status 200, the path /v1/customers/{id}/forget and no c-erika", log.String())
	}

	// What comes late starts nothing, and brings nothing back.
	late, err := json.Marshal(theirs("done", "Heidestr 17", nil))
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	send(c.Resources.OrderQueue, string(late))
	if a := c.post("/v1/sagas", string(late)); a.status != http.StatusOK && a.status != http.StatusAccepted {
		t.Errorf("status = %d, body = %s, want 200 or 202", a.status, a.body)
	}
	testkit.Eventually(t, "the late message is handled", func() error {
		out, err := c.Clients.SQS.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
			QueueUrl:       &c.Resources.OrderQueue,
			AttributeNames: []types.QueueAttributeName{"All"},
		})
		if err != nil {
			return err
		}
		if out.Attributes["ApproximateNumberOfMessages"]+out.Attributes["ApproximateNumberOfMessagesNotVisible"] != "00" {
			return errors.New("not yet")
		}
		return nil
	})
	if a := c.get("/v1/sagas/done"); strings.Contains(a.body, "rika") || strings.Contains(a.body, "Heidestr") {
		t.Errorf("body = %v, want neither the name nor the street back after the late order", a.body)
	}
	c.dead("OrderProcessingQueue", 1)

	if a := c.post("/v1/sagas/open/approve", ""); a.status != http.StatusAccepted {
		t.Fatalf("status = %v, body = %v, want 202", a.status, a.body)
	}
	c.until("open", "COMPLETED")
	c.over("open")
	c.forgets(forgotten{Erased: 1, Open: []string{}, DeadLetters: 1, Complete: true})
	c.forgets(forgotten{Open: []string{}, Complete: true})
	if inFiles(t, engine, "Domplatz") || inFiles(t, engine, "rika") {
		t.Error("the engine's files have Domplatz or the customer's name, want both erased")
	}
	out, err := c.Clients.DynamoDB.Scan(t.Context(), &dynamodb.ScanInput{TableName: aws.String("orders")})
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	table, err := json.Marshal(out.Items)
	if err != nil || len(out.Items) < 4 || strings.Contains(string(table), "rika") || strings.Contains(string(table),
		"Domplatz") || !strings.Contains(string(table), "c-1") {
		t.Errorf("orders table = %s, error = %v, want at least 4 items, c-1 among them, and neither the name nor Domplatz", table, err)
	}
	if a := c.post("/v1/reconcile", ""); !strings.Contains(a.body, `"findings":[]`) {
		t.Errorf("report = %s, want no findings", a.body)
	}
	c.post("/v1/customers/a%20b/forget", "").wantProblem(t, "no id", http.StatusUnprocessableEntity, "path.id", "")
	c.post("/v1/customers/c-1/forget", `{"bye":1}`).wantProblem(t, "an unknown field", http.StatusUnprocessableEntity, "body.bye", "")
}

// TestViewersSeeMaskedDeadLetters: viewers see neither tokens nor addresses. The redriven
// message has both.
func TestViewersSeeMaskedDeadLetters(t *testing.T) {
	t.Parallel()
	c, issuer, _ := startClosed(t)
	body := strings.Replace(newOrder("o", func(o *order.Order) {
		o.ShipTo = &order.Address{
			Name:  "Erika",
			Line1: "Heidestr 17",
		}
	}), `"quantity":2`, `"quantity":0`, 1)
	if _, err := c.Clients.SQS.SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl:    &c.Resources.OrderQueue,
		MessageBody: &body,
	}); err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	as := func(who, path string) answer {
		return c.do("GET", path, "", "Authorization", "Bearer "+issuer.Token(who))
	}
	const path = "/v1/dead-letters/OrderProcessingQueue"
	testkit.Eventually(t, "it is a dead letter", func() error {
		if a := as("operator", path); !strings.Contains(a.body, "Heidestr 17") || !strings.Contains(a.body, "tok_ok") ||
			strings.Contains(a.body, "masked") {
			return errors.New(a.body)
		}
		return nil
	})
	testkit.Eventually(t, "a viewer sees it", func() error {
		if a := as("viewer", path); !strings.Contains(a.body, `"masked":true`) || !strings.Contains(a.body, "quantity") ||
			strings.Contains(a.body, "Heidestr") || strings.Contains(a.body, "tok_ok") || strings.Contains(a.body, "c-1") {
			return errors.New(a.body)
		}
		return nil
	})
	testkit.Eventually(t, "a viewer sees it in the console", func() error {
		if a := as("viewer", "/console/dead-letters?queue=OrderProcessingQueue"); !strings.Contains(a.body,
			"Operators can see it") || strings.Contains(a.body, "Heidestr") || strings.Contains(a.body, "tok_ok") {
			return errors.New(a.body)
		}
		return nil
	})
	c.do("POST", "/v1/customers/c-1/forget", "", "Authorization", "Bearer "+issuer.Token("viewer")).wantProblem(t, "a viewer",
		http.StatusForbidden, "", "operator")
}

// TestHistoryShowsNoToken: a durable-task client has written a token into the history, and the
// API does not show it.
func TestHistoryShowsNoToken(t *testing.T) {
	c := start(t)
	o := theirs("o", "Heidestr 17", nil)
	o.Payment.Token = "tok_ok"
	if err := c.Parts.Engine.Start(t.Context(), workflows.OrderSaga, "o", workflows.State{Order: o, Terms: c.Worker.Terms}); err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	c.over("o")
	c.until("o", "COMPLETED")
	if a := c.get("/v1/sagas/o/history"); a.status != http.StatusOK || !strings.Contains(a.body, "ReserveStock") ||
		strings.Contains(a.body, "tok_ok") {
		t.Errorf("status = %d, body = %s, want 200 and ReserveStock, without the token tok_ok", a.status, a.body)
	}
}
