package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/backend"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ordersaga/ordersaga/internal/replay"
	"github.com/ordersaga/ordersaga/internal/text"
)

// TaskHub is the workflow client of durabletask-go. Both the embedded backend and
// a Dapr sidecar's gRPC client implement it.
type TaskHub interface {
	backend.TaskHubClient
	// ListInstanceIDs returns a page of the ids of all instances.
	ListInstanceIDs(context.Context, ...api.ListInstanceIDsOptions) (*protos.ListInstanceIDsResponse, error)
	// GetInstanceHistory returns an instance's events, oldest first.
	GetInstanceHistory(context.Context, api.InstanceID) (*protos.GetInstanceHistoryResponse, error)
}

// Client implements the management methods of Engine on top of a TaskHub, so that
// both engines return the same results and errors. It checks ids and limits before
// the Hub gets them. It is safe for concurrent use if its Hub is.
type Client struct{ Hub TaskHub }

// Start implements Engine.
func (c Client) Start(ctx context.Context, workflow, id string, input any) error {
	if err := CheckID(id); err != nil {
		return fmt.Errorf("start saga: %w", err)
	}
	_, err := c.Hub.ScheduleNewWorkflow(ctx, workflow, api.WithInstanceID(api.InstanceID(id)), api.WithInput(input))
	return mapError(err, "start", id)
}

// Get implements Engine.
func (c Client) Get(ctx context.Context, id string) (Instance, error) {
	if err := CheckID(id); err != nil {
		return Instance{}, fmt.Errorf("read saga: %w", err)
	}
	m, err := c.Hub.FetchWorkflowMetadata(ctx, api.InstanceID(id))
	if err != nil {
		return Instance{}, mapError(err, "read", id)
	}
	return instanceOf(m), nil
}

// Wait implements Engine.
func (c Client) Wait(ctx context.Context, id string) (Instance, error) {
	if _, err := c.Get(ctx, id); err != nil { // Dapr would wait until an unknown instance is created
		return Instance{}, err
	}
	m, err := c.Hub.WaitForWorkflowCompletion(ctx, api.InstanceID(id))
	if err != nil {
		return Instance{}, mapError(err, "wait for", id)
	}
	return instanceOf(m), nil
}

// Raise implements Engine.
func (c Client) Raise(ctx context.Context, id, event string, payload any) error {
	if err := c.checkRunning(ctx, id); err != nil {
		return err
	}
	return mapError(c.Hub.RaiseEvent(ctx, api.InstanceID(id), event, api.WithEventPayload(payload)), "send "+event+" to", id)
}

// Suspend implements Engine.
func (c Client) Suspend(ctx context.Context, id, reason string) error {
	if err := c.checkRunning(ctx, id); err != nil {
		return err
	}
	return mapError(c.Hub.SuspendWorkflow(ctx, api.InstanceID(id), text.Cut(reason, text.Max)), "suspend", id)
}

// Resume implements Engine.
func (c Client) Resume(ctx context.Context, id, reason string) error {
	if err := c.checkRunning(ctx, id); err != nil {
		return err
	}
	return mapError(c.Hub.ResumeWorkflow(ctx, api.InstanceID(id), text.Cut(reason, text.Max)), "resume", id)
}

// Terminate implements Engine.
func (c Client) Terminate(ctx context.Context, id, reason string) error {
	if err := c.checkRunning(ctx, id); err != nil {
		return err
	}
	return mapError(c.Hub.TerminateWorkflow(ctx, api.InstanceID(id), api.WithOutput(text.Cut(reason, text.Max))), "terminate", id)
}

// checkRunning returns ErrNotFound, ErrEnded or ErrStalled for an instance that
// cannot receive anything. The SDK drops such events silently, or Dapr rejects
// them.
func (c Client) checkRunning(ctx context.Context, id string) error {
	i, err := c.Get(ctx, id)
	switch {
	case err != nil:
		return err
	case i.Status.Ended():
		return fmt.Errorf("saga %s: %w", id, ErrEnded)
	case i.Status == Stalled:
		return fmt.Errorf("saga %s: %w", id, ErrStalled)
	}
	return nil
}

// Purge implements Engine.
func (c Client) Purge(ctx context.Context, id string) error {
	// Checked first: the SDK does not find an instance that has not begun.
	i, err := c.Get(ctx, id)
	if err == nil && !i.Status.Ended() {
		err = fmt.Errorf("purge saga %s: %w", id, ErrNotCompleted)
	}
	if err != nil {
		return err
	}
	return mapError(c.Hub.PurgeWorkflowState(ctx, api.InstanceID(id)), "purge", id)
}

