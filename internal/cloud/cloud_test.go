package cloud_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newClients returns clients of an empty local AWS endpoint. fault may be nil.
func newClients(t *testing.T, fault awslocal.Fault) *cloud.Clients {
	t.Helper()
	local, err := awslocal.Open(awslocal.Options{Logger: zerolog.Nop(), Fault: fault})
	require.NoError(t, err)
	server := httptest.NewServer(local.Handler())
	t.Cleanup(func() {
		server.Close()
		require.NoError(t, local.Close())
	})
	c, err := cloud.New(t.Context(), cloud.Options{Region: "us-east-1", Endpoint: server.URL, Logger: zerolog.Nop()})
	require.NoError(t, err)
	return c
}

func denied() error {
	return &awslocal.Error{Status: 403, Code: "AccessDenied", Message: "access denied"}
}

func TestFindReportsMissingResources(t *testing.T) {
	t.Parallel()
	c := newClients(t, nil)
	_, err := c.Find(t.Context())
	at := *c.SQS.Options().BaseEndpoint
	want := "missing in AWS (region us-east-1 at " + at + "): queue CarrierAnswersQueue, queue CarrierAnswersQueue-dlq, " +
		"queue CarrierRequestsQueue, queue CarrierRequestsQueue-dlq, queue OrderProcessingQueue, queue OrderProcessingQueue-dlq, " +
		"topic CustomerNotifications, topic OrderEvents, topic ShipmentEvents; " +
		"create them with `ordersaga setup`, or the stack of deploy/cloudformation"
	if err == nil || err.Error() != want {
		t.Errorf("Find on an empty endpoint: error = %v, want %s", err, want)
	}

	made, err := c.Setup(t.Context())
	require.NoError(t, err)
	found, err := c.Find(t.Context())
	if err != nil || found != made {
		t.Errorf("Find = %+v, %v, want what Setup returned: %+v", found, err, made)
	}

	_, err = c.SQS.DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: &made.OrderDLQ})
	require.NoError(t, err)
	_, err = c.SNS.DeleteTopic(t.Context(), &sns.DeleteTopicInput{TopicArn: &made.ShipmentTopic})
	require.NoError(t, err)
	if _, err := c.Find(t.Context()); err == nil ||
		!strings.Contains(err.Error(), "): queue OrderProcessingQueue-dlq, topic ShipmentEvents; ") {
		t.Errorf("Find without a queue and a topic: error = %v, want one that names both", err)
	}
}

func TestSetupIsIdempotent(t *testing.T) {
	t.Parallel()
	c := newClients(t, nil)
	first, err := c.Setup(t.Context())
	require.NoError(t, err)
	second, err := c.Setup(t.Context())
	if err != nil || first != second {
		t.Errorf("second Setup = %+v, %v, want as the first: %+v", second, err, first)
	}
	deliversOnce(t, c, first.OrderTopic, first.OrderQueue, events.EnvelopeNone)
	deliversOnce(t, c, first.ShipmentTopic, first.CarrierRequests, events.EnvelopeSNS)
	for queue, dlq := range map[string]string{
		first.OrderQueue:      "OrderProcessingQueue-dlq",
		first.CarrierAnswers:  "CarrierAnswersQueue-dlq",
		first.CarrierRequests: "CarrierRequestsQueue-dlq",
	} {
		out, err := c.SQS.GetQueueAttributes(
			t.Context(),
			&sqs.GetQueueAttributesInput{QueueUrl: &queue, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}},
		)
		require.NoError(t, err)
		if p := out.Attributes["RedrivePolicy"]; !strings.Contains(p, ":"+dlq+`"`) || !strings.Contains(p, "60") {
			t.Errorf("queue %s: redrive policy = %s, want 60 receives, then %s", queue, p, dlq)
		}
	}
	out, err := c.SQS.GetQueueAttributes(
		t.Context(),
		&sqs.GetQueueAttributesInput{QueueUrl: &first.OrderDLQ, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}},
	)
	if err != nil || out.Attributes["MessageRetentionPeriod"] != "1209600" {
		t.Errorf("retention of the dead-letter queue: %v, error %v, want 14 days", out, err)
	}
}

