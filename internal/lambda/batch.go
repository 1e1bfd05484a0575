// Package lambda implements the AWS Lambda functions. The main packages in
// cmd only start it.
package lambda

import (
	"cmp"
	"context"
	"time"

	awsevents "github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// margin is the time before a function's deadline at which a batch stops. It is
// enough to return which messages failed. A function that returns nothing gets
// the whole batch again.
const margin = time.Second

// handler handles one message. It returns nil when the message can be deleted.
type handler func(context.Context, events.Message) error

// Batch calls handle for the messages of an SQS event, one after the other, and
// returns which of them failed. SQS delivers those again, and moves them to the
// dead-letter queue after its maxReceiveCount; Lambda deletes the others. It
// stops a second before the deadline of ctx: the messages that it has not
// handled by then count as failed. The event source mapping must have
// FunctionResponseTypes: ReportBatchItemFailures, else Lambda deletes all.
func Batch(ctx context.Context, log zerolog.Logger, e awsevents.SQSEvent, handle handler) awsevents.SQSEventResponse {
	if end, ok := ctx.Deadline(); ok {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadline(ctx, end.Add(-margin))
		defer stop()
	}
	failures := []awsevents.SQSBatchItemFailure{} // not nil: AWS documents an array, though null works too
	for _, m := range e.Records {
		log := log.With().Str("message", m.MessageId).Logger()
		ctx := log.WithContext(tracing.Continue(ctx, aws.ToString(m.MessageAttributes[tracing.Attribute].StringValue)))
		err := handleOne(ctx, m, handle)
		if err != nil {
			zerolog.Ctx(ctx).Error().Err(err).Str("received", m.Attributes["ApproximateReceiveCount"]).
				Msg("message not handled: SQS delivers it again or moves it to the dead-letter queue")
			failures = append(failures, awsevents.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
		}
	}
	return awsevents.SQSEventResponse{BatchItemFailures: failures}
}

// handleOne unpacks and handles a message, unless no time is left for it.
func handleOne(ctx context.Context, m awsevents.SQSMessage, handle handler) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	in, err := received(m).Unpacked()
	if err != nil {
		return err
	}
	return handle(ctx, in)
}

// received converts a message. Attributes of both types become strings.
func received(m awsevents.SQSMessage) events.Message {
	in := events.Message{Body: []byte(m.Body), Attributes: make(map[string]string, len(m.MessageAttributes))}
	for name, v := range m.MessageAttributes {
		in.Attributes[name] = cmp.Or(aws.ToString(v.StringValue), string(v.BinaryValue))
	}
	return in
}
