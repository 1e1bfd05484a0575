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
		{"SQS: send and receive", "a message arrives as it was sent, with its id and the MD5 of its body", "APIReference/API_SendMessage", sendAndReceive},
		{"SQS: system attributes", "ApproximateReceiveCount, SentTimestamp in ms, SenderId and AWSTraceHeader come when asked for", "APIReference/API_ReceiveMessage", systemAttributes},
		{"SQS: message attributes", "String, Number.custom and Binary attributes arrive, and both sides have the MD5 that SDKs check", "SQSDeveloperGuide/sqs-message-metadata", messageAttributes},
		{"SQS: message attributes by name", "a receive names the attributes that it wants, also by prefix (`co.*`); without a name it gets none", "APIReference/API_ReceiveMessage", attributesByName},
		{"SQS: message attributes, text", "any that a body can have", "SQSDeveloperGuide/sqs-message-metadata", attributeText},
		{"SQS: message attributes, characters", "what a body can't have is refused", "SQSDeveloperGuide/sqs-message-metadata", attributeCharacters},
		{"SQS: message attributes, empty", "name, type and value must not be empty", "SQSDeveloperGuide/sqs-message-metadata", emptyAttribute},
		{"SQS: ten message attributes", "a message has at most ten attributes", "SQSDeveloperGuide/sqs-message-metadata", tenAttributes},
		{"SQS: at most ten messages", "MaxNumberOfMessages is 1 to 10", "APIReference/API_ReceiveMessage", atMostTen},
		{"SQS: visibility time-out", "a received message is hidden for VisibilityTimeout, then comes again with a higher receive count", "SQSDeveloperGuide/sqs-visibility-timeout", visibilityTimeout},
		{"SQS: the queue's visibility time-out", "without one of its own a receive hides for as long as the queue says", "SQSDeveloperGuide/sqs-visibility-timeout", queuesVisibilityTimeout},
		{"SQS: visibility extended", "ChangeMessageVisibility starts a new time-out from now", "APIReference/API_ChangeMessageVisibility", visibilityExtended},
		{"SQS: visibility zero", "with a time-out of 0 the message can be received at once", "SQSDeveloperGuide/sqs-visibility-timeout", visibilityZero},
		{"SQS: visibility of what is not in flight", "MessageNotInflight", "APIReference/API_ChangeMessageVisibility", notInFlight},
		{"SQS: handle after its time-out", "the handle of a message whose time-out has passed still deletes it, if nobody has received it since", "APIReference/API_DeleteMessage", lateDelete},
		{"SQS: older handle", "deleting with the handle of an earlier receive succeeds, whether it deletes or not", "APIReference/API_DeleteMessage", olderHandle},
		{"SQS: visibility of what is deleted", "is refused", "APIReference/API_ChangeMessageVisibility", visibilityOfDeleted},
		{"SQS: delete twice", "deleting what is deleted succeeds", "APIReference/API_DeleteMessage", deleteTwice},
		{"SQS: bad receipt handle", "ReceiptHandleIsInvalid", "APIReference/API_DeleteMessage", badHandle},
		{"SQS: long poll, message arrives", "the call returns as soon as a message is there", "SQSDeveloperGuide/sqs-short-and-long-polling", longPollWakes},
		{"SQS: long poll, message becomes visible", "also when a delay or a visibility time-out ends", "SQSDeveloperGuide/sqs-short-and-long-polling", longPollSeesTimers},
		{"SQS: long poll, nothing comes", "an empty answer after WaitTimeSeconds", "SQSDeveloperGuide/sqs-short-and-long-polling", longPollEnds},
		{"SQS: delay", "a message with DelaySeconds is invisible at first and counted as delayed", "SQSDeveloperGuide/sqs-delay-queues", delay},
		{"SQS: counts", "ApproximateNumberOfMessages and …NotVisible tell the backlog from what is in flight", "APIReference/API_GetQueueAttributes", counts},
		{"SQS: dead letters", "after maxReceiveCount receives the message moves to the dead-letter queue, with its id and DeadLetterQueueSourceArn", "SQSDeveloperGuide/sqs-dead-letter-queues", deadLetters},
		{"SQS: redrive policy checked", "a RedrivePolicy whose dead-letter queue is not there is refused", "APIReference/API_SetQueueAttributes", redrivePolicyChecked},
		{"SQS: sources of a dead-letter queue", "ListDeadLetterSourceQueues", "APIReference/API_ListDeadLetterSourceQueues", deadLetterSources},
		{"SQS: redrive", "StartMessageMoveTask moves dead letters back to where they came from, as new messages", "APIReference/API_StartMessageMoveTask", redrive},
		{"SQS: redrive from elsewhere", "only a dead-letter queue can be a source", "APIReference/API_StartMessageMoveTask", redriveFromElsewhere},
		{"SQS: no such redrive", "ResourceNotFoundException", "APIReference/API_CancelMessageMoveTask", noSuchRedrive},
		{"SQS: purge", "all messages go, also those in flight", "APIReference/API_PurgeQueue", purge},
		{"SQS: purge twice", "within 60 seconds: PurgeQueueInProgress", "APIReference/API_PurgeQueue", purgeTwice},
		{"SQS: message size", "1,048,576 bytes are taken, one more is InvalidParameterValue", "SQSDeveloperGuide/quotas-messages", messageSize},
		{"SQS: message size, attributes", "attributes count: their names, types and values", "SQSDeveloperGuide/quotas-messages", sizeWithAttributes},
		{"SQS: message size of the queue", "MaximumMessageSize lowers it", "APIReference/API_SetQueueAttributes", queuesMessageSize},
		{"SQS: characters", "characters that are not XML 1.0's are InvalidMessageContents", "APIReference/API_SendMessage", characters},
		{"SQS: empty body", "a body has at least one character", "APIReference/API_SendMessage", emptyBody},
		{"SQS: send batch fails in part", "each entry succeeds or fails by itself", "APIReference/API_SendMessageBatch", sendBatch},
		{"SQS: delete batch fails in part", "each entry succeeds or fails by itself", "APIReference/API_DeleteMessageBatch", deleteBatch},
		{"SQS: visibility batch fails in part", "each entry succeeds or fails by itself", "APIReference/API_ChangeMessageVisibilityBatch", visibilityBatch},
		{"SQS: batch with an id twice", "BatchEntryIdsNotDistinct", "APIReference/API_SendMessageBatch", batchTwice},
		{"SQS: batch with a bad id", "InvalidBatchEntryId", "APIReference/API_SendMessageBatch", batchBadID},
		{"SQS: batch with nothing in it", "EmptyBatchRequest", "APIReference/API_SendMessageBatch", batchEmpty},
		{"SQS: batch of eleven", "TooManyEntriesInBatchRequest", "APIReference/API_SendMessageBatch", batchEleven},
		{"SQS: batch too long", "BatchRequestTooLong above 1,048,576 bytes in all", "APIReference/API_SendMessageBatch", batchTooLong},
		{"SQS: create again", "with the same attributes CreateQueue returns the queue that is there", "APIReference/API_CreateQueue", createAgain},
		{"SQS: create again, differently", "with other attributes it is QueueNameExists", "APIReference/API_CreateQueue", createDifferently},
		{"SQS: defaults", "30 s visibility, 4 days retention, 1 MiB, no delay", "APIReference/API_SetQueueAttributes", queueDefaults},
		{"SQS: attributes set", "SetQueueAttributes changes what GetQueueAttributes tells, also the Policy", "APIReference/API_SetQueueAttributes", setAttributes},
		{"SQS: unknown attribute", "InvalidAttributeName", "APIReference/API_SetQueueAttributes", unknownAttribute},
		{"SQS: attribute out of range", "InvalidAttributeValue", "APIReference/API_SetQueueAttributes", attributeOutOfRange},
		{"SQS: find by name", "GetQueueUrl gives the URL that CreateQueue gave", "APIReference/API_GetQueueUrl", findQueue},
		{"SQS: no such queue", "QueueDoesNotExist, with the code AWS.SimpleQueueService.NonExistentQueue that older clients know", "APIReference/API_GetQueueUrl", noSuchQueue},
		{"SQS: deleted queue", "is gone: QueueDoesNotExist", "APIReference/API_DeleteQueue", deletedQueue},
		{"SQS: create what was just deleted", "within 60 seconds: QueueDeletedRecently", "APIReference/API_CreateQueue", createDeleted},
		{"SQS: tags", "are set, removed and listed", "APIReference/API_TagQueue", queueTags},
		{"SQS: list", "by prefix, in pages", "APIReference/API_ListQueues", listQueues},
	}
}

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
	t.must("create queue", err)
	q := &queue{t, c, out.QueueUrl, ""}
	q.arn = q.attribute(types.QueueAttributeNameQueueArn)
	return q
}

