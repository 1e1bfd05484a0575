package conformance

import (
	"cmp"
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
		{
			name: "SNS: create topic, existing name", page: "api/API_CreateTopic", check: createExistingTopic,
			documented: "CreateTopic returns the existing topic",
		},
		{
			name: "SNS: list topics", page: "api/API_ListTopics", check: listTopics,
			documented: "ListTopics returns all topics, in pages",
		},
		{
			name: "SNS: raw delivery", page: "dg/sns-large-payload-raw-message-delivery", check: rawDelivery,
			documented: "the SQS message has the body as published, and the attributes as SQS attributes",
		},
		{
			name: "SNS: envelope", page: "dg/sns-message-and-json-formats", check: wrappedDelivery,
			documented: "without raw delivery the body is a JSON document with Type, MessageId, TopicArn, Subject, Message, " +
				"Timestamp, the signature, UnsubscribeURL and MessageAttributes",
		},
		{
			name: "SNS: several subscribers", page: "dg/sns-sqs-as-subscriber", check: severalSubscribers,
			documented: "each subscribed queue receives a copy",
		},
		{
			name: "SNS: subscribe again", page: "api/API_Subscribe", check: subscribeAgain,
			documented: "subscribing an endpoint again returns its subscription, also without repeating its attributes",
		},
		{
			name: "SNS: subscribe again, other attributes", page: "api/API_Subscribe", check: subscribeWithOtherAttributes,
			documented: "InvalidParameter (observed on AWS: localstack#8816)",
		},
		{
			name: "SNS: subscription attributes", page: "api/API_SetSubscriptionAttributes", check: subscriptionAttributes,
			documented: "a changed attribute is returned, and applies to the next message",
		},
		{
			name: "SNS: list subscriptions", page: "api/API_ListSubscriptionsByTopic", check: listSubscriptions,
			documented: "the subscriptions of a topic are listed with protocol and endpoint",
		},
		{
			name: "SNS: unsubscribe", page: "api/API_Unsubscribe", check: unsubscribe,
			documented: "the queue receives no more messages",
		},
		{
			name: "SNS: message size", page: "dg/large-message-payloads", check: publishSize,
			documented: "256 KiB are accepted, one byte more is InvalidParameter",
		},
		{
			name: "SNS: message size, attributes", page: "dg/large-message-payloads", check: publishSizeWithAttributes,
			documented: "the names, types and values of attributes count",
		},
		{
			name: "SNS: empty message", page: "api/API_Publish", check: emptyMessage,
			documented: "InvalidParameter",
		},
		{
			name: "SNS: publish batch, partial failure", page: "api/API_PublishBatch", check: publishBatch,
			documented: "each entry succeeds or fails by itself",
		},
		{
			name: "SNS: batch, duplicate id", page: "api/API_PublishBatch", check: publishDuplicateID,
			documented: "BatchEntryIdsNotDistinct",
		},
		{
			name: "SNS: unknown topic", page: "api/API_Publish", check: unknownTopic,
			documented: "NotFound",
		},
		{
			name: "SNS: deleted topic", page: "api/API_DeleteTopic", check: deletedTopic,
			documented: "NotFound",
		},
		{
			name: "SNS: unknown protocol", page: "api/API_Subscribe", check: unknownProtocol,
			documented: "InvalidParameter",
		},
		{
			name: "SNS: invalid filter policy", page: "dg/subscription-filter-policy-constraints", check: invalidFilterPolicy,
			documented: "InvalidParameter",
		},
		{
			name: "STS: caller identity", page: "APIReference/API_GetCallerIdentity", check: callerIdentity,
			documented: "GetCallerIdentity returns an account of twelve digits and an ARN",
		},
	}
	for _, c := range []filter{
		{name: "exact value", policy: `{"kind":["a","b"]}`, attrs: attrs("kind", "b"), want: 1},
		{name: "other value", policy: `{"kind":["a","b"]}`, attrs: attrs("kind", "c"), want: 0},
		{name: "no attributes", policy: `{"kind":["a"]}`, want: 0},
		{name: "exists false", policy: `{"kind":[{"exists":false}]}`, attrs: attrs("other", "b"), want: 1},
		{name: "exists false, no attributes", policy: `{"kind":[{"exists":false}]}`, want: 0},
		{name: "prefix", policy: `{"kind":[{"prefix":"Order"}]}`, attrs: attrs("kind", "OrderPlaced"), want: 1},
		{name: "anything-but", policy: `{"kind":[{"anything-but":["x"]}]}`, attrs: attrs("kind", "x"), want: 0},
		{name: "numeric range", policy: `{"n":[{"numeric":[">",0,"<=",150]}]}`, attrs: typedAttr("n", "Number", "150"), want: 1},
		{name: "array", policy: `{"kind":["b"]}`, attrs: typedAttr("kind", "String.Array", `["a","b"]`), want: 1},
		{name: "$or", policy: `{"$or":[{"a":["1"]},{"b":["2"]}]}`, attrs: attrs("b", "2"), want: 1},
		{name: "body", policy: `{"order":{"status":["PAID"]}}`, body: `{"order":{"status":"PAID"}}`, want: 1},
		{name: "body, exists false", policy: `{"type":["a",{"exists":false}]}`, body: `{"order":1}`, want: 1},
		{name: "body, other value", policy: `{"order":{"status":["PAID"]}}`, body: `{"order":{"status":"OPEN"}}`, want: 0},
	} {
		documented := "a message that matches the subscription's policy is delivered"
		if c.want == 0 {
			documented = "a message that does not match the subscription's policy is not delivered"
		}
		all = append(all, behaviour{
			name: "SNS: filter policy, " + c.name, documented: documented, page: "dg/sns-subscription-filter-policies", check: c.check,
		})
	}
	return all
}

