package dapr

import (
	"context"
	"errors"
	"time"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/api/protos"
	taskhub "github.com/dapr/durabletask-go/client"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ordersaga/ordersaga/internal/engine"
)

// hub gives the SDK's gRPC client the shape of its in-process one.
type hub struct{ *taskhub.TaskHubGrpcClient }

var _ engine.Hub = hub{}

func (h hub) ScheduleNewWorkflow(ctx context.Context, workflow any, opts ...api.NewWorkflowOptions) (api.InstanceID, error) {
	name, ok := workflow.(string)
	if !ok {
		return "", engine.ErrUnsupported
	}
	return h.TaskHubGrpcClient.ScheduleNewWorkflow(ctx, name, opts...)
}

// FetchWorkflowMetadata asks again a few times: Dapr reads a workflow's parts
// one after the other, and says that one is missing when it changes meanwhile
// ("transient store read failure or partial save?").
func (h hub) FetchWorkflowMetadata(ctx context.Context, id api.InstanceID) (m *protos.WorkflowMetadata, err error) {
	for attempt := range 6 {
		m, err = h.TaskHubGrpcClient.FetchWorkflowMetadata(ctx, id, api.WithFetchPayloads(true))
		if status.Code(err) != codes.Unknown || errors.Is(err, api.ErrInstanceNotFound) {
			return m, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Millisecond << attempt * 5):
		}
	}
	return m, err
}

func (h hub) WaitForWorkflowStart(ctx context.Context, id api.InstanceID) (*protos.WorkflowMetadata, error) {
	return h.TaskHubGrpcClient.WaitForWorkflowStart(ctx, id)
}

func (h hub) WaitForWorkflowCompletion(ctx context.Context, id api.InstanceID) (*protos.WorkflowMetadata, error) {
	return h.TaskHubGrpcClient.WaitForWorkflowCompletion(ctx, id, api.WithFetchPayloads(true))
}

func (h hub) ListInstanceIDs(ctx context.Context, opts ...api.ListInstanceIDsOptions) (*protos.ListInstanceIDsResponse, error) {
	return h.TaskHubGrpcClient.ListInstanceIDs(ctx, opts...)
}

func (h hub) GetInstanceHistory(ctx context.Context, id api.InstanceID) (*protos.GetInstanceHistoryResponse, error) {
	return h.TaskHubGrpcClient.GetInstanceHistory(ctx, id)
}
