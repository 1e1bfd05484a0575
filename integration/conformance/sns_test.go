package conformance

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func topics() []behaviour {
	all := []behaviour{
		{"SNS: create again", "CreateTopic returns the topic that is there", "api/API_CreateTopic", createTopicAgain},
		{"SNS: list topics", "in pages, all of them", "api/API_ListTopics", listTopics},
		{"SNS: raw delivery", "the body as published, and the attributes as SQS attributes", "dg/sns-large-payload-raw-message-delivery", rawDelivery},
		{"SNS: envelope", "without raw delivery the body is a JSON document with Type, MessageId, TopicArn, Subject, Message, Timestamp, the signature, UnsubscribeURL and MessageAttributes", "dg/sns-message-and-json-formats", wrappedDelivery},
		{"SNS: many subscribers", "each subscribed queue gets its copy", "dg/sns-sqs-as-subscriber", manySubscribers},
		{"SNS: subscribe again", "the same endpoint again gives the same subscription, also without the attributes that it has", "api/API_Subscribe", subscribeAgain},
		{"SNS: subscribe again, differently", "with other attributes it is InvalidParameter (seen on AWS: localstack#8816)", "api/API_Subscribe", subscribeDifferently},
		{"SNS: subscription attributes", "can be changed, read and hold for the next message", "api/API_SetSubscriptionAttributes", subscriptionAttributes},
		{"SNS: list subscriptions", "of a topic, with protocol and endpoint", "api/API_ListSubscriptionsByTopic", listSubscriptions},
		{"SNS: unsubscribe", "ends the delivery", "api/API_Unsubscribe", unsubscribe},
		{"SNS: message size", "256 KiB are taken, one byte more is InvalidParameter", "dg/large-message-payloads", publishSize},
		{"SNS: message size, attributes", "attributes count: their names, types and values", "dg/large-message-payloads", publishSizeWithAttributes},
		{"SNS: empty message", "InvalidParameter", "api/API_Publish", emptyMessage},
		{"SNS: publish batch fails in part", "each entry succeeds or fails by itself", "api/API_PublishBatch", publishBatch},
		{"SNS: batch with an id twice", "BatchEntryIdsNotDistinct", "api/API_PublishBatch", publishTwice},
		{"SNS: no such topic", "NotFound", "api/API_Publish", noSuchTopic},
		{"SNS: deleted topic", "is gone: NotFound", "api/API_DeleteTopic", deletedTopic},
		{"SNS: unknown protocol", "InvalidParameter", "api/API_Subscribe", unknownProtocol},
		{"SNS: bad filter policy", "InvalidParameter", "dg/subscription-filter-policy-constraints", badFilterPolicy},
		{"STS: who am I", "GetCallerIdentity gives an account of twelve digits and an ARN", "APIReference/API_GetCallerIdentity", callerIdentity},
	}
	for _, c := range []filter{
		{"exact", `{"kind":["a","b"]}`, "m", attrs("kind", "b"), 1},
		{"another value", `{"kind":["a","b"]}`, "m", attrs("kind", "c"), 0},
		{"absent", `{"kind":["a"]}`, "m", nil, 0},
		{"exists false", `{"kind":[{"exists":false}]}`, "m", attrs("other", "b"), 1},
		{"exists false, no attributes", `{"kind":[{"exists":false}]}`, "m", nil, 0},
		{"prefix", `{"kind":[{"prefix":"Order"}]}`, "m", attrs("kind", "OrderPlaced"), 1},
		{"anything-but", `{"kind":[{"anything-but":["x"]}]}`, "m", attrs("kind", "x"), 0},
		{"numeric range", `{"n":[{"numeric":[">",0,"<=",150]}]}`, "m", map[string]types.MessageAttributeValue{"n": {DataType: aws.String("Number"), StringValue: aws.String("150")}}, 1},
		{"array", `{"kind":["b"]}`, "m", map[string]types.MessageAttributeValue{"kind": {DataType: aws.String("String.Array"), StringValue: aws.String(`["a","b"]`)}}, 1},
		{"$or", `{"$or":[{"a":["1"]},{"b":["2"]}]}`, "m", attrs("b", "2"), 1},
		{"body", `{"order":{"status":["PAID"]}}`, `{"order":{"status":"PAID"}}`, nil, 1},
		{"body, exists false", `{"type":["a",{"exists":false}]}`, `{"order":1}`, nil, 1},
		{"another body", `{"order":{"status":["PAID"]}}`, `{"order":{"status":"OPEN"}}`, nil, 0},
	} {
		says := "a message that meets the subscription's policy is delivered"
		if c.want == 0 {
			says = "a message that does not meet the subscription's policy is not delivered"
		}
		all = append(all, behaviour{"SNS: filter policy, " + c.name, says, "dg/sns-subscription-filter-policies", c.check})
	}
	return all
}

