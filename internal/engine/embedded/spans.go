package embedded

import (
	"context"

	"github.com/dapr/durabletask-go/api/helpers"
	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/backend/runtimestate"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// An instance has one span from its start to its end, over many turns and
// restarts. OpenTelemetry has no such spans. So each turn begins one with the
// identity of the first, and only the span of the last turn is exported, as in
// durabletask-go's worker loop. Nothing is done for an instance whose start has no
// trace context: it is not traced.

// beginTurnSpan begins the span of a turn, or of a generation. It writes the
// span's id into a start event that is in NewEvents, and therefore not shared yet.
func beginTurnSpan(ctx context.Context, s *protos.WorkflowRuntimeState) (context.Context, trace.Span) {
	start := s.StartEvent
	parent := start.GetParentTraceContext()
	if parent == nil {
		return ctx, helpers.NoopSpan()
	}
	ctx, err := helpers.ContextFromTraceContext(ctx, parent)
	if err != nil {
		return ctx, helpers.NoopSpan()
	}
	ctx, span := helpers.StartNewRunWorkflowSpan(ctx, start, runtimestate.GetStartedTime(s))
	if id, err := trace.SpanIDFromHex(start.GetWorkflowSpanID().GetValue()); err == nil {
		helpers.ChangeSpanID(span, id)
	} else if span.IsRecording() && isNew(s) {
		start.WorkflowSpanID = wrapperspb.String(span.SpanContext().SpanID().String())
	}
	return ctx, span
}

// isNew reports whether an instance's start event is in NewEvents.
func isNew(s *protos.WorkflowRuntimeState) bool {
	for _, e := range s.NewEvents {
		if e.GetExecutionStarted() == s.StartEvent {
			return true
		}
	}
	return false
}

// endTurnSpan ends a turn's span. It is exported only if the instance has ended or
// continues as new.
func endTurnSpan(s *protos.WorkflowRuntimeState, span trace.Span, continuedAsNew bool) {
	if !span.IsRecording() {
		return
	}
	status := runtimestate.RuntimeStatus(s)
	switch {
	case continuedAsNew:
		status = protos.OrchestrationStatus_ORCHESTRATION_STATUS_CONTINUED_AS_NEW
	case s.CompletedEvent == nil:
		helpers.CancelSpan(span)
		span.End()
		return
	default:
		if failure := s.CompletedEvent.GetFailureDetails(); failure != nil {
			span.SetStatus(codes.Error, failure.GetErrorMessage())
		}
		addEventsToSpan(s.OldEvents, span)
		addEventsToSpan(s.NewEvents, span)
	}
	span.SetAttributes(attribute.String("durabletask.runtime_status", helpers.ToRuntimeStatusString(status)))
	span.End()
}

// addEventsToSpan adds what others have sent to an instance to its span.
func addEventsToSpan(events []*protos.HistoryEvent, span trace.Span) {
	add := func(e *protos.HistoryEvent, name string, attributes ...attribute.KeyValue) {
		span.AddEvent(name, trace.WithTimestamp(e.GetTimestamp().AsTime()), trace.WithAttributes(attributes...))
	}
	for _, e := range events {
		if raised := e.GetEventRaised(); raised != nil {
			add(e, "Received external event",
				attribute.String("name", raised.GetName()), attribute.Int("size", len(raised.GetInput().GetValue())))
		} else if suspended := e.GetExecutionSuspended(); suspended != nil {
			add(e, "Execution suspended", attribute.String("reason", suspended.GetInput().GetValue()))
		} else if resumed := e.GetExecutionResumed(); resumed != nil {
			add(e, "Execution resumed", attribute.String("reason", resumed.GetInput().GetValue()))
		}
	}
}

// timerSpans exports a span for each timer that has fired, from when it was set.
func timerSpans(ctx context.Context, id string, events []*protos.HistoryEvent) {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return
	}
	for _, e := range events {
		if fired := e.GetTimerFired(); fired != nil {
			_ = helpers.StartAndEndNewTimerSpan(ctx, fired, e.GetTimestamp().AsTime(), id) // it returns no error
		}
	}
}

// beginActivitySpan begins an activity's span if its workflow is traced, and
// returns the activity's event with the span in it.
func beginActivitySpan(ctx context.Context, a activity) (context.Context, *protos.HistoryEvent, trace.Span) {
	scheduled := a.task.GetTaskScheduled()
	parent := scheduled.GetParentTraceContext()
	if parent == nil {
		return ctx, a.task, helpers.NoopSpan()
	}
	ctx, err := helpers.ContextFromTraceContext(ctx, parent)
	if err != nil {
		return ctx, a.task, helpers.NoopSpan()
	}
	ctx, span := helpers.StartNewActivitySpan(
		ctx, scheduled.GetName(), scheduled.GetVersion().GetValue(), a.inst.id, a.task.GetEventId())
	task, _ := proto.Clone(a.task).(*protos.HistoryEvent) // ours is shared with snapshots
	task.GetTaskScheduled().ParentTraceContext = helpers.TraceContextFromSpan(span)
	return ctx, task, span
}
