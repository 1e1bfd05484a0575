package cloud

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/ordersaga/ordersaga/internal/envelope"
	"github.com/ordersaga/ordersaga/internal/order"
)

// keepAlive lets a busy worker keep its connections: with the default of ten
// idle ones per host, most calls under load would open a new one.
func keepAlive(c *awshttp.BuildableClient) *awshttp.BuildableClient {
	return c.WithTransportOptions(func(t *http.Transport) { t.MaxIdleConnsPerHost = 256; t.MaxIdleConns = 512 })
}

// Resources are the topics and queues, by URL and ARN.
type Resources struct {
	OrderTopic, ShipmentTopic, CustomerTopic string // ARNs
	OrderQueue, OrderDLQ                     string // URLs
	CarrierRequests, CarrierRequestsDLQ      string
	CarrierAnswers, CarrierAnswersDLQ        string
}

// queues pairs each queue with its dead-letter queue.
func (r *Resources) queues() []queuePair {
	return []queuePair{
		{order.QueueOrderProcessing, order.QueueOrderProcessingDLQ, &r.OrderQueue, &r.OrderDLQ},
		{order.QueueCarrierRequests, order.QueueCarrierRequestsDLQ, &r.CarrierRequests, &r.CarrierRequestsDLQ},
		{order.QueueCarrierAnswers, order.QueueCarrierAnswersDLQ, &r.CarrierAnswers, &r.CarrierAnswersDLQ},
	}
}

// Queue is a queue with its dead-letter queue.
type Queue struct{ Name, URL, DeadURL string }

// Queues are all that there are.
func (r Resources) Queues() (all []Queue) {
	for _, q := range r.queues() {
		all = append(all, Queue{q.name, *q.url, *q.dlqURL})
	}
	return all
}

type queuePair struct {
	name, dlqName string
	url, dlqURL   *string
}

func (r *Resources) topics() map[string]*string {
	return map[string]*string{
		order.TopicOrderEvents:           &r.OrderTopic,
		order.TopicShipmentEvents:        &r.ShipmentTopic,
		order.TopicCustomerNotifications: &r.CustomerTopic,
	}
}

// Find looks the resources up by their names. It says which ones are missing,
// or that AWS cannot be asked.
func (c *Clients) Find(ctx context.Context) (Resources, error) {
	var r Resources
	var missing []string
	queue := func(url *string, name string) error {
		out, err := c.SQS.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
		if _, ok := errors.AsType[*types.QueueDoesNotExist](err); ok {
			missing = append(missing, "queue "+name)
			return nil
		}
		if err != nil {
			return fmt.Errorf("find queue %s: %w", name, err)
		}
		*url = *out.QueueUrl
		return nil
	}
	for _, q := range r.queues() {
		if err := queue(q.url, q.name); err != nil {
			return r, err
		}
		if err := queue(q.dlqURL, q.dlqName); err != nil {
			return r, err
		}
	}

	prefix, err := c.topicPrefix(ctx)
	if err != nil {
		return r, err
	}
	for name, arn := range r.topics() {
		*arn = prefix + name
		_, err := c.SNS.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: arn})
		if _, ok := errors.AsType[*snstypes.NotFoundException](err); ok {
			missing = append(missing, "topic "+name)
		} else if err != nil {
			return r, fmt.Errorf("find topic %s: %w", *arn, err)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return r, fmt.Errorf("missing in AWS (%s): %s; create them with `ordersaga setup`, or the stack of deploy/cloudformation", c.where, strings.Join(missing, ", "))
	}
	return r, nil
}

// topicPrefix is what our topics' ARNs begin with. It is asked of STS, which
// answers whoever asks: to list the account's topics needs a right to all.
func (c *Clients) topicPrefix(ctx context.Context) (string, error) {
	who, err := c.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", fmt.Errorf("find topics: whose AWS account is this: %w", err)
	}
	caller, err := arn.Parse(aws.ToString(who.Arn))
	if err != nil {
		return "", fmt.Errorf("find topics: caller %q: %w", aws.ToString(who.Arn), err)
	}
	return fmt.Sprintf("arn:%s:sns:%s:%s:", caller.Partition, c.region, caller.AccountID), nil
}

