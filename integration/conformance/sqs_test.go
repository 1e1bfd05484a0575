package conformance

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
)

func queues() []behaviour {
	return []behaviour{
		{
			name: "SQS: send and receive", page: "APIReference/API_SendMessage", check: sendAndReceive,
			documented: "a received message has the body, the id and the body's MD5 of the sent one",
		},
		{
			name: "SQS: system attributes", page: "APIReference/API_ReceiveMessage", check: systemAttributes,
			documented: "a receive returns ApproximateReceiveCount, SentTimestamp (in ms), SenderId and AWSTraceHeader on request",
		},
		{
			name: "SQS: message attributes", page: "SQSDeveloperGuide/sqs-message-metadata", check: messageAttributes,
			documented: "String, Number.custom and Binary attributes are delivered; send and receive return the MD5 that SDKs verify",
		},
		{
			name: "SQS: message attributes by name", page: "APIReference/API_ReceiveMessage", check: attributesByName,
			documented: "a receive returns the attributes that it names, also by prefix (`co.*`); if it names none, it returns none",
		},
		{
			name: "SQS: message attributes, text", page: "SQSDeveloperGuide/sqs-message-metadata", check: attributeText,
			documented: "an attribute can hold any text that a body can hold",
		},
		{
			name: "SQS: message attributes, invalid characters", page: "SQSDeveloperGuide/sqs-message-metadata",
			documented: "characters that are invalid in a body are rejected",
			check:      attributeCharacters,
		},
		{
			name: "SQS: message attributes, empty value", page: "SQSDeveloperGuide/sqs-message-metadata", check: emptyAttribute,
			documented: "name, type and value must not be empty",
		},
		{
			name: "SQS: message attributes, limit", page: "SQSDeveloperGuide/sqs-message-metadata", check: tenAttributes,
			documented: "a message has at most ten attributes",
		},
		{
			name: "SQS: receive, limit", page: "APIReference/API_ReceiveMessage", check: receiveLimit,
			documented: "MaxNumberOfMessages is between 1 and 10",
		},
		{
			name: "SQS: visibility timeout", page: "SQSDeveloperGuide/sqs-visibility-timeout", check: visibilityTimeout,
			documented: "a received message is hidden for VisibilityTimeout, and then delivered again with a higher receive count",
		},
		{
			name: "SQS: visibility timeout of the queue", page: "SQSDeveloperGuide/sqs-visibility-timeout",
			documented: "a receive without VisibilityTimeout uses that of the queue",
			check:      visibilityTimeoutOfQueue,
		},
		{
			name: "SQS: visibility timeout, extended", page: "APIReference/API_ChangeMessageVisibility", check: visibilityExtended,
			documented: "ChangeMessageVisibility starts a new timeout at the time of the call",
		},
		{
			name: "SQS: visibility timeout, zero", page: "SQSDeveloperGuide/sqs-visibility-timeout", check: visibilityZero,
			documented: "after a change to 0 the message can be received at once",
		},
		{
			name: "SQS: visibility timeout, not in flight", page: "APIReference/API_ChangeMessageVisibility", check: visibilityNotInFlight,
			documented: "MessageNotInflight",
		},
		{
			name: "SQS: receipt handle, after the timeout", page: "APIReference/API_DeleteMessage", check: lateDelete,
			documented: "the handle of a message still deletes it after the timeout, unless it was received again",
		},
		{
			name: "SQS: receipt handle, earlier receive", page: "APIReference/API_DeleteMessage", check: earlierHandle,
			documented: "deleting with the handle of an earlier receive succeeds, whether or not the message is deleted",
		},
		{
			name: "SQS: visibility timeout, deleted message", page: "APIReference/API_ChangeMessageVisibility",
			documented: "the change is rejected",
			check:      visibilityOfDeleted,
		},
		{
			name: "SQS: delete twice", page: "APIReference/API_DeleteMessage", check: deleteTwice,
			documented: "deleting a deleted message succeeds",
		},
		{
			name: "SQS: receipt handle, invalid", page: "APIReference/API_DeleteMessage", check: invalidHandle,
			documented: "ReceiptHandleIsInvalid",
		},
		{
			name: "SQS: long poll, message arrives", page: "SQSDeveloperGuide/sqs-short-and-long-polling", check: longPollWakes,
			documented: "the call returns as soon as a message arrives",
		},
		{
			name: "SQS: long poll, message becomes visible", page: "SQSDeveloperGuide/sqs-short-and-long-polling",
			documented: "the call also returns when a delay or a visibility timeout ends",
			check:      longPollWakesWhenVisible,
		},
		{
			name: "SQS: long poll, no message", page: "SQSDeveloperGuide/sqs-short-and-long-polling", check: longPollTimesOut,
			documented: "the call returns no messages after WaitTimeSeconds",
		},
		{
			name: "SQS: delay", page: "SQSDeveloperGuide/sqs-delay-queues", check: delay,
			documented: "a message with DelaySeconds is invisible at first, and counted as delayed",
		},
		{
			name: "SQS: message counts", page: "APIReference/API_GetQueueAttributes", check: counts,
			documented: "ApproximateNumberOfMessages counts the visible messages, …NotVisible those in flight",
		},
		{
			name: "SQS: dead letters", page: "SQSDeveloperGuide/sqs-dead-letter-queues", check: deadLetters,
			documented: "after maxReceiveCount receives a message moves to the dead-letter queue, with its id and DeadLetterQueueSourceArn",
		},
		{
			name: "SQS: redrive policy, unknown queue", page: "APIReference/API_SetQueueAttributes", check: redrivePolicyChecked,
			documented: "a RedrivePolicy that names an unknown queue is rejected",
		},
		{
			name: "SQS: sources of a dead-letter queue", page: "APIReference/API_ListDeadLetterSourceQueues", check: deadLetterSources,
			documented: "ListDeadLetterSourceQueues lists the queues whose RedrivePolicy names it",
		},
		{
			name: "SQS: redrive", page: "APIReference/API_StartMessageMoveTask", check: redrive,
			documented: "StartMessageMoveTask moves dead letters back to their source queues, as new messages",
		},
		{
			name: "SQS: redrive, other source", page: "APIReference/API_StartMessageMoveTask", check: redriveOtherSource,
			documented: "the source must be a dead-letter queue",
		},
		{
			name: "SQS: redrive, unknown task", page: "APIReference/API_CancelMessageMoveTask", check: redriveUnknownTask,
			documented: "ResourceNotFoundException",
		},
		{
			name: "SQS: purge", page: "APIReference/API_PurgeQueue", check: purge,
			documented: "all messages are deleted, including those in flight",
		},
		{
			name: "SQS: purge twice", page: "APIReference/API_PurgeQueue", check: purgeTwice,
			documented: "a second purge within 60 seconds is PurgeQueueInProgress",
		},
		{
			name: "SQS: message size", page: "SQSDeveloperGuide/quotas-messages", check: messageSize,
			documented: "1,048,576 bytes are accepted, one byte more is InvalidParameterValue",
		},
		{
			name: "SQS: message size, attributes", page: "SQSDeveloperGuide/quotas-messages", check: sizeWithAttributes,
			documented: "the names, types and values of attributes count",
		},
		{
			name: "SQS: message size, limit of the queue", page: "APIReference/API_SetQueueAttributes", check: messageSizeLimitOfQueue,
			documented: "MaximumMessageSize lowers the limit",
		},
		{
			name: "SQS: invalid characters", page: "APIReference/API_SendMessage", check: characters,
			documented: "characters outside XML 1.0 are InvalidMessageContents",
		},
		{
			name: "SQS: empty body", page: "APIReference/API_SendMessage", check: emptyBody,
			documented: "a body has at least one character",
		},
		{
			name: "SQS: send batch, partial failure", page: "APIReference/API_SendMessageBatch", check: sendBatch,
			documented: "each entry succeeds or fails by itself",
		},
		{
			name: "SQS: delete batch, partial failure", page: "APIReference/API_DeleteMessageBatch", check: deleteBatch,
			documented: "each entry succeeds or fails by itself",
		},
		{
			name: "SQS: visibility batch, partial failure", page: "APIReference/API_ChangeMessageVisibilityBatch", check: visibilityBatch,
			documented: "each entry succeeds or fails by itself",
		},
		{
			name: "SQS: batch, duplicate id", page: "APIReference/API_SendMessageBatch", check: batchDuplicateID,
			documented: "BatchEntryIdsNotDistinct",
		},
		{
			name: "SQS: batch, invalid id", page: "APIReference/API_SendMessageBatch", check: batchInvalidID,
			documented: "InvalidBatchEntryId",
		},
		{
			name: "SQS: batch, empty", page: "APIReference/API_SendMessageBatch", check: batchEmpty,
			documented: "EmptyBatchRequest",
		},
		{
			name: "SQS: batch, eleven entries", page: "APIReference/API_SendMessageBatch", check: batchEleven,
			documented: "TooManyEntriesInBatchRequest",
		},
		{
			name: "SQS: batch, size", page: "APIReference/API_SendMessageBatch", check: batchTooLong,
			documented: "BatchRequestTooLong above 1,048,576 bytes in total",
		},
		{
			name: "SQS: create queue, existing name", page: "APIReference/API_CreateQueue", check: createExistingQueue,
			documented: "with the same attributes CreateQueue returns the existing queue",
		},
		{
			name: "SQS: create queue, other attributes", page: "APIReference/API_CreateQueue", check: createWithOtherAttributes,
			documented: "QueueNameExists if the existing queue has other attributes",
		},
		{
			name: "SQS: default attributes", page: "APIReference/API_SetQueueAttributes", check: queueDefaults,
			documented: "30 s visibility timeout, 4 days retention, 1 MiB, no delay",
		},
		{
			name: "SQS: set attributes", page: "APIReference/API_SetQueueAttributes", check: setAttributes,
			documented: "GetQueueAttributes returns what SetQueueAttributes has set, including the Policy",
		},
		{
			name: "SQS: unknown attribute", page: "APIReference/API_SetQueueAttributes", check: unknownAttribute,
			documented: "InvalidAttributeName",
		},
		{
			name: "SQS: attribute out of range", page: "APIReference/API_SetQueueAttributes", check: attributeOutOfRange,
			documented: "InvalidAttributeValue",
		},
		{
			name: "SQS: get URL by name", page: "APIReference/API_GetQueueUrl", check: findQueue,
			documented: "GetQueueUrl returns the URL that CreateQueue returned",
		},
		{
			name: "SQS: unknown queue", page: "APIReference/API_GetQueueUrl", check: unknownQueue,
			documented: "QueueDoesNotExist, with the code AWS.SimpleQueueService.NonExistentQueue for older clients",
		},
		{
			name: "SQS: deleted queue", page: "APIReference/API_DeleteQueue", check: deletedQueue,
			documented: "QueueDoesNotExist",
		},
		{
			name: "SQS: create queue, just deleted", page: "APIReference/API_CreateQueue", check: createDeletedQueue,
			documented: "QueueDeletedRecently for 60 seconds after the deletion",
		},
		{
			name: "SQS: tags", page: "APIReference/API_TagQueue", check: queueTags,
			documented: "tags are set, removed and listed",
		},
		{
			name: "SQS: list queues", page: "APIReference/API_ListQueues", check: listQueues,
			documented: "ListQueues filters by prefix and returns pages",
		},
	}
}