type topic struct {
	*T
	c   *sns.Client
	arn *string
}

func newTopic(t *T) topic { return namedTopic(t, unique(t)) }

func namedTopic(t *T, name string) topic {
	c := sns.NewFromConfig(t.cfg)
	out, err := c.CreateTopic(t.ctx, &sns.CreateTopicInput{Name: &name})
	t.must("create topic", err)
	return topic{t, c, out.TopicArn}
}

var raw = map[string]string{"RawMessageDelivery": "true"}

func (t topic) subscribe(q *queue, attrs map[string]string) *string {
	out, err := t.c.Subscribe(t.ctx, &sns.SubscribeInput{TopicArn: t.arn, Protocol: aws.String("sqs"), Endpoint: &q.arn, Attributes: attrs, ReturnSubscriptionArn: true})
	t.must("subscribe", err)
	return out.SubscriptionArn
}

func (t topic) tryPublish(message string, attrs map[string]types.MessageAttributeValue, change ...func(*sns.PublishInput)) (*sns.PublishOutput, error) {
	in := &sns.PublishInput{TopicArn: t.arn, Message: &message, MessageAttributes: attrs}
	for _, f := range change {
		f(in)
	}
	return t.c.Publish(t.ctx, in)
}

func (t topic) publish(message string, attrs map[string]types.MessageAttributeValue, change ...func(*sns.PublishInput)) *sns.PublishOutput {
	out, err := t.tryPublish(message, attrs, change...)
	t.must("publish", err)
	return out
}

func attrs(name, value string) map[string]types.MessageAttributeValue {
	return map[string]types.MessageAttributeValue{name: {DataType: aws.String("String"), StringValue: &value}}
}

func createTopicAgain(t *T) {
	name := unique(t)
	same(t, "ARN", *namedTopic(t, name).arn, *namedTopic(t, name).arn)
}

func listTopics(t *T) {
	tp := newTopic(t)
	found := false
	pages := sns.NewListTopicsPaginator(tp.c, &sns.ListTopicsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.ctx)
		t.must("list", err)
		for _, other := range page.Topics {
			found = found || *other.TopicArn == *tp.arn
		}
	}
	same(t, "found", found, true)
}

func rawDelivery(t *T) {
	tp, q := newTopic(t), newQueue(t, nil)
	tp.subscribe(q, raw)
	a := attrs("kind", "OrderPlaced")
	a["blob"] = types.MessageAttributeValue{DataType: aws.String("Binary"), BinaryValue: []byte{1, 2}}
	tp.publish(`{"orderId":"ö-1 <&>"}`, a)
	m := q.one()
	same(t, "body", *m.Body, `{"orderId":"ö-1 <&>"}`)
	same(t, "String", aws.ToString(m.MessageAttributes["kind"].StringValue), "OrderPlaced")
	same(t, "Binary", m.MessageAttributes["blob"].BinaryValue, []byte{1, 2})
}

func wrappedDelivery(t *T) {
	tp, q := newTopic(t), newQueue(t, nil)
	tp.subscribe(q, nil)
	a := attrs("kind", "OrderPlaced")
	a["blob"] = types.MessageAttributeValue{DataType: aws.String("Binary"), BinaryValue: []byte{1, 2}}
	sent := tp.publish(`{"orderId":"ö-1"}`, a, func(in *sns.PublishInput) { in.Subject = aws.String("an order") })
	m := q.one()
	same(t, "attributes of the SQS message", len(m.MessageAttributes), 0)
	var e struct {
		Type, MessageId, TopicArn, Subject, Message, Timestamp, SignatureVersion, Signature, SigningCertURL, UnsubscribeURL string
		MessageAttributes                                                                                                   map[string]struct{ Type, Value string }
	}
	t.must("decode", json.Unmarshal([]byte(*m.Body), &e))
	same(t, "Type", e.Type, "Notification")
	same(t, "MessageId", e.MessageId, *sent.MessageId)
	same(t, "TopicArn", e.TopicArn, *tp.arn)
	same(t, "Subject", e.Subject, "an order")
	same(t, "Message", e.Message, `{"orderId":"ö-1"}`)
	same(t, "String", e.MessageAttributes["kind"].Value, "OrderPlaced")
	same(t, "Binary, in base64", e.MessageAttributes["blob"].Value, "AQI=")
	if e.Timestamp == "" || e.SignatureVersion == "" || e.Signature == "" || e.SigningCertURL == "" || e.UnsubscribeURL == "" {
		t.Errorf("not complete: %+v", e)
	}
}

