package cloud

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/ordersaga/ordersaga/internal/events"
)

// Resources are the topics and queues of a system.
type Resources struct {
	OrderTopic, ShipmentTopic, CustomerTopic string // ARNs
	OrderQueue, OrderDLQ                     string // URLs, as are all below
	CarrierRequests, CarrierRequestsDLQ      string
	CarrierAnswers, CarrierAnswersDLQ        string
}

// queues returns each queue with its dead-letter queue, and where r has their URLs.
func (r *Resources) queues() []queuePair {
	return []queuePair{
		{name: events.QueueOrderProcessing, dlqName: events.QueueOrderProcessingDLQ, url: &r.OrderQueue, dlqURL: &r.OrderDLQ},
		{name: events.QueueCarrierRequests, dlqName: events.QueueCarrierRequestsDLQ, url: &r.CarrierRequests, dlqURL: &r.CarrierRequestsDLQ},
		{name: events.QueueCarrierAnswers, dlqName: events.QueueCarrierAnswersDLQ, url: &r.CarrierAnswers, dlqURL: &r.CarrierAnswersDLQ},
	}
}

// Queue is a queue with its dead-letter queue.
type Queue struct{ Name, URL, DeadURL string }

// Queues returns all queues, each with its dead-letter queue.
func (r Resources) Queues() (all []Queue) {
	for _, q := range r.queues() {
		all = append(all, Queue{Name: q.name, URL: *q.url, DeadURL: *q.dlqURL})
	}
	return all
}

// queuePair is a queue and its dead-letter queue by name, and where to store their URLs.
type queuePair struct {
	name, dlqName string
	url, dlqURL   *string
}

// topics returns the topics by name, and where r has their ARNs.
func (r *Resources) topics() map[string]*string {
	return map[string]*string{
		events.TopicOrderEvents:           &r.OrderTopic,
		events.TopicShipmentEvents:        &r.ShipmentTopic,
		events.TopicCustomerNotifications: &r.CustomerTopic,
	}
}

// Find looks up the resources by their names. Its error lists the missing ones, or is that
// of the request that failed.
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
		return r, fmt.Errorf("missing in AWS (%s): %s; create them with `ordersaga setup`, or the stack of deploy/cloudformation",
			c.location, strings.Join(missing, ", "))
	}
	return r, nil
}

// topicPrefix returns the common start of the topics' ARNs. It needs the account id, which
// STS returns to every caller: listing topics needs permission for all topics.
func (c *Clients) topicPrefix(ctx context.Context) (string, error) {
	identity, err := c.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", fmt.Errorf("find topics: read the AWS account id: %w", err)
	}
	caller, err := arn.Parse(aws.ToString(identity.Arn))
	if err != nil {
		return "", fmt.Errorf("find topics: parse the caller's ARN %q: %w", aws.ToString(identity.Arn), err)
	}
	return fmt.Sprintf("arn:%s:sns:%s:%s:", caller.Partition, c.region, caller.AccountID), nil
}