// queue is a queue under test. Methods that begin with "try" return the error; the others
// stop the check.
type queue struct {
	*T

	c   *sqs.Client
	url *string
	arn string
}

func newQueue(t *T, attrs map[string]string) *queue { return namedQueue(t, unique(t), attrs) }

func namedQueue(t *T, name string, attrs map[string]string) *queue {
	c := sqs.NewFromConfig(t.cfg)
	out, err := c.CreateQueue(t.ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: attrs})
	t.noError("create queue", err)
	q := &queue{T: t, c: c, url: out.QueueUrl}
	q.arn = q.attribute(types.QueueAttributeNameQueueArn)
	return q
}

func (q *queue) attributes() map[string]string {
	out, err := q.c.GetQueueAttributes(q.ctx, &sqs.GetQueueAttributesInput{QueueUrl: q.url, AttributeNames: []types.QueueAttributeName{"All"}})
	q.noError("get attributes", err)
	return out.Attributes
}

func (q *queue) attribute(name types.QueueAttributeName) string {
	out, err := q.c.GetQueueAttributes(q.ctx, &sqs.GetQueueAttributesInput{QueueUrl: q.url, AttributeNames: []types.QueueAttributeName{name}})
	q.noError("get attribute", err)
	return out.Attributes[string(name)]
}