func (q *queue) attributes() map[string]string {
	out, err := q.c.GetQueueAttributes(q.ctx, &sqs.GetQueueAttributesInput{QueueUrl: q.url, AttributeNames: []types.QueueAttributeName{"All"}})
	q.must("get attributes", err)
	return out.Attributes
}

func (q *queue) attribute(name types.QueueAttributeName) string {
	out, err := q.c.GetQueueAttributes(q.ctx, &sqs.GetQueueAttributesInput{QueueUrl: q.url, AttributeNames: []types.QueueAttributeName{name}})
	q.must("get attribute", err)
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
	q.must("send", err)
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
	q.must("receive", err)
	return m
}

// one receives the message that is there, or about to be.
func (q *queue) one(change ...receiving) types.Message {
	m := q.receive(append([]receiving{wait(5)}, change...)...)
	if len(m) != 1 {
		q.Fatalf("received %d messages, want 1", len(m))
	}
	return m[0]
}

// some receives n messages; SQS may give them one by one.
func (q *queue) some(n int) (got []types.Message) {
	for range n {
		if got = append(got, q.receive(wait(2))...); len(got) >= n {
			break
		}
	}
	if len(got) != n {
		q.Fatalf("received %d messages, want %d", len(got), n)
	}
	return got
}

func (q *queue) nothing(when string) {
	if m := q.receive(); len(m) != 0 {
		q.Errorf("received %q %s", aws.ToString(m[0].Body), when)
	}
}

