package lambdas

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/rs/zerolog"
)

func batch(bodies ...string) (e events.SQSEvent) {
	for _, b := range bodies {
		e.Records = append(e.Records, events.SQSMessage{MessageId: "id of " + b, Body: b})
	}
	return e
}

func TestBatchAnswersWhatFailed(t *testing.T) {
	got := Batch(t.Context(), zerolog.Nop(), batch("a", "b", "c"), func(_ context.Context, body []byte) error {
		if string(body) == "b" {
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

// TestBatchEndsBeforeItIsKilled: what is done is told, the rest is not begun.
func TestBatchEndsBeforeItIsKilled(t *testing.T) {
	ctx, stop := context.WithDeadline(t.Context(), time.Now().Add(margin+50*time.Millisecond))
	defer stop()
	begun := 0
	got := Batch(ctx, zerolog.Nop(), batch("quick", "slow", "late"), func(ctx context.Context, body []byte) error {
		begun++
		if string(body) == "slow" {
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