func (q *queue) set(name, value string) error {
	_, err := q.c.SetQueueAttributes(q.ctx, &sqs.SetQueueAttributesInput{QueueUrl: q.url, Attributes: map[string]string{name: value}})
	return err
}

func (q *queue) trySend(body string, change ...func(*sqs.SendMessageInput)) (*sqs.SendMessageOutput, error) {
	in := &sqs.SendMessageInput{QueueUrl: q.url, MessageBody: &body}
	for _, f := range change {
		f(in)
	}
	return q.c.SendMessage(q.ctx, in)
}

func (q *queue) send(body string, change ...func(*sqs.SendMessageInput)) *sqs.SendMessageOutput {
	out, err := q.trySend(body, change...)
	q.noError("send", err)
	return out
}

func with(attrs map[string]types.MessageAttributeValue) func(*sqs.SendMessageInput) {
	return func(in *sqs.SendMessageInput) { in.MessageAttributes = attrs }
}

type receiving = func(*sqs.ReceiveMessageInput)

func (q *queue) tryReceive(change ...receiving) ([]types.Message, error) {
	in := &sqs.ReceiveMessageInput{
		QueueUrl: q.url, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	}
	for _, f := range change {
		f(in)
	}
	out, err := q.c.ReceiveMessage(q.ctx, in)
	if err != nil {
		return nil, err
	}
	return out.Messages, nil
}

func (q *queue) receive(change ...receiving) []types.Message {
	m, err := q.tryReceive(change...)
	q.noError("receive", err)
	return m
}

// receiveOne receives the only message, for which it waits up to 5 s.
func (q *queue) receiveOne(change ...receiving) types.Message {
	m := q.receive(append([]receiving{waitSeconds(5)}, change...)...)
	if len(m) != 1 {
		q.Fatalf("received %d messages, want 1", len(m))
	}
	return m[0]
}

// receiveN receives n messages, which SQS may return one by one.
func (q *queue) receiveN(n int) (got []types.Message) {
	for range n {
		got = append(got, q.receive(waitSeconds(2))...)
		if len(got) >= n {
			break
		}
	}
	if len(got) != n {
		q.Fatalf("received %d messages, want %d", len(got), n)
	}
	return got
}

// receivesNothing checks that no message is visible.
func (q *queue) receivesNothing(when string) {
	if m := q.receive(); len(m) != 0 {
		q.Errorf("received %q %s, want no message", aws.ToString(m[0].Body), when)
	}
}

func waitSeconds(seconds int32) receiving {
	return func(in *sqs.ReceiveMessageInput) { in.WaitTimeSeconds = seconds }
}

func visibleAfter(seconds int32) receiving {
	return func(in *sqs.ReceiveMessageInput) { in.VisibilityTimeout = seconds }
}

func (q *queue) tryChangeVisibility(handle *string, seconds int32) error {
	_, err := q.c.ChangeMessageVisibility(q.ctx, &sqs.ChangeMessageVisibilityInput{
		QueueUrl: q.url, ReceiptHandle: handle, VisibilityTimeout: seconds,
	})
	return err
}

func (q *queue) changeVisibility(m types.Message, seconds int32) {
	q.noError("change visibility", q.tryChangeVisibility(m.ReceiptHandle, seconds))
}

func (q *queue) tryDelete(handle *string) error {
	_, err := q.c.DeleteMessage(q.ctx, &sqs.DeleteMessageInput{QueueUrl: q.url, ReceiptHandle: handle})
	return err
}

