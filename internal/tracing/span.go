// Package tracing makes OpenTelemetry spans of an order's way through the
// system, and carries their context where no library does: in the attributes
// of messages and in durable state.
//
// In a process that exports none (package otlp) no spans are made, and the
// context of others is passed on.
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

// Attributes of our own; docs/operations.md lists them.
const (
	OrderID  = attribute.Key("order.id")
	Activity = attribute.Key("saga.activity")
	Attempt  = attribute.Key("saga.attempt")
	Outcome  = attribute.Key("saga.outcome")
)

// Attribute is the name under which messages carry the context of the span
// that sent them, in the form of https://www.w3.org/TR/trace-context/.
const Attribute = "traceparent"

var tracer = otel.Tracer("github.com/ordersaga/ordersaga")

// Parent is the context of the current span as messages and durable state
// carry it; "" if there is none.
func Parent(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	c := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, c)
	return c[Attribute]
}

// Continue makes what begins in ctx go on with the trace of parent, unless it
// has one already. What is no parent is none.
func Continue(ctx context.Context, parent string) context.Context {
	if parent == "" || trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{Attribute: parent})
}

// Rejoin makes what begins in ctx part of the trace of parent. What ctx has is
// nearer, if it is of that trace: an engine may have begun one of its own.
func Rejoin(ctx context.Context, parent string) context.Context {
	if parent == "" || ID(ctx) == IDOf(parent) {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{Attribute: parent})
}

// ID is the id of the trace that ctx is part of, or "".
func ID(ctx context.Context) string {
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
		return sc.TraceID().String()
	}
	return ""
}

// IDOf is the id of the trace that a Parent is of, or "".
func IDOf(parent string) string { return ID(Continue(context.Background(), parent)) }

// BeginAttempt begins the span of one try of an activity.
func BeginAttempt(ctx context.Context, activity, orderID string, attempt int) (context.Context, trace.Span) {
	ctx, span := tracer.Start(ctx, activity)
	if span.IsRecording() { // what is not exported costs nothing
		span.SetAttributes(OrderID.String(orderID), Activity.String(activity), Attempt.Int(attempt))
	}
	return ctx, span
}

var (
	producer = trace.WithSpanKind(trace.SpanKindProducer)
	consumer = trace.WithSpanKind(trace.SpanKindConsumer)
)

// Send begins the span of sending a message about an order.
func Send(ctx context.Context, to, orderID string) (context.Context, trace.Span) {
	ctx, span := tracer.Start(ctx, "send "+to, producer)
	if span.IsRecording() {
		span.SetAttributes(semconv.MessagingOperationTypeSend, semconv.MessagingDestinationName(to), OrderID.String(orderID))
	}
	return ctx, span
}

// Process begins the span of handling a message.
func Process(ctx context.Context, from string) (context.Context, trace.Span) {
	ctx, span := tracer.Start(ctx, "process "+from, consumer)
	if span.IsRecording() {
		span.SetAttributes(semconv.MessagingOperationTypeProcess, semconv.MessagingDestinationName(from))
	}
	return ctx, span
}

// End ends a span with what came of it.
func End(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// Concerns says which order ctx is about, as soon as that is known: its span
// and the lines of its logger (zerolog.Ctx) name it.
func Concerns(ctx context.Context, orderID string) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(OrderID.String(orderID))
	}
	zerolog.Ctx(ctx).UpdateContext(func(c zerolog.Context) zerolog.Context {
		return Fields(ctx, c.Str("order", orderID))
	})
}

// Fields adds the trace, if there is one, to a logger.
func Fields(ctx context.Context, c zerolog.Context) zerolog.Context {
	if id := ID(ctx); id != "" {
		return c.Str("trace", id)
	}
	return c
}