func wait(seconds int32) receiving {
	return func(in *sqs.ReceiveMessageInput) { in.WaitTimeSeconds = seconds }
}

func hidden(seconds int32) receiving {
	return func(in *sqs.ReceiveMessageInput) { in.VisibilityTimeout = seconds }
}

func (q *queue) tryHide(handle *string, seconds int32) error {
	_, err := q.c.ChangeMessageVisibility(q.ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: q.url, ReceiptHandle: handle, VisibilityTimeout: seconds})
	return err
}

func (q *queue) hide(m types.Message, seconds int32) {
	q.must("change visibility", q.tryHide(m.ReceiptHandle, seconds))
}

func (q *queue) tryRemove(handle *string) error {
	_, err := q.c.DeleteMessage(q.ctx, &sqs.DeleteMessageInput{QueueUrl: q.url, ReceiptHandle: handle})
	return err
}

func sendAndReceive(t *T) {
	q := newQueue(t, nil)
	body := "Grüße, \"order\" <1>&amp;\n\t\\ 🎉"
	sent := q.send(body)
	m := q.one()
	same(t, "body", *m.Body, body)
	same(t, "id", *m.MessageId, *sent.MessageId)
	same(t, "MD5 of the body", *m.MD5OfBody, *sent.MD5OfMessageBody)
	t.must("delete", q.tryRemove(m.ReceiptHandle))
	q.nothing("after its deletion")
}

func systemAttributes(t *T) {
	q := newQueue(t, nil)
	const trace = "Root=1-5759e988-bd862e3fe1be46a994272793"
	q.send("x", func(in *sqs.SendMessageInput) {
		in.MessageSystemAttributes = map[string]types.MessageSystemAttributeValue{"AWSTraceHeader": {DataType: aws.String("String"), StringValue: aws.String(trace)}}
	})
	m := q.one()
	same(t, "ApproximateReceiveCount", m.Attributes["ApproximateReceiveCount"], "1")
	same(t, "AWSTraceHeader", m.Attributes["AWSTraceHeader"], trace)
	if m.Attributes["SenderId"] == "" {
		t.Errorf("no SenderId")
	}
	for _, name := range []string{"SentTimestamp", "ApproximateFirstReceiveTimestamp"} {
		if ms, err := strconv.ParseInt(m.Attributes[name], 10, 64); err != nil || time.Since(time.UnixMilli(ms)).Abs() > time.Minute {
			t.Errorf("%s is %q, not the time in milliseconds", name, m.Attributes[name])
		}
	}
	q.hide(m, 0)
	if m = q.one(func(in *sqs.ReceiveMessageInput) {
		in.MessageSystemAttributeNames = []types.MessageSystemAttributeName{"ApproximateReceiveCount"}
	}); len(m.Attributes) != 1 {
		t.Errorf("asked for one system attribute, got %v", m.Attributes)
	}
}

var threeAttributes = map[string]types.MessageAttributeValue{
	"kind":  {DataType: aws.String("String"), StringValue: aws.String("OrderPlaced")},
	"count": {DataType: aws.String("Number.int"), StringValue: aws.String("12")},
	"blob":  {DataType: aws.String("Binary"), BinaryValue: []byte{0, 1, 255}},
}

