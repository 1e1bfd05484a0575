package shipment

import (
	"context"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/ordersaga/ordersaga/internal/batch"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// SNS is what the publisher uses of *sns.Client.
type SNS interface {
	Publish(context.Context, *sns.PublishInput, ...func(*sns.Options)) (*sns.PublishOutput, error)
	PublishBatch(context.Context, *sns.PublishBatchInput, ...func(*sns.Options)) (*sns.PublishBatchOutput, error)
}

// Limits of a batch: ten messages, and 256 KiB with their attributes, so that
// larger ones than a tenth of that, less what attributes take, go alone:
// https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html
const (
	maxInBatch      = 10
	maxBytesInBatch = 24 << 10
)

// snsBus publishes straight to SNS, what is said at the same time in batches.
type snsBus map[string]*batch.Caller[message, struct{}] // by topic name

type message struct {
	body       string
	attributes map[string]types.MessageAttributeValue
}

func newSNSBus(client SNS, arns map[string]string) snsBus {
	bus := snsBus{}
	for topic, arn := range arns {
		bus[topic] = &batch.Caller[message, struct{}]{
			Max: maxInBatch,
			One: func(ctx context.Context, m message) (struct{}, error) {
				_, err := client.Publish(ctx, &sns.PublishInput{TopicArn: &arn, Message: &m.body, MessageAttributes: m.attributes})
				return struct{}{}, err
			},
			Many: func(ctx context.Context, ms []message) ([]batch.Answer[struct{}], error) {
				in := &sns.PublishBatchInput{TopicArn: &arn}
				for i, m := range ms {
					in.PublishBatchRequestEntries = append(in.PublishBatchRequestEntries, types.PublishBatchRequestEntry{
						Id: aws.String(strconv.Itoa(i)), Message: &m.body, MessageAttributes: m.attributes,
					})
				}
				out, err := client.PublishBatch(ctx, in)
				if err != nil {
					return nil, err
				}
				answers := make([]batch.Answer[struct{}], len(ms))
				for _, e := range out.Successful {
					if i, err := strconv.Atoi(aws.ToString(e.Id)); err == nil && i < len(answers) {
						answers[i].Done = true
					}
				}
				return answers, nil
			},
		}
	}
	return bus
}

func (b snsBus) Publish(ctx context.Context, topic, kind, orderID string, body []byte) error {
	attribute := func(v string) types.MessageAttributeValue {
		return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &v}
	}
	m := message{string(body), map[string]types.MessageAttributeValue{"type": attribute(kind), "orderId": attribute(orderID)}}
	if parent := tracing.Parent(ctx); parent != "" {
		m.attributes[tracing.Attribute] = attribute(parent)
	}
	publish := b[topic].Do
	if len(body) > maxBytesInBatch {
		publish = b[topic].One
	}
	_, err := publish(ctx, m)
	return err
}
