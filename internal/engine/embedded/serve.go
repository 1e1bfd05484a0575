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

// StartFunc starts an instance on behalf of a durable-task client. Its error
// may be a gRPC status.
type StartFunc func(ctx context.Context, workflow, id string, input []byte) error

// grace is how long calls under way, and clients that say nothing, may keep
// Serve from ending.
const grace = 5 * time.Second

// Serve answers durable-task clients in their gRPC protocol on l, until ctx
// ends. It closes l. The protocol has no passwords: l must be loopback.
func (e *Engine) Serve(ctx context.Context, l net.Listener, start StartFunc) error {
	srv := grpc.NewServer(grpc.ConnectionTimeout(grace), grpc.UnaryInterceptor(
		func(call context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			// A call may wait for days; it must not keep us from ending.
			call, cancel := context.WithCancel(call)
			defer cancel()
			defer context.AfterFunc(ctx, cancel)()
			res, err := checked(call, req, handle)
			if errors.Is(err, context.Canceled) && ctx.Err() != nil {
				return nil, status.Error(codes.Unavailable, "the engine is being stopped; sagas go on when it is back")
			}
			return res, coded(err)
		}))
	// The SDK's server, between ours and the store.
	_, register := backend.NewGrpcExecutor(e.store, engine.Logger(e.opt.Logger))
	register(registrar(func(sdk protos.TaskHubSidecarServiceServer) {
		protos.RegisterTaskHubSidecarServiceServer(srv, hubServer{sdk, e, start})
	}))

	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		hurry := time.AfterFunc(grace, srv.Stop)
		defer hurry.Stop()
		srv.GracefulStop()
	})
	err := srv.Serve(l)
	if stop() { // ctx has not ended
		return fmt.Errorf("serve durable-task clients on %s: %w", l.Addr(), err)
	}
	<-stopped
	return nil
}

// registrar catches the server that the SDK registers.
type registrar func(protos.TaskHubSidecarServiceServer)

// RegisterService implements grpc.ServiceRegistrar.
func (r registrar) RegisterService(_ *grpc.ServiceDesc, impl any) {
	sdk, ok := impl.(protos.TaskHubSidecarServiceServer)
	if !ok {
		panic(fmt.Sprintf("embedded: the SDK registers a %T", impl))
	}
	r(sdk)
}

// checked refuses what no handler should see: a worker's answers, and requests
// about no instance.
func checked(ctx context.Context, req any, handle grpc.UnaryHandler) (any, error) {
	switch r := req.(type) {
	case *protos.WorkflowResponse, *protos.ActivityResponse:
		return nil, status.Error(codes.Unimplemented, noWorkers)
	case *protos.PurgeInstancesRequest:
		if r.GetPurgeInstanceFilter() != nil {
			return nil, status.Error(codes.Unimplemented, "purge by a filter: sagas are purged one by one, and by age")
		}
	}
	if r, ok := req.(interface{ GetInstanceId() string }); ok && r.GetInstanceId() == "" {
		return nil, status.Error(codes.InvalidArgument, "instanceId: must be set")
	}
	return handle(ctx, req)
}

// coded gives an error the gRPC code that it means.
func coded(err error) error {
	if _, is := status.FromError(err); is { // also nil
		return err
	}
	for is, code := range map[error]codes.Code{
		api.ErrInstanceNotFound: codes.NotFound, engine.ErrNotFound: codes.NotFound,
		api.ErrDuplicateInstance: codes.AlreadyExists, engine.ErrActive: codes.AlreadyExists,
		api.ErrNotCompleted: codes.FailedPrecondition, engine.ErrNotCompleted: codes.FailedPrecondition,
		engine.ErrEnded: codes.FailedPrecondition, engine.ErrUnsupported: codes.Unimplemented,
		context.Canceled: codes.Canceled, context.DeadlineExceeded: codes.DeadlineExceeded,
	} {
		if errors.Is(err, is) {
			return status.Error(code, err.Error())
		}
	}
	return status.Error(codes.Internal, err.Error())
}
