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
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// empty is an endpoint on which nothing was set up. fault may be nil.
func empty(t *testing.T, fault awslocal.Fault) *cloud.Clients {
	t.Helper()
	local, err := awslocal.Open(awslocal.Options{Logger: zerolog.Nop(), Fault: fault})
	must(t, err)
	server := httptest.NewServer(local.Handler())
	t.Cleanup(func() {
		server.Close()
		must(t, local.Close())
	})
	c, err := cloud.New(t.Context(), cloud.Options{Region: "us-east-1", Endpoint: server.URL, Logger: zerolog.Nop()})
	must(t, err)
	return c
}

func denied() error {
	return &awslocal.Error{Status: 403, Code: "AccessDenied", Message: "you may not"}
}

func TestFindSaysWhatIsMissing(t *testing.T) {
	c := empty(t, nil)
	_, err := c.Find(t.Context())
	at := *c.SQS.Options().BaseEndpoint
	want := "missing in AWS (region us-east-1 at " + at + "): queue CarrierAnswersQueue, queue CarrierAnswersQueue-dlq, queue CarrierRequestsQueue, " +
		"queue CarrierRequestsQueue-dlq, queue OrderProcessingQueue, queue OrderProcessingQueue-dlq, " +
		"topic CustomerNotifications, topic OrderEvents, topic ShipmentEvents; create them with `ordersaga setup`, or the stack of deploy/cloudformation"
	if err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}

	made, err := c.Setup(t.Context())
	must(t, err)
	found, err := c.Find(t.Context())
	if err != nil || found != made {
		t.Errorf("%+v %v\nset up %+v", found, err, made)
	}

	_, err = c.SQS.DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: &made.OrderDLQ})
	must(t, err)
	_, err = c.SNS.DeleteTopic(t.Context(), &sns.DeleteTopicInput{TopicArn: &made.ShipmentTopic})
	must(t, err)
	if _, err := c.Find(t.Context()); err == nil || !strings.Contains(err.Error(), "): queue OrderProcessingQueue-dlq, topic ShipmentEvents; ") {
		t.Errorf("%v", err)
	}
}

func TestSetupTwiceIsHarmless(t *testing.T) {
	c := empty(t, nil)
	first, err := c.Setup(t.Context())
	must(t, err)
	second, err := c.Setup(t.Context())
	if err != nil || first != second {
		t.Errorf("%+v %v\nfirst %+v", second, err, first)
	}
	once(t, c, first.OrderTopic, first.OrderQueue, events.EnvelopeNone)
	once(t, c, first.ShipmentTopic, first.CarrierRequests, events.EnvelopeSNS)
	for queue, dlq := range map[string]string{first.OrderQueue: "OrderProcessingQueue-dlq", first.CarrierAnswers: "CarrierAnswersQueue-dlq", first.CarrierRequests: "CarrierRequestsQueue-dlq"} {
		out, err := c.SQS.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &queue, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
		must(t, err)
		if p := out.Attributes["RedrivePolicy"]; !strings.Contains(p, ":"+dlq+`"`) || !strings.Contains(p, "60") {
			t.Errorf("%s: redrive policy %s", queue, p)
		}
	}
	out, err := c.SQS.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &first.OrderDLQ, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	if err != nil || out.Attributes["MessageRetentionPeriod"] != "1209600" {
		t.Errorf("%v %v", out, err)
	}
}

// once publishes to a topic, and finds it on the queue once, wrapped as kind.
func once(t *testing.T, c *cloud.Clients, topic, queue string, kind events.Envelope) {
	t.Helper()
	_, err := c.SNS.Publish(t.Context(), &sns.PublishInput{TopicArn: &topic, Message: aws.String(`{"text":1}`)})
	must(t, err)
	out, err := c.SQS.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &queue, MaxNumberOfMessages: 10, WaitTimeSeconds: 5})
	must(t, err)
	if len(out.Messages) != 1 {
		t.Fatalf("%s: %d messages", queue, len(out.Messages))
	}
	if got, err := events.Unwrap(events.Message{Body: []byte(*out.Messages[0].Body)}); string(got.Payload) != `{"text":1}` || got.Kind != kind || err != nil {
		t.Errorf("%s: %+v %v, want it in %s", queue, got, err, kind)
	}
}

// TestSetupMendsOldSubscriptions: an earlier version delivered shipment
// requests raw, which Dapr cannot take.
func TestSetupMendsOldSubscriptions(t *testing.T) {
	c := empty(t, nil)
	r, err := c.Setup(t.Context())
	must(t, err)
	subs, err := c.SNS.ListSubscriptionsByTopic(t.Context(), &sns.ListSubscriptionsByTopicInput{TopicArn: &r.ShipmentTopic})
	must(t, err)
	_, err = c.SNS.SetSubscriptionAttributes(t.Context(), &sns.SetSubscriptionAttributesInput{
		SubscriptionArn: subs.Subscriptions[0].SubscriptionArn, AttributeName: aws.String("RawMessageDelivery"), AttributeValue: aws.String("true"),
	})
	must(t, err)
	once(t, c, r.ShipmentTopic, r.CarrierRequests, events.EnvelopeNone)
	_, err = c.Setup(t.Context())
	must(t, err)
	once(t, c, r.ShipmentTopic, r.CarrierRequests, events.EnvelopeSNS)
}

