package cloud

import (
	"context"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/ordersaga/ordersaga/internal/events"
)

// Setup creates the resources that do not exist: the topics, the queues with their
// dead-letter queues, and the subscriptions. It updates existing subscriptions. It may be
// repeated, also after it has failed half way.
func (c *Clients) Setup(ctx context.Context) (Resources, error) {
	var r Resources
	for name, arn := range r.topics() {
		out, err := c.SNS.CreateTopic(ctx, &sns.CreateTopicInput{Name: &name})
		if err != nil {
			return r, fmt.Errorf("create topic %s: %w", name, err)
		}
		*arn = *out.TopicArn
	}
	for _, q := range r.queues() {
		made, err := c.queueWithDLQ(ctx, q.name, q.dlqName)
		if err != nil {
			return r, err
		}
		*q.url, *q.dlqURL = made.URL, made.DeadURL
	}
	if err := c.subscribe(ctx, r.OrderTopic, r.OrderQueue, true, events.TypeOrderPlaced); err != nil {
		return r, err
	}
	// Not raw: Dapr reads the topic from SNS's envelope, and drops messages without one.
	return r, c.subscribe(ctx, r.ShipmentTopic, r.CarrierRequests, false, events.TypeShipmentRequested)
}

// EnsureTopicQueue creates what does not exist of a topic, and of a queue with a
// dead-letter queue that receives the topic's events of one type, raw.
func (c *Clients) EnsureTopicQueue(ctx context.Context, topic, queue, event string) (topicARN string, q Queue, err error) {
	out, err := c.SNS.CreateTopic(ctx, &sns.CreateTopicInput{Name: &topic})
	if err != nil {
		return "", Queue{}, fmt.Errorf("create topic %s: %w", topic, err)
	}
	q, err = c.queueWithDLQ(ctx, queue, queue+"-dlq")
	if err != nil {
		return "", q, err
	}
	return *out.TopicArn, q, c.subscribe(ctx, *out.TopicArn, q.URL, true, event)
}

// maxReceives is how often SQS delivers a message before it moves it to the dead-letter
// queue itself: with the consumer's back-off, about an hour of failures.
const maxReceives = "60"

// queueWithDLQ creates what does not exist of a queue and its dead-letter queue.
func (c *Clients) queueWithDLQ(ctx context.Context, name, dlq string) (Queue, error) {
	dead, err := c.queue(ctx, dlq, "")
	if err != nil {
		return Queue{}, err
	}
	url, err := c.queue(ctx, name, dead)
	return Queue{Name: name, URL: url, DeadURL: dead}, err
}

// queue creates a queue if it does not exist. dlq is the URL of its dead-letter queue, or
// "" for a queue that is one.
func (c *Clients) queue(ctx context.Context, name, dlq string) (url string, err error) {
	attributes := map[string]string{"VisibilityTimeout": "30"}
	if dlq == "" {
		attributes["MessageRetentionPeriod"] = "1209600" // 14 days, the maximum of SQS
	} else {
		dlqARN, err := c.arn(ctx, dlq)
		if err != nil {
			return "", err
		}
		attributes["RedrivePolicy"] = `{"deadLetterTargetArn":"` + dlqARN + `","maxReceiveCount":"` + maxReceives + `"}`
	}
	out, err := c.SQS.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		return "", fmt.Errorf("create queue %s: %w", name, err)
	}
	return *out.QueueUrl, nil
}

// arn returns the ARN of a queue.
func (c *Clients) arn(ctx context.Context, url string) (string, error) {
	out, err := c.SQS.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn},
	})
	if err != nil {
		return "", fmt.Errorf("read ARN of queue %s: %w", url, err)
	}
	return out.Attributes[string(types.QueueAttributeNameQueueArn)], nil
}

// FilterPolicy returns the filter policy of a subscription to events of one type. It also
// accepts Dapr's events, which contain the type in their data, and events whose body has no
// type: the consumer checks those. Its scope is MessageBody. A policy for message
// attributes would drop every message without attributes, and neither `aws sns publish` nor
// Dapr sets any: https://docs.aws.amazon.com/sns/latest/dg/attribute-key-matching.html
func FilterPolicy(event string) string {
	return fmt.Sprintf(`{"type":[%q,%q,{"exists":false}]}`, event, events.UntypedDapr)
}

// subscribe subscribes a queue to a topic's events of one type. It sets the attributes in
// requests of their own: Subscribe rejects an existing subscription with other values. The
// scope is set before the policy, which is validated by it.
func (c *Clients) subscribe(ctx context.Context, topic, queueURL string, raw bool, event string) error {
	queue, err := c.arn(ctx, queueURL)
	if err != nil {
		return err
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},` +
		`"Action":"sqs:SendMessage","Resource":"` + queue + `","Condition":{"ArnEquals":{"aws:SourceArn":"` + topic + `"}}}]}`
	_, err = c.SQS.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{
		QueueUrl: &queueURL, Attributes: map[string]string{"Policy": policy},
	})
	if err != nil {
		return fmt.Errorf("allow topic %s to send to queue %s: %w", topic, queue, err)
	}
	sub, err := c.SNS.Subscribe(ctx, &sns.SubscribeInput{
		TopicArn: &topic, Protocol: aws.String("sqs"), Endpoint: &queue, ReturnSubscriptionArn: true,
	})
	if err != nil {
		return fmt.Errorf("subscribe queue %s to topic %s: %w", queue, topic, err)
	}
	for _, a := range [][2]string{
		{"RawMessageDelivery", strconv.FormatBool(raw)}, {"FilterPolicyScope", "MessageBody"}, {"FilterPolicy", FilterPolicy(event)},
	} {
		_, err = c.SNS.SetSubscriptionAttributes(ctx, &sns.SetSubscriptionAttributesInput{
			SubscriptionArn: sub.SubscriptionArn, AttributeName: &a[0], AttributeValue: &a[1],
		})
		if err != nil {
			return fmt.Errorf("set %s of the subscription of queue %s to topic %s: %w", a[0], queue, topic, err)
		}
	}
	return nil
}
