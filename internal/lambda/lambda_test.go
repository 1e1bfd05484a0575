package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	awsevents "github.com/aws/aws-lambda-go/events"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/events"
)

func batch(bodies ...string) (e awsevents.SQSEvent) {
	for _, b := range bodies {
		e.Records = append(e.Records, awsevents.SQSMessage{MessageId: "id of " + b, Body: b})
	}
	return e
}

func TestBatchAnswersWhatFailed(t *testing.T) {
	got := Batch(t.Context(), zerolog.Nop(), batch("a", "b", "c"), func(_ context.Context, m events.Message) error {
		if string(m.Body) == "b" {
			return errors.New("no")
		}
		return nil
	})
	if len(got.BatchItemFailures) != 1 || got.BatchItemFailures[0].ItemIdentifier != "id of b" {
		t.Errorf("%+v", got)
	}
	b, err := json.Marshal(Batch(t.Context(), zerolog.Nop(), batch(), nil))
	if err != nil || string(b) != `{"batchItemFailures":[]}` {
		t.Errorf("%s %v", b, err)
	}
}

// TestBatchPassesOnWhatAMessageHas: its attributes, and what a worker had to pack
// as it was sent.
func TestBatchPassesOnWhatAMessageHas(t *testing.T) {
	packed, err := events.Compress("the order")
	if err != nil {
		t.Fatal(err)
	}
	text := func(s string) awsevents.SQSMessageAttribute {
		return awsevents.SQSMessageAttribute{DataType: "String", StringValue: &s}
	}
	e := batch("plain", packed, "not packed")
	e.Records[0].MessageAttributes = map[string]awsevents.SQSMessageAttribute{"type": text("OrderCancelled"), "ce-type": {DataType: "Binary", BinaryValue: []byte("x")}}
	for i := range e.Records[1:] {
		e.Records[1+i].MessageAttributes = map[string]awsevents.SQSMessageAttribute{events.AttributeEncoding: text(events.GzipBase64)}
	}
	var got []events.Message
	res := Batch(t.Context(), zerolog.Nop(), e, func(_ context.Context, m events.Message) error {
		got = append(got, m)
		return nil
	})
	if len(res.BatchItemFailures) != 1 || res.BatchItemFailures[0].ItemIdentifier != "id of not packed" {
		t.Errorf("%+v", res)
	}
	if len(got) != 2 || got[0].Attributes["type"] != "OrderCancelled" || got[0].Attributes["ce-type"] != "x" || string(got[1].Body) != "the order" {
		t.Errorf("%+v", got)
	}
}

// TestFunctionsTakeTheirEventOnly, wherever it is said what a message is.
func TestFunctionsTakeTheirEventOnly(t *testing.T) {
	const placed = `{"orderId":"o","customerId":"c","currency":"EUR","lines":[{"sku":"A","quantity":1,"unitPrice":5}],"payment":{"token":"tok_ok"}}`
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		t.Error("the order was sent on")
		w.WriteHeader(http.StatusAccepted)
	}))
	defer api.Close()
	i := Intake{API: api.URL, HTTP: api.Client(), Logger: zerolog.Nop()}
	err := i.Message(t.Context(), events.Message{Body: []byte(placed), Attributes: map[string]string{"type": "OrderCancelled"}})
	if want := `type: the message attribute type's is "OrderCancelled", only OrderPlaced is handled here`; err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	const adjusted = `{"type":"StockAdjusted","eventId":"e-1","reason":"delivery","lines":[{"sku":"A","quantity":1}]}`
	err = new(Stock).Message(t.Context(), events.Message{Body: []byte(adjusted), Attributes: map[string]string{"ce_type": "StockCounted"}})
	if _, ok := errors.AsType[*events.InvalidStockError](err); !ok || !strings.Contains(err.Error(), `ce_type's is "StockCounted", the body's is "StockAdjusted"`) {
		t.Errorf("%v", err)
	}
}

// TestBatchEndsBeforeItIsKilled: what is done is told, the rest is not begun.
func TestBatchEndsBeforeItIsKilled(t *testing.T) {
	ctx, stop := context.WithDeadline(t.Context(), time.Now().Add(margin+50*time.Millisecond))
	defer stop()
	begun := 0
	got := Batch(ctx, zerolog.Nop(), batch("quick", "slow", "late"), func(ctx context.Context, m events.Message) error {
		begun++
		if string(m.Body) == "slow" {
			<-ctx.Done()
		}
		return ctx.Err()
	})
	if begun != 2 || len(got.BatchItemFailures) != 2 || got.BatchItemFailures[0].ItemIdentifier != "id of slow" || ctx.Err() != nil {
		t.Errorf("%d begun, %+v, %v", begun, got, ctx.Err())
	}
}

func TestEnvironmentNamesWhatIsWrong(t *testing.T) {
	env := func(kv ...string) func(string) string {
		return func(k string) string {
			for i := 0; i < len(kv); i += 2 {
				if kv[i] == k {
					return kv[i+1]
				}
			}
			return ""
		}
	}
	_, err := NewStock(t.Context(), env("LOW_STOCK_BELOW", "few"), io.Discard)
	for _, want := range []string{"STOCK_LEVELS_TOPIC_ARN must be", `LOW_STOCK_BELOW is "few"`, "AWS region must be set"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	s, err := NewStock(t.Context(), env("STOCK_LEVELS_TOPIC_ARN", "arn", "AWS_REGION", "eu-central-1", "LOW_STOCK_BELOW", "0"), io.Discard)
	if err != nil || s.LowBelow != 0 {
		t.Errorf("%+v %v", s, err)
	}
	for _, bad := range []string{"", "orders.example.com", "ftp://x"} {
		if _, err := NewIntake(env("ORDERSAGA_API", bad), io.Discard); err == nil || !strings.Contains(err.Error(), "ORDERSAGA_API is ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