// threeMD5 was computed with botocore's algorithm.
const threeMD5 = "29187debfff4cf402a307656c014ef3b"

func messageAttributes(t *T) {
	q := newQueue(t, nil)
	sent := q.send("x", with(threeAttributes))
	same(t, "MD5 when sent", aws.ToString(sent.MD5OfMessageAttributes), threeMD5)
	m := q.one()
	same(t, "MD5 when received", aws.ToString(m.MD5OfMessageAttributes), threeMD5)
	same(t, "attributes", len(m.MessageAttributes), 3)
	same(t, "String", aws.ToString(m.MessageAttributes["kind"].StringValue), "OrderPlaced")
	same(t, "Number", aws.ToString(m.MessageAttributes["count"].StringValue), "12")
	same(t, "custom type", aws.ToString(m.MessageAttributes["count"].DataType), "Number.int")
	same(t, "Binary", m.MessageAttributes["blob"].BinaryValue, []byte{0, 1, 255})
}

func attributesByName(t *T) {
	q := newQueue(t, nil)
	q.send("x", with(threeAttributes))
	for _, c := range []struct{ ask, get []string }{
		{[]string{"kind"}, []string{"kind"}},
		{[]string{"co.*", "kind"}, []string{"count", "kind"}},
		{[]string{".*"}, []string{"blob", "count", "kind"}},
		{nil, nil},
	} {
		m := q.one(func(in *sqs.ReceiveMessageInput) { in.MessageAttributeNames = c.ask })
		var got []string
		for name := range m.MessageAttributes {
			got = append(got, name)
		}
		slices.Sort(got)
		same(t, fmt.Sprintf("asked for %q", c.ask), got, c.get)
		q.hide(m, 0)
	}
}

func attribute(value string) func(*sqs.SendMessageInput) {
	return with(map[string]types.MessageAttributeValue{"Reason": {DataType: aws.String("String"), StringValue: &value}})
}

func attributeText(t *T) {
	q := newQueue(t, nil)
	const text = "Grüße, \"order\" <1>&amp;\n\t\\ 🎉"
	q.send("x", attribute(text))
	same(t, "text", aws.ToString(q.one().MessageAttributes["Reason"].StringValue), text)
}

func attributeCharacters(t *T) {
	if _, err := newQueue(t, nil).trySend("x", attribute("a\x01b")); err == nil {
		t.Errorf("U+0001: accepted")
	}
}

