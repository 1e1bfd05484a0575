package topic_test

import (
	"context"
	"fmt"
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

	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/topic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// busy holds the first request until it is let, and may fail an entry of a
// batch.
type busy struct {
	*sns.Client
	in, out chan struct{}
	held    atomic.Bool
	fail    string
}

func (b *busy) Publish(ctx context.Context, in *sns.PublishInput, opts ...func(*sns.Options)) (*sns.PublishOutput, error) {
	if b.held.CompareAndSwap(false, true) {
		close(b.in)
		<-b.out
	}
	return b.Client.Publish(ctx, in, opts...)
}

func (b *busy) PublishBatch(ctx context.Context, in *sns.PublishBatchInput, opts ...func(*sns.Options)) (*sns.PublishBatchOutput, error) {
	var kept []types.PublishBatchRequestEntry
	var failed []types.BatchResultErrorEntry
	for _, e := range in.PublishBatchRequestEntries {
		if *e.Message == b.fail {
			failed = append(failed, types.BatchResultErrorEntry{Id: e.Id, Code: aws.String("InternalError")})
		} else {
			kept = append(kept, e)
		}
	}
	out, err := b.Client.PublishBatch(ctx, &sns.PublishBatchInput{TopicArn: in.TopicArn, PublishBatchRequestEntries: kept}, opts...)
	if err == nil {
		out.Failed = append(out.Failed, failed...)
	}
	return out, err
}

// TestPublishesTogether what is published while SNS has not answered: ten at a
// time, each with its own attributes, and none twice or never.
func TestPublishesTogether(t *testing.T) {
	large := strings.Repeat("x", 100_000)
	for _, tt := range []struct {
		what  string
		fail  string // by itself it does not
		also  []string
		calls int64
	}{
		{"ten at a time", "", nil, 3},
		{"an entry that fails goes again, alone", "message 7", nil, 4},
		{"large ones go alone", "", []string{large + "1", large + "2", large + "3"}, 6},
	} {
		t.Run(tt.what, func(t *testing.T) {
			a := testkit.NewAWS(t, nil)
			queue := a.Listen(t, "listener", a.Resources.CustomerTopic)
			client := &busy{Client: a.Clients.SNS, in: make(chan struct{}), out: make(chan struct{}), fail: tt.fail}
			to := topic.New(client, a.Resources.CustomerTopic)
			before := a.Clients.Calls()
			publish := func(body string) {
				if err := to.Publish(t.Context(), []byte(body), map[string]string{"own": fmt.Sprint(len(body), body[len(body)-1:])}); err != nil {
					t.Errorf("%.20s: %v", body, err)
				}
			}
			var first, rest sync.WaitGroup
			first.Go(func() { publish("message 0") })
			<-client.in
			for n := range 20 {
				rest.Go(func() { publish(fmt.Sprintf("message %d", n+1)) })
			}
			for _, body := range tt.also {
				publish(body)
			}
			rest.Wait() // for two full batches do not wait for the first
			close(client.out)
			first.Wait()
			if got := a.Clients.Calls() - before; got != tt.calls {
				t.Errorf("%d requests, want %d", got, tt.calls)
			}
			got := received(t, a, queue, 21+len(tt.also))
			for n := range 21 {
				tt.also = append(tt.also, fmt.Sprintf("message %d", n))
			}
			for _, body := range tt.also {
				if own := fmt.Sprint(len(body), body[len(body)-1:]); got[body] != own {
					t.Errorf("%.20s arrived with %q, want %q", body, got[body], own)
				}
			}
		})
	}
}

// received takes messages out of a queue: body to attribute, each once.
func received(t *testing.T, a testkit.AWS, queue string, want int) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got := map[string]string{}
	for len(got) < want {
		out, err := a.Clients.SQS.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &queue, MaxNumberOfMessages: 10, WaitTimeSeconds: 5, MessageAttributeNames: []string{"All"}})
		if err != nil {
			t.Fatalf("after %d of %d: %v", len(got), want, err)
		}
		for _, m := range out.Messages {
			if _, twice := got[*m.Body]; twice {
				t.Errorf("twice: %.20s", *m.Body)
			}
			got[*m.Body] = aws.ToString(m.MessageAttributes["own"].StringValue)
		}
	}
	return got
}
