package conformance

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
)

type queue struct {
	*testing.T
	c   *sqs.Client
	url *string
	arn string
}

func newQueue(t *testing.T, attrs map[string]string) *queue {
	t.Helper()
	return namedQueue(t, unique(t), attrs)
}

func namedQueue(t *testing.T, name string, attrs map[string]string) *queue {
	t.Helper()
	c := sqs.NewFromConfig(awsConfig(t))
	out, err := c.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attrs})
	if err != nil {
		t.Fatal(err)
	}
	q := &queue{t, c, out.QueueUrl, ""}
	q.arn = q.attribute(types.QueueAttributeNameQueueArn)
	return q
}

func (q *queue) attribute(name types.QueueAttributeName) string {
	q.Helper()
	out, err := q.c.GetQueueAttributes(q.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: q.url, AttributeNames: []types.QueueAttributeName{name},
	})
	if err != nil {
		q.Fatal(err)
	}
	return out.Attributes[string(name)]
}

func (q *queue) send(body string) *sqs.SendMessageOutput {
	q.Helper()
	out, err := q.c.SendMessage(q.Context(), &sqs.SendMessageInput{QueueUrl: q.url, MessageBody: &body})
	if err != nil {
		q.Fatal(err)
	}
	return out
}

func (q *queue) receive(change ...func(*sqs.ReceiveMessageInput)) []types.Message {
	q.Helper()
	in := &sqs.ReceiveMessageInput{
		QueueUrl: q.url, MaxNumberOfMessages: 10,
		MessageAttributeNames:       []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	}
	for _, f := range change {
		f(in)
	}
	out, err := q.c.ReceiveMessage(q.Context(), in)
	if err != nil {
		q.Fatal(err)
	}
	return out.Messages
}

func (q *queue) one(change ...func(*sqs.ReceiveMessageInput)) types.Message {
	q.Helper()
	m := q.receive(append(change, func(in *sqs.ReceiveMessageInput) { in.WaitTimeSeconds = 5 })...)
	if len(m) != 1 {
		q.Fatalf("received %d messages, want 1", len(m))
	}
	return m[0]
}

func (q *queue) hide(m types.Message, seconds int32) {
	q.Helper()
	if _, err := q.c.ChangeMessageVisibility(q.Context(), &sqs.ChangeMessageVisibilityInput{
		QueueUrl: q.url, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: seconds,
	}); err != nil {
		q.Fatal(err)
	}
}

func (q *queue) remove(m types.Message) {
	q.Helper()
	if _, err := q.c.DeleteMessage(q.Context(), &sqs.DeleteMessageInput{QueueUrl: q.url, ReceiptHandle: m.ReceiptHandle}); err != nil {
		q.Fatal(err)
	}
}

