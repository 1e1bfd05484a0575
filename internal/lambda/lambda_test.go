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
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

func batch(bodies ...string) (e awsevents.SQSEvent) {
	for _, b := range bodies {
		e.Records = append(e.Records, awsevents.SQSMessage{MessageId: "id of " + b, Body: b})
	}
	return e
}

func TestBatchReturnsWhatFailed(t *testing.T) {
	t.Parallel()
	got := Batch(t.Context(), zerolog.Nop(), batch("a", "b", "c"), func(_ context.Context, m events.Message) error {
		if string(m.Body) == "b" {
			return errors.New("no")
		}
		return nil
	})
	if len(got.BatchItemFailures) != 1 || got.BatchItemFailures[0].ItemIdentifier != "id of b" {
		t.Errorf("failures = %+v, want only b", got.BatchItemFailures)
	}
	b, err := json.Marshal(Batch(t.Context(), zerolog.Nop(), batch(), nil))
	if err != nil || string(b) != `{"batchItemFailures":[]}` {
		t.Errorf("response to an empty batch = %s, error %v, want an empty array", b, err)
	}
}

// TestBatchPassesAttributesAndUnpacksTheBody sends a body that a worker compressed
// and one that only claims to be compressed.
func TestBatchPassesAttributesAndUnpacksTheBody(t *testing.T) {
	t.Parallel()
	packed, err := events.Compress("the order")
	require.NoError(t, err)
	text := func(s string) awsevents.SQSMessageAttribute {
		return awsevents.SQSMessageAttribute{DataType: "String", StringValue: &s}
	}
	e := batch("plain", packed, "not packed")
	e.Records[0].MessageAttributes = map[string]awsevents.SQSMessageAttribute{
		"type": text("OrderCancelled"), "ce-type": {DataType: "Binary", BinaryValue: []byte("x")},
	}
	for i := range e.Records[1:] {
		e.Records[1+i].MessageAttributes = map[string]awsevents.SQSMessageAttribute{events.AttributeEncoding: text(events.GzipBase64)}
	}
	var got []events.Message
	res := Batch(t.Context(), zerolog.Nop(), e, func(_ context.Context, m events.Message) error {
		got = append(got, m)
		return nil
	})
	if len(res.BatchItemFailures) != 1 || res.BatchItemFailures[0].ItemIdentifier != "id of not packed" {
		t.Errorf("failures = %+v, want only the message that is not packed", res.BatchItemFailures)
	}
	if len(got) != 2 {
		t.Fatalf("handled %d messages, want 2: %+v", len(got), got)
	}
	if a := got[0].Attributes; a["type"] != "OrderCancelled" || a["ce-type"] != "x" {
		t.Errorf("attributes = %v, want type OrderCancelled and ce-type x", a)
	}
	if string(got[1].Body) != "the order" {
		t.Errorf("body = %q, want the unpacked one", got[1].Body)
	}
}

// orderO is an OrderPlaced event of order o.
const orderO = `{"orderId":"o","customerId":"c","currency":"EUR",` +
	`"lines":[{"sku":"A","quantity":1,"unitPrice":5}],"payment":{"token":"tok_ok"}}`

// TestFunctionsRejectOtherEventTypes covers types in attributes and in the body.
func TestFunctionsRejectOtherEventTypes(t *testing.T) {
	t.Parallel()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		t.Error("the API received a request, want none")
		w.WriteHeader(http.StatusAccepted)
	}))
	defer api.Close()
	i := Intake{API: api.URL, HTTP: api.Client(), Logger: zerolog.Nop()}
	err := i.Message(t.Context(), events.Message{Body: []byte(orderO), Attributes: map[string]string{"type": "OrderCancelled"}})
	if want := `type: the message attribute type's is "OrderCancelled", only OrderPlaced is handled here`; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
	const adjusted = `{"type":"StockAdjusted","eventId":"e-1","reason":"delivery","lines":[{"sku":"A","quantity":1}]}`
	err = new(Stock).Message(t.Context(), events.Message{Body: []byte(adjusted), Attributes: map[string]string{"ce_type": "StockCounted"}})
	want := `ce_type's is "StockCounted", the body's is "StockAdjusted"`
	if _, ok := errors.AsType[*events.InvalidStockError](err); !ok || !strings.Contains(err.Error(), want) {
		t.Errorf("error = %v, want an InvalidStockError with %s", err, want)
	}
}

// TestBatchStopsBeforeTheDeadline returns what was handled and starts no more.
func TestBatchStopsBeforeTheDeadline(t *testing.T) {
	t.Parallel()
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
		t.Errorf("%d messages started, failures %+v, context %v; want 2 started, the slow and the late one failed, time left",
			begun, got.BatchItemFailures, ctx.Err())
	}
}

func TestNewReportsWrongVariables(t *testing.T) {
	t.Parallel()
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
			t.Errorf("error = %v, want %s", err, want)
		}
	}
	valid := env("STOCK_LEVELS_TOPIC_ARN", "arn", "AWS_REGION", "eu-central-1", "LOW_STOCK_BELOW", "0")
	s, err := NewStock(t.Context(), valid, io.Discard)
	require.NoError(t, err)
	if s.LowBelow != 0 {
		t.Errorf("threshold = %d, want 0", s.LowBelow)
	}
	for _, bad := range []string{"", "orders.example.com", "ftp://x"} {
		if _, err := NewIntake(env("ORDERSAGA_API", bad), io.Discard); err == nil || !strings.Contains(err.Error(), "ORDERSAGA_API is ") {
			t.Errorf("API %q: error = %v, want one that names ORDERSAGA_API", bad, err)
		}
	}
}
