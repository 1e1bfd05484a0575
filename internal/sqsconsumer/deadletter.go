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

// Names of the attributes that a dead letter has besides the message's own.
const (
	// AttributeReason is why the message is poison.
	AttributeReason = "Reason"
	// AttributeOriginal is the SQS id of the message that was received.
	AttributeOriginal = "OriginalMessageId"
	// AttributeEncoding is GzipBase64 if the body had to be compressed.
	AttributeEncoding = events.AttributeEncoding
	// GzipBase64 is the only value of AttributeEncoding.
	GzipBase64 = events.GzipBase64
)

// SQS's limits: bytes of a message with its attributes, and their number. See
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
const (
	maxMessage    = 1 << 20
	maxAttributes = 10
)

type attributes = map[string]types.MessageAttributeValue

// form is one way to write a message to the dead-letter queue.
type form struct {
	body  string
	attrs attributes
}

// DeadLetter copies a message to the dead-letter queue with the reason. The reason is
// cut to text.Max characters and to the characters that SQS accepts: it may quote anything
// that the sender wrote. The message stays in its queue. See
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
func (c *Consumer) DeadLetter(ctx context.Context, m types.Message, reason error) error {
	own := attributes{AttributeReason: stringAttribute(cmp.Or(text.Cut(reason.Error(), text.Max), "no reason given"))}
	if m.MessageId != nil { // it came from a queue
		own[AttributeOriginal] = stringAttribute(*m.MessageId)
	}
	bare := form{body: aws.ToString(m.Body), attrs: attributes{}}
	for name, v := range m.MessageAttributes {
		// Redriven without one of these, it would be another event.
		if events.IsTypeAttribute(name) || name == AttributeEncoding && isCompressed(m) {
			bare.attrs[name], own[name] = v, v
		}
	}
	sent, err := c.send(ctx, form{body: bare.body, attrs: copyAttributes(m, own)})
	if !sent && err == nil {
		sent, err = c.fit(ctx, m, bare, own)
	}
	if err == nil && !sent {
		err = errors.New("the queue accepts it in no form")
	}
	if err != nil {
		return fmt.Errorf("send to dead-letter queue %s: %w", c.o.DLQURL, err)
	}
	return nil
}

// fit dead-letters a message that is as large as its queue allows. Its content and its
// type have priority, then the reason (which is in the log too), then its other
// attributes.
func (c *Consumer) fit(ctx context.Context, m types.Message, bare form, own attributes) (sent bool, err error) {
	forms := []form{{body: bare.body, attrs: own}, bare}
	if !isCompressed(m) {
		small, err := events.Compress(bare.body)
		if err != nil {
			return false, err
		}
		compressed := maps.Clone(own)
		compressed[AttributeEncoding] = stringAttribute(GzipBase64)
		forms = []form{
			{body: small, attrs: copyAttributes(m, compressed)},
			{body: bare.body, attrs: own},
			{body: small, attrs: compressed},
			bare,
		}
	}
	for _, f := range forms {
		sent, err := c.send(ctx, f)
		if sent || err != nil {
			return sent, err
		}
	}
	return false, nil
}

// send sends a dead letter in one form. It returns false and no error if the form is
// too large, or has something in it that this queue will never accept.
func (c *Consumer) send(ctx context.Context, f form) (sent bool, err error) {
	size := len(f.body)
	for name, v := range f.attrs {
		size += len(name) + len(aws.ToString(v.DataType)) + len(aws.ToString(v.StringValue)) + len(v.BinaryValue)
	}
	if size > maxMessage {
		return false, nil
	}
	_, err = c.o.SQS.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &c.o.DLQURL, MessageBody: &f.body, MessageAttributes: f.attrs})
	api, ok := errors.AsType[smithy.APIError](err)
	if ok && (strings.HasPrefix(api.ErrorCode(), "InvalidParameterValue") || api.ErrorCode() == "InvalidMessageContents") {
		c.o.Logger.Debug().Err(err).Msg("the dead-letter queue rejects this form of a message")
		return false, nil
	}
	return err == nil, err
}

// copyAttributes adds the message's other attributes to own, in the order of their
// names, up to maxAttributes.
func copyAttributes(m types.Message, own attributes) attributes {
	all := maps.Clone(own)
	for _, name := range slices.Sorted(maps.Keys(m.MessageAttributes)) {
		if _, taken := all[name]; !taken && len(all) < maxAttributes {
			all[name] = m.MessageAttributes[name]
		}
	}
	return all
}

func stringAttribute(s string) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &s}
}

func isCompressed(m types.Message) bool {
	return aws.ToString(m.MessageAttributes[AttributeEncoding].StringValue) == GzipBase64
}

// Content returns the message as its sender wrote it: a compressed body is decompressed.
// An error is a *PermanentError.
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