// topic is a topic under test. Methods that begin with "try" return the error; the others
// stop the check.
type topic struct {
	*T

	c   *sns.Client
	arn *string
}

func newTopic(t *T) topic { return namedTopic(t, unique(t)) }

func namedTopic(t *T, name string) topic {
	c := sns.NewFromConfig(t.cfg)
	out, err := c.CreateTopic(t.ctx, &sns.CreateTopicInput{Name: &name})
	t.noError("create topic", err)
	return topic{T: t, c: c, arn: out.TopicArn}
}

var raw = map[string]string{"RawMessageDelivery": "true"}

func (t topic) subscribe(q *queue, attrs map[string]string) *string {
	out, err := t.c.Subscribe(t.ctx, &sns.SubscribeInput{
		TopicArn: t.arn, Protocol: aws.String("sqs"), Endpoint: &q.arn, Attributes: attrs, ReturnSubscriptionArn: true,
	})
	t.noError("subscribe", err)
	return out.SubscriptionArn
}

type attributes = map[string]types.MessageAttributeValue

func (t topic) tryPublish(message string, attrs attributes, change ...func(*sns.PublishInput)) (*sns.PublishOutput, error) {
	in := &sns.PublishInput{TopicArn: t.arn, Message: &message, MessageAttributes: attrs}
	for _, f := range change {
		f(in)
	}
	return t.c.Publish(t.ctx, in)
}

func (t topic) publish(message string, attrs attributes, change ...func(*sns.PublishInput)) *sns.PublishOutput {
	out, err := t.tryPublish(message, attrs, change...)
	t.noError("publish", err)
	return out
}

// attrs returns a String attribute.
func attrs(name, value string) attributes { return typedAttr(name, "String", value) }

func typedAttr(name, dataType, value string) attributes {
	return attributes{name: {DataType: &dataType, StringValue: &value}}
}

func createExistingTopic(t *T) {
	name := unique(t)
	equal(t, "ARN", *namedTopic(t, name).arn, *namedTopic(t, name).arn)
}

func listTopics(t *T) {
	tp := newTopic(t)
	found := false
	pages := sns.NewListTopicsPaginator(tp.c, &sns.ListTopicsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.ctx)
		t.noError("list", err)
		for _, other := range page.Topics {
			found = found || *other.TopicArn == *tp.arn
		}
	}
	equal(t, "found", found, true)
}

func rawDelivery(t *T) {
	tp, q := newTopic(t), newQueue(t, nil)
	tp.subscribe(q, raw)
	a := attrs("kind", "OrderPlaced")
	a["blob"] = types.MessageAttributeValue{DataType: aws.String("Binary"), BinaryValue: []byte{1, 2}}
	tp.publish(`{"orderId":"ö-1 <&>"}`, a)
	m := q.receiveOne()
	equal(t, "body", *m.Body, `{"orderId":"ö-1 <&>"}`)
	equal(t, "String", aws.ToString(m.MessageAttributes["kind"].StringValue), "OrderPlaced")
	equal(t, "Binary", m.MessageAttributes["blob"].BinaryValue, []byte{1, 2})
}

