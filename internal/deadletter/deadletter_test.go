package deadletter_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/deadletter"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestReasonOfMessagesMovedBySQS: the reason has the number of receives.
func TestReasonOfMessagesMovedBySQS(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	q := a.Resources.OrderQueue
	if _, err := a.Clients.SQS.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &q, MessageBody: aws.String("fails")}); err != nil {
		t.Fatal(err)
	}
	for n := range 61 {
		out, err := a.Clients.SQS.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &q})
		want := 1
		if n == 60 {
			want = 0 // SQS has moved it
		}
		if err != nil || len(out.Messages) != want {
			t.Fatalf("receive %d = %+v, %v, want %d messages", n+1, out.Messages, err, want)
		}
		for _, m := range out.Messages {
			if _, err := a.Clients.SQS.ChangeMessageVisibility(t.Context(),
				&sqs.ChangeMessageVisibilityInput{QueueUrl: &q, ReceiptHandle: m.ReceiptHandle}); err != nil {
				t.Fatal(err)
			}
		}
	}
	letters, err := deadletter.Pair{Name: "orders", URL: q, DeadURL: a.Resources.OrderDLQ}.List(t.Context(), a.Clients.SQS, 10)
	if err != nil || len(letters) != 1 || letters[0].Body != "fails" ||
		!strings.HasPrefix(letters[0].Reason, "received 60 times without success, then moved here by SQS") {
		t.Errorf("List = %+v, %v, want one dead letter, fails, received 60 times", letters, err)
	}
}

// send sends messages to the dead-letter queue of orders.
func send(t *testing.T, a testkit.AWS, bodies ...string) deadletter.Pair {
	t.Helper()
	for _, body := range bodies {
		if _, err := a.Clients.SQS.SendMessage(t.Context(),
			&sqs.SendMessageInput{QueueUrl: &a.Resources.OrderDLQ, MessageBody: &body}); err != nil {
			t.Fatal(err)
		}
	}
	return deadletter.Pair{Name: "orders", URL: a.Resources.OrderQueue, DeadURL: a.Resources.OrderDLQ}
}

var sentAt = regexp.MustCompile(`"SentTimestamp":"(\d+)"`)

// clientWithClock returns a client of the endpoint whose clock differs from ours.
func clientWithClock(t *testing.T, a testkit.AWS, by time.Duration) *sqs.Client {
	t.Helper()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		a.Handler.ServeHTTP(answer, r)
		maps.Copy(w.Header(), answer.Header())
		w.Header().Set("Date", time.Now().Add(by).UTC().Format(http.TimeFormat))
		w.Header().Del("Content-Length")
		w.WriteHeader(answer.Code)
		_, _ = w.Write(sentAt.ReplaceAllFunc(answer.Body.Bytes(), func(b []byte) []byte {
			ms, _ := strconv.ParseInt(string(sentAt.FindSubmatch(b)[1]), 10, 64)
			return fmt.Appendf(nil, `"SentTimestamp":"%d"`, ms+by.Milliseconds())
		}))
	}))
	t.Cleanup(front.Close)
	c, err := cloud.New(t.Context(), cloud.Options{Region: "us-east-1", Endpoint: front.URL})
	if err != nil {
		t.Fatal(err)
	}
	return c.SQS
}

// watched is a client that calls sent before each message that it sends.
type watched struct {
	*sqs.Client

	sent func() error
}

func (w watched) SendMessage(ctx context.Context, in *sqs.SendMessageInput, o ...func(*sqs.Options)) (*sqs.SendMessageOutput, error) {
	if err := w.sent(); err != nil {
		return nil, err
	}
	return w.Client.SendMessage(ctx, in, o...)
}