func sendAndReceive(t *T) {
	q := newQueue(t, nil)
	body := "Grüße, \"order\" <1>&amp;\n\t\\ 🎉"
	sent := q.send(body)
	m := q.receiveOne()
	equal(t, "body", *m.Body, body)
	equal(t, "id", *m.MessageId, *sent.MessageId)
	equal(t, "MD5 of the body", *m.MD5OfBody, *sent.MD5OfMessageBody)
	t.noError("delete", q.tryDelete(m.ReceiptHandle))
	q.receivesNothing("after its deletion")
}

func systemAttributes(t *T) {
	q := newQueue(t, nil)
	const trace = "Root=1-5759e988-bd862e3fe1be46a994272793"
	q.send("x", func(in *sqs.SendMessageInput) {
		in.MessageSystemAttributes = map[string]types.MessageSystemAttributeValue{
			"AWSTraceHeader": {DataType: aws.String("String"), StringValue: aws.String(trace)},
		}
	})
	m := q.receiveOne()
	equal(t, "ApproximateReceiveCount", m.Attributes["ApproximateReceiveCount"], "1")
	equal(t, "AWSTraceHeader", m.Attributes["AWSTraceHeader"], trace)
	if m.Attributes["SenderId"] == "" {
		t.Errorf("SenderId is missing, want one")
	}
	for _, name := range []string{"SentTimestamp", "ApproximateFirstReceiveTimestamp"} {
		if ms, err := strconv.ParseInt(m.Attributes[name], 10, 64); err != nil || time.Since(time.UnixMilli(ms)).Abs() > time.Minute {
			t.Errorf("%s is %q, want the present time in milliseconds", name, m.Attributes[name])
		}
	}
	q.changeVisibility(m, 0)
	m = q.receiveOne(func(in *sqs.ReceiveMessageInput) {
		in.MessageSystemAttributeNames = []types.MessageSystemAttributeName{"ApproximateReceiveCount"}
	})
	if len(m.Attributes) != 1 {
		t.Errorf("asked for one system attribute, got %v, want only this one", m.Attributes)
	}
}

var threeAttributes = map[string]types.MessageAttributeValue{
	"kind":  {DataType: aws.String("String"), StringValue: aws.String("OrderPlaced")},
	"count": {DataType: aws.String("Number.int"), StringValue: aws.String("12")},
	"blob":  {DataType: aws.String("Binary"), BinaryValue: []byte{0, 1, 255}},
}

// threeMD5 is the MD5 of threeAttributes, computed with botocore's algorithm.
const threeMD5 = "29187debfff4cf402a307656c014ef3b"

func messageAttributes(t *T) {
	q := newQueue(t, nil)
	sent := q.send("x", with(threeAttributes))
	equal(t, "MD5 when sent", aws.ToString(sent.MD5OfMessageAttributes), threeMD5)
	m := q.receiveOne()
	equal(t, "MD5 when received", aws.ToString(m.MD5OfMessageAttributes), threeMD5)
	equal(t, "attributes", len(m.MessageAttributes), 3)
	equal(t, "String", aws.ToString(m.MessageAttributes["kind"].StringValue), "OrderPlaced")
	equal(t, "Number", aws.ToString(m.MessageAttributes["count"].StringValue), "12")
	equal(t, "custom type", aws.ToString(m.MessageAttributes["count"].DataType), "Number.int")
	equal(t, "Binary", m.MessageAttributes["blob"].BinaryValue, []byte{0, 1, 255})
}

func attributesByName(t *T) {
	q := newQueue(t, nil)
	q.send("x", with(threeAttributes))
	for _, c := range []struct{ request, want []string }{
		{[]string{"kind"}, []string{"kind"}},
		{[]string{"co.*", "kind"}, []string{"count", "kind"}},
		{[]string{".*"}, []string{"blob", "count", "kind"}},
		{nil, nil},
	} {
		m := q.receiveOne(func(in *sqs.ReceiveMessageInput) { in.MessageAttributeNames = c.request })
		var got []string
		for name := range m.MessageAttributes {
			got = append(got, name)
		}
		slices.Sort(got)
		equal(t, fmt.Sprintf("asked for %q", c.request), got, c.want)
		q.changeVisibility(m, 0)
	}
}

// attribute sets a String attribute.
func attribute(value string) func(*sqs.SendMessageInput) {
	return with(map[string]types.MessageAttributeValue{"Reason": {DataType: aws.String("String"), StringValue: &value}})
}

func attributeText(t *T) {
	q := newQueue(t, nil)
	const text = "Grüße, \"order\" <1>&amp;\n\t\\ 🎉"
	q.send("x", attribute(text))
	equal(t, "text", aws.ToString(q.receiveOne().MessageAttributes["Reason"].StringValue), text)
}

func attributeCharacters(t *T) {
	if _, err := newQueue(t, nil).trySend("x", attribute("a\x01b")); err == nil {
		t.Errorf("U+0001: accepted, want an error")
	}
}

func emptyAttribute(t *T) {
	if _, err := newQueue(t, nil).trySend("x", attribute("")); err == nil {
		t.Errorf("accepted, want an error")
	}
}

func tenAttributes(t *T) {
	q := newQueue(t, nil)
	many := map[string]types.MessageAttributeValue{}
	for i := range 10 {
		many[strconv.Itoa(i)] = threeAttributes["kind"]
	}
	q.send("x", with(many))
	many["eleven"] = threeAttributes["kind"]
	_, err := q.trySend("x", with(many))
	t.wantError("eleven", err, "InvalidParameterValue", "")
}