// TestQueuesGetTheirEventsOnly: what a body says it is, decides. What says
// nothing arrives, with attributes or without: by the attributes nothing is
// dropped, for AWS would drop each message without any.
func TestQueuesGetTheirEventsOnly(t *testing.T) {
	c := empty(t, nil)
	r, err := c.Setup(t.Context())
	must(t, err)
	subs, err := c.SNS.ListSubscriptionsByTopic(t.Context(), &sns.ListSubscriptionsByTopicInput{TopicArn: &r.OrderTopic})
	must(t, err)
	sub := subs.Subscriptions[0].SubscriptionArn
	// Of an earlier version: none.
	_, err = c.SNS.SetSubscriptionAttributes(t.Context(), &sns.SetSubscriptionAttributesInput{SubscriptionArn: sub, AttributeName: aws.String("FilterPolicy"), AttributeValue: aws.String("{}")})
	must(t, err)
	_, err = c.Setup(t.Context())
	must(t, err)
	a, err := c.SNS.GetSubscriptionAttributes(t.Context(), &sns.GetSubscriptionAttributesInput{SubscriptionArn: sub})
	if err != nil || a.Attributes["FilterPolicyScope"] != "MessageBody" || a.Attributes["FilterPolicy"] != cloud.FilterPolicy("OrderPlaced") {
		t.Errorf("%v %v", a, err)
	}
	dropped := []string{`{"type":"OrderCancelled"}`, `{"specversion":"1.0","type":"OrderCancelled","data":{}}`, `no JSON`}
	taken := []string{
		`{"orderId":"plain"}`, `{"type":null,"orderId":"no type"}`, `{"type":"OrderPlaced","orderId":"typed"}`, `{"specversion":"1.0","type":"OrderPlaced","data":{}}`,
		`{"specversion":"1.0","type":"com.dapr.event.sent","data":{}}`, `{"detail-type":"OrderPlaced","detail":{}}`, `{"detail-type":"OrderCancelled","detail":{}}`, `{"Type":"Notification","Message":"{}"}`,
	}
	for _, body := range append(dropped, taken...) {
		_, err := c.SNS.Publish(t.Context(), &sns.PublishInput{TopicArn: &r.OrderTopic, Message: &body})
		must(t, err)
	}
	binary := `{"orderId":"binary"}`
	_, err = c.SNS.Publish(t.Context(), &sns.PublishInput{TopicArn: &r.OrderTopic, Message: &binary, MessageAttributes: map[string]snstypes.MessageAttributeValue{"ce-type": {DataType: aws.String("String"), StringValue: aws.String("OrderPlaced")}}})
	must(t, err)
	taken = append(taken, binary)
	var got []string
	for len(got) < len(taken) {
		out, err := c.SQS.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &r.OrderQueue, MaxNumberOfMessages: 10, WaitTimeSeconds: 5})
		must(t, err)
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
		t.Errorf("got %q\nwant %q", got, taken)
	}
}

// TestTopicsMaySendToTheirQueues: without a policy AWS drops what SNS delivers.
func TestTopicsMaySendToTheirQueues(t *testing.T) {
	c := empty(t, nil)
	r, err := c.Setup(t.Context())
	must(t, err)
	for topic, queue := range map[string]string{r.OrderTopic: r.OrderQueue, r.ShipmentTopic: r.CarrierRequests} {
		out, err := c.SQS.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &queue, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
		must(t, err)
		if p := out.Attributes["Policy"]; !json.Valid([]byte(p)) || !strings.Contains(p, `"aws:SourceArn":"`+topic+`"`) || !strings.Contains(p, `"Resource":"`+out.Attributes["QueueArn"]+`"`) {
			t.Errorf("%s: policy %s", queue, p)
		}
	}
}

func TestCursorTableTwiceIsHarmless(t *testing.T) {
	c := empty(t, nil)
	for range 2 {
		must(t, c.CreateCursorTable(t.Context(), "x-"))
	}
	out, err := c.DynamoDB.ListTables(t.Context(), &dynamodb.ListTablesInput{})
	if err != nil || !slices.Equal(out.TableNames, []string{"x-cursors"}) {
		t.Errorf("%+v %v", out, err)
	}
}

