// Package tracing creates OpenTelemetry spans for the processing of an order, and
// propagates their context where no library does: in message attributes and in durable
// state.
//
// In a process that does not export spans (see package otlp) it creates none, and passes on
// the context that it receives.
package tracing

import (
	"context"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"
	"go.opentelemetry.io/otel/trace"
)

// Span attributes of ordersaga; docs/operations.md lists them.
const (
	OrderID  = attribute.Key("order.id")
	Activity = attribute.Key("saga.activity")
	Attempt  = attribute.Key("saga.attempt")
	Outcome  = attribute.Key("saga.outcome")
)

// Attribute is the message attribute and HTTP header with the context of the sender's span,
// in the format of https://www.w3.org/TR/trace-context/.
const Attribute = "traceparent"

var tracer = otel.Tracer("github.com/ordersaga/ordersaga")

// Parent returns the context of the current span in the format of Attribute; "" if ctx has
// no span.
func Parent(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	c := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, c)
	return c[Attribute]
}

// Continue returns a context whose spans belong to the trace of parent, unless ctx has a
// trace already. It ignores an invalid parent.
func Continue(ctx context.Context, parent string) context.Context {
	if parent == "" || trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{Attribute: parent})
}

// Rejoin returns a context whose spans belong to the trace of parent, even if ctx has
// another trace: an engine may have started one of its own. If ctx belongs to that trace,
// Rejoin returns it unchanged, with its nearer parent span.
func Rejoin(ctx context.Context, parent string) context.Context {
	if parent == "" || ID(ctx) == IDOf(parent) {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{Attribute: parent})
}

// ID returns the id of the trace of ctx, or "".
func ID(ctx context.Context) string {
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
		return sc.TraceID().String()
	}
	return ""
}

// IDOf returns the id of the trace of a Parent, or "".
func IDOf(parent string) string { return ID(Continue(context.Background(), parent)) }

// BeginAttempt starts the span of one attempt of an activity. The caller must call End.
func BeginAttempt(ctx context.Context, activity, orderID string, attempt int) (context.Context, trace.Span) {
	ctx, span := tracer.Start(ctx, activity)
	if span.IsRecording() { // do not compute attributes that are not exported
		span.SetAttributes(OrderID.String(orderID), Activity.String(activity), Attempt.Int(attempt))
	}
	return ctx, span
}

var (
	producer = trace.WithSpanKind(trace.SpanKindProducer)
	consumer = trace.WithSpanKind(trace.SpanKindConsumer)
)

// Send starts the span of sending a message about an order. The caller must call End.
func Send(ctx context.Context, to, orderID string) (context.Context, trace.Span) {
	ctx, span := tracer.Start(ctx, "send "+to, producer)
	if span.IsRecording() {
		span.SetAttributes(semconv.MessagingOperationTypeSend, semconv.MessagingDestinationName(to), OrderID.String(orderID))
	}
	return ctx, span
}

// Process starts the span of processing a message. The caller must call End.
func Process(ctx context.Context, from string) (context.Context, trace.Span) {
	ctx, span := tracer.Start(ctx, "process "+from, consumer)
	if span.IsRecording() {
		span.SetAttributes(semconv.MessagingOperationTypeProcess, semconv.MessagingDestinationName(from))
	}
	return ctx, span
}

// End ends a span. An error that is not nil is recorded as the span's status.
func End(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// Concerns adds the order id to the span of ctx and to its logger (zerolog.Ctx), as soon as
// it is known.
func Concerns(ctx context.Context, orderID string) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(OrderID.String(orderID))
	}
	zerolog.Ctx(ctx).UpdateContext(func(c zerolog.Context) zerolog.Context {
		return Fields(ctx, c.Str("order", orderID))
	})
}

// Fields adds the trace id of ctx, if there is one, to a logger.
func Fields(ctx context.Context, c zerolog.Context) zerolog.Context {
	if id := ID(ctx); id != "" {
		return c.Str("trace", id)
	}
	return c
}