func manySubscribers(t *T) {
	tp := newTopic(t)
	a, b := newQueue(t, nil), newQueue(t, nil)
	tp.subscribe(a, raw)
	tp.subscribe(b, raw)
	tp.publish("x", nil)
	a.one()
	b.one()
}

func subscribeAgain(t *T) {
	tp, q := newTopic(t), newQueue(t, nil)
	first := tp.subscribe(q, raw)
	same(t, "ARN", *tp.subscribe(q, raw), *first)
	same(t, "ARN without attributes", *tp.subscribe(q, nil), *first)
	tp.publish("x", nil)
	same(t, "body", *q.one().Body, "x")
	q.nothing("twice")
}

func subscribeDifferently(t *T) {
	tp, q := newTopic(t), newQueue(t, nil)
	tp.subscribe(q, raw)
	_, err := tp.c.Subscribe(t.ctx, &sns.SubscribeInput{TopicArn: tp.arn, Protocol: aws.String("sqs"), Endpoint: &q.arn, Attributes: map[string]string{"RawMessageDelivery": "false"}})
	typed[*types.InvalidParameterException](t, "subscribe", err)
}

func subscriptionAttributes(t *T) {
	tp, q := newTopic(t), newQueue(t, nil)
	sub := tp.subscribe(q, nil)
	_, err := tp.c.SetSubscriptionAttributes(t.ctx, &sns.SetSubscriptionAttributesInput{SubscriptionArn: sub, AttributeName: aws.String("RawMessageDelivery"), AttributeValue: aws.String("true")})
	t.must("set", err)
	out, err := tp.c.GetSubscriptionAttributes(t.ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: sub})
	t.must("get", err)
	same(t, "RawMessageDelivery", out.Attributes["RawMessageDelivery"], "true")
	same(t, "Endpoint", out.Attributes["Endpoint"], q.arn)
	same(t, "TopicArn", out.Attributes["TopicArn"], *tp.arn)
	tp.publish("x", nil)
	same(t, "body", *q.one().Body, "x")
}

func listSubscriptions(t *T) {
	tp, q := newTopic(t), newQueue(t, nil)
	sub := tp.subscribe(q, nil)
	out, err := tp.c.ListSubscriptionsByTopic(t.ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: tp.arn})
	t.must("list", err)
	if len(out.Subscriptions) != 1 {
		t.Fatalf("%d subscriptions, want 1", len(out.Subscriptions))
	}
	s := out.Subscriptions[0]
	same(t, "subscription", []string{*s.SubscriptionArn, *s.Protocol, *s.Endpoint}, []string{*sub, "sqs", q.arn})
}

func unsubscribe(t *T) {
	tp, q := newTopic(t), newQueue(t, nil)
	_, err := tp.c.Unsubscribe(t.ctx, &sns.UnsubscribeInput{SubscriptionArn: tp.subscribe(q, nil)})
	t.must("unsubscribe", err)
	tp.publish("x", nil)
	q.nothing("without a subscription")
}

func publishSize(t *T) {
	tp := newTopic(t)
	if _, err := tp.tryPublish(strings.Repeat("x", 256<<10), nil); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	_, err := tp.tryPublish(strings.Repeat("x", 256<<10+1), nil)
	typed[*types.InvalidParameterException](t, "above the limit", err)
}

func publishSizeWithAttributes(t *T) {
	tp := newTopic(t)
	a := attrs("name", strings.Repeat("v", 1000)) // 4 + 6 + 1000
	if _, err := tp.tryPublish(strings.Repeat("x", 256<<10-1010), a); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	_, err := tp.tryPublish(strings.Repeat("x", 256<<10-1009), a)
	typed[*types.InvalidParameterException](t, "above the limit", err)
}

