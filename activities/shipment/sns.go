package shipment

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/ordersaga/ordersaga/internal/tracing"
)

// SNS is what the publisher uses of *sns.Client.
type SNS interface {
	Publish(context.Context, *sns.PublishInput, ...func(*sns.Options)) (*sns.PublishOutput, error)
}

// snsBus publishes straight to SNS.
type snsBus struct {
	client SNS
	arns   map[string]string // by topic name
}

func (b snsBus) Publish(ctx context.Context, topic, kind, orderID string, body []byte) error {
	attribute := func(v string) types.MessageAttributeValue {
		return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &v}
	}
	attributes := map[string]types.MessageAttributeValue{"type": attribute(kind), "orderId": attribute(orderID)}
	if parent := tracing.Parent(ctx); parent != "" {
		attributes[tracing.Attribute] = attribute(parent)
	}
	_, err := b.client.Publish(ctx, &sns.PublishInput{
		TopicArn: aws.String(b.arns[topic]), Message: aws.String(string(body)), MessageAttributes: attributes,
	})
	return err
}