// Setup makes what is missing: the topics, the queues with their dead-letter
// queues, and the subscriptions between them.
func (c *Clients) Setup(ctx context.Context) (Resources, error) {
	var r Resources
	for name, arn := range r.topics() {
		out, err := c.SNS.CreateTopic(ctx, &sns.CreateTopicInput{Name: &name})
		if err != nil {
			return r, fmt.Errorf("create topic %s: %w", name, err)
		}
		*arn = *out.TopicArn
	}
	var err error
	for _, q := range r.queues() {
		if *q.dlqURL, err = c.queue(ctx, q.dlqName, ""); err != nil {
			return r, err
		}
		if *q.url, err = c.queue(ctx, q.name, *q.dlqURL); err != nil {
			return r, err
		}
	}
	if err := c.subscribe(ctx, r.OrderTopic, r.OrderQueue, true, order.EventPlaced); err != nil {
		return r, err
	}
	// Not raw: Dapr tells the topic by SNS's envelope, and drops what has none.
	return r, c.subscribe(ctx, r.ShipmentTopic, r.CarrierRequests, false, order.EventShipmentRequested)
}

// maxReceives is how often a message is tried before SQS itself moves it to
// the dead-letter queue: with intake's back-off, about an hour of failures.
const maxReceives = "60"

func (c *Clients) queue(ctx context.Context, name, dlq string) (url string, err error) {
	attributes := map[string]string{"VisibilityTimeout": "30"}
	if dlq == "" {
		attributes["MessageRetentionPeriod"] = "1209600" // 14 days, SQS's most
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

func (c *Clients) arn(ctx context.Context, url string) (string, error) {
	out, err := c.SQS.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn},
	})
	if err != nil {
		return "", fmt.Errorf("read ARN of queue %s: %w", url, err)
	}
	return out.Attributes[string(types.QueueAttributeNameQueueArn)], nil
}

// FilterPolicy lets a subscription have events of one type, Dapr's, whose type
// is inside, and those whose body does not say what they are: the queue's reader
// judges them. It is for the scope MessageBody. One of message attributes would
// drop each message that has none at all, whatever it says of those, and
// neither `aws sns publish` nor Dapr sets any:
// https://docs.aws.amazon.com/sns/latest/dg/attribute-key-matching.html
func FilterPolicy(event string) string {
	return fmt.Sprintf(`{"type":[%q,%q,{"exists":false}]}`, event, envelope.DaprType)
}

// subscribe lets a topic deliver events of a type to a queue. The attributes are
// set by themselves: Subscribe would refuse a subscription that is there with
// other values. The scope comes first, for the policy is read by it.
func (c *Clients) subscribe(ctx context.Context, topic, queueURL string, raw bool, event string) error {
	queue, err := c.arn(ctx, queueURL)
	if err != nil {
		return err
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},` +
		`"Action":"sqs:SendMessage","Resource":"` + queue + `","Condition":{"ArnEquals":{"aws:SourceArn":"` + topic + `"}}}]}`
	_, err = c.SQS.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: &queueURL, Attributes: map[string]string{"Policy": policy}})
	if err != nil {
		return fmt.Errorf("let topic %s send to queue %s: %w", topic, queue, err)
	}
	sub, err := c.SNS.Subscribe(ctx, &sns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("sqs"), Endpoint: &queue, ReturnSubscriptionArn: true})
	if err != nil {
		return fmt.Errorf("subscribe queue %s to topic %s: %w", queue, topic, err)
	}
	for _, a := range [][2]string{
		{"RawMessageDelivery", strconv.FormatBool(raw)}, {"FilterPolicyScope", "MessageBody"}, {"FilterPolicy", FilterPolicy(event)},
	} {
		_, err = c.SNS.SetSubscriptionAttributes(ctx, &sns.SetSubscriptionAttributesInput{SubscriptionArn: sub.SubscriptionArn, AttributeName: &a[0], AttributeValue: &a[1]})
		if err != nil {
			return fmt.Errorf("set %s of the subscription of queue %s to topic %s: %w", a[0], queue, topic, err)
		}
	}
	return nil
}
