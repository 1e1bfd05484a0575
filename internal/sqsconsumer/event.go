package sqsconsumer

import (
	"context"

	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// HandleEvent handles the event in a message, in the trace of who sent it. from is
// where it comes from, types are what it may be. A broken envelope, and another
// event, is *PermanentError.
func HandleEvent(ctx context.Context, from string, m events.Message, handle func(context.Context, events.Event) error, types ...string) (err error) {
	e, err := events.Unwrap(m, types...)
	ctx, span := tracing.Process(tracing.Continue(ctx, e.Traceparent), from)
	defer func() { tracing.End(span, err) }()
	if err != nil {
		return &PermanentError{Reason: err}
	}
	return handle(ctx, e)
}