func wrappedDelivery(t *T) {
	tp, q := newTopic(t), newQueue(t, nil)
	tp.subscribe(q, nil)
	a := attrs("kind", "OrderPlaced")
	a["blob"] = types.MessageAttributeValue{DataType: aws.String("Binary"), BinaryValue: []byte{1, 2}}
	sent := tp.publish(`{"orderId":"ö-1"}`, a, func(in *sns.PublishInput) { in.Subject = aws.String("an order") })
	m := q.receiveOne()
	equal(t, "attributes of the SQS message", len(m.MessageAttributes), 0)
	var e struct {
		Type, MessageId, TopicArn, Subject, Message, Timestamp      string
		SignatureVersion, Signature, SigningCertURL, UnsubscribeURL string

		MessageAttributes map[string]struct{ Type, Value string }
	}
	t.noError("decode", json.Unmarshal([]byte(*m.Body), &e))
	equal(t, "Type", e.Type, "Notification")
	equal(t, "MessageId", e.MessageId, *sent.MessageId)
	equal(t, "TopicArn", e.TopicArn, *tp.arn)
	equal(t, "Subject", e.Subject, "an order")
	equal(t, "Message", e.Message, `{"orderId":"ö-1"}`)
	equal(t, "String", e.MessageAttributes["kind"].Value, "OrderPlaced")
	equal(t, "Binary, in base64", e.MessageAttributes["blob"].Value, "AQI=")
	if e.Timestamp == "" || e.SignatureVersion == "" || e.Signature == "" || e.SigningCertURL == "" || e.UnsubscribeURL == "" {
		t.Errorf("envelope = %+v, want a timestamp, the fields of the signature and UnsubscribeURL", e)
	}
}

func severalSubscribers(t *T) {
	tp := newTopic(t)
	a, b := newQueue(t, nil), newQueue(t, nil)
	tp.subscribe(a, raw)
	tp.subscribe(b, raw)
	tp.publish("x", nil)
	a.receiveOne()
	b.receiveOne()
}

func subscribeAgain(t *T) {
	tp, q := newTopic(t), newQueue(t, nil)
	first := tp.subscribe(q, raw)
	equal(t, "ARN", *tp.subscribe(q, raw), *first)
	equal(t, "ARN without attributes", *tp.subscribe(q, nil), *first)
	tp.publish("x", nil)
	equal(t, "body", *q.receiveOne().Body, "x")
	q.receivesNothing("twice")
}

func subscribeWithOtherAttributes(t *T) {
	tp, q := newTopic(t), newQueue(t, nil)
	tp.subscribe(q, raw)
	_, err := tp.c.Subscribe(t.ctx, &sns.SubscribeInput{
		TopicArn: tp.arn, Protocol: aws.String("sqs"), Endpoint: &q.arn,
		Attributes: map[string]string{"RawMessageDelivery": "false"},
	})
	wantErrorType[*types.InvalidParameterException](t, "subscribe", err)
}

func subscriptionAttributes(t *T) {
	tp, q := newTopic(t), newQueue(t, nil)
	sub := tp.subscribe(q, nil)
	_, err := tp.c.SetSubscriptionAttributes(t.ctx, &sns.SetSubscriptionAttributesInput{
		SubscriptionArn: sub, AttributeName: aws.String("RawMessageDelivery"), AttributeValue: aws.String("true"),
	})
	t.noError("set", err)
	out, err := tp.c.GetSubscriptionAttributes(t.ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: sub})
	t.noError("get", err)
	equal(t, "RawMessageDelivery", out.Attributes["RawMessageDelivery"], "true")
	equal(t, "Endpoint", out.Attributes["Endpoint"], q.arn)
	equal(t, "TopicArn", out.Attributes["TopicArn"], *tp.arn)
	tp.publish("x", nil)
	equal(t, "body", *q.receiveOne().Body, "x")
}

func listSubscriptions(t *T) {
	tp, q := newTopic(t), newQueue(t, nil)
	sub := tp.subscribe(q, nil)
	out, err := tp.c.ListSubscriptionsByTopic(t.ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: tp.arn})
	t.noError("list", err)
	if len(out.Subscriptions) != 1 {
		t.Fatalf("%d subscriptions, want 1", len(out.Subscriptions))
	}
	s := out.Subscriptions[0]
	equal(t, "subscription", []string{*s.SubscriptionArn, *s.Protocol, *s.Endpoint}, []string{*sub, "sqs", q.arn})
}

func unsubscribe(t *T) {
	tp, q := newTopic(t), newQueue(t, nil)
	_, err := tp.c.Unsubscribe(t.ctx, &sns.UnsubscribeInput{SubscriptionArn: tp.subscribe(q, nil)})
	t.noError("unsubscribe", err)
	tp.publish("x", nil)
	q.receivesNothing("without a subscription")
}

func publishSize(t *T) {
	tp := newTopic(t)
	if _, err := tp.tryPublish(strings.Repeat("x", 256<<10), nil); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	_, err := tp.tryPublish(strings.Repeat("x", 256<<10+1), nil)
	wantErrorType[*types.InvalidParameterException](t, "above the limit", err)
}

