package conformance

import (
	"encoding/json"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func newTopic(t *testing.T) (*sns.Client, *string) {
	t.Helper()
	c := sns.NewFromConfig(awsConfig(t))
	out, err := c.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String(unique(t))})
	if err != nil {
		t.Fatal(err)
	}
	return c, out.TopicArn
}

func subscribe(t *testing.T, c *sns.Client, topic *string, q *queue, attrs map[string]string) *string {
	t.Helper()
	out, err := c.Subscribe(t.Context(), &sns.SubscribeInput{
		TopicArn: topic, Protocol: aws.String("sqs"), Endpoint: &q.arn, Attributes: attrs, ReturnSubscriptionArn: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.SubscriptionArn
}

func text(s string) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &s}
}

func TestPublishRawAndWrapped(t *testing.T) {
	t.Parallel()
	c, topic := newTopic(t)
	raw, wrapped := newQueue(t, nil), namedQueue(t, unique(t)+"-w", nil)
	subscribe(t, c, topic, raw, map[string]string{"RawMessageDelivery": "true"})
	subscribe(t, c, topic, wrapped, nil)
	sent, err := c.Publish(t.Context(), &sns.PublishInput{
		TopicArn: topic, Message: aws.String(`{"orderId":"o-1"}`), Subject: aws.String("an order"),
		MessageAttributes: map[string]types.MessageAttributeValue{
			"kind": text("OrderPlaced"), "blob": {DataType: aws.String("Binary"), BinaryValue: []byte{1, 2}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	// Published means durable in the queues: no waiting.
	m := raw.receive()
	if len(m) != 1 || *m[0].Body != `{"orderId":"o-1"}` || *m[0].MessageAttributes["kind"].StringValue != "OrderPlaced" ||
		string(m[0].MessageAttributes["blob"].BinaryValue) != "\x01\x02" {
		t.Errorf("raw: %+v", m)
	}
	m = wrapped.receive()
	if len(m) != 1 || len(m[0].MessageAttributes) != 0 {
		t.Fatalf("wrapped: %+v", m)
	}
	var e struct {
		Type, MessageId, TopicArn, Subject, Message, Timestamp, SignatureVersion, Signature, SigningCertURL, UnsubscribeURL string
		MessageAttributes                                                                                                   map[string]struct{ Type, Value string }
	}
	if err := json.Unmarshal([]byte(*m[0].Body), &e); err != nil {
		t.Fatal(err)
	}
	if e.Type != "Notification" || e.MessageId != *sent.MessageId || e.TopicArn != *topic || e.Subject != "an order" ||
		e.Message != `{"orderId":"o-1"}` || e.Timestamp == "" || e.SignatureVersion == "" || e.Signature == "" ||
		e.SigningCertURL == "" || e.UnsubscribeURL == "" || e.MessageAttributes["blob"].Value != "AQI=" {
		t.Errorf("envelope %+v", e)
	}
}

func TestFilterPolicies(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		policy, scope string
		message       string
		attrs         map[string]types.MessageAttributeValue
		want          int
	}{
		"exact":           {`{"kind":["a","b"]}`, "", "m", map[string]types.MessageAttributeValue{"kind": text("b")}, 1},
		"other":           {`{"kind":["a","b"]}`, "", "m", map[string]types.MessageAttributeValue{"kind": text("c")}, 0},
		"absent":          {`{"kind":["a"]}`, "", "m", nil, 0},
		"exists false":    {`{"kind":[{"exists":false}]}`, "", "m", nil, 1},
		"prefix":          {`{"kind":[{"prefix":"Order"}]}`, "", "m", map[string]types.MessageAttributeValue{"kind": text("OrderPlaced")}, 1},
		"anything-but":    {`{"kind":[{"anything-but":["x"]}]}`, "", "m", map[string]types.MessageAttributeValue{"kind": text("x")}, 0},
		"numeric range":   {`{"n":[{"numeric":[">",0,"<=",150]}]}`, "", "m", map[string]types.MessageAttributeValue{"n": {DataType: aws.String("Number"), StringValue: aws.String("150")}}, 1},
		"array attribute": {`{"kind":["b"]}`, "", "m", map[string]types.MessageAttributeValue{"kind": {DataType: aws.String("String.Array"), StringValue: aws.String(`["a","b"]`)}}, 1},
		"or":              {`{"$or":[{"a":["1"]},{"b":["2"]}]}`, "", "m", map[string]types.MessageAttributeValue{"b": text("2")}, 1},
		"body":            {`{"order":{"status":["PAID"]}}`, "MessageBody", `{"order":{"status":"PAID"}}`, nil, 1},
		"body other":      {`{"order":{"status":["PAID"]}}`, "MessageBody", `{"order":{"status":"OPEN"}}`, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, topic := newTopic(t)
			q := newQueue(t, nil)
			attrs := map[string]string{"RawMessageDelivery": "true", "FilterPolicy": tt.policy}
			if tt.scope != "" {
				attrs["FilterPolicyScope"] = tt.scope
			}
			subscribe(t, c, topic, q, attrs)
			if _, err := c.Publish(t.Context(), &sns.PublishInput{TopicArn: topic, Message: &tt.message, MessageAttributes: tt.attrs}); err != nil {
				t.Fatal(err)
			}
			if got := q.receive(); len(got) != tt.want {
				t.Errorf("received %d, want %d", len(got), tt.want)
			}
		})
	}
}

func TestPublishBatchAndErrors(t *testing.T) {
	t.Parallel()
	c, topic := newTopic(t)
	q := newQueue(t, nil)
	sub := subscribe(t, c, topic, q, map[string]string{"RawMessageDelivery": "true"})
	ctx := t.Context()
	out, err := c.PublishBatch(ctx, &sns.PublishBatchInput{TopicArn: topic, PublishBatchRequestEntries: []types.PublishBatchRequestEntry{
		{Id: aws.String("a"), Message: aws.String("one")},
		{Id: aws.String("b"), Message: aws.String("")},
		{Id: aws.String("c"), Message: aws.String("three")},
	}})
	if err != nil || len(out.Successful) != 2 || len(out.Failed) != 1 || *out.Failed[0].Id != "b" {
		t.Errorf("%+v %v", out, err)
	}
	if got := q.receive(); len(got) != 2 {
		t.Errorf("received %d", len(got))
	}
	_, err = c.PublishBatch(ctx, &sns.PublishBatchInput{TopicArn: topic, PublishBatchRequestEntries: []types.PublishBatchRequestEntry{
		{Id: aws.String("a"), Message: aws.String("one")}, {Id: aws.String("a"), Message: aws.String("two")},
	}})
	wantError[*types.BatchEntryIdsNotDistinctException](t, err)
	_, err = c.Publish(ctx, &sns.PublishInput{TopicArn: aws.String(*topic + "-none"), Message: aws.String("x")})
	wantError[*types.NotFoundException](t, err)
	_, err = c.SetSubscriptionAttributes(ctx, &sns.SetSubscriptionAttributesInput{
		SubscriptionArn: sub, AttributeName: aws.String("FilterPolicy"), AttributeValue: aws.String(`{"a":"not a list"}`),
	})
	wantError[*types.InvalidParameterException](t, err)
	_, err = c.Subscribe(ctx, &sns.SubscribeInput{TopicArn: topic, Protocol: aws.String("fax"), Endpoint: aws.String("1")})
	wantError[*types.InvalidParameterException](t, err)
}

func TestTopicsAndSubscriptions(t *testing.T) {
	t.Parallel()
	c, topic := newTopic(t)
	q := newQueue(t, nil)
	ctx := t.Context()
	sub := subscribe(t, c, topic, q, nil)
	if again := subscribe(t, c, topic, q, nil); *again != *sub {
		t.Errorf("subscribed twice: %s and %s", *sub, *again)
	}
	if _, err := c.SetSubscriptionAttributes(ctx, &sns.SetSubscriptionAttributesInput{
		SubscriptionArn: sub, AttributeName: aws.String("RawMessageDelivery"), AttributeValue: aws.String("true"),
	}); err != nil {
		t.Fatal(err)
	}
	attrs, err := c.GetSubscriptionAttributes(ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: sub})
	if err != nil || attrs.Attributes["RawMessageDelivery"] != "true" || attrs.Attributes["Endpoint"] != q.arn || attrs.Attributes["TopicArn"] != *topic {
		t.Errorf("%v %v", attrs, err)
	}
	list, err := c.ListSubscriptionsByTopic(ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: topic})
	if err != nil || len(list.Subscriptions) != 1 || *list.Subscriptions[0].SubscriptionArn != *sub || *list.Subscriptions[0].Protocol != "sqs" {
		t.Errorf("%+v %v", list, err)
	}
	found := false
	topics := sns.NewListTopicsPaginator(c, &sns.ListTopicsInput{})
	for topics.HasMorePages() {
		page, err := topics.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range page.Topics {
			found = found || *other.TopicArn == *topic
		}
	}
	if !found {
		t.Error("topic is not listed")
	}
	if _, err := c.Unsubscribe(ctx, &sns.UnsubscribeInput{SubscriptionArn: sub}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteTopic(ctx, &sns.DeleteTopicInput{TopicArn: topic}); err != nil {
		t.Fatal(err)
	}
	_, err = c.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: topic})
	wantError[*types.NotFoundException](t, err)
}

func TestCallerIdentity(t *testing.T) {
	t.Parallel()
	out, err := sts.NewFromConfig(awsConfig(t)).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	if len(aws.ToString(out.Account)) != 12 || aws.ToString(out.Arn) == "" {
		t.Errorf("%+v", out)
	}
}