// Rerun implements Engine.
func (c Client) Rerun(ctx context.Context, id string, eventID int) (string, error) {
	if err := CheckID(id); err != nil {
		return "", fmt.Errorf("rerun saga: %w", err)
	}
	if eventID < 0 || eventID > math.MaxInt32 {
		return "", fmt.Errorf("rerun saga %s from event %d: no event has this id: %w", id, eventID, ErrNotFound)
	}
	newID, err := c.Hub.RerunWorkflowFromEvent(ctx, api.InstanceID(id), uint32(eventID))
	return string(newID), mapError(err, "rerun", id)
}

// List implements Engine.
func (c Client) List(ctx context.Context, cursor string, limit int) ([]string, string, error) {
	if limit < 1 || limit > MaxListLimit {
		return nil, "", fmt.Errorf("list sagas: %w, got %d", ErrInvalidLimit, limit)
	}
	opts := []api.ListInstanceIDsOptions{api.WithListInstanceIDsPageSize(uint32(limit))}
	if cursor != "" {
		opts = append(opts, api.WithListInstanceIDsContinuationToken(cursor))
	}
	res, err := c.Hub.ListInstanceIDs(ctx, opts...)
	if err != nil {
		return nil, "", fmt.Errorf("list sagas: %w", err)
	}
	return res.GetInstanceIds(), res.GetContinuationToken(), nil
}

// History implements Engine.
func (c Client) History(ctx context.Context, id string) ([]Event, error) {
	if err := CheckID(id); err != nil {
		return nil, fmt.Errorf("read history of saga: %w", err)
	}
	res, err := c.Hub.GetInstanceHistory(ctx, api.InstanceID(id))
	if err != nil {
		return nil, mapError(err, "read history of", id)
	}
	out := make([]Event, len(res.GetEvents()))
	for i, e := range res.GetEvents() {
		out[i] = eventOf(e)
	}
	return out, nil
}

// StalledActor is part of the error text that Dapr 1.18.2 returns for a call to a
// stalled saga's actor (pkg/actors/targets/errors/stalled.go).
const StalledActor = "actor is stalled"

// mapError returns err as one of this package's errors if it stands for one, with
// the operation and the saga's id in front.
func mapError(err error, what, id string) error {
	if err == nil {
		return nil
	}
	// gRPC transports only a code and the text.
	switch status.Code(err) {
	case codes.AlreadyExists:
		return fmt.Errorf("%s saga %s: %w", what, id, ErrActive)
	case codes.NotFound:
		return fmt.Errorf("%s saga %s: %w", what, id, ErrNotFound)
	case codes.DeadlineExceeded: // the server's clock may reach the deadline before our context does
		return fmt.Errorf("%s saga %s: %w: %w", what, id, context.DeadlineExceeded, err)
	default:
	}
	if strings.Contains(err.Error(), StalledActor) {
		return fmt.Errorf("%s saga %s: %w", what, id, ErrStalled)
	}
	for from, to := range map[error]error{
		api.ErrInstanceNotFound: ErrNotFound, api.ErrDuplicateInstance: ErrActive,
		api.ErrNotCompleted: ErrNotCompleted, api.ErrStalled: ErrStalled,
	} {
		if errors.Is(err, from) || strings.Contains(err.Error(), from.Error()) {
			return fmt.Errorf("%s saga %s: %w", what, id, to)
		}
	}
	if status.Code(err) == codes.Unavailable {
		return fmt.Errorf("%s saga %s: %w: %w", what, id, ErrUnavailable, err)
	}
	return fmt.Errorf("%s saga %s: %w", what, id, err)
}

func instanceOf(m *protos.WorkflowMetadata) Instance {
	return Instance{
		ID: m.GetInstanceId(), Workflow: m.GetName(),
		Status:       RuntimeStatus(strings.TrimPrefix(m.GetRuntimeStatus().String(), "ORCHESTRATION_STATUS_")),
		CustomStatus: m.GetCustomStatus().GetValue(),
		CreatedAt:    m.GetCreatedAt().AsTime(), UpdatedAt: m.GetLastUpdatedAt().AsTime(),
		Input: rawJSON(m.GetInput().GetValue()), Output: rawJSON(m.GetOutput().GetValue()),
		Failure: m.GetFailureDetails().GetErrorMessage(),
	}
}

