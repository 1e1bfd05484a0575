package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/backend"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ordersaga/ordersaga/internal/engine"
)

// StartFunc starts an instance for a durable-task client. The start must be
// durable when it returns. Its error may be a gRPC status. It is called
// concurrently.
type StartFunc func(ctx context.Context, workflow, id string, input []byte) error

// shutdownGrace is how long calls in progress, and connections without traffic,
// may delay the end of Serve.
const shutdownGrace = 5 * time.Second

// Serve serves durable-task clients in their gRPC protocol on l, until ctx ends;
// then it returns nil. It closes l. The protocol has no authentication, so l must
// be loopback.
func (e *Engine) Serve(ctx context.Context, l net.Listener, start StartFunc) error {
	srv := grpc.NewServer(grpc.ConnectionTimeout(shutdownGrace), grpc.UnaryInterceptor(
		func(call context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			// A call may wait for days; it must not delay the shutdown.
			call, cancel := context.WithCancel(call)
			defer cancel()
			defer context.AfterFunc(ctx, cancel)()
			res, err := checkRequest(call, req, handle)
			if errors.Is(err, context.Canceled) && ctx.Err() != nil {
				return nil, status.Error(codes.Unavailable, "the engine is being stopped; sagas continue when it is back: retry the call")
			}
			return res, withStatusCode(err)
		}))
	// The SDK's own server sits between hubServer and the store.
	_, register := backend.NewGrpcExecutor(e.store, engine.Logger(e.opt.Logger))
	register(registrar(func(sdk protos.TaskHubSidecarServiceServer) {
		protos.RegisterTaskHubSidecarServiceServer(srv, hubServer{TaskHubSidecarServiceServer: sdk, engine: e, start: start})
	}))

	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		forceStop := time.AfterFunc(shutdownGrace, srv.Stop)
		defer forceStop.Stop()
		srv.GracefulStop()
	})
	err := srv.Serve(l)
	if stop() { // ctx has not ended
		return fmt.Errorf("serve durable-task clients on %s: %w", l.Addr(), err)
	}
	<-stopped
	return nil
}

// registrar receives the server that the SDK registers.
type registrar func(protos.TaskHubSidecarServiceServer)

// RegisterService implements grpc.ServiceRegistrar.
func (r registrar) RegisterService(_ *grpc.ServiceDesc, impl any) {
	sdk, ok := impl.(protos.TaskHubSidecarServiceServer)
	if !ok {
		panic(fmt.Sprintf("embedded: the SDK registers a %T", impl))
	}
	r(sdk)
}

// checkRequest rejects what no handler should receive: a worker's results, and
// requests with an invalid id.
func checkRequest(ctx context.Context, req any, handle grpc.UnaryHandler) (any, error) {
	switch r := req.(type) {
	case *protos.WorkflowResponse, *protos.ActivityResponse:
		return nil, status.Error(codes.Unimplemented, noWorkers)
	case *protos.PurgeInstancesRequest:
		if r.GetPurgeInstanceFilter() != nil {
			return nil, status.Error(codes.Unimplemented, "purge by a filter is not supported: sagas are purged one by one, and by age")
		}
	case *protos.RerunWorkflowFromEventRequest:
		if err := checkID("sourceInstanceID", r.GetSourceInstanceID()); err != nil {
			return nil, err
		}
	}
	if r, ok := req.(interface{ GetInstanceId() string }); ok {
		if err := checkID("instanceId", r.GetInstanceId()); err != nil {
			return nil, err
		}
	}
	return handle(ctx, req)
}

// checkID returns an InvalidArgument status for an id that no instance can have.
func checkID(field, id string) error {
	if err := engine.CheckID(id); err != nil {
		return status.Error(codes.InvalidArgument, field+": "+err.Error())
	}
	return nil
}

// withStatusCode returns err with the gRPC code that it stands for.
func withStatusCode(err error) error {
	if _, is := status.FromError(err); is { // also for nil
		return err
	}
	for is, code := range map[error]codes.Code{
		api.ErrInstanceNotFound: codes.NotFound, engine.ErrNotFound: codes.NotFound,
		api.ErrDuplicateInstance: codes.AlreadyExists, engine.ErrActive: codes.AlreadyExists,
		api.ErrNotCompleted: codes.FailedPrecondition, engine.ErrNotCompleted: codes.FailedPrecondition,
		engine.ErrEnded: codes.FailedPrecondition, engine.ErrStalled: codes.FailedPrecondition,
		engine.ErrInvalidID: codes.InvalidArgument, engine.ErrUnsupported: codes.Unimplemented,
		context.Canceled: codes.Canceled, context.DeadlineExceeded: codes.DeadlineExceeded,
	} {
		if errors.Is(err, is) {
			return status.Error(code, err.Error())
		}
	}
	return status.Error(codes.Internal, err.Error())
}
