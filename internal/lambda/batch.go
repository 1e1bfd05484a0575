// Package lambda is what the Lambda functions do; their mains only start it.
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

// margin is what is left of a function's time when a batch stops: enough to
// answer which messages are done. Without an answer all would come again.
const margin = time.Second

// Batch handles an SQS event's messages one by one and answers which have
// failed. Those come again, and after the queue's maxReceiveCount SQS moves
// them to its dead letters; the others are deleted. The event source must have
// FunctionResponseTypes: ReportBatchItemFailures, or nothing ever fails.
func Batch(ctx context.Context, log zerolog.Logger, e awsevents.SQSEvent, handle func(context.Context, events.Message) error) awsevents.SQSEventResponse {
	if end, ok := ctx.Deadline(); ok {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadline(ctx, end.Add(-margin))
		defer stop()
	}
	failures := []awsevents.SQSBatchItemFailure{} // null would be "all done" too, but an array is what is documented
	for _, m := range e.Records {
		err := ctx.Err() // no time left: not begun
		log := log.With().Str("message", m.MessageId).Logger()
		ctx := log.WithContext(tracing.Continue(ctx, aws.ToString(m.MessageAttributes[tracing.Attribute].StringValue)))
		if err == nil {
			var in events.Message
			if in, err = received(m).Unpacked(); err == nil {
				err = handle(ctx, in)
			}
		}
		if err != nil {
			zerolog.Ctx(ctx).Error().Err(err).Str("received", m.Attributes["ApproximateReceiveCount"]).Msg("message not handled; it comes again, or goes to the dead letters")
			failures = append(failures, awsevents.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
		}
	}
	return awsevents.SQSEventResponse{BatchItemFailures: failures}
}

func received(m awsevents.SQSMessage) events.Message {
	in := events.Message{Body: []byte(m.Body), Attributes: make(map[string]string, len(m.MessageAttributes))}
	for name, v := range m.MessageAttributes {
		in.Attributes[name] = cmp.Or(aws.ToString(v.StringValue), string(v.BinaryValue))
	}
	return in
}