func emptyMessage(t *T) {
	_, err := newTopic(t).tryPublish("", nil)
	typed[*types.InvalidParameterException](t, "publish", err)
}

func (t topic) publishBatch(idsAndMessages ...string) (*sns.PublishBatchOutput, error) {
	in := &sns.PublishBatchInput{TopicArn: t.arn}
	for i := 0; i < len(idsAndMessages); i += 2 {
		in.PublishBatchRequestEntries = append(in.PublishBatchRequestEntries, types.PublishBatchRequestEntry{Id: &idsAndMessages[i], Message: &idsAndMessages[i+1]})
	}
	return t.c.PublishBatch(t.ctx, in)
}

func publishBatch(t *T) {
	tp, q := newTopic(t), newQueue(t, nil)
	tp.subscribe(q, raw)
	out, err := tp.publishBatch("a", "one", "b", "", "c", "three")
	t.must("publish", err)
	same(t, "published", len(out.Successful), 2)
	if len(out.Failed) != 1 || *out.Failed[0].Id != "b" || !out.Failed[0].SenderFault {
		t.Errorf("failed: %d, want the empty one", len(out.Failed))
	}
	q.some(2)
}

func publishTwice(t *T) {
	_, err := newTopic(t).publishBatch("a", "one", "a", "two")
	typed[*types.BatchEntryIdsNotDistinctException](t, "publish", err)
}

func noSuchTopic(t *T) {
	tp := newTopic(t)
	none := *tp.arn + "-none"
	tp.arn = &none
	_, err := tp.tryPublish("x", nil)
	typed[*types.NotFoundException](t, "publish", err)
	_, err = tp.c.Subscribe(t.ctx, &sns.SubscribeInput{TopicArn: &none, Protocol: aws.String("sqs"), Endpoint: aws.String("arn:aws:sqs:us-east-1:000000000000:q")})
	typed[*types.NotFoundException](t, "subscribe", err)
}

func deletedTopic(t *T) {
	tp := newTopic(t)
	_, err := tp.c.DeleteTopic(t.ctx, &sns.DeleteTopicInput{TopicArn: tp.arn})
	t.must("delete", err)
	_, err = tp.c.GetTopicAttributes(t.ctx, &sns.GetTopicAttributesInput{TopicArn: tp.arn})
	typed[*types.NotFoundException](t, "get attributes", err)
}

func unknownProtocol(t *T) {
	tp := newTopic(t)
	_, err := tp.c.Subscribe(t.ctx, &sns.SubscribeInput{TopicArn: tp.arn, Protocol: aws.String("fax"), Endpoint: aws.String("1")})
	typed[*types.InvalidParameterException](t, "subscribe", err)
}

func badFilterPolicy(t *T) {
	tp, q := newTopic(t), newQueue(t, nil)
	sub := tp.subscribe(q, nil)
	_, err := tp.c.SetSubscriptionAttributes(t.ctx, &sns.SetSubscriptionAttributesInput{SubscriptionArn: sub, AttributeName: aws.String("FilterPolicy"), AttributeValue: aws.String(`{"a":"not a list"}`)})
	typed[*types.InvalidParameterException](t, "set", err)
}

// filter is a policy and a message; one for the body if the message is JSON.
type filter struct {
	name, policy, message string
	attrs                 map[string]types.MessageAttributeValue
	want                  int
}

func (c filter) check(t *T) {
	tp, q := newTopic(t), newQueue(t, nil)
	a := map[string]string{"RawMessageDelivery": "true", "FilterPolicy": c.policy}
	if strings.HasPrefix(c.message, "{") {
		a["FilterPolicyScope"] = "MessageBody"
	}
	tp.subscribe(q, a)
	tp.publish(c.message, c.attrs)
	same(t, "received", len(q.receive(wait(1))), c.want)
}

func callerIdentity(t *T) {
	out, err := sts.NewFromConfig(t.cfg).GetCallerIdentity(t.ctx, &sts.GetCallerIdentityInput{})
	t.must("ask", err)
	if _, err := strconv.Atoi(aws.ToString(out.Account)); err != nil || len(*out.Account) != 12 || aws.ToString(out.Arn) == "" {
		t.Errorf("account %q, ARN %q", aws.ToString(out.Account), aws.ToString(out.Arn))
	}
}