// TestSetupFinishesWhatWasBegun runs it again after it was cut off at each of
// its calls.
func TestSetupFinishesWhatWasBegun(t *testing.T) {
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
	_, err := empty(t, fault).Setup(t.Context())
	must(t, err)
	total := calls.Load()
	if !slices.Contains(seen, "Subscribe") || total < 10 {
		t.Fatalf("%d calls: %v", total, seen)
	}
	for n := range total {
		calls.Store(0)
		allowed.Store(n)
		c := empty(t, fault)
		if _, err := c.Setup(t.Context()); err == nil {
			t.Fatalf("cut off at call %d, and no error", n+1)
		} else if !strings.Contains(err.Error(), "you may not") || calls.Load() != n+1 {
			t.Errorf("call %d: %v, after %d calls", n+1, err, calls.Load())
		}
		allowed.Store(1000)
		made, err := c.Setup(t.Context())
		must(t, err)
		if found, err := c.Find(t.Context()); err != nil || found != made {
			t.Errorf("cut off at call %d: %v", n+1, err)
		}
	}
}

// TestFindTellsDeniedFromMissing: creating them would not help.
func TestFindTellsDeniedFromMissing(t *testing.T) {
	for operation, want := range map[string]string{"GetQueueUrl": "find queue ", "GetTopicAttributes": "find topic ", "GetCallerIdentity": "find topics: "} {
		c := empty(t, func(_, op string) error {
			if op == operation {
				return denied()
			}
			return nil
		})
		if _, err := c.Find(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "missing") {
			t.Errorf("%s: %v", operation, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := empty(t, nil).Find(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestCallsAreCountedWithTheirRetries(t *testing.T) {
	var throttled atomic.Int64
	c := empty(t, func(service, _ string) error {
		if throttled.Add(-1) >= 0 {
			return awslocal.Throttled(service)
		}
		return nil
	})
	if n := c.Calls(); n != 0 {
		t.Errorf("%d calls before the first", n)
	}
	ask := func() {
		t.Helper()
		_, err := c.SQS.ListQueues(t.Context(), &sqs.ListQueuesInput{})
		must(t, err)
	}
	ask()
	if n := c.Calls(); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
	throttled.Store(1)
	ask()
	if n := c.Calls(); n != 3 {
		t.Errorf("%d calls, want 3: one was throttled and made again", n)
	}
	throttled.Store(1) // whose code the SDK does not know
	_, err := c.SNS.ListTopics(t.Context(), &sns.ListTopicsInput{})
	must(t, err)
	_, err = c.DynamoDB.ListTables(t.Context(), &dynamodb.ListTablesInput{})
	must(t, err)
	if n := c.Calls(); n != 6 {
		t.Errorf("%d calls, want 6 over three services, one of them throttled again", n)
	}
}

// TestBodiesArriveWhole sends requests on both sides of the size up to which
// they are handed over in one piece, many at a time.
func TestBodiesArriveWhole(t *testing.T) {
	c := empty(t, nil)
	q, err := c.SQS.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("q")})
	must(t, err)
	sizes := []int{1, 100, 64 << 10, 600 << 10, 1 << 20} // the last, with its JSON, is above 1 MiB
	var g sync.WaitGroup
	for _, n := range sizes {
		for range 4 {
			g.Go(func() {
				// The SDK compares the answer's checksum with the body's.
				if _, err := c.SQS.SendMessage(context.Background(), &sqs.SendMessageInput{QueueUrl: q.QueueUrl, MessageBody: aws.String(strings.Repeat("x", n))}); err != nil {
					t.Errorf("%d bytes: %v", n, err)
				}
			})
		}
	}
	g.Wait()
	got := map[int]int{}
	for range 4 * len(sizes) {
		out, err := c.SQS.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: q.QueueUrl, WaitTimeSeconds: 5})
		must(t, err)
		if len(out.Messages) != 1 {
			t.Fatalf("%d messages", len(out.Messages))
		}
		got[len(*out.Messages[0].Body)]++
	}
	for _, n := range sizes {
		if got[n] != 4 {
			t.Errorf("%d bytes arrived %d times", n, got[n])
		}
	}
}

// TestThrottlesWaitTensOfMilliseconds at first, whichever code a service has
// for it, and never more than two seconds.
func TestThrottlesWaitTensOfMilliseconds(t *testing.T) {
	c := empty(t, awslocal.ThrottleSome("", 1, 1))
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
			t.Fatalf("%s: %v is not repeated", name, at.err)
		}
		for attempt, most := range map[int]time.Duration{1: 50 * time.Millisecond, 2: 200 * time.Millisecond, 3: 800 * time.Millisecond, 4: 2 * time.Second, 99: 2 * time.Second} {
			for range 100 {
				if wait, err := at.retryer.RetryDelay(attempt, at.err); err != nil || wait < most/2 || wait > most {
					t.Fatalf("%s, attempt %d: waits %s (%v), want %s to %s", name, attempt, wait, err, most/2, most)
				}
			}
		}
	}
}