// TestRedriveAllRedrivesOnce: a worker dead-letters an invalid message again at once. RedriveAll
// does not redrive it twice, whatever the clocks of SQS and of this machine are.
func TestRedriveAllRedrivesOnce(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{-time.Hour, 0, time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			s := testkit.NewSystem(t, nil, nil)
			pair := send(t, s.AWS, "no order", "nor this", "nor this")
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			sent := 0
			client := watched{clientWithClock(t, s.AWS, off), func() error {
				sent++
				if sent > 30 {
					stop()
				}
				return nil
			}}
			if n, err := pair.RedriveAll(ctx, client, 100); err != nil || n != 3 || sent != 3 {
				t.Errorf("RedriveAll = %d, %v, and %d messages were sent; want each once", n, err, sent)
			}
			testkit.Eventually(t, "they are back", func() error {
				_, dead, err := pair.Depths(t.Context(), s.Clients.SQS)
				if err == nil && dead.Visible != 3 {
					err = fmt.Errorf("depth of the dead-letter queue = %+v, want other numbers", dead)
				}
				return err
			})
		})
	}
}

// TestRedriveWithCorrectedType: a corrected body that states the event's type replaces the
// attributes that state it. A body without a type does not.
func TestRedriveWithCorrectedType(t *testing.T) {
	t.Parallel()
	const order = `{"orderId":"o-1","lines":[]`
	notification := `{"Type":"Notification","TopicArn":"arn:aws:sns:us-east-1:000000000000:OrderEvents","Message":"{}"}`
	for body, want := range map[string][]string{
		order + `,"type":"OrderPlaced"}`: {"source"},
		order + `}`:                      {"ce_type", "source"},
		notification:                     {"ce_type", "source"},
		"no JSON":                        {"ce_type", "source"},
	} {
		a := testkit.NewAWS(t, nil)
		attribute := func(value string) types.MessageAttributeValue {
			return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &value}
		}
		letter, err := a.Clients.SQS.SendMessage(
			t.Context(),
			&sqs.SendMessageInput{
				QueueUrl:    &a.Resources.OrderDLQ,
				MessageBody: aws.String(order + `}`),
				MessageAttributes: map[string]types.MessageAttributeValue{
					"ce_type": attribute("OrderCancelled"), "source": attribute("shop"),
				},
			},
		)
		if err != nil {
			t.Fatal(err)
		}
		pair := deadletter.Pair{Name: "orders", URL: a.Resources.OrderQueue, DeadURL: a.Resources.OrderDLQ}
		if err := pair.Redrive(t.Context(), a.Clients.SQS, *letter.MessageId, &body); err != nil {
			t.Fatal(err)
		}
		out, err := a.Clients.SQS.ReceiveMessage(
			t.Context(),
			&sqs.ReceiveMessageInput{QueueUrl: &pair.URL, MessageAttributeNames: []string{"All"}},
		)
		if err != nil || len(out.Messages) != 1 {
			t.Fatalf("receive = %+v, %v, want one message", out, err)
		}
		if got := slices.Sorted(maps.Keys(out.Messages[0].MessageAttributes)); !slices.Equal(got, want) {
			t.Errorf("after a redrive with body %s the attributes = %v, want %v", body, got, want)
		}
	}
}

// TestFailedRedriveLeavesMessagesVisible: messages that were read and not redriven are visible
// at once.
func TestFailedRedriveLeavesMessagesVisible(t *testing.T) {
	t.Parallel()
	down := errors.New("down")
	for name, redrive := range map[string]func(deadletter.Pair, deadletter.SQS, string) error{
		"all": func(p deadletter.Pair, c deadletter.SQS, _ string) error {
			_, err := p.RedriveAll(t.Context(), c, 1000)
			return err
		},
		"one": func(p deadletter.Pair, c deadletter.SQS, id string) error {
			return p.Redrive(t.Context(), c, id, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := testkit.NewAWS(t, nil)
			pair := send(t, a, "1", "2", "3", "4", "5")
			letters, err := pair.List(t.Context(), a.Clients.SQS, 10)
			if err != nil || len(letters) != 5 {
				t.Fatalf("List = %v, %v, want all dead letters", letters, err)
			}
			if err := redrive(pair, watched{a.Clients.SQS, func() error { return down }}, letters[2].ID); !errors.Is(err, down) {
				t.Errorf("the redrive returned %v, want the error of the send", err)
			}
			out, err := a.Clients.SQS.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &pair.DeadURL, MaxNumberOfMessages: 10})
			if err != nil || len(out.Messages) != 5 {
				t.Errorf("%d messages are visible (%v), want all", len(out.Messages), err)
			}
		})
	}
}
