package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/api/protos"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The embedded backend returns errors as values; through gRPC they arrive as codes
// or texts. Callers must get the same errors from both.
func TestErrorsOfBothEngines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ err, want error }{
		{api.ErrInstanceNotFound, ErrNotFound},
		{fmt.Errorf("wrapped: %w", api.ErrDuplicateInstance), ErrActive},
		{api.ErrNotCompleted, ErrNotCompleted},
		{status.Error(codes.AlreadyExists, "x"), ErrActive},
		{status.Error(codes.NotFound, "x"), ErrNotFound},
		{status.Error(codes.Unavailable, "x"), ErrUnavailable},
		{status.Error(codes.DeadlineExceeded, "x"), context.DeadlineExceeded},
		{status.Error(codes.Unknown, "rpc: "+api.ErrNotCompleted.Error()), ErrNotCompleted},
		{status.Error(codes.Internal, "failed to add event: actor is stalled"), ErrStalled},
		{status.Error(codes.Unknown, "rpc: "+api.ErrStalled.Error()), ErrStalled},
	} {
		if got := mapError(c.err, "read", "o"); !errors.Is(got, c.want) {
			t.Errorf("mapError(%v) = %v, want %v", c.err, got, c.want)
		}
	}
	if err := mapError(nil, "read", "o"); err != nil {
		t.Errorf("mapError(nil) = %v, want nil", err)
	}
	other := errors.New("disk on fire")
	if got := mapError(other, "read", "o"); !errors.Is(got, other) || errors.Is(got, ErrNotFound) {
		t.Errorf("mapError(%v) = %v, want it wrapped only", other, got)
	}
}

