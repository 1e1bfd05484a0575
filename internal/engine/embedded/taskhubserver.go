package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/api/helpers"
	"github.com/dapr/durabletask-go/api/protos"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/text"
)

// hubServer serves the client half of the durable-task protocol. It wraps the
// SDK's server: it returns an error where that drops a request silently, and it
// rejects the worker half.
type hubServer struct {
	protos.TaskHubSidecarServiceServer // the SDK's
	engine                             *Engine
	start                              StartFunc
}

// StartInstance implements protos.TaskHubSidecarServiceServer. The start is
// durable when it returns; it does not wait until the workflow runs.
func (s hubServer) StartInstance(ctx context.Context, req *protos.CreateInstanceRequest) (*protos.CreateInstanceResponse, error) {
	if req.GetScheduledStartTimestamp() != nil {
		return nil, status.Error(codes.Unimplemented, "scheduledStartTimestamp: not supported, sagas start at once")
	}
	// The saga joins the client's trace, as it joins that of a message.
	ctx, err := helpers.ContextFromTraceContext(ctx, req.GetParentTraceContext())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "parentTraceContext: "+err.Error())
	}
	if err := s.start(ctx, req.GetName(), req.GetInstanceId(), []byte(req.GetInput().GetValue())); err != nil {
		return nil, err
	}
	return &protos.CreateInstanceResponse{InstanceId: req.GetInstanceId()}, nil
}

// WaitForInstanceStart implements protos.TaskHubSidecarServiceServer.
func (s hubServer) WaitForInstanceStart(ctx context.Context, req *protos.GetInstanceRequest) (*protos.GetInstanceResponse, error) {
	return foundOrEmpty(s.TaskHubSidecarServiceServer.WaitForInstanceStart(ctx, req))
}

// WaitForInstanceCompletion implements protos.TaskHubSidecarServiceServer.
func (s hubServer) WaitForInstanceCompletion(ctx context.Context, req *protos.GetInstanceRequest) (*protos.GetInstanceResponse, error) {
	return foundOrEmpty(s.TaskHubSidecarServiceServer.WaitForInstanceCompletion(ctx, req))
}

// foundOrEmpty returns an empty response, which means that there is no such
// instance, in place of that error: clients would retry an error without end.
func foundOrEmpty(res *protos.GetInstanceResponse, err error) (*protos.GetInstanceResponse, error) {
	if errors.Is(err, api.ErrInstanceNotFound) {
		return &protos.GetInstanceResponse{}, nil
	}
	return res, err
}

// RaiseEvent implements protos.TaskHubSidecarServiceServer.
func (s hubServer) RaiseEvent(ctx context.Context, req *protos.RaiseEventRequest) (*protos.RaiseEventResponse, error) {
	if req.GetName() == "" {
		return nil, status.Error(codes.InvalidArgument, "name: must be set")
	}
	err := cmp.Or(limitLength("name", req.GetName(), text.MaxID), limitLength("input", req.GetInput().GetValue(), maxPayload))
	if err != nil {
		return nil, err
	}
	if err := s.checkRunning(ctx, req.GetInstanceId()); err != nil {
		return nil, err
	}
	return s.TaskHubSidecarServiceServer.RaiseEvent(ctx, req)
}

// Limits of what a client sends, in bytes: it is kept in the saga's history, which
// is replayed at each turn.
const (
	maxPayload = 64 << 10
	maxReason  = 4 * text.Max
)

func limitLength(field, value string, most int) error {
	if len(value) > most {
		return status.Errorf(codes.InvalidArgument, "%s: has %d bytes, must have at most %d", field, len(value), most)
	}
	return nil
}

// TerminateInstance implements protos.TaskHubSidecarServiceServer.
func (s hubServer) TerminateInstance(ctx context.Context, req *protos.TerminateRequest) (*protos.TerminateResponse, error) {
	if err := limitLength("output", req.GetOutput().GetValue(), maxReason); err != nil {
		return nil, err
	}
	if err := s.checkRunning(ctx, req.GetInstanceId()); err != nil {
		return nil, err
	}
	return s.TaskHubSidecarServiceServer.TerminateInstance(ctx, req)
}

// SuspendInstance implements protos.TaskHubSidecarServiceServer.
func (s hubServer) SuspendInstance(ctx context.Context, req *protos.SuspendRequest) (*protos.SuspendResponse, error) {
	if err := limitLength("reason", req.GetReason().GetValue(), maxReason); err != nil {
		return nil, err
	}
	if err := s.checkRunning(ctx, req.GetInstanceId()); err != nil {
		return nil, err
	}
	return s.TaskHubSidecarServiceServer.SuspendInstance(ctx, req)
}

// ResumeInstance implements protos.TaskHubSidecarServiceServer.
func (s hubServer) ResumeInstance(ctx context.Context, req *protos.ResumeRequest) (*protos.ResumeResponse, error) {
	if err := limitLength("reason", req.GetReason().GetValue(), maxReason); err != nil {
		return nil, err
	}
	if err := s.checkRunning(ctx, req.GetInstanceId()); err != nil {
		return nil, err
	}
	return s.TaskHubSidecarServiceServer.ResumeInstance(ctx, req)
}

// checkRunning returns an error for an ended or a stalled instance, for requests that
// the store would accept and drop, or keep for the next process.
func (s hubServer) checkRunning(ctx context.Context, id string) error {
	i, err := s.engine.Get(ctx, id)
	switch {
	case err != nil:
	case i.Status.Ended():
		err = fmt.Errorf("saga %s is %s: %w", id, i.Status, engine.ErrEnded)
	case i.Status == engine.Stalled:
		err = fmt.Errorf("saga %s: %w", id, engine.ErrStalled)
	}
	return err
}

// PurgeInstances implements protos.TaskHubSidecarServiceServer.
func (s hubServer) PurgeInstances(ctx context.Context, req *protos.PurgeInstancesRequest) (*protos.PurgeInstancesResponse, error) {
	n, err := s.engine.store.purgeTree(ctx, req.GetInstanceId(), req.GetRecursive(), req.GetForce())
	if err != nil && !errors.Is(err, api.ErrInstanceNotFound) { // clients expect a count, not an error, for that
		return nil, fmt.Errorf("purge saga %s: %w", req.GetInstanceId(), err)
	}
	return &protos.PurgeInstancesResponse{DeletedInstanceCount: int32(n)}, nil
}

const noWorkers = "workers run in the engine's own process; only clients are served here"

// GetWorkItems implements protos.TaskHubSidecarServiceServer.
func (hubServer) GetWorkItems(*protos.GetWorkItemsRequest, protos.TaskHubSidecarService_GetWorkItemsServer) error {
	return status.Error(codes.Unimplemented, noWorkers)
}