func receiveLimit(t *T) {
	q := newQueue(t, nil)
	for _, n := range []int32{11, -1} {
		_, err := q.tryReceive(func(in *sqs.ReceiveMessageInput) { in.MaxNumberOfMessages = n })
		t.wantError(strconv.Itoa(int(n)), err, "InvalidParameterValue", "")
	}
}

func visibilityTimeout(t *T) {
	q := newQueue(t, nil)
	q.send("x")
	first := q.receiveOne(visibleAfter(3))
	q.receivesNothing("while it was hidden")
	again := q.receiveOne()
	equal(t, "receive count", again.Attributes["ApproximateReceiveCount"], "2")
	equal(t, "id", *again.MessageId, *first.MessageId)
	if *again.ReceiptHandle == *first.ReceiptHandle {
		t.Errorf("both receives have the same handle, want a new one")
	}
}

func visibilityTimeoutOfQueue(t *T) {
	q := newQueue(t, map[string]string{"VisibilityTimeout": "1"})
	q.send("x")
	q.receiveOne()
	equal(t, "receive count", q.receiveOne().Attributes["ApproximateReceiveCount"], "2")
}

func visibilityExtended(t *T) {
	q := newQueue(t, nil)
	q.send("x")
	m := q.receiveOne(visibleAfter(2))
	q.changeVisibility(m, 30)
	if got := q.receive(waitSeconds(3)); len(got) > 0 {
		t.Errorf("the message was delivered again, want it hidden for the extended timeout")
	}
}

func visibilityZero(t *T) {
	q := newQueue(t, nil)
	q.send("x")
	q.changeVisibility(q.receiveOne(), 0)
	if got := q.receive(); len(got) != 1 || got[0].Attributes["ApproximateReceiveCount"] != "2" {
		t.Errorf("received %v, want the message for the second time", got)
	}
}

func visibilityNotInFlight(t *T) {
	q := newQueue(t, nil)
	q.send("x")
	m := q.receiveOne()
	q.changeVisibility(m, 0)
	wantErrorType[*types.MessageNotInflight](t, "visible", q.tryChangeVisibility(m.ReceiptHandle, 5))
}

func lateDelete(t *T) {
	q := newQueue(t, nil)
	q.send("x")
	m := q.receiveOne(visibleAfter(1))
	time.Sleep(1500 * time.Millisecond)
	t.noError("delete", q.tryDelete(m.ReceiptHandle))
	q.receivesNothing("after its deletion")
}

func deleteTwice(t *T) {
	q := newQueue(t, nil)
	q.send("x")
	m := q.receiveOne()
	t.noError("first", q.tryDelete(m.ReceiptHandle))
	t.noError("second", q.tryDelete(m.ReceiptHandle))
}

func earlierHandle(t *T) {
	q := newQueue(t, nil)
	q.send("x")
	m := q.receiveOne()
	q.changeVisibility(m, 0)
	q.receiveOne()
	t.noError("delete", q.tryDelete(m.ReceiptHandle))
}

func visibilityOfDeleted(t *T) {
	q := newQueue(t, nil)
	q.send("x")
	m := q.receiveOne()
	t.noError("delete", q.tryDelete(m.ReceiptHandle))
	if q.tryChangeVisibility(m.ReceiptHandle, 5) == nil {
		t.Errorf("accepted, want an error")
	}
}

func invalidHandle(t *T) {
	q := newQueue(t, nil)
	wantErrorType[*types.ReceiptHandleIsInvalid](t, "delete", q.tryDelete(aws.String("garbage")))
	wantErrorType[*types.ReceiptHandleIsInvalid](t, "change visibility", q.tryChangeVisibility(aws.String("garbage"), 5))
}

func longPollWakes(t *T) {
	q := newQueue(t, nil)
	var g errgroup.Group
	var got []types.Message
	g.Go(func() (err error) { got, err = q.tryReceive(waitSeconds(20)); return err })
	time.Sleep(300 * time.Millisecond) // the poll has probably begun
	start := time.Now()
	q.send("wake up")
	t.noError("receive", g.Wait())
	if d := time.Since(start); len(got) != 1 || d > 5*time.Second {
		t.Errorf("received %d messages after %s, want 1 at once", len(got), d)
	}
}

func longPollWakesWhenVisible(t *T) {
	q := newQueue(t, nil)
	q.send("later", func(in *sqs.SendMessageInput) { in.DelaySeconds = 1 })
	q.receiveOne(visibleAfter(1))
	equal(t, "receive count", q.receiveOne().Attributes["ApproximateReceiveCount"], "2")
}

func longPollTimesOut(t *T) {
	q := newQueue(t, nil)
	start := time.Now()
	got := q.receive(waitSeconds(1))
	if d := time.Since(start); len(got) != 0 || d < 900*time.Millisecond || d > 10*time.Second {
		t.Errorf("received %d messages after %s, want none after 1s", len(got), d)
	}
}

func delay(t *T) {
	q := newQueue(t, nil)
	q.send("later", func(in *sqs.SendMessageInput) { in.DelaySeconds = 3 })
	equal(t, "delayed", q.attribute("ApproximateNumberOfMessagesDelayed"), "1")
	q.receivesNothing("before its time")
	q.receiveOne()
}

