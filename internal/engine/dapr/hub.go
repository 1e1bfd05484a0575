package dapr

import (
	"context"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/api/protos"
	taskhub "github.com/dapr/durabletask-go/client"

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

func (h hub) FetchWorkflowMetadata(ctx context.Context, id api.InstanceID) (*protos.WorkflowMetadata, error) {
	return h.TaskHubGrpcClient.FetchWorkflowMetadata(ctx, id, api.WithFetchPayloads(true))
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
