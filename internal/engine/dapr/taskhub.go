package dapr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/api/protos"
	taskhub "github.com/dapr/durabletask-go/client"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ordersaga/ordersaga/internal/backoff"
	"github.com/ordersaga/ordersaga/internal/engine"
)

// taskHub implements engine.TaskHub with the SDK's gRPC client. It retries calls
// that do not reach an actor, and hides corrupt instances; see withGeneration.
type taskHub struct{ *taskhub.TaskHubGrpcClient }

var _ engine.TaskHub = taskHub{}

// ScheduleNewWorkflow implements engine.TaskHub.
func (h taskHub) ScheduleNewWorkflow(ctx context.Context, workflow any, opts ...api.NewWorkflowOptions) (api.InstanceID, error) {
	name, ok := workflow.(string)
	if !ok {
		return "", engine.ErrUnsupported
	}
	var req protos.CreateInstanceRequest
	for _, o := range opts {
		if err := o(&req); err != nil {
			return "", fmt.Errorf("start workflow %s: %w", name, err)
		}
	}
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() && !sc.IsSampled() {
		// The SDK would mark it as sampled. Dapr then starts a trace of its own if it
		// samples one, and activities do not join it.
		ctx = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	}
	id := api.InstanceID(req.GetInstanceId())
	return id, withGeneration(ctx, id, func(instance api.InstanceID) error {
		start := func() error {
			_, err := h.TaskHubGrpcClient.ScheduleNewWorkflow(ctx, name, append(slices.Clone(opts), api.WithInstanceID(instance))...)
			return err
		}
		err := start()
		active := func() bool { return status.Code(err) == codes.AlreadyExists }
		for pause := 10 * time.Millisecond; pause < time.Second && active() && h.evictFromMemory(ctx, instance); pause *= 2 {
			if backoff.Sleep(ctx, pause) != nil { // the sidecar drops the instance a moment after its response
				return err
			}
			err = start()
		}
		// A stalled instance accepts no purge, so it cannot be evicted.
		if err != nil && strings.Contains(err.Error(), engine.StalledActor) && h.notInStore(ctx, instance) {
			return engine.ErrInMemory
		}
		return err
	})
}

// evictFromMemory makes a sidecar drop an instance that is only in its memory, and
// reports whether there was one. That happens when the state is deleted in the
// store: until the sidecar stops, reads find no instance and starts find a
// running one. On Redis the sidecar may have written a part of the state again,
// which counts as corrupt. A purge reaches that sidecar and is rejected, but makes
// it read the state again (1.18.2: deferred in orchestrator/state.go). A running
// instance is not affected.
func (h taskHub) evictFromMemory(ctx context.Context, id api.InstanceID) bool {
	if !h.notInStore(ctx, id) {
		return false
	}
	_ = h.TaskHubGrpcClient.PurgeWorkflowState(ctx, id) // rejected: it has not ended
	return ctx.Err() == nil
}

// notInStore reports whether the store has no readable instance with that id.
func (h taskHub) notInStore(ctx context.Context, id api.InstanceID) bool {
	err := retryCorrupt(ctx, func() error {
		_, err := h.fetch(ctx, id)
		return err
	})
	return err != nil && (errors.Is(err, api.ErrInstanceNotFound) || corrupt(err))
}

// FetchWorkflowMetadata implements engine.TaskHub.
func (h taskHub) FetchWorkflowMetadata(ctx context.Context, id api.InstanceID) (m *protos.WorkflowMetadata, err error) {
	err = withGeneration(ctx, id, func(instance api.InstanceID) error {
		m, err = h.fetch(ctx, instance)
		return err
	})
	if m != nil {
		m.InstanceId = string(id)
	}
	return m, err
}