func wantError[E error](t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[E](err); !ok {
		t.Errorf("got %v, want %T", err, *new(E))
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok || e.ErrorCode() != code {
		t.Errorf("got %v, want code %s", err, code)
	}
}

func TestSendReceiveDelete(t *testing.T) {
	t.Parallel()
	q := newQueue(t, nil)
	body := "Grüße, \"order\" <1>\n\t\\ 🎉"
	in := &sqs.SendMessageInput{
		QueueUrl: q.url, MessageBody: &body,
		MessageAttributes: map[string]types.MessageAttributeValue{
			"kind":  {DataType: aws.String("String"), StringValue: aws.String("OrderPlaced")},
			"count": {DataType: aws.String("Number.int"), StringValue: aws.String("12")},
			"blob":  {DataType: aws.String("Binary"), BinaryValue: []byte{0, 1, 255}},
		},
		MessageSystemAttributes: map[string]types.MessageSystemAttributeValue{
			"AWSTraceHeader": {DataType: aws.String("String"), StringValue: aws.String("Root=1-5759e988-bd862e3fe1be46a994272793")},
		},
	}
	sent, err := q.c.SendMessage(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	// Computed with botocore's algorithm, not ours.
	if got := aws.ToString(sent.MD5OfMessageAttributes); got != wantAttributesMD5 {
		t.Errorf("MD5OfMessageAttributes = %s, want %s", got, wantAttributesMD5)
	}
	m := q.one()
	if *m.Body != body || *m.MessageId != *sent.MessageId {
		t.Errorf("received %q %s", *m.Body, *m.MessageId)
	}
	if len(m.MessageAttributes) != 3 || string(m.MessageAttributes["blob"].BinaryValue) != "\x00\x01\xff" ||
		*m.MessageAttributes["count"].DataType != "Number.int" || *m.MessageAttributes["kind"].StringValue != "OrderPlaced" {
		t.Errorf("attributes: %v", m.MessageAttributes)
	}
	if *m.MD5OfMessageAttributes != wantAttributesMD5 {
		t.Errorf("received MD5OfMessageAttributes %s", *m.MD5OfMessageAttributes)
	}
	if m.Attributes["ApproximateReceiveCount"] != "1" || m.Attributes["AWSTraceHeader"] == "" || m.Attributes["SenderId"] == "" {
		t.Errorf("system attributes: %v", m.Attributes)
	}
	sentAt, err := strconv.ParseInt(m.Attributes["SentTimestamp"], 10, 64)
	if err != nil || time.Since(time.UnixMilli(sentAt)).Abs() > time.Minute {
		t.Errorf("SentTimestamp %s", m.Attributes["SentTimestamp"])
	}
	if got := q.attribute("ApproximateNumberOfMessagesNotVisible"); got != "1" {
		t.Errorf("in flight: %s", got)
	}
	q.hide(m, 0)
	again := q.one(func(in *sqs.ReceiveMessageInput) { in.MessageAttributeNames = []string{"co.*", "kind"} })
	if again.Attributes["ApproximateReceiveCount"] != "2" || len(again.MessageAttributes) != 2 {
		t.Errorf("second receive: %v %v", again.Attributes, again.MessageAttributes)
	}
	q.remove(m) // a handle from the first receive
	q.remove(again)
	if got := q.receive(); len(got) != 0 {
		t.Errorf("after delete: %v", got)
	}
}

const wantAttributesMD5 = "29187debfff4cf402a307656c014ef3b"

func TestCreateQueueIsIdempotentUnlessAttributesDiffer(t *testing.T) {
	t.Parallel()
	q := newQueue(t, map[string]string{"VisibilityTimeout": "7"})
	name := unique(t)
	a := namedQueue(t, name, map[string]string{"VisibilityTimeout": "7"})
	b := namedQueue(t, name, map[string]string{"VisibilityTimeout": "7"})
	if *a.url != *b.url || a.arn != b.arn {
		t.Errorf("%s and %s", *a.url, *b.url)
	}
	_, err := a.c.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{"VisibilityTimeout": "8"}})
	wantError[*types.QueueNameExists](t, err)

	out, err := q.c.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: q.url, AttributeNames: []types.QueueAttributeName{"All"}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"VisibilityTimeout": "7", "DelaySeconds": "0", "MaximumMessageSize": "1048576", "MessageRetentionPeriod": "345600",
		"ReceiveMessageWaitTimeSeconds": "0", "ApproximateNumberOfMessages": "0",
		"ApproximateNumberOfMessagesNotVisible": "0", "ApproximateNumberOfMessagesDelayed": "0",
	}
	for k, v := range want {
		if out.Attributes[k] != v {
			t.Errorf("%s = %q, want %q", k, out.Attributes[k], v)
		}
	}
}

func TestQueueErrors(t *testing.T) {
	t.Parallel()
	q := newQueue(t, nil)
	ctx := t.Context()
	nowhere := strings.Replace(*q.url, "TestQueueErrors", "Nowhere", 1)

	_, err := q.c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &nowhere, MessageBody: aws.String("x")})
	wantError[*types.QueueDoesNotExist](t, err)
	wantCode(t, err, "AWS.SimpleQueueService.NonExistentQueue")
	_, err = q.c.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(unique(t))})
	wantError[*types.QueueDoesNotExist](t, err)
	_, err = q.c.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: q.url, ReceiptHandle: aws.String("garbage")})
	wantError[*types.ReceiptHandleIsInvalid](t, err)
	_, err = q.c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: q.url, MessageBody: aws.String("a\x01b")})
	wantError[*types.InvalidMessageContents](t, err)
	_, err = q.c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: q.url, MessageBody: aws.String(strings.Repeat("x", 1<<20+1))})
	wantCode(t, err, "InvalidParameterValue")
	_, err = q.c.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: q.url, Attributes: map[string]string{"Nonsense": "1"}})
	wantError[*types.InvalidAttributeName](t, err)
	_, err = q.c.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: q.url, Attributes: map[string]string{"VisibilityTimeout": "43201"}})
	wantError[*types.InvalidAttributeValue](t, err)
	_, err = q.c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: q.url, MaxNumberOfMessages: 11})
	wantCode(t, err, "InvalidParameterValue")

	q.send(strings.Repeat("x", 1<<20)) // exactly the limit
	m := q.one()
	q.hide(m, 0)
	_, err = q.c.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: q.url, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: 5})
	wantError[*types.MessageNotInflight](t, err)

	if _, err := q.c.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: q.url}); err != nil {
		t.Fatal(err)
	}
	_, err = q.c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: q.url})
	wantError[*types.QueueDoesNotExist](t, err)
}

