package deadletter_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.uber.org/goleak"

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
