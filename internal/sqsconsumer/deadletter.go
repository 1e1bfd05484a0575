package sqsconsumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/text"
)

// Attributes that a buried message gets, besides its own.
const (
	AttributeReason   = "Reason"
	AttributeOriginal = "OriginalMessageId"
	AttributeEncoding = events.AttributeEncoding
	GzipBase64        = events.GzipBase64
)

// SQS's limits for a message with its attributes, and for their number.
const (
	maxMessage    = 1 << 20
	maxAttributes = 10
)

type attributes = map[string]types.MessageAttributeValue

// letter is one way to write a message to the dead-letter queue.
type form struct {
	body  string
	attrs attributes
}

// DeadLetter copies a message to the dead-letter queue with the reason, which is cut
// to text.Max and to what SQS takes: it may quote whatever the sender wrote. See
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
func (c *Consumer) DeadLetter(ctx context.Context, m types.Message, reason error) error {
	own := attributes{AttributeReason: str(cmp.Or(text.Cut(reason.Error(), text.Max), "no reason given"))}
	if m.MessageId != nil { // it came from a queue
		own[AttributeOriginal] = str(*m.MessageId)
	}
	bare := form{aws.ToString(m.Body), attributes{}}
	for name, v := range m.MessageAttributes {
		// Put back without one of these, it would be another event.
		if events.IsTypeAttribute(name) || name == AttributeEncoding && isPacked(m) {
			bare.attrs[name], own[name] = v, v
		}
	}
	sent, err := c.try(ctx, form{bare.body, withOwnOf(m, own)})
	if !sent && err == nil {
		sent, err = c.squeeze(ctx, m, bare, own)
	}
	if err == nil && !sent {
		err = errors.New("it is refused in every form")
	}
	if err != nil {
		return fmt.Errorf("send to dead-letter queue %s: %w", c.o.DLQURL, err)
	}
	return nil
}

// squeeze buries a message that fills its queue's limit. Its content and its
// type come first, then the reason (it is in the log too), then what other
// attributes it has.
func (c *Consumer) squeeze(ctx context.Context, m types.Message, bare form, own attributes) (sent bool, err error) {
	ways := []form{{bare.body, own}, bare}
	if !isPacked(m) {
		small, err := events.Compress(bare.body)
		if err != nil {
			return false, err
		}
		packed := maps.Clone(own)
		packed[AttributeEncoding] = str(GzipBase64)
		ways = []form{{small, withOwnOf(m, packed)}, {bare.body, own}, {small, packed}, bare}
	}
	for _, l := range ways {
		if sent, err = c.try(ctx, l); sent || err != nil {
			return sent, err
		}
	}
	return false, nil
}

// try sends a letter. Neither sent nor an error: it is too large, or has
// something in it that this queue will never take.
func (c *Consumer) try(ctx context.Context, l form) (sent bool, err error) {
	size := len(l.body)
	for name, v := range l.attrs {
		size += len(name) + len(aws.ToString(v.DataType)) + len(aws.ToString(v.StringValue)) + len(v.BinaryValue)
	}
	if size > maxMessage {
		return false, nil
	}
	_, err = c.o.SQS.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &c.o.DLQURL, MessageBody: &l.body, MessageAttributes: l.attrs})
	if api, ok := errors.AsType[smithy.APIError](err); ok && (strings.HasPrefix(api.ErrorCode(), "InvalidParameterValue") || api.ErrorCode() == "InvalidMessageContents") {
		c.o.Logger.Debug().Err(err).Msg("the dead-letter queue refuses this form of a message")
		return false, nil
	}
	return err == nil, err
}

// withOwnOf adds the message's other attributes, by name, as far as their number
// allows.
func withOwnOf(m types.Message, own attributes) attributes {
	all := maps.Clone(own)
	for _, name := range slices.Sorted(maps.Keys(m.MessageAttributes)) {
		if _, taken := all[name]; !taken && len(all) < maxAttributes {
			all[name] = m.MessageAttributes[name]
		}
	}
	return all
}

func str(s string) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &s}
}

func isPacked(m types.Message) bool {
	return aws.ToString(m.MessageAttributes[AttributeEncoding].StringValue) == GzipBase64
}

// Content is a message as its sender wrote it. An error is *PermanentError.
func Content(m types.Message) (events.Message, error) {
	in := events.Message{Body: []byte(aws.ToString(m.Body)), Attributes: make(map[string]string, len(m.MessageAttributes))}
	for name, v := range m.MessageAttributes {
		in.Attributes[name] = cmp.Or(aws.ToString(v.StringValue), string(v.BinaryValue))
	}
	in, err := in.Unpacked()
	if err != nil {
		return in, &PermanentError{Reason: err}
	}
	return in, nil
}