func TestBatchesFailInPart(t *testing.T) {
	t.Parallel()
	q := newQueue(t, map[string]string{"MaximumMessageSize": "1024"})
	ctx := t.Context()
	entry := func(id, body string) types.SendMessageBatchRequestEntry {
		return types.SendMessageBatchRequestEntry{Id: &id, MessageBody: &body}
	}
	send := func(entries ...types.SendMessageBatchRequestEntry) (*sqs.SendMessageBatchOutput, error) {
		return q.c.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: q.url, Entries: entries})
	}
	out, err := send(entry("a", "first"), entry("b", "bad\x02"), entry("c", "third"), entry("d", strings.Repeat("x", 1025)))
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Successful) != 2 || len(out.Failed) != 2 || *out.Failed[0].Id != "b" || *out.Failed[0].Code != "InvalidMessageContents" || !out.Failed[1].SenderFault {
		t.Errorf("%+v", out)
	}
	_, err = send(entry("a", "x"), entry("a", "y"))
	wantError[*types.BatchEntryIdsNotDistinct](t, err)
	_, err = send(entry("not valid", "x"))
	wantError[*types.InvalidBatchEntryId](t, err)
	_, err = q.c.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: q.url, Entries: []types.SendMessageBatchRequestEntry{}})
	wantError[*types.EmptyBatchRequest](t, err)
	var eleven []types.SendMessageBatchRequestEntry
	for i := range 11 {
		eleven = append(eleven, entry(strconv.Itoa(i), "x"))
	}
	_, err = send(eleven...)
	wantError[*types.TooManyEntriesInBatchRequest](t, err)
	_, err = send(entry("a", strings.Repeat("x", 1<<19)), entry("b", strings.Repeat("x", 1<<19+1)))
	wantError[*types.BatchRequestTooLong](t, err)

	got := q.receive()
	if len(got) != 2 {
		t.Fatalf("received %d", len(got))
	}
	changed, err := q.c.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: q.url, Entries: []types.ChangeMessageVisibilityBatchRequestEntry{
		{Id: aws.String("a"), ReceiptHandle: got[0].ReceiptHandle, VisibilityTimeout: 100},
		{Id: aws.String("b"), ReceiptHandle: aws.String("nonsense"), VisibilityTimeout: 100},
	}})
	if err != nil || len(changed.Successful) != 1 || len(changed.Failed) != 1 || *changed.Failed[0].Code != "ReceiptHandleIsInvalid" {
		t.Errorf("%+v %v", changed, err)
	}
	deleted, err := q.c.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: q.url, Entries: []types.DeleteMessageBatchRequestEntry{
		{Id: aws.String("a"), ReceiptHandle: got[0].ReceiptHandle},
		{Id: aws.String("b"), ReceiptHandle: got[1].ReceiptHandle},
		{Id: aws.String("c"), ReceiptHandle: aws.String("nonsense")},
	}})
	if err != nil || len(deleted.Successful) != 2 || len(deleted.Failed) != 1 {
		t.Errorf("%+v %v", deleted, err)
	}
}

func TestLongPollWakesOnArrival(t *testing.T) {
	t.Parallel()
	q := newQueue(t, nil)
	got := make(chan types.Message, 1)
	go func() { got <- q.one(func(in *sqs.ReceiveMessageInput) { in.WaitTimeSeconds = 20 }) }()
	select {
	case m := <-got:
		t.Fatalf("received %v from an empty queue", m)
	case <-time.After(200 * time.Millisecond): // the poll is most likely waiting now
	}
	start := time.Now()
	q.send("wake up")
	if m := <-got; *m.Body != "wake up" {
		t.Errorf("received %q", *m.Body)
	}
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("woke after %v", d)
	}
}