// deliversOnce publishes to a topic, and expects the message on the queue once, in an
// envelope of the kind.
func deliversOnce(t *testing.T, c *cloud.Clients, topic, queue string, kind events.Envelope) {
	t.Helper()
	_, err := c.SNS.Publish(t.Context(), &sns.PublishInput{TopicArn: &topic, Message: aws.String(`{"text":1}`)})
	require.NoError(t, err)
	out, err := c.SQS.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &queue, MaxNumberOfMessages: 10, WaitTimeSeconds: 5})
	require.NoError(t, err)
	if len(out.Messages) != 1 {
		t.Fatalf("queue %s has %d messages, want 1", queue, len(out.Messages))
	}
	if got, err := events.Unwrap(events.Message{Body: []byte(*out.Messages[0].Body)}); string(got.Payload) != `{"text":1}` ||
		got.Kind != kind ||
		err != nil {
		t.Errorf("queue %s: message = %+v, error %v, want the published one in an envelope %s", queue, got, err, kind)
	}
}

// TestSetupUpdatesOldSubscriptions: an earlier version delivered shipment requests raw,
// which Dapr cannot read.
func TestSetupUpdatesOldSubscriptions(t *testing.T) {
	t.Parallel()
	c := newClients(t, nil)
	r, err := c.Setup(t.Context())
	require.NoError(t, err)
	subs, err := c.SNS.ListSubscriptionsByTopic(t.Context(), &sns.ListSubscriptionsByTopicInput{TopicArn: &r.ShipmentTopic})
	require.NoError(t, err)
	_, err = c.SNS.SetSubscriptionAttributes(t.Context(), &sns.SetSubscriptionAttributesInput{
		SubscriptionArn: subs.Subscriptions[0].SubscriptionArn,
		AttributeName:   aws.String("RawMessageDelivery"), AttributeValue: aws.String("true"),
	})
	require.NoError(t, err)
	deliversOnce(t, c, r.ShipmentTopic, r.CarrierRequests, events.EnvelopeNone)
	_, err = c.Setup(t.Context())
	require.NoError(t, err)
	deliversOnce(t, c, r.ShipmentTopic, r.CarrierRequests, events.EnvelopeSNS)
}

// TestSubscriptionsFilterByTypeInBody: the type in the body decides. A message without a
// type is delivered, with attributes or without: AWS would drop each message without
// attributes if the filter were for these.
func TestSubscriptionsFilterByTypeInBody(t *testing.T) {
	t.Parallel()
	c := newClients(t, nil)
	r, err := c.Setup(t.Context())
	require.NoError(t, err)
	subs, err := c.SNS.ListSubscriptionsByTopic(t.Context(), &sns.ListSubscriptionsByTopicInput{TopicArn: &r.OrderTopic})
	require.NoError(t, err)
	sub := subs.Subscriptions[0].SubscriptionArn
	// An earlier version set no filter policy.
	_, err = c.SNS.SetSubscriptionAttributes(
		t.Context(),
		&sns.SetSubscriptionAttributesInput{SubscriptionArn: sub, AttributeName: aws.String("FilterPolicy"), AttributeValue: aws.String("{}")},
	)
	require.NoError(t, err)
	_, err = c.Setup(t.Context())
	require.NoError(t, err)
	a, err := c.SNS.GetSubscriptionAttributes(t.Context(), &sns.GetSubscriptionAttributesInput{SubscriptionArn: sub})
	if err != nil || a.Attributes["FilterPolicyScope"] != "MessageBody" || a.Attributes["FilterPolicy"] != cloud.FilterPolicy("OrderPlaced") {
		t.Errorf("attributes of the subscription = %v, error %v, want the policy %s for the body", a, err, cloud.FilterPolicy("OrderPlaced"))
	}
	dropped := []string{`{"type":"OrderCancelled"}`, `{"specversion":"1.0","type":"OrderCancelled","data":{}}`, `no JSON`}
	taken := []string{
		`{"orderId":"plain"}`, `{"type":null,"orderId":"no type"}`, `{"type":"OrderPlaced","orderId":"typed"}`,
		`{"specversion":"1.0","type":"OrderPlaced","data":{}}`, `{"specversion":"1.0","type":"com.dapr.event.sent","data":{}}`,
		`{"detail-type":"OrderPlaced","detail":{}}`, `{"detail-type":"OrderCancelled","detail":{}}`,
		`{"Type":"Notification","Message":"{}"}`,
	}
	for _, body := range append(dropped, taken...) {
		_, err := c.SNS.Publish(t.Context(), &sns.PublishInput{TopicArn: &r.OrderTopic, Message: &body})
		require.NoError(t, err)
	}
	binary := `{"orderId":"binary"}`
	_, err = c.SNS.Publish(
		t.Context(),
		&sns.PublishInput{
			TopicArn: &r.OrderTopic,
			Message:  &binary,
			MessageAttributes: map[string]snstypes.MessageAttributeValue{
				"ce-type": {DataType: aws.String("String"), StringValue: aws.String("OrderPlaced")},
			},
		},
	)
	require.NoError(t, err)
	taken = append(taken, binary)
	var got []string
	for len(got) < len(taken) {
		out, err := c.SQS.ReceiveMessage(
			t.Context(),
			&sqs.ReceiveMessageInput{QueueUrl: &r.OrderQueue, MaxNumberOfMessages: 10, WaitTimeSeconds: 5},
		)
		require.NoError(t, err)
		if len(out.Messages) == 0 {
			break
		}
		for _, m := range out.Messages {
			got = append(got, *m.Body)
		}
	}
	slices.Sort(got)
	slices.Sort(taken)
	if !slices.Equal(got, taken) {
		t.Errorf("delivered messages = %q, want %q", got, taken)
	}
}

