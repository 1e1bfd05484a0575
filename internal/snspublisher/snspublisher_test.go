package snspublisher_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/snspublisher"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// busy holds the first message until a batch has come, and fails an entry of
// each batch.
type busy struct {
	*sns.Client
	in, out chan struct{}
	held    atomic.Bool
	batches atomic.Int32
	large   atomic.Bool // a message in a batch was
}

func (b *busy) Publish(ctx context.Context, in *sns.PublishInput, opts ...func(*sns.Options)) (*sns.PublishOutput, error) {
	if b.held.CompareAndSwap(false, true) {
		close(b.in)
		<-b.out
	}
	return b.Client.Publish(ctx, in, opts...)
}

func (b *busy) PublishBatch(ctx context.Context, in *sns.PublishBatchInput, opts ...func(*sns.Options)) (*sns.PublishBatchOutput, error) {
	if b.batches.Add(1) == 1 {
		close(b.out)
	}
	for _, e := range in.PublishBatchRequestEntries {
		if len(*e.Message) > snspublisher.MaxBytesInBatch {
			b.large.Store(true)
		}
	}
	failed := in.PublishBatchRequestEntries[0]
	in.PublishBatchRequestEntries = in.PublishBatchRequestEntries[1:]
	out, err := b.Client.PublishBatch(ctx, in, opts...)
	if err == nil {
		out.Failed = append(out.Failed, types.BatchResultErrorEntry{Id: failed.Id, Code: aws.String("InternalError")})
	}
	return out, err
}

// TestConcurrentMessagesShareABatch publishes messages while a request is in flight. Each arrives
// once, with its own attributes, also if it fails in a batch or is too large for one.
func TestConcurrentMessagesShareABatch(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	queue := a.Listen(t, "listener", a.Resources.CustomerTopic)
	client := &busy{Client: a.Clients.SNS, in: make(chan struct{}), out: make(chan struct{})}
	to := snspublisher.New(client, a.Resources.CustomerTopic)
	before := a.Clients.Calls()
	large := strings.Repeat("x", 100_000)
	bodies := []string{"first"}
	for n := range 100 {
		bodies = append(bodies, fmt.Sprintf("message %d", n))
		if n%20 == 0 {
			bodies = append(bodies, fmt.Sprint(large, n))
		}
	}
	own := func(body string) string { return fmt.Sprint(len(body), body[len(body)-1:]) }
	var wg sync.WaitGroup
	publish := func(body string) {
		wg.Go(func() {
			if err := to.Publish(t.Context(), []byte(body), map[string]string{"own": own(body)}); err != nil {
				t.Errorf("publish %.20s: %v", body, err)
			}
		})
	}
	publish(bodies[0])
	<-client.in
	for _, body := range bodies[1:] {
		publish(body)
	}
	wg.Wait()
	if got := a.Clients.Calls() - before; got > 80 {
		t.Errorf("requests for %d messages = %d, want at most 80", len(bodies), got)
	}
	if client.large.Load() {
		t.Error("a large message was in a batch, want it published alone")
	}
	got := received(t, a, queue, len(bodies))
	for _, body := range bodies {
		if got[body] != own(body) {
			t.Errorf("%.20s arrived with %q, want %q", body, got[body], own(body))
		}
	}
}

// TestLargestBatchIsAccepted sends ten of the largest messages that go into one batch, with the
// longest attributes that we send.
func TestLargestBatchIsAccepted(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	in := &sns.PublishBatchInput{TopicArn: &a.Resources.CustomerTopic}
	attributes := map[string]types.MessageAttributeValue{}
	for name, bytes := range map[string]int{"type": 20, "orderId": 128, "traceparent": 55} {
		attributes[name] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(strings.Repeat("x", bytes))}
	}
	for n := range snspublisher.MaxInBatch {
		in.PublishBatchRequestEntries = append(in.PublishBatchRequestEntries, types.PublishBatchRequestEntry{
			Id: aws.String(strconv.Itoa(n)), Message: aws.String(strings.Repeat("x", snspublisher.MaxBytesInBatch)), MessageAttributes: attributes,
		})
	}
	out, err := a.Clients.SNS.PublishBatch(t.Context(), in)
	if err != nil || len(out.Successful) != snspublisher.MaxInBatch {
		t.Errorf("PublishBatch of the largest messages = %+v, error %v, want %d successful", out, err, snspublisher.MaxInBatch)
	}
}

// received takes messages out of a queue: body to attribute, each once.
func received(t *testing.T, a testkit.AWS, queue string, want int) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got := map[string]string{}
	for len(got) < want {
		out, err := a.Clients.SQS.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &queue, MaxNumberOfMessages: 10, WaitTimeSeconds: 5, MessageAttributeNames: []string{"All"},
		})
		if err != nil {
			t.Fatalf("receive, after %d of %d messages: %v", len(got), want, err)
		}
		for _, m := range out.Messages {
			if _, twice := got[*m.Body]; twice {
				t.Errorf("message %.20s arrived twice, want once", *m.Body)
			}
			got[*m.Body] = aws.ToString(m.MessageAttributes["own"].StringValue)
		}
	}
	return got
}