func TestDelayAndVisibilityExpireDuringALongPoll(t *testing.T) {
	t.Parallel()
	q := newQueue(t, nil)
	if _, err := q.c.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: q.url, MessageBody: aws.String("later"), DelaySeconds: 1}); err != nil {
		t.Fatal(err)
	}
	if got := q.attribute("ApproximateNumberOfMessagesDelayed"); got != "1" {
		t.Errorf("delayed: %s", got)
	}
	q.one(func(in *sqs.ReceiveMessageInput) { in.VisibilityTimeout = 1 })
	m := q.one()
	if m.Attributes["ApproximateReceiveCount"] != "2" {
		t.Errorf("attributes %v", m.Attributes)
	}
}

func TestDeadLettersAndTheirWayBack(t *testing.T) {
	t.Parallel()
	name := unique(t)
	dlq := namedQueue(t, name+"-dlq", nil)
	q := namedQueue(t, name, map[string]string{"RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":"2"}`, dlq.arn)})
	sent := q.send("poison")
	for range 2 {
		q.hide(q.one(), 0)
	}
	if got := q.receive(); len(got) != 0 {
		t.Fatalf("third receive: %v", got)
	}
	dead := dlq.one(func(in *sqs.ReceiveMessageInput) { in.VisibilityTimeout = 1 })
	if *dead.MessageId != *sent.MessageId || dead.Attributes["DeadLetterQueueSourceArn"] != q.arn {
		t.Errorf("dead letter %s %v", *dead.MessageId, dead.Attributes)
	}
	dlq.hide(dead, 0)

	sources, err := q.c.ListDeadLetterSourceQueues(t.Context(), &sqs.ListDeadLetterSourceQueuesInput{QueueUrl: dlq.url})
	if err != nil || len(sources.QueueUrls) != 1 || sources.QueueUrls[0] != *q.url {
		t.Errorf("sources %+v %v", sources, err)
	}
	if _, err := q.c.StartMessageMoveTask(t.Context(), &sqs.StartMessageMoveTaskInput{SourceArn: &dlq.arn, MaxNumberOfMessagesPerSecond: aws.Int32(500)}); err != nil {
		t.Fatal(err)
	}
	back := q.one()
	if *back.Body != "poison" || back.Attributes["ApproximateReceiveCount"] != "1" {
		t.Errorf("redriven: %q %v", *back.Body, back.Attributes)
	}
	for { // the message may be there a moment before the task has ended
		list, err := q.c.ListMessageMoveTasks(t.Context(), &sqs.ListMessageMoveTasksInput{SourceArn: &dlq.arn})
		if err != nil || len(list.Results) != 1 {
			t.Fatalf("%+v %v", list, err)
		}
		if r := list.Results[0]; *r.Status != "RUNNING" {
			if *r.Status != "COMPLETED" || r.ApproximateNumberOfMessagesMoved != 1 {
				t.Errorf("task %+v", r)
			}
			break
		}
	}
	_, err = q.c.StartMessageMoveTask(t.Context(), &sqs.StartMessageMoveTaskInput{SourceArn: &q.arn})
	wantCode(t, err, "InvalidParameterValue") // not a dead-letter queue
	_, err = q.c.CancelMessageMoveTask(t.Context(), &sqs.CancelMessageMoveTaskInput{TaskHandle: aws.String("nonsense")})
	wantError[*types.ResourceNotFoundException](t, err)
}

func TestPurgeTagsAndListing(t *testing.T) {
	t.Parallel()
	q := newQueue(t, nil)
	ctx := t.Context()
	q.send("one")
	q.send("two")
	if _, err := q.c.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: q.url}); err != nil {
		t.Fatal(err)
	}
	if _, err := q.c.TagQueue(ctx, &sqs.TagQueueInput{QueueUrl: q.url, Tags: map[string]string{"team": "saga", "x": "y"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := q.c.UntagQueue(ctx, &sqs.UntagQueueInput{QueueUrl: q.url, TagKeys: []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	tags, err := q.c.ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: q.url})
	if err != nil || len(tags.Tags) != 1 || tags.Tags["team"] != "saga" {
		t.Errorf("tags %v %v", tags, err)
	}
	prefix := unique(t)
	for i := range 3 {
		namedQueue(t, prefix+strconv.Itoa(i), nil)
	}
	var urls []string
	pages := sqs.NewListQueuesPaginator(q.c, &sqs.ListQueuesInput{QueueNamePrefix: &prefix, MaxResults: aws.Int32(2)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		urls = append(urls, page.QueueUrls...)
	}
	if len(urls) != 3 {
		t.Errorf("listed %v", urls)
	}
}