// TestTopicsMaySendToTheirQueues: without a policy AWS drops what SNS delivers.
func TestTopicsMaySendToTheirQueues(t *testing.T) {
	t.Parallel()
	c := newClients(t, nil)
	r, err := c.Setup(t.Context())
	require.NoError(t, err)
	for topic, queue := range map[string]string{r.OrderTopic: r.OrderQueue, r.ShipmentTopic: r.CarrierRequests} {
		out, err := c.SQS.GetQueueAttributes(
			t.Context(),
			&sqs.GetQueueAttributesInput{QueueUrl: &queue, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}},
		)
		require.NoError(t, err)
		if p := out.Attributes["Policy"]; !json.Valid([]byte(p)) || !strings.Contains(p, `"aws:SourceArn":"`+topic+`"`) ||
			!strings.Contains(p, `"Resource":"`+out.Attributes["QueueArn"]+`"`) {
			t.Errorf("queue %s: policy = %s, want topic %s to be allowed to send", queue, p, topic)
		}
	}
}

func TestCreateCursorTableIsIdempotent(t *testing.T) {
	t.Parallel()
	c := newClients(t, nil)
	for range 2 {
		require.NoError(t, c.CreateCursorTable(t.Context(), "x-"))
	}
	out, err := c.DynamoDB.ListTables(t.Context(), &dynamodb.ListTablesInput{})
	if err != nil || !slices.Equal(out.TableNames, []string{"x-cursors"}) {
		t.Errorf("tables = %+v, error %v, want x-cursors", out, err)
	}
}

// TestSetupContinuesAfterFailure repeats Setup after each of its requests has failed.
func TestSetupContinuesAfterFailure(t *testing.T) {
	t.Parallel()
	var calls, allowed atomic.Int64
	var seen []string
	fault := func(_, operation string) error {
		if calls.Add(1) > allowed.Load() {
			return denied()
		}
		seen = append(seen, operation)
		return nil
	}
	allowed.Store(1000)
	_, err := newClients(t, fault).Setup(t.Context())
	require.NoError(t, err)
	total := calls.Load()
	if !slices.Contains(seen, "Subscribe") || total < 10 {
		t.Fatalf("Setup made %d requests: %v, want at least 10 with Subscribe", total, seen)
	}
	for n := range total {
		calls.Store(0)
		allowed.Store(n)
		c := newClients(t, fault)
		if _, err := c.Setup(t.Context()); err == nil {
			t.Fatalf("Setup returned no error although request %d was denied, want one", n+1)
		} else if !strings.Contains(err.Error(), "access denied") || calls.Load() != n+1 {
			t.Errorf("Setup with request %d denied: error = %v after %d requests, want access denied and no further request", n+1, err, calls.Load())
		}
		allowed.Store(1000)
		made, err := c.Setup(t.Context())
		require.NoError(t, err)
		if found, err := c.Find(t.Context()); err != nil || found != made {
			t.Errorf("Find after a Setup that failed at request %d and another one: %+v, %v, want %+v", n+1, found, err, made)
		}
	}
}