func TestRawJSONQuotesWhatIsNotJSON(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": "", `{"a":1}`: `{"a":1}`, "3": "3", "plain text": `"plain text"`, `{"a"`: `"{\"a\""`} {
		if got := string(rawJSON(in)); got != want {
			t.Errorf("rawJSON(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestHistoryEventsAreConverted(t *testing.T) {
	t.Parallel()
	at, fire := time.Unix(100, 0).UTC(), time.Unix(200, 0).UTC()
	text, failed := wrapperspb.String(`"x"`), &protos.TaskFailureDetails{ErrorMessage: "bad"}
	name := "n"
	for _, c := range []struct {
		in   *protos.HistoryEvent
		want string // type name data error relates-to at
	}{
		{&protos.HistoryEvent{EventType: &protos.HistoryEvent_ExecutionStarted{
			ExecutionStarted: &protos.ExecutionStartedEvent{Name: name, Input: text},
		}}, `ExecutionStarted n "x" - 100`},
		{&protos.HistoryEvent{EventType: &protos.HistoryEvent_ExecutionCompleted{
			ExecutionCompleted: &protos.ExecutionCompletedEvent{Result: text, FailureDetails: failed},
		}}, `ExecutionCompleted  "x" bad - 100`},
		{&protos.HistoryEvent{EventType: &protos.HistoryEvent_TaskScheduled{
			TaskScheduled: &protos.TaskScheduledEvent{Name: name, Input: text},
		}}, `TaskScheduled n "x" - 100`},
		{&protos.HistoryEvent{EventType: &protos.HistoryEvent_TaskCompleted{
			TaskCompleted: &protos.TaskCompletedEvent{TaskScheduledId: 7, Result: text},
		}}, `TaskCompleted  "x" 7 100`},
		{&protos.HistoryEvent{EventType: &protos.HistoryEvent_TaskFailed{
			TaskFailed: &protos.TaskFailedEvent{TaskScheduledId: 7, FailureDetails: failed},
		}}, `TaskFailed   bad 7 100`},
		{&protos.HistoryEvent{EventType: &protos.HistoryEvent_ChildWorkflowInstanceCreated{
			ChildWorkflowInstanceCreated: &protos.ChildWorkflowInstanceCreatedEvent{InstanceId: "kid", Input: text},
		}}, `ChildWorkflowInstanceCreated kid "x" - 100`},
		{&protos.HistoryEvent{EventType: &protos.HistoryEvent_ChildWorkflowInstanceCompleted{
			ChildWorkflowInstanceCompleted: &protos.ChildWorkflowInstanceCompletedEvent{TaskScheduledId: 7, Result: text},
		}}, `ChildWorkflowInstanceCompleted  "x" 7 100`},
		{&protos.HistoryEvent{EventType: &protos.HistoryEvent_ChildWorkflowInstanceFailed{
			ChildWorkflowInstanceFailed: &protos.ChildWorkflowInstanceFailedEvent{TaskScheduledId: 7, FailureDetails: failed},
		}}, `ChildWorkflowInstanceFailed   bad 7 100`},
		{&protos.HistoryEvent{EventType: &protos.HistoryEvent_TimerCreated{
			TimerCreated: &protos.TimerCreatedEvent{Name: &name, FireAt: timestamppb.New(fire)},
		}}, `TimerCreated n  fires 200 - 100`},
		// The SDK stamps it with the time at which it was set.
		{&protos.HistoryEvent{EventType: &protos.HistoryEvent_TimerFired{
			TimerFired: &protos.TimerFiredEvent{TimerId: 7, FireAt: timestamppb.New(fire)},
		}}, `TimerFired   7 200`},
		{&protos.HistoryEvent{EventType: &protos.HistoryEvent_EventRaised{
			EventRaised: &protos.EventRaisedEvent{Name: name, Input: text},
		}}, `EventRaised n "x" - 100`},
		{&protos.HistoryEvent{EventType: &protos.HistoryEvent_ExecutionSuspended{
			ExecutionSuspended: &protos.ExecutionSuspendedEvent{Input: text},
		}}, `ExecutionSuspended  "x" - 100`},
		{&protos.HistoryEvent{EventType: &protos.HistoryEvent_ExecutionResumed{
			ExecutionResumed: &protos.ExecutionResumedEvent{Input: text},
		}}, `ExecutionResumed  "x" - 100`},
		{&protos.HistoryEvent{EventType: &protos.HistoryEvent_ExecutionTerminated{
			ExecutionTerminated: &protos.ExecutionTerminatedEvent{Input: text},
		}}, `ExecutionTerminated  "x" - 100`},
		{&protos.HistoryEvent{EventType: &protos.HistoryEvent_ExecutionStalled{
			ExecutionStalled: &protos.ExecutionStalledEvent{
				Reason: protos.StalledReason_PAYLOAD_SIZE_EXCEEDED, Description: &name,
			},
		}}, `ExecutionStalled PAYLOAD_SIZE_EXCEEDED  n - 100`},
		{&protos.HistoryEvent{EventType: &protos.HistoryEvent_WorkflowStarted{
			WorkflowStarted: &protos.WorkflowStartedEvent{},
		}}, `WorkflowStarted   - 100`},
	} {
		c.in.Timestamp = timestamppb.New(at)
		e := eventOf(c.in)
		got := e.Type + " " + e.Name + " " + string(e.Data)
		if e.Error != "" {
			got += " " + e.Error
		}
		if e.FireAt != nil {
			got += fmt.Sprint(" fires ", e.FireAt.Unix())
		}
		if e.RelatesTo != nil {
			got += fmt.Sprint(" ", *e.RelatesTo)
		} else {
			got += " -"
		}
		got += fmt.Sprint(" ", e.At.Unix())
		if got != c.want {
			t.Errorf("eventOf = %q, want %q", got, c.want)
		}
	}
}

func TestForSDKLosesNoEventOfASuspendedSaga(t *testing.T) {
	t.Parallel()
	end := &protos.HistoryEvent{EventType: &protos.HistoryEvent_ExecutionTerminated{ExecutionTerminated: &protos.ExecutionTerminatedEvent{}}}
	kinds := map[byte]*protos.HistoryEvent{
		'e': {EventType: &protos.HistoryEvent_EventRaised{EventRaised: &protos.EventRaisedEvent{}}},
		's': {EventType: &protos.HistoryEvent_ExecutionSuspended{ExecutionSuspended: &protos.ExecutionSuspendedEvent{}}},
		'r': {EventType: &protos.HistoryEvent_ExecutionResumed{ExecutionResumed: &protos.ExecutionResumedEvent{}}},
		'f': {EventType: &protos.HistoryEvent_TimerFired{TimerFired: &protos.TimerFiredEvent{}}},
		't': end,
	}
	events := func(text string) (out []*protos.HistoryEvent) {
		for i := range text {
			out = append(out, kinds[text[i]])
		}
		return out
	}
	text := func(events []*protos.HistoryEvent) string {
		var out strings.Builder
		for _, e := range events {
			for k, is := range kinds {
				if e == is {
					out.WriteByte(k)
				}
			}
		}
		return out.String()
	}
	for _, c := range []struct{ history, added, past, turn string }{
		{"", "", "", ""},
		{"er", "e", "e", "e"},
		{"er", "ete", "", "t"},
		{"ste", "r", "", "t"}, // it was suspended
		{"ese", "s", "ese", ""},
		{"eses", "er", "ese", "er"}, // repaired by the first resumption
		{"ess", "esrr", "es", "er"},
		{"esr", "srs", "esr", "srs"},
		{"essrresser", "rsse", "esreser", "se"},
		{"sfe", "r", "sfe", "r"},    // the timer was first
		{"sef", "", "sef", ""},      // it is suspended
		{"sef", "r", "ef", ""},      // the event would be lost otherwise
		{"esse", "frf", "ee", "ff"}, // the event would be lost, with a repeated suspension
		{"esref", "sfr", "esref", "sfr"},
		{"sefrese", "ferse", "efee", "fese"}, // the last suspension has not ended
	} {
		history, added := events(c.history), events(c.added)
		past, turn, terminated := ForSDK(history, added)
		if text(past) != c.past || text(turn) != c.turn || terminated != (c.turn == "t") {
			t.Errorf("ForSDK(%q, %q) = %q, %q, %v, want %q, %q", c.history, c.added, text(past), text(turn), terminated, c.past, c.turn)
		}
		if text(history) != c.history || text(added) != c.added {
			t.Errorf("ForSDK changed its arguments %q, %q to %q, %q, want no change", c.history, c.added, text(history), text(added))
		}
	}
}
