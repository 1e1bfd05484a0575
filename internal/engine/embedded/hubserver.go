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

// hubServer is the client half of the durable-task protocol: the SDK's server,
// but for what it drops without a word, and for the worker half.
type hubServer struct {
	protos.TaskHubSidecarServiceServer
	engine *Engine
	start  StartFunc
}

// StartInstance implements protos.TaskHubSidecarServiceServer. The start is
// durable when it returns; whether the workflow has begun is not waited for.
func (s hubServer) StartInstance(ctx context.Context, req *protos.CreateInstanceRequest) (*protos.CreateInstanceResponse, error) {
	if req.GetScheduledStartTimestamp() != nil {
		return nil, status.Error(codes.Unimplemented, "scheduledStartTimestamp: sagas start at once")
	}
	// A client's trace goes on here, as intake's does.
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
	return orNone(s.TaskHubSidecarServiceServer.WaitForInstanceStart(ctx, req))
}

// WaitForInstanceCompletion implements protos.TaskHubSidecarServiceServer.
func (s hubServer) WaitForInstanceCompletion(ctx context.Context, req *protos.GetInstanceRequest) (*protos.GetInstanceResponse, error) {
	return orNone(s.TaskHubSidecarServiceServer.WaitForInstanceCompletion(ctx, req))
}

// orNone says in the answer that there is no such instance: clients take an
// error for a reason to ask again, for ever.
func orNone(res *protos.GetInstanceResponse, err error) (*protos.GetInstanceResponse, error) {
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
	if err := cmp.Or(short("name", req.GetName(), text.MaxID), short("input", req.GetInput().GetValue(), maxPayload)); err != nil {
		return nil, err
	}
	if err := s.alive(ctx, req.GetInstanceId()); err != nil {
		return nil, err
	}
	return s.TaskHubSidecarServiceServer.RaiseEvent(ctx, req)
}

// What a client says is kept in the saga's history, and passed on with it at each
// turn: no more than this is taken, in bytes.
const (
	maxPayload = 64 << 10
	maxReason  = 4 * text.Max
)

func short(field, value string, most int) error {
	if len(value) > most {
		return status.Errorf(codes.InvalidArgument, "%s: has %d bytes, at most %d are taken", field, len(value), most)
	}
	return nil
}

// TerminateInstance implements protos.TaskHubSidecarServiceServer.
func (s hubServer) TerminateInstance(ctx context.Context, req *protos.TerminateRequest) (*protos.TerminateResponse, error) {
	if err := short("output", req.GetOutput().GetValue(), maxReason); err != nil {
		return nil, err
	}
	if err := s.alive(ctx, req.GetInstanceId()); err != nil {
		return nil, err
	}
	return s.TaskHubSidecarServiceServer.TerminateInstance(ctx, req)
}

// SuspendInstance implements protos.TaskHubSidecarServiceServer.
func (s hubServer) SuspendInstance(ctx context.Context, req *protos.SuspendRequest) (*protos.SuspendResponse, error) {
	if err := short("reason", req.GetReason().GetValue(), maxReason); err != nil {
		return nil, err
	}
	if err := s.alive(ctx, req.GetInstanceId()); err != nil {
		return nil, err
	}
	return s.TaskHubSidecarServiceServer.SuspendInstance(ctx, req)
}

// ResumeInstance implements protos.TaskHubSidecarServiceServer.
func (s hubServer) ResumeInstance(ctx context.Context, req *protos.ResumeRequest) (*protos.ResumeResponse, error) {
	if err := short("reason", req.GetReason().GetValue(), maxReason); err != nil {
		return nil, err
	}
	if err := s.alive(ctx, req.GetInstanceId()); err != nil {
		return nil, err
	}
	return s.TaskHubSidecarServiceServer.ResumeInstance(ctx, req)
}

// alive is for what the store takes for an ended instance too, and drops.
func (s hubServer) alive(ctx context.Context, id string) error {
	i, err := s.engine.Get(ctx, id)
	if err == nil && i.Status.Ended() {
		err = fmt.Errorf("saga %s is %s: %w", id, i.Status, engine.ErrEnded)
	}
	return err
}

// PurgeInstances implements protos.TaskHubSidecarServiceServer.
func (s hubServer) PurgeInstances(ctx context.Context, req *protos.PurgeInstancesRequest) (*protos.PurgeInstancesResponse, error) {
	res, err := s.TaskHubSidecarServiceServer.PurgeInstances(ctx, req)
	if errors.Is(err, api.ErrInstanceNotFound) { // or it has not begun
		if _, err := s.engine.Get(ctx, req.GetInstanceId()); err == nil {
			return nil, fmt.Errorf("purge saga %s: %w", req.GetInstanceId(), engine.ErrNotCompleted)
		}
		return &protos.PurgeInstancesResponse{}, nil // as clients expect it
	}
	return res, err
}

const noWorkers = "workers run in the engine's own process; only clients are served here"

// GetWorkItems implements protos.TaskHubSidecarServiceServer.
func (hubServer) GetWorkItems(*protos.GetWorkItemsRequest, protos.TaskHubSidecarService_GetWorkItemsServer) error {
	return status.Error(codes.Unimplemented, noWorkers)
}