// TestFindDoesNotReportDeniedAsMissing: creating the resources would not help.
func TestFindDoesNotReportDeniedAsMissing(t *testing.T) {
	t.Parallel()
	for operation, want := range map[string]string{
		"GetQueueUrl": "find queue ", "GetTopicAttributes": "find topic ", "GetCallerIdentity": "find topics: ",
	} {
		c := newClients(t, func(_, op string) error {
			if op == operation {
				return denied()
			}
			return nil
		})
		if _, err := c.Find(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "missing") {
			t.Errorf("Find with %s denied: error = %v, want one that starts with %q", operation, err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newClients(t, nil).Find(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Find with a cancelled context: error = %v, want context.Canceled", err)
	}
}

func TestCallsIncludeRetries(t *testing.T) {
	t.Parallel()
	var throttled atomic.Int64
	c := newClients(t, func(service, _ string) error {
		if throttled.Add(-1) >= 0 {
			return awslocal.Throttled(service)
		}
		return nil
	})
	if n := c.Calls(); n != 0 {
		t.Errorf("Calls() before the first request = %d, want 0", n)
	}
	list := func() {
		t.Helper()
		_, err := c.SQS.ListQueues(t.Context(), &sqs.ListQueuesInput{})
		require.NoError(t, err)
	}
	list()
	if n := c.Calls(); n != 1 {
		t.Errorf("Calls() = %d, want 1", n)
	}
	throttled.Store(1)
	list()
	if n := c.Calls(); n != 3 {
		t.Errorf("Calls() = %d, want 3: one was throttled and retried", n)
	}
	throttled.Store(1) // with a code that the SDK lacks
	_, err := c.SNS.ListTopics(t.Context(), &sns.ListTopicsInput{})
	require.NoError(t, err)
	_, err = c.DynamoDB.ListTables(t.Context(), &dynamodb.ListTablesInput{})
	require.NoError(t, err)
	if n := c.Calls(); n != 6 {
		t.Errorf("Calls() = %d, want 6 of three services, with one more retry", n)
	}
}

// TestBodiesArriveComplete sends concurrent requests below and above the size up to which
// bodies are buffered.
func TestBodiesArriveComplete(t *testing.T) {
	t.Parallel()
	c := newClients(t, nil)
	q, err := c.SQS.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("q")})
	require.NoError(t, err)
	sizes := []int{1, 100, 64 << 10, 600 << 10, 1 << 20} // the last, with its JSON, is above 1 MiB
	var g sync.WaitGroup
	for _, n := range sizes {
		for range 4 {
			g.Go(func() {
				// The SDK compares the checksum in the response with the body's.
				in := &sqs.SendMessageInput{QueueUrl: q.QueueUrl, MessageBody: aws.String(strings.Repeat("x", n))}
				if _, err := c.SQS.SendMessage(context.Background(), in); err != nil {
					t.Errorf("send %d bytes: %v", n, err)
				}
			})
		}
	}
	g.Wait()
	got := map[int]int{}
	for range 4 * len(sizes) {
		out, err := c.SQS.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: q.QueueUrl, WaitTimeSeconds: 5})
		require.NoError(t, err)
		if len(out.Messages) != 1 {
			t.Fatalf("received %d messages, want 1", len(out.Messages))
		}
		got[len(*out.Messages[0].Body)]++
	}
	for _, n := range sizes {
		if got[n] != 4 {
			t.Errorf("received %d messages of %d bytes, want 4", got[n], n)
		}
	}
}

// TestBackOffAfterThrottling: tens of milliseconds at first, whatever code a service uses,
// and never more than two seconds.
func TestBackOffAfterThrottling(t *testing.T) {
	t.Parallel()
	c := newClients(t, awslocal.ThrottleSome("", 1, 1))
	_, ofDynamoDB := c.DynamoDB.ListTables(t.Context(), nil, func(o *dynamodb.Options) { o.RetryMaxAttempts = 1 })
	_, ofSNS := c.SNS.ListTopics(t.Context(), nil, func(o *sns.Options) { o.RetryMaxAttempts = 1 })
	_, ofSQS := c.SQS.ListQueues(t.Context(), nil, func(o *sqs.Options) { o.RetryMaxAttempts = 1 })
	for name, at := range map[string]struct {
		err     error
		retryer aws.Retryer
	}{
		"DynamoDB": {ofDynamoDB, c.DynamoDB.Options().Retryer},
		"SNS":      {ofSNS, c.SNS.Options().Retryer},
		"SQS":      {ofSQS, c.SQS.Options().Retryer},
	} {
		if !at.retryer.IsErrorRetryable(at.err) {
			t.Fatalf("%s: %v is not retried, want a retry", name, at.err)
		}
		for attempt, most := range map[int]time.Duration{
			1: 50 * time.Millisecond, 2: 200 * time.Millisecond, 3: 800 * time.Millisecond, 4: 2 * time.Second, 99: 2 * time.Second,
		} {
			for range 100 {
				if wait, err := at.retryer.RetryDelay(attempt, at.err); err != nil || wait < most/2 || wait > most {
					t.Fatalf("%s: delay after attempt %d = %s (error %v), want %s to %s", name, attempt, wait, err, most/2, most)
				}
			}
		}
	}
}