func emptyAttribute(t *T) {
	if _, err := newQueue(t, nil).trySend("x", attribute("")); err == nil {
		t.Errorf("accepted")
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
	t.refuses("eleven", err, "InvalidParameterValue", "")
}

func atMostTen(t *T) {
	q := newQueue(t, nil)
	for _, n := range []int32{11, -1} {
		_, err := q.tryReceive(func(in *sqs.ReceiveMessageInput) { in.MaxNumberOfMessages = n })
		t.refuses(fmt.Sprint(n), err, "InvalidParameterValue", "")
	}
}

func visibilityTimeout(t *T) {
	q := newQueue(t, nil)
	q.send("x")
	first := q.one(hidden(3))
	q.nothing("while it was hidden")
	again := q.one()
	same(t, "receive count", again.Attributes["ApproximateReceiveCount"], "2")
	same(t, "id", *again.MessageId, *first.MessageId)
	if *again.ReceiptHandle == *first.ReceiptHandle {
		t.Errorf("both receives have the same handle")
	}
}

func queuesVisibilityTimeout(t *T) {
	q := newQueue(t, map[string]string{"VisibilityTimeout": "1"})
	q.send("x")
	q.one()
	same(t, "receive count", q.one().Attributes["ApproximateReceiveCount"], "2")
}

func visibilityExtended(t *T) {
	q := newQueue(t, nil)
	q.send("x")
	m := q.one(hidden(2))
	q.hide(m, 30)
	if got := q.receive(wait(3)); len(got) > 0 {
		t.Errorf("it came again although its time-out had been extended")
	}
}

func visibilityZero(t *T) {
	q := newQueue(t, nil)
	q.send("x")
	q.hide(q.one(), 0)
	if got := q.receive(); len(got) != 1 || got[0].Attributes["ApproximateReceiveCount"] != "2" {
		t.Errorf("received %v, want it for the second time", got)
	}
}

func notInFlight(t *T) {
	q := newQueue(t, nil)
	q.send("x")
	m := q.one()
	q.hide(m, 0)
	typed[*types.MessageNotInflight](t, "visible", q.tryHide(m.ReceiptHandle, 5))
}

func lateDelete(t *T) {
	q := newQueue(t, nil)
	q.send("x")
	m := q.one(hidden(1))
	time.Sleep(1500 * time.Millisecond)
	t.must("delete", q.tryRemove(m.ReceiptHandle))
	q.nothing("after its deletion")
}

func deleteTwice(t *T) {
	q := newQueue(t, nil)
	q.send("x")
	m := q.one()
	t.must("first", q.tryRemove(m.ReceiptHandle))
	t.must("second", q.tryRemove(m.ReceiptHandle))
}

func olderHandle(t *T) {
	q := newQueue(t, nil)
	q.send("x")
	m := q.one()
	q.hide(m, 0)
	q.one()
	t.must("delete", q.tryRemove(m.ReceiptHandle))
}

func visibilityOfDeleted(t *T) {
	q := newQueue(t, nil)
	q.send("x")
	m := q.one()
	t.must("delete", q.tryRemove(m.ReceiptHandle))
	if q.tryHide(m.ReceiptHandle, 5) == nil {
		t.Errorf("accepted")
	}
}

func badHandle(t *T) {
	q := newQueue(t, nil)
	typed[*types.ReceiptHandleIsInvalid](t, "delete", q.tryRemove(aws.String("garbage")))
	typed[*types.ReceiptHandleIsInvalid](t, "change visibility", q.tryHide(aws.String("garbage"), 5))
}

func longPollWakes(t *T) {
	q := newQueue(t, nil)
	var g errgroup.Group
	var got []types.Message
	g.Go(func() (err error) { got, err = q.tryReceive(wait(20)); return err })
	time.Sleep(300 * time.Millisecond) // the poll is most likely waiting now
	start := time.Now()
	q.send("wake up")
	t.must("receive", g.Wait())
	if d := time.Since(start); len(got) != 1 || d > 5*time.Second {
		t.Errorf("received %d messages after %s", len(got), d)
	}
}

func longPollSeesTimers(t *T) {
	q := newQueue(t, nil)
	q.send("later", func(in *sqs.SendMessageInput) { in.DelaySeconds = 1 })
	q.one(hidden(1))
	same(t, "receive count", q.one().Attributes["ApproximateReceiveCount"], "2")
}

func longPollEnds(t *T) {
	q := newQueue(t, nil)
	start := time.Now()
	got := q.receive(wait(1))
	if d := time.Since(start); len(got) != 0 || d < 900*time.Millisecond || d > 10*time.Second {
		t.Errorf("received %d messages after %s", len(got), d)
	}
}

func delay(t *T) {
	q := newQueue(t, nil)
	q.send("later", func(in *sqs.SendMessageInput) { in.DelaySeconds = 3 })
	same(t, "delayed", q.attribute("ApproximateNumberOfMessagesDelayed"), "1")
	q.nothing("before its time")
	q.one()
}

func counts(t *T) {
	q := newQueue(t, nil)
	for range 3 {
		q.send("x")
	}
	q.receive(func(in *sqs.ReceiveMessageInput) { in.MaxNumberOfMessages = 1 })
	a := q.attributes()
	same(t, "ApproximateNumberOfMessages", a["ApproximateNumberOfMessages"], "2")
	same(t, "ApproximateNumberOfMessagesNotVisible", a["ApproximateNumberOfMessagesNotVisible"], "1")
}

// withDeadLetters is a queue with a dead-letter queue.
func withDeadLetters(t *T, receives int) (q, dlq *queue) {
	name := unique(t)
	dlq = namedQueue(t, name+"-dlq", nil)
	return namedQueue(t, name, map[string]string{"RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":"%d"}`, dlq.arn, receives)}), dlq
}

func deadLetters(t *T) {
	q, dlq := withDeadLetters(t, 2)
	sent := q.send("poison", with(threeAttributes))
	for range 2 {
		q.hide(q.one(), 0)
	}
	q.nothing("for the third time")
	dead := dlq.one()
	same(t, "id", *dead.MessageId, *sent.MessageId)
	same(t, "attributes", len(dead.MessageAttributes), 3)
	same(t, "DeadLetterQueueSourceArn", dead.Attributes["DeadLetterQueueSourceArn"], q.arn)
}

func redrivePolicyChecked(t *T) {
	q := newQueue(t, nil)
	err := q.set("RedrivePolicy", fmt.Sprintf(`{"deadLetterTargetArn":"%s-none","maxReceiveCount":"2"}`, q.arn))
	if err == nil {
		t.Errorf("accepted")
	}
}

func deadLetterSources(t *T) {
	q, dlq := withDeadLetters(t, 2)
	out, err := q.c.ListDeadLetterSourceQueues(t.ctx, &sqs.ListDeadLetterSourceQueuesInput{QueueUrl: dlq.url})
	t.must("list", err)
	same(t, "sources", out.QueueUrls, []string{*q.url})
}

func redrive(t *T) {
	q, dlq := withDeadLetters(t, 1)
	q.send("poison")
	q.hide(q.one(), 0)
	q.nothing("for the second time")
	_, err := q.c.StartMessageMoveTask(t.ctx, &sqs.StartMessageMoveTaskInput{SourceArn: &dlq.arn, MaxNumberOfMessagesPerSecond: aws.Int32(500)})
	t.must("start", err)
	same(t, "receive count", q.one().Attributes["ApproximateReceiveCount"], "1")
	for range 50 { // the message may be there a moment before the task has ended
		list, err := q.c.ListMessageMoveTasks(t.ctx, &sqs.ListMessageMoveTasksInput{SourceArn: &dlq.arn})
		t.must("list tasks", err)
		if len(list.Results) != 1 {
			t.Fatalf("%d tasks, want 1", len(list.Results))
		}
		if r := list.Results[0]; aws.ToString(r.Status) != "RUNNING" {
			same(t, "task", aws.ToString(r.Status), "COMPLETED")
			same(t, "moved", r.ApproximateNumberOfMessagesMoved, 1)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("the task is still running")
}

func redriveFromElsewhere(t *T) {
	q := newQueue(t, nil)
	_, err := q.c.StartMessageMoveTask(t.ctx, &sqs.StartMessageMoveTaskInput{SourceArn: &q.arn})
	t.refuses("start", err, "InvalidParameterValue", "")
}

func noSuchRedrive(t *T) {
	_, err := sqs.NewFromConfig(t.cfg).CancelMessageMoveTask(t.ctx, &sqs.CancelMessageMoveTaskInput{TaskHandle: aws.String("nonsense")})
	typed[*types.ResourceNotFoundException](t, "cancel", err)
}

func purge(t *T) {
	q := newQueue(t, nil)
	for range 3 {
		q.send("x")
	}
	q.receive(hidden(1), func(in *sqs.ReceiveMessageInput) { in.MaxNumberOfMessages = 1 })
	_, err := q.c.PurgeQueue(t.ctx, &sqs.PurgeQueueInput{QueueUrl: q.url})
	t.must("purge", err)
	if got := q.receive(wait(2)); len(got) > 0 {
		t.Errorf("received %d messages after the purge", len(got))
	}
}

func purgeTwice(t *T) {
	q := newQueue(t, nil)
	_, err := q.c.PurgeQueue(t.ctx, &sqs.PurgeQueueInput{QueueUrl: q.url})
	t.must("purge", err)
	_, err = q.c.PurgeQueue(t.ctx, &sqs.PurgeQueueInput{QueueUrl: q.url})
	typed[*types.PurgeQueueInProgress](t, "again", err)
}

func createDeleted(t *T) {
	c, name := sqs.NewFromConfig(t.cfg), unique(t)
	q, err := c.CreateQueue(t.ctx, &sqs.CreateQueueInput{QueueName: &name})
	t.must("create", err)
	_, err = c.DeleteQueue(t.ctx, &sqs.DeleteQueueInput{QueueUrl: q.QueueUrl})
	t.must("delete", err)
	_, err = c.CreateQueue(t.ctx, &sqs.CreateQueueInput{QueueName: &name})
	typed[*types.QueueDeletedRecently](t, "again", err)
}

func messageSize(t *T) {
	q := newQueue(t, nil)
	if _, err := q.trySend(strings.Repeat("x", 1<<20)); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	_, err := q.trySend(strings.Repeat("x", 1<<20+1))
	t.refuses("above the limit", err, "InvalidParameterValue", "")
}

func sizeWithAttributes(t *T) {
	q := newQueue(t, map[string]string{"MaximumMessageSize": "1024"})
	attrs := map[string]types.MessageAttributeValue{"name": {DataType: aws.String("String"), StringValue: aws.String(strings.Repeat("v", 1000))}}
	if _, err := q.trySend(strings.Repeat("x", 14), with(attrs)); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	_, err := q.trySend(strings.Repeat("x", 15), with(attrs))
	t.refuses("above the limit", err, "InvalidParameterValue", "")
}

func queuesMessageSize(t *T) {
	q := newQueue(t, map[string]string{"MaximumMessageSize": "1024"})
	q.send(strings.Repeat("x", 1024))
	_, err := q.trySend(strings.Repeat("x", 1025))
	t.refuses("above the limit", err, "InvalidParameterValue", "")
}

func characters(t *T) {
	q := newQueue(t, nil)
	_, err := q.trySend("a\x01b")
	typed[*types.InvalidMessageContents](t, "U+0001", err)
	_, err = q.trySend("a\uFFFEb")
	typed[*types.InvalidMessageContents](t, "U+FFFE", err)
}

func emptyBody(t *T) {
	if _, err := newQueue(t, nil).trySend(""); err == nil {
		t.Errorf("accepted")
	}
}

type sending = types.SendMessageBatchRequestEntry

func entry(id, body string) sending { return sending{Id: &id, MessageBody: &body} }

func (q *queue) sendBatch(entries ...sending) (*sqs.SendMessageBatchOutput, error) {
	return q.c.SendMessageBatch(q.ctx, &sqs.SendMessageBatchInput{QueueUrl: q.url, Entries: entries})
}

// failures are the ids and codes of a batch's failed entries.
func failures(failed []types.BatchResultErrorEntry) (out []string) {
	for _, f := range failed {
		out = append(out, fmt.Sprint(aws.ToString(f.Id), " ", aws.ToString(f.Code), " ", f.SenderFault))
	}
	return out
}

func sendBatch(t *T) {
	q := newQueue(t, nil)
	out, err := q.sendBatch(entry("a", "first"), entry("b", "bad\x02"), entry("c", "third"))
	t.must("send", err)
	same(t, "sent", len(out.Successful), 2)
	same(t, "failed", failures(out.Failed), []string{"b InvalidMessageContents true"})
	q.some(2)
}

func deleteBatch(t *T) {
	q := newQueue(t, nil)
	q.send("x")
	q.send("y")
	got := q.some(2)
	out, err := q.c.DeleteMessageBatch(t.ctx, &sqs.DeleteMessageBatchInput{QueueUrl: q.url, Entries: []types.DeleteMessageBatchRequestEntry{
		{Id: aws.String("a"), ReceiptHandle: got[0].ReceiptHandle},
		{Id: aws.String("b"), ReceiptHandle: aws.String("nonsense")},
		{Id: aws.String("c"), ReceiptHandle: got[1].ReceiptHandle},
	}})
	t.must("delete", err)
	same(t, "deleted", len(out.Successful), 2)
	same(t, "failed", failures(out.Failed), []string{"b ReceiptHandleIsInvalid true"})
	same(t, "left in flight", q.attribute("ApproximateNumberOfMessagesNotVisible"), "0")
}

func visibilityBatch(t *T) {
	q := newQueue(t, nil)
	q.send("x")
	m := q.one()
	out, err := q.c.ChangeMessageVisibilityBatch(t.ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: q.url, Entries: []types.ChangeMessageVisibilityBatchRequestEntry{
		{Id: aws.String("a"), ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: 0},
		{Id: aws.String("b"), ReceiptHandle: aws.String("nonsense"), VisibilityTimeout: 100},
	}})
	t.must("change", err)
	same(t, "changed", len(out.Successful), 1)
	same(t, "failed", failures(out.Failed), []string{"b ReceiptHandleIsInvalid true"})
	same(t, "receive count", q.one().Attributes["ApproximateReceiveCount"], "2")
}

func batchTwice(t *T) {
	_, err := newQueue(t, nil).sendBatch(entry("a", "x"), entry("a", "y"))
	typed[*types.BatchEntryIdsNotDistinct](t, "batch", err)
}

func batchBadID(t *T) {
	_, err := newQueue(t, nil).sendBatch(entry("not valid", "x"))
	typed[*types.InvalidBatchEntryId](t, "batch", err)
}

func batchEmpty(t *T) {
	_, err := newQueue(t, nil).sendBatch([]sending{}...)
	typed[*types.EmptyBatchRequest](t, "batch", err)
}

func batchEleven(t *T) {
	var eleven []sending
	for i := range 11 {
		eleven = append(eleven, entry(strconv.Itoa(i), "x"))
	}
	_, err := newQueue(t, nil).sendBatch(eleven...)
	typed[*types.TooManyEntriesInBatchRequest](t, "batch", err)
}

func batchTooLong(t *T) {
	half := strings.Repeat("x", 1<<19)
	q := newQueue(t, nil)
	if _, err := q.sendBatch(entry("a", half), entry("b", half)); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	_, err := q.sendBatch(entry("a", half), entry("b", half+"x"))
	typed[*types.BatchRequestTooLong](t, "above the limit", err)
}

func createAgain(t *T) {
	name := unique(t)
	a := namedQueue(t, name, map[string]string{"VisibilityTimeout": "7"})
	b := namedQueue(t, name, map[string]string{"VisibilityTimeout": "7"})
	c := namedQueue(t, name, nil)
	same(t, "URL", *b.url, *a.url)
	same(t, "URL without attributes", *c.url, *a.url)
}

func createDifferently(t *T) {
	name := unique(t)
	q := namedQueue(t, name, map[string]string{"VisibilityTimeout": "7"})
	_, err := q.c.CreateQueue(t.ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{"VisibilityTimeout": "8"}})
	typed[*types.QueueNameExists](t, "create", err)
}

func queueDefaults(t *T) {
	a := newQueue(t, nil).attributes()
	for _, c := range [][2]string{
		{"VisibilityTimeout", "30"}, {"DelaySeconds", "0"}, {"MaximumMessageSize", "1048576"}, {"MessageRetentionPeriod", "345600"},
		{"ReceiveMessageWaitTimeSeconds", "0"}, {"ApproximateNumberOfMessages", "0"}, {"ApproximateNumberOfMessagesNotVisible", "0"}, {"ApproximateNumberOfMessagesDelayed", "0"},
	} {
		same(t, c[0], a[c[0]], c[1])
	}
}

func setAttributes(t *T) {
	q := newQueue(t, nil)
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"` + q.arn + `"}]}`
	t.must("set Policy", q.set("Policy", policy))
	t.must("set MessageRetentionPeriod", q.set("MessageRetentionPeriod", "1209600"))
	a := q.attributes()
	same(t, "Policy", a["Policy"], policy)
	same(t, "MessageRetentionPeriod", a["MessageRetentionPeriod"], "1209600")
	same(t, "VisibilityTimeout, not touched", a["VisibilityTimeout"], "30")
}

func unknownAttribute(t *T) {
	typed[*types.InvalidAttributeName](t, "set", newQueue(t, nil).set("Nonsense", "1"))
}

func attributeOutOfRange(t *T) {
	typed[*types.InvalidAttributeValue](t, "set", newQueue(t, nil).set("VisibilityTimeout", "43201"))
}

func findQueue(t *T) {
	name := unique(t)
	q := namedQueue(t, name, nil)
	out, err := q.c.GetQueueUrl(t.ctx, &sqs.GetQueueUrlInput{QueueName: &name})
	t.must("get URL", err)
	same(t, "URL", *out.QueueUrl, *q.url)
}

func noSuchQueue(t *T) {
	q := newQueue(t, nil)
	none := *q.url + uuid.NewString()[:4]
	_, err := q.c.GetQueueUrl(t.ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(unique(t))})
	typed[*types.QueueDoesNotExist](t, "find", err)
	q.url = &none
	_, err = q.trySend("x")
	typed[*types.QueueDoesNotExist](t, "send", err)
	t.refuses("send", err, "AWS.SimpleQueueService.NonExistentQueue", "")
	_, err = q.tryReceive()
	typed[*types.QueueDoesNotExist](t, "receive", err)
}

func deletedQueue(t *T) {
	q := newQueue(t, nil)
	_, err := q.c.DeleteQueue(t.ctx, &sqs.DeleteQueueInput{QueueUrl: q.url})
	t.must("delete", err)
	_, err = q.tryReceive()
	typed[*types.QueueDoesNotExist](t, "receive", err)
}

func queueTags(t *T) {
	q := newQueue(t, nil)
	_, err := q.c.TagQueue(t.ctx, &sqs.TagQueueInput{QueueUrl: q.url, Tags: map[string]string{"team": "saga", "x": "y"}})
	t.must("tag", err)
	_, err = q.c.UntagQueue(t.ctx, &sqs.UntagQueueInput{QueueUrl: q.url, TagKeys: []string{"x"}})
	t.must("untag", err)
	out, err := q.c.ListQueueTags(t.ctx, &sqs.ListQueueTagsInput{QueueUrl: q.url})
	t.must("list", err)
	same(t, "tags", out.Tags, map[string]string{"team": "saga"})
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
		t.must("list", err)
		if len(page.QueueUrls) > 2 {
			t.Errorf("a page of %d, want at most 2", len(page.QueueUrls))
		}
		urls = append(urls, page.QueueUrls...)
	}
	same(t, "listed", len(urls), 3)
}