func counts(t *T) {
	q := newQueue(t, nil)
	for range 3 {
		q.send("x")
	}
	q.receive(func(in *sqs.ReceiveMessageInput) { in.MaxNumberOfMessages = 1 })
	a := q.attributes()
	equal(t, "ApproximateNumberOfMessages", a["ApproximateNumberOfMessages"], "2")
	equal(t, "ApproximateNumberOfMessagesNotVisible", a["ApproximateNumberOfMessagesNotVisible"], "1")
}

// withDeadLetters returns a queue and its dead-letter queue.
func withDeadLetters(t *T, receives int) (q, dlq *queue) {
	name := unique(t)
	dlq = namedQueue(t, name+"-dlq", nil)
	policy := fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":"%d"}`, dlq.arn, receives)
	return namedQueue(t, name, map[string]string{"RedrivePolicy": policy}), dlq
}

func deadLetters(t *T) {
	q, dlq := withDeadLetters(t, 2)
	sent := q.send("poison", with(threeAttributes))
	for range 2 {
		q.changeVisibility(q.receiveOne(), 0)
	}
	q.receivesNothing("for the third time")
	dead := dlq.receiveOne()
	equal(t, "id", *dead.MessageId, *sent.MessageId)
	equal(t, "attributes", len(dead.MessageAttributes), 3)
	equal(t, "DeadLetterQueueSourceArn", dead.Attributes["DeadLetterQueueSourceArn"], q.arn)
}

func redrivePolicyChecked(t *T) {
	q := newQueue(t, nil)
	err := q.set("RedrivePolicy", fmt.Sprintf(`{"deadLetterTargetArn":"%s-none","maxReceiveCount":"2"}`, q.arn))
	if err == nil {
		t.Errorf("accepted, want an error")
	}
}

func deadLetterSources(t *T) {
	q, dlq := withDeadLetters(t, 2)
	out, err := q.c.ListDeadLetterSourceQueues(t.ctx, &sqs.ListDeadLetterSourceQueuesInput{QueueUrl: dlq.url})
	t.noError("list", err)
	equal(t, "sources", out.QueueUrls, []string{*q.url})
}