// rawJSON returns s if it is JSON, and s as a JSON string otherwise.
func rawJSON(s string) json.RawMessage {
	if s == "" {
		return nil
	}
	if json.Valid([]byte(s)) {
		return json.RawMessage(s)
	}
	b, err := json.Marshal(s)
	if err != nil { // a string always encodes
		return nil
	}
	return b
}

func eventOf(e *protos.HistoryEvent) Event {
	out := Event{ID: int(e.GetEventId()), At: e.GetTimestamp().AsTime()}
	relates := func(id int32) { n := int(id); out.RelatesTo = &n }
	switch t := e.GetEventType().(type) {
	case *protos.HistoryEvent_ExecutionStarted:
		out.Type, out.Name = "ExecutionStarted", t.ExecutionStarted.GetName()
		out.Data = rawJSON(t.ExecutionStarted.GetInput().GetValue())
	case *protos.HistoryEvent_ExecutionCompleted:
		out.Type, out.Data = "ExecutionCompleted", rawJSON(t.ExecutionCompleted.GetResult().GetValue())
		out.Error = t.ExecutionCompleted.GetFailureDetails().GetErrorMessage()
	case *protos.HistoryEvent_TaskScheduled:
		out.Type, out.Name, out.Data = "TaskScheduled", t.TaskScheduled.GetName(), rawJSON(t.TaskScheduled.GetInput().GetValue())
	case *protos.HistoryEvent_TaskCompleted:
		out.Type, out.Data = "TaskCompleted", rawJSON(t.TaskCompleted.GetResult().GetValue())
		relates(t.TaskCompleted.GetTaskScheduledId())
	case *protos.HistoryEvent_TaskFailed:
		out.Type, out.Error = "TaskFailed", t.TaskFailed.GetFailureDetails().GetErrorMessage()
		relates(t.TaskFailed.GetTaskScheduledId())
	case *protos.HistoryEvent_ChildWorkflowInstanceCreated:
		c := t.ChildWorkflowInstanceCreated
		out.Type, out.Name, out.Data = "ChildWorkflowInstanceCreated", c.GetInstanceId(), rawJSON(c.GetInput().GetValue())
	case *protos.HistoryEvent_ChildWorkflowInstanceCompleted:
		out.Type, out.Data = "ChildWorkflowInstanceCompleted", rawJSON(t.ChildWorkflowInstanceCompleted.GetResult().GetValue())
		relates(t.ChildWorkflowInstanceCompleted.GetTaskScheduledId())
	case *protos.HistoryEvent_ChildWorkflowInstanceFailed:
		out.Type, out.Error = "ChildWorkflowInstanceFailed", t.ChildWorkflowInstanceFailed.GetFailureDetails().GetErrorMessage()
		relates(t.ChildWorkflowInstanceFailed.GetTaskScheduledId())
	case *protos.HistoryEvent_TimerCreated:
		at := t.TimerCreated.GetFireAt().AsTime()
		out.Type, out.Name, out.FireAt = "TimerCreated", replay.TimerName(t.TimerCreated.GetName()), &at
	case *protos.HistoryEvent_TimerFired:
		// The SDK stamps it with the time at which the timer was armed.
		out.Type, out.At = "TimerFired", t.TimerFired.GetFireAt().AsTime()
		relates(t.TimerFired.GetTimerId())
	case *protos.HistoryEvent_EventRaised:
		out.Type, out.Name, out.Data = "EventRaised", t.EventRaised.GetName(), rawJSON(t.EventRaised.GetInput().GetValue())
	case *protos.HistoryEvent_ExecutionSuspended:
		out.Type, out.Data = "ExecutionSuspended", rawJSON(t.ExecutionSuspended.GetInput().GetValue())
	case *protos.HistoryEvent_ExecutionResumed:
		out.Type, out.Data = "ExecutionResumed", rawJSON(t.ExecutionResumed.GetInput().GetValue())
	case *protos.HistoryEvent_ExecutionTerminated:
		out.Type, out.Data = "ExecutionTerminated", rawJSON(t.ExecutionTerminated.GetInput().GetValue())
	case *protos.HistoryEvent_ExecutionStalled:
		out.Type, out.Name = "ExecutionStalled", t.ExecutionStalled.GetReason().String()
		out.Error = t.ExecutionStalled.GetDescription()
	default:
		out.Type = strings.TrimPrefix(fmt.Sprintf("%T", t), "*protos.HistoryEvent_")
	}
	return out
}
