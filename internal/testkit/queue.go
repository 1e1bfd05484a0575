package testkit

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/sqsconsumer"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// Consume runs a consumer of the order queue until stop is called or the test
// ends. Its outcomes ("done", "poison", "retry") are sent on the channel.
func (a AWS) Consume(t testing.TB, o sqsconsumer.Options) (outcomes <-chan string, stop func()) {
	t.Helper()
	seen := make(chan string, 1000)
	if o.SQS == nil {
		o.SQS = a.Clients.SQS
	}
	o.QueueURL, o.DLQURL, o.Logger = a.Resources.OrderQueue, a.Resources.OrderDLQ, zerolog.Nop()
	o.Observe = func(outcome string) { seen <- outcome }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sqsconsumer.New(o).Run(ctx) }()
	stopped := false
	stop = func() {
		cancel()
		if !stopped {
			stopped = true
			if err := <-done; err != nil {
				t.Errorf("consumer: %v", err)
			}
		}
	}
	t.Cleanup(stop)
	return seen, stop
}

// WantOutcomes reads n outcomes and fails the test unless each is want.
func WantOutcomes(t testing.TB, outcomes <-chan string, want string, n int) {
	t.Helper()
	for i := range n {
		select {
		case got := <-outcomes:
			if got != want {
				t.Fatalf("outcome %d = %s, want %s", i, got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("outcomes after 20 s = %d, want %d", i, n)
		}
	}
}

// Send sends a message to the order queue.
func (a AWS) Send(t testing.TB, body string, attrs map[string]types.MessageAttributeValue) (id string) {
	t.Helper()
	out, err := a.Clients.SQS.SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl: &a.Resources.OrderQueue, MessageBody: &body, MessageAttributes: attrs,
	})
	require.NoError(t, err)
	return *out.MessageId
}

// Receive waits up to 20 s for n messages of a queue.
func (a AWS) Receive(t testing.TB, url string, n int) (out []types.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for len(out) < n {
		res, err := a.Clients.SQS.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &url, MaxNumberOfMessages: 10, WaitTimeSeconds: 5, MessageAttributeNames: []string{"All"},
		})
		require.NoError(t, err)
		out = append(out, res.Messages...)
	}
	return out
}

// Depth returns how many messages of a queue are visible, and how many are in
// flight.
func (a AWS) Depth(t testing.TB, url string) (visible, hidden string) {
	t.Helper()
	out, err := a.Clients.SQS.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
	})
	require.NoError(t, err)
	return out.Attributes["ApproximateNumberOfMessages"], out.Attributes["ApproximateNumberOfMessagesNotVisible"]
}

// StringAttribute returns a message attribute of type String.
func StringAttribute(s string) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &s}
}

// Attribute returns a message attribute as a string, or "" if it is missing.
func Attribute(m types.Message, name string) string {
	return aws.ToString(m.MessageAttributes[name].StringValue)
}
