// Package snspublisher publishes messages to SNS topics. It combines concurrent calls
// into batches.
package snspublisher

import (
	"context"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/ordersaga/ordersaga/internal/coalesce"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// Limits of a batch: ten messages, and 256 KiB with their attributes. A message
// larger than a tenth of that, minus room for attributes, is sent by itself:
// https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html
const (
	maxInBatch      = 10
	maxBytesInBatch = 24 << 10
)

// SNS is the part of *sns.Client that a Topic uses.
type SNS interface {
	Publish(context.Context, *sns.PublishInput, ...func(*sns.Options)) (*sns.PublishOutput, error)
	PublishBatch(context.Context, *sns.PublishBatchInput, ...func(*sns.Options)) (*sns.PublishBatchOutput, error)
}

// Topic publishes to one SNS topic. It is safe for concurrent use.
type Topic struct {
	messages coalesce.Batcher[message, struct{}]
}

type message struct {
	body       string
	attributes map[string]types.MessageAttributeValue
}

// New returns the topic with an ARN.
func New(client SNS, arn string) *Topic {
	return &Topic{messages: coalesce.Batcher[message, struct{}]{
		Max: maxInBatch,
		Single: func(ctx context.Context, m message) (struct{}, error) {
			_, err := client.Publish(ctx, &sns.PublishInput{TopicArn: &arn, Message: &m.body, MessageAttributes: m.attributes})
			return struct{}{}, err
		},
		Batch: func(ctx context.Context, ms []message) ([]coalesce.Result[struct{}], error) {
			in := &sns.PublishBatchInput{TopicArn: &arn}
			for i, m := range ms {
				in.PublishBatchRequestEntries = append(in.PublishBatchRequestEntries, types.PublishBatchRequestEntry{
					Id: aws.String(strconv.Itoa(i)), Message: &m.body, MessageAttributes: m.attributes,
				})
			}
			out, err := client.PublishBatch(ctx, in, func(o *sns.Options) { o.RetryMaxAttempts = 1 }) // see coalesce.Batcher
			if err != nil {
				return nil, err
			}
			answers := make([]coalesce.Result[struct{}], len(ms))
			for _, e := range out.Successful {
				if i, err := strconv.Atoi(aws.ToString(e.Id)); err == nil && 0 <= i && i < len(answers) {
					answers[i].Done = true
				}
			}
			return answers, nil
		},
	}}
}

// Publish publishes a message with text attributes, and with the trace context
// of ctx as one more.
func (t *Topic) Publish(ctx context.Context, body []byte, attributes map[string]string) error {
	m := message{body: string(body), attributes: make(map[string]types.MessageAttributeValue, len(attributes)+1)}
	set := func(name, value string) {
		m.attributes[name] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &value}
	}
	for name, value := range attributes {
		set(name, value)
	}
	if parent := tracing.Parent(ctx); parent != "" {
		set(tracing.Attribute, parent)
	}
	publish := t.messages.Do
	if len(body) > maxBytesInBatch {
		publish = t.messages.Single
	}
	_, err := publish(ctx, m)
	return err
}