func publishSizeWithAttributes(t *T) {
	tp := newTopic(t)
	a := attrs("name", strings.Repeat("v", 1000)) // 4 + 6 + 1000
	if _, err := tp.tryPublish(strings.Repeat("x", 256<<10-1010), a); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	_, err := tp.tryPublish(strings.Repeat("x", 256<<10-1009), a)
	wantErrorType[*types.InvalidParameterException](t, "above the limit", err)
}

func emptyMessage(t *T) {
	_, err := newTopic(t).tryPublish("", nil)
	wantErrorType[*types.InvalidParameterException](t, "publish", err)
}

func (t topic) publishBatch(idsAndMessages ...string) (*sns.PublishBatchOutput, error) {
	in := &sns.PublishBatchInput{TopicArn: t.arn}
	for i := 0; i < len(idsAndMessages); i += 2 {
		in.PublishBatchRequestEntries = append(in.PublishBatchRequestEntries, types.PublishBatchRequestEntry{
			Id: &idsAndMessages[i], Message: &idsAndMessages[i+1],
		})
	}
	return t.c.PublishBatch(t.ctx, in)
}

func publishBatch(t *T) {
	tp, q := newTopic(t), newQueue(t, nil)
	tp.subscribe(q, raw)
	out, err := tp.publishBatch("a", "one", "b", "", "c", "three")
	t.noError("publish", err)
	equal(t, "published", len(out.Successful), 2)
	if len(out.Failed) != 1 || *out.Failed[0].Id != "b" || !out.Failed[0].SenderFault {
		t.Errorf("failed: %d entries, want the entry b with the empty message", len(out.Failed))
	}
	q.receiveN(2)
}

func publishDuplicateID(t *T) {
	_, err := newTopic(t).publishBatch("a", "one", "a", "two")
	wantErrorType[*types.BatchEntryIdsNotDistinctException](t, "publish", err)
}

func unknownTopic(t *T) {
	tp := newTopic(t)
	none := *tp.arn + "-none"
	tp.arn = &none
	_, err := tp.tryPublish("x", nil)
	wantErrorType[*types.NotFoundException](t, "publish", err)
	_, err = tp.c.Subscribe(t.ctx, &sns.SubscribeInput{
		TopicArn: &none, Protocol: aws.String("sqs"), Endpoint: aws.String("arn:aws:sqs:us-east-1:000000000000:q"),
	})
	wantErrorType[*types.NotFoundException](t, "subscribe", err)
}

func deletedTopic(t *T) {
	tp := newTopic(t)
	_, err := tp.c.DeleteTopic(t.ctx, &sns.DeleteTopicInput{TopicArn: tp.arn})
	t.noError("delete", err)
	_, err = tp.c.GetTopicAttributes(t.ctx, &sns.GetTopicAttributesInput{TopicArn: tp.arn})
	wantErrorType[*types.NotFoundException](t, "get attributes", err)
}

func unknownProtocol(t *T) {
	tp := newTopic(t)
	_, err := tp.c.Subscribe(t.ctx, &sns.SubscribeInput{TopicArn: tp.arn, Protocol: aws.String("fax"), Endpoint: aws.String("1")})
	wantErrorType[*types.InvalidParameterException](t, "subscribe", err)
}

func invalidFilterPolicy(t *T) {
	tp, q := newTopic(t), newQueue(t, nil)
	sub := tp.subscribe(q, nil)
	_, err := tp.c.SetSubscriptionAttributes(t.ctx, &sns.SetSubscriptionAttributesInput{
		SubscriptionArn: sub, AttributeName: aws.String("FilterPolicy"), AttributeValue: aws.String(`{"a":"not a list"}`),
	})
	wantErrorType[*types.InvalidParameterException](t, "set", err)
}

// filter is a filter policy, and a message that it matches or not. The policy is for the
// body if there is one.
type filter struct {
	name, policy, body string
	attrs              attributes
	want               int // messages received
}

func (c filter) check(t *T) {
	tp, q := newTopic(t), newQueue(t, nil)
	a := map[string]string{"RawMessageDelivery": "true", "FilterPolicy": c.policy}
	if c.body != "" {
		a["FilterPolicyScope"] = "MessageBody"
	}
	tp.subscribe(q, a)
	tp.publish(cmp.Or(c.body, "m"), c.attrs)
	equal(t, "received", len(q.receive(waitSeconds(1))), c.want)
}

func callerIdentity(t *T) {
	out, err := sts.NewFromConfig(t.cfg).GetCallerIdentity(t.ctx, &sts.GetCallerIdentityInput{})
	t.noError("get caller identity", err)
	if _, err := strconv.Atoi(aws.ToString(out.Account)); err != nil || len(*out.Account) != 12 || aws.ToString(out.Arn) == "" {
		t.Errorf("account %q with ARN %q, want twelve digits and an ARN", aws.ToString(out.Account), aws.ToString(out.Arn))
	}
}