// fetch retries a few times: Dapr reads a workflow's parts one after the other,
// and reports one as missing if the workflow changes meanwhile ("transient store
// read failure or partial save?").
func (h taskHub) fetch(ctx context.Context, id api.InstanceID) (m *protos.WorkflowMetadata, err error) {
	for attempt := range 6 {
		m, err = h.TaskHubGrpcClient.FetchWorkflowMetadata(ctx, id, api.WithFetchPayloads(true))
		if status.Code(err) != codes.Unknown || errors.Is(err, api.ErrInstanceNotFound) {
			return m, err
		}
		if late := backoff.Sleep(ctx, time.Millisecond<<attempt*5); late != nil {
			return nil, late
		}
	}
	return m, err
}

// WaitForWorkflowStart implements engine.TaskHub.
func (h taskHub) WaitForWorkflowStart(ctx context.Context, id api.InstanceID) (*protos.WorkflowMetadata, error) {
	return h.TaskHubGrpcClient.WaitForWorkflowStart(ctx, id)
}

// WaitForWorkflowCompletion implements engine.TaskHub.
func (h taskHub) WaitForWorkflowCompletion(ctx context.Context, id api.InstanceID) (m *protos.WorkflowMetadata, err error) {
	err = withGeneration(ctx, id, func(instance api.InstanceID) error {
		_, err = h.fetch(ctx, instance)
		if err != nil { // waiting for a corrupt instance would never return
			return err
		}
		m, err = h.TaskHubGrpcClient.WaitForWorkflowCompletion(ctx, instance, api.WithFetchPayloads(true))
		return err
	})
	if m != nil {
		m.InstanceId = string(id)
	}
	return m, err
}

// RaiseEvent implements engine.TaskHub.
func (h taskHub) RaiseEvent(ctx context.Context, id api.InstanceID, event string, opts ...api.RaiseEventOptions) error {
	return withGeneration(ctx, id, func(instance api.InstanceID) error {
		return h.TaskHubGrpcClient.RaiseEvent(ctx, instance, event, opts...)
	})
}

// SuspendWorkflow implements engine.TaskHub.
func (h taskHub) SuspendWorkflow(ctx context.Context, id api.InstanceID, reason string) error {
	return withGeneration(ctx, id, func(instance api.InstanceID) error {
		return h.TaskHubGrpcClient.SuspendWorkflow(ctx, instance, reason)
	})
}

// ResumeWorkflow implements engine.TaskHub.
func (h taskHub) ResumeWorkflow(ctx context.Context, id api.InstanceID, reason string) error {
	return withGeneration(ctx, id, func(instance api.InstanceID) error {
		return h.TaskHubGrpcClient.ResumeWorkflow(ctx, instance, reason)
	})
}

// TerminateWorkflow implements engine.TaskHub.
func (h taskHub) TerminateWorkflow(ctx context.Context, id api.InstanceID, opts ...api.TerminateOptions) error {
	return withGeneration(ctx, id, func(instance api.InstanceID) error {
		return h.TaskHubGrpcClient.TerminateWorkflow(ctx, instance, opts...)
	})
}

// PurgeWorkflowState implements engine.TaskHub.
func (h taskHub) PurgeWorkflowState(ctx context.Context, id api.InstanceID, opts ...api.PurgeOptions) error {
	return withGeneration(ctx, id, func(instance api.InstanceID) error {
		return h.TaskHubGrpcClient.PurgeWorkflowState(ctx, instance, opts...)
	})
}

// ListInstanceIDs implements engine.TaskHub.
func (h taskHub) ListInstanceIDs(ctx context.Context, opts ...api.ListInstanceIDsOptions) (*protos.ListInstanceIDsResponse, error) {
	return h.TaskHubGrpcClient.ListInstanceIDs(ctx, opts...)
}

// GetInstanceHistory implements engine.TaskHub.
func (h taskHub) GetInstanceHistory(ctx context.Context, id api.InstanceID) (res *protos.GetInstanceHistoryResponse, err error) {
	err = withGeneration(ctx, id, func(instance api.InstanceID) error {
		res, err = h.TaskHubGrpcClient.GetInstanceHistory(ctx, instance)
		return err
	})
	return res, err
}
