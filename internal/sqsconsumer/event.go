package sqsconsumer

import (
	"context"

	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// HandleEvent unwraps the event in a message and calls handle with it, in the sender's
// trace. from names the source in the span; types are the event types to accept. A
// broken envelope, or an event of another type, is a *PermanentError.
func HandleEvent(
	ctx context.Context, from string, m events.Message, handle func(context.Context, events.Event) error, types ...string,
) (err error) {
	e, err := events.Unwrap(m, types...)
	ctx, span := tracing.Process(tracing.Continue(ctx, e.Traceparent), from)
	defer func() { tracing.End(span, err) }()
	if err != nil {
		return &PermanentError{Reason: err}
	}
	return handle(ctx, e)
}
