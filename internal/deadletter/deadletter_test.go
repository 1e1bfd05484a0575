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

// TestLettersThatSQSMoved say so, and how often they were tried.
func TestLettersThatSQSMoved(t *testing.T) {
	a := testkit.NewAWS(t, nil)
	q := a.Resources.OrderQueue
	if _, err := a.Clients.SQS.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &q, MessageBody: aws.String("fails")}); err != nil {
		t.Fatal(err)
	}
	for n := range 61 {
		out, err := a.Clients.SQS.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &q})
		if err != nil || len(out.Messages) != map[bool]int{true: 1}[n < 60] {
			t.Fatalf("receive %d: %+v %v", n+1, out.Messages, err)
		}
		for _, m := range out.Messages {
			if _, err := a.Clients.SQS.ChangeMessageVisibility(t.Context(), &sqs.ChangeMessageVisibilityInput{QueueUrl: &q, ReceiptHandle: m.ReceiptHandle}); err != nil {
				t.Fatal(err)
			}
		}
	}
	letters, err := deadletter.Pair{Name: "orders", URL: q, DeadURL: a.Resources.OrderDLQ}.List(t.Context(), a.Clients.SQS, 10)
	if err != nil || len(letters) != 1 || letters[0].Body != "fails" || !strings.HasPrefix(letters[0].Reason, "received 60 times without success, and moved here by SQS") {
		t.Errorf("%+v %v", letters, err)
	}
}

// bury puts letters into the dead-letter queue of orders.
func bury(t *testing.T, a testkit.AWS, bodies ...string) deadletter.Pair {
	t.Helper()
	for _, body := range bodies {
		if _, err := a.Clients.SQS.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &a.Resources.OrderDLQ, MessageBody: &body}); err != nil {
			t.Fatal(err)
		}
	}
	return deadletter.Pair{Name: "orders", URL: a.Resources.OrderQueue, DeadURL: a.Resources.OrderDLQ}
}

var sentAt = regexp.MustCompile(`"SentTimestamp":"(\d+)"`)

// clockOff is the endpoint with a clock that is so far before ours.
func clockOff(t *testing.T, a testkit.AWS, by time.Duration) *sqs.Client {
	t.Helper()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		a.Handler.ServeHTTP(answer, r)
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
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

// watched calls sent before each message that is sent.
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

// TestPoisonIsPutBackOnce: a worker gives back at once what nobody can process,
// whatever the clocks of SQS and of this machine say.
func TestPoisonIsPutBackOnce(t *testing.T) {
	for _, off := range []time.Duration{-time.Hour, 0, time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			s := testkit.NewSystem(t, nil, nil)
			pair := bury(t, s.AWS, "no order", "nor this", "nor this")
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			sent := 0
			client := watched{clockOff(t, s.AWS, off), func() error {
				if sent++; sent > 30 {
					stop()
				}
				return nil
			}}
			if n, err := pair.RedriveAll(ctx, client, 100); err != nil || n != 3 || sent != 3 {
				t.Errorf("%d were put back, %d sent: %v", n, sent, err)
			}
			testkit.Eventually(t, "they are back", func() error {
				_, dead, err := pair.Depths(t.Context(), s.Clients.SQS)
				if err == nil && dead.Visible != 3 {
					err = fmt.Errorf("%+v", dead)
				}
				return err
			})
		})
	}
}

// TestMendedType: a mended body that states the event's type replaces the attribute
// that made the message a dead letter. One that does not state it changes nothing.
func TestMendedType(t *testing.T) {
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
		letter, err := a.Clients.SQS.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &a.Resources.OrderDLQ, MessageBody: aws.String(order + `}`), MessageAttributes: map[string]types.MessageAttributeValue{
			"ce_type": attribute("OrderCancelled"), "source": attribute("shop"),
		}})
		if err != nil {
			t.Fatal(err)
		}
		pair := deadletter.Pair{Name: "orders", URL: a.Resources.OrderQueue, DeadURL: a.Resources.OrderDLQ}
		if err := pair.Redrive(t.Context(), a.Clients.SQS, *letter.MessageId, &body); err != nil {
			t.Fatal(err)
		}
		out, err := a.Clients.SQS.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &pair.URL, MessageAttributeNames: []string{"All"}})
		if err != nil || len(out.Messages) != 1 {
			t.Fatalf("received %+v, %v", out, err)
		}
		if got := slices.Sorted(maps.Keys(out.Messages[0].MessageAttributes)); !slices.Equal(got, want) {
			t.Errorf("redriven as %s: has the attributes %v, want %v", body, got, want)
		}
	}
}

// TestFailedRedriveHidesNothing: what was read and not put back can be read by
// others at once.
func TestFailedRedriveHidesNothing(t *testing.T) {
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
			pair := bury(t, a, "1", "2", "3", "4", "5")
			letters, err := pair.List(t.Context(), a.Clients.SQS, 10)
			if err != nil || len(letters) != 5 {
				t.Fatal(letters, err)
			}
			if err := redrive(pair, watched{a.Clients.SQS, func() error { return down }}, letters[2].ID); !errors.Is(err, down) {
				t.Errorf("it ended with %v", err)
			}
			out, err := a.Clients.SQS.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &pair.DeadURL, MaxNumberOfMessages: 10})
			if err != nil || len(out.Messages) != 5 {
				t.Errorf("%d can be read: %v", len(out.Messages), err)
			}
		})
	}
}