func redrive(t *T) {
	q, dlq := withDeadLetters(t, 1)
	q.send("poison")
	q.changeVisibility(q.receiveOne(), 0)
	q.receivesNothing("for the second time")
	_, err := q.c.StartMessageMoveTask(t.ctx, &sqs.StartMessageMoveTaskInput{
		SourceArn: &dlq.arn, MaxNumberOfMessagesPerSecond: aws.Int32(500),
	})
	t.noError("start", err)
	equal(t, "receive count", q.receiveOne().Attributes["ApproximateReceiveCount"], "1")
	for range 50 { // the message may be delivered before the task has ended
		list, err := q.c.ListMessageMoveTasks(t.ctx, &sqs.ListMessageMoveTasksInput{SourceArn: &dlq.arn})
		t.noError("list tasks", err)
		if len(list.Results) != 1 {
			t.Fatalf("%d tasks, want 1", len(list.Results))
		}
		if r := list.Results[0]; aws.ToString(r.Status) != "RUNNING" {
			equal(t, "task", aws.ToString(r.Status), "COMPLETED")
			equal(t, "moved", r.ApproximateNumberOfMessagesMoved, 1)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("the task is still running after 5 s, want COMPLETED")
}

func redriveOtherSource(t *T) {
	q := newQueue(t, nil)
	_, err := q.c.StartMessageMoveTask(t.ctx, &sqs.StartMessageMoveTaskInput{SourceArn: &q.arn})
	t.wantError("start", err, "InvalidParameterValue", "")
}

func redriveUnknownTask(t *T) {
	_, err := sqs.NewFromConfig(t.cfg).CancelMessageMoveTask(t.ctx, &sqs.CancelMessageMoveTaskInput{TaskHandle: aws.String("nonsense")})
	wantErrorType[*types.ResourceNotFoundException](t, "cancel", err)
}

func purge(t *T) {
	q := newQueue(t, nil)
	for range 3 {
		q.send("x")
	}
	q.receive(visibleAfter(1), func(in *sqs.ReceiveMessageInput) { in.MaxNumberOfMessages = 1 })
	_, err := q.c.PurgeQueue(t.ctx, &sqs.PurgeQueueInput{QueueUrl: q.url})
	t.noError("purge", err)
	if got := q.receive(waitSeconds(2)); len(got) > 0 {
		t.Errorf("received %d messages after the purge, want none", len(got))
	}
}

func purgeTwice(t *T) {
	q := newQueue(t, nil)
	_, err := q.c.PurgeQueue(t.ctx, &sqs.PurgeQueueInput{QueueUrl: q.url})
	t.noError("purge", err)
	_, err = q.c.PurgeQueue(t.ctx, &sqs.PurgeQueueInput{QueueUrl: q.url})
	wantErrorType[*types.PurgeQueueInProgress](t, "again", err)
}

func createDeletedQueue(t *T) {
	c, name := sqs.NewFromConfig(t.cfg), unique(t)
	q, err := c.CreateQueue(t.ctx, &sqs.CreateQueueInput{QueueName: &name})
	t.noError("create", err)
	_, err = c.DeleteQueue(t.ctx, &sqs.DeleteQueueInput{QueueUrl: q.QueueUrl})
	t.noError("delete", err)
	_, err = c.CreateQueue(t.ctx, &sqs.CreateQueueInput{QueueName: &name})
	wantErrorType[*types.QueueDeletedRecently](t, "again", err)
}

func messageSize(t *T) {
	q := newQueue(t, nil)
	if _, err := q.trySend(strings.Repeat("x", 1<<20)); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	_, err := q.trySend(strings.Repeat("x", 1<<20+1))
	t.wantError("above the limit", err, "InvalidParameterValue", "")
}

func sizeWithAttributes(t *T) {
	q := newQueue(t, map[string]string{"MaximumMessageSize": "1024"})
	attrs := map[string]types.MessageAttributeValue{
		"name": {DataType: aws.String("String"), StringValue: aws.String(strings.Repeat("v", 1000))},
	}
	if _, err := q.trySend(strings.Repeat("x", 14), with(attrs)); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	_, err := q.trySend(strings.Repeat("x", 15), with(attrs))
	t.wantError("above the limit", err, "InvalidParameterValue", "")
}

func messageSizeLimitOfQueue(t *T) {
	q := newQueue(t, map[string]string{"MaximumMessageSize": "1024"})
	q.send(strings.Repeat("x", 1024))
	_, err := q.trySend(strings.Repeat("x", 1025))
	t.wantError("above the limit", err, "InvalidParameterValue", "")
}

func characters(t *T) {
	q := newQueue(t, nil)
	_, err := q.trySend("a\x01b")
	wantErrorType[*types.InvalidMessageContents](t, "U+0001", err)
	_, err = q.trySend("a\uFFFEb")
	wantErrorType[*types.InvalidMessageContents](t, "U+FFFE", err)
}

func emptyBody(t *T) {
	if _, err := newQueue(t, nil).trySend(""); err == nil {
		t.Errorf("accepted, want an error")
	}
}

type sending = types.SendMessageBatchRequestEntry

func entry(id, body string) sending { return sending{Id: &id, MessageBody: &body} }

func (q *queue) sendBatch(entries ...sending) (*sqs.SendMessageBatchOutput, error) {
	return q.c.SendMessageBatch(q.ctx, &sqs.SendMessageBatchInput{QueueUrl: q.url, Entries: entries})
}

// failedEntries returns id, code and SenderFault of a batch's failed entries.
func failedEntries(failed []types.BatchResultErrorEntry) (out []string) {
	for _, f := range failed {
		out = append(out, fmt.Sprint(aws.ToString(f.Id), " ", aws.ToString(f.Code), " ", f.SenderFault))
	}
	return out
}

func sendBatch(t *T) {
	q := newQueue(t, nil)
	out, err := q.sendBatch(entry("a", "first"), entry("b", "bad\x02"), entry("c", "third"))
	t.noError("send", err)
	equal(t, "sent", len(out.Successful), 2)
	equal(t, "failed", failedEntries(out.Failed), []string{"b InvalidMessageContents true"})
	q.receiveN(2)
}

func deleteBatch(t *T) {
	q := newQueue(t, nil)
	q.send("x")
	q.send("y")
	got := q.receiveN(2)
	out, err := q.c.DeleteMessageBatch(t.ctx, &sqs.DeleteMessageBatchInput{QueueUrl: q.url, Entries: []types.DeleteMessageBatchRequestEntry{
		{Id: aws.String("a"), ReceiptHandle: got[0].ReceiptHandle},
		{Id: aws.String("b"), ReceiptHandle: aws.String("nonsense")},
		{Id: aws.String("c"), ReceiptHandle: got[1].ReceiptHandle},
	}})
	t.noError("delete", err)
	equal(t, "deleted", len(out.Successful), 2)
	equal(t, "failed", failedEntries(out.Failed), []string{"b ReceiptHandleIsInvalid true"})
	equal(t, "left in flight", q.attribute("ApproximateNumberOfMessagesNotVisible"), "0")
}

func visibilityBatch(t *T) {
	q := newQueue(t, nil)
	q.send("x")
	m := q.receiveOne()
	out, err := q.c.ChangeMessageVisibilityBatch(t.ctx, &sqs.ChangeMessageVisibilityBatchInput{
		QueueUrl: q.url,
		Entries: []types.ChangeMessageVisibilityBatchRequestEntry{
			{Id: aws.String("a"), ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: 0},
			{Id: aws.String("b"), ReceiptHandle: aws.String("nonsense"), VisibilityTimeout: 100},
		},
	})
	t.noError("change", err)
	equal(t, "changed", len(out.Successful), 1)
	equal(t, "failed", failedEntries(out.Failed), []string{"b ReceiptHandleIsInvalid true"})
	equal(t, "receive count", q.receiveOne().Attributes["ApproximateReceiveCount"], "2")
}

func batchDuplicateID(t *T) {
	_, err := newQueue(t, nil).sendBatch(entry("a", "x"), entry("a", "y"))
	wantErrorType[*types.BatchEntryIdsNotDistinct](t, "batch", err)
}

func batchInvalidID(t *T) {
	_, err := newQueue(t, nil).sendBatch(entry("not valid", "x"))
	wantErrorType[*types.InvalidBatchEntryId](t, "batch", err)
}

func batchEmpty(t *T) {
	_, err := newQueue(t, nil).sendBatch([]sending{}...)
	wantErrorType[*types.EmptyBatchRequest](t, "batch", err)
}

func batchEleven(t *T) {
	var eleven []sending
	for i := range 11 {
		eleven = append(eleven, entry(strconv.Itoa(i), "x"))
	}
	_, err := newQueue(t, nil).sendBatch(eleven...)
	wantErrorType[*types.TooManyEntriesInBatchRequest](t, "batch", err)
}

func batchTooLong(t *T) {
	half := strings.Repeat("x", 1<<19)
	q := newQueue(t, nil)
	if _, err := q.sendBatch(entry("a", half), entry("b", half)); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	_, err := q.sendBatch(entry("a", half), entry("b", half+"x"))
	wantErrorType[*types.BatchRequestTooLong](t, "above the limit", err)
}

func createExistingQueue(t *T) {
	name := unique(t)
	a := namedQueue(t, name, map[string]string{"VisibilityTimeout": "7"})
	b := namedQueue(t, name, map[string]string{"VisibilityTimeout": "7"})
	c := namedQueue(t, name, nil)
	equal(t, "URL", *b.url, *a.url)
	equal(t, "URL without attributes", *c.url, *a.url)
}

func createWithOtherAttributes(t *T) {
	name := unique(t)
	q := namedQueue(t, name, map[string]string{"VisibilityTimeout": "7"})
	_, err := q.c.CreateQueue(t.ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{"VisibilityTimeout": "8"}})
	wantErrorType[*types.QueueNameExists](t, "create", err)
}

func queueDefaults(t *T) {
	a := newQueue(t, nil).attributes()
	for _, c := range [][2]string{
		{"VisibilityTimeout", "30"},
		{"DelaySeconds", "0"},
		{"MaximumMessageSize", "1048576"},
		{"MessageRetentionPeriod", "345600"},
		{"ReceiveMessageWaitTimeSeconds", "0"},
		{"ApproximateNumberOfMessages", "0"},
		{"ApproximateNumberOfMessagesNotVisible", "0"},
		{"ApproximateNumberOfMessagesDelayed", "0"},
	} {
		equal(t, c[0], a[c[0]], c[1])
	}
}

func setAttributes(t *T) {
	q := newQueue(t, nil)
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},` +
		`"Action":"sqs:SendMessage","Resource":"` + q.arn + `"}]}`
	t.noError("set Policy", q.set("Policy", policy))
	t.noError("set MessageRetentionPeriod", q.set("MessageRetentionPeriod", "1209600"))
	a := q.attributes()
	equal(t, "Policy", a["Policy"], policy)
	equal(t, "MessageRetentionPeriod", a["MessageRetentionPeriod"], "1209600")
	equal(t, "VisibilityTimeout, unchanged", a["VisibilityTimeout"], "30")
}

func unknownAttribute(t *T) {
	wantErrorType[*types.InvalidAttributeName](t, "set", newQueue(t, nil).set("Nonsense", "1"))
}

func attributeOutOfRange(t *T) {
	wantErrorType[*types.InvalidAttributeValue](t, "set", newQueue(t, nil).set("VisibilityTimeout", "43201"))
}

func findQueue(t *T) {
	name := unique(t)
	q := namedQueue(t, name, nil)
	out, err := q.c.GetQueueUrl(t.ctx, &sqs.GetQueueUrlInput{QueueName: &name})
	t.noError("get URL", err)
	equal(t, "URL", *out.QueueUrl, *q.url)
}

func unknownQueue(t *T) {
	q := newQueue(t, nil)
	none := *q.url + uuid.NewString()[:4]
	_, err := q.c.GetQueueUrl(t.ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(unique(t))})
	wantErrorType[*types.QueueDoesNotExist](t, "find", err)
	q.url = &none
	_, err = q.trySend("x")
	wantErrorType[*types.QueueDoesNotExist](t, "send", err)
	t.wantError("send", err, "AWS.SimpleQueueService.NonExistentQueue", "")
	_, err = q.tryReceive()
	wantErrorType[*types.QueueDoesNotExist](t, "receive", err)
}

func deletedQueue(t *T) {
	q := newQueue(t, nil)
	_, err := q.c.DeleteQueue(t.ctx, &sqs.DeleteQueueInput{QueueUrl: q.url})
	t.noError("delete", err)
	_, err = q.tryReceive()
	wantErrorType[*types.QueueDoesNotExist](t, "receive", err)
}

func queueTags(t *T) {
	q := newQueue(t, nil)
	_, err := q.c.TagQueue(t.ctx, &sqs.TagQueueInput{QueueUrl: q.url, Tags: map[string]string{"team": "saga", "x": "y"}})
	t.noError("tag", err)
	_, err = q.c.UntagQueue(t.ctx, &sqs.UntagQueueInput{QueueUrl: q.url, TagKeys: []string{"x"}})
	t.noError("untag", err)
	out, err := q.c.ListQueueTags(t.ctx, &sqs.ListQueueTagsInput{QueueUrl: q.url})
	t.noError("list", err)
	equal(t, "tags", out.Tags, map[string]string{"team": "saga"})
}

func listQueues(t *T) {
	prefix := unique(t)
	var q *queue
	for i := range 3 {
		q = namedQueue(t, prefix+strconv.Itoa(i), nil)
	}
	var urls []string
	pages := sqs.NewListQueuesPaginator(q.c, &sqs.ListQueuesInput{QueueNamePrefix: &prefix, MaxResults: aws.Int32(2)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.ctx)
		t.noError("list", err)
		if len(page.QueueUrls) > 2 {
			t.Errorf("a page of %d, want at most 2", len(page.QueueUrls))
		}
		urls = append(urls, page.QueueUrls...)
	}
	equal(t, "listed", len(urls), 3)
}
