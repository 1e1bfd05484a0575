package embedded

import (
	"context"
	"errors"

	"github.com/dapr/durabletask-go/backend"
)

// noWorkItems is the part of backend.Backend that only the SDK's worker loop
// calls. The engine has a loop of its own; see loop.
type noWorkItems struct{}

var errOwnLoop = errors.New("the embedded engine runs work items itself")

// NextWorkflowWorkItem implements backend.Backend.
func (noWorkItems) NextWorkflowWorkItem(context.Context) (*backend.WorkflowWorkItem, error) {
	return nil, errOwnLoop
}

// CompleteWorkflowWorkItem implements backend.Backend.
func (noWorkItems) CompleteWorkflowWorkItem(context.Context, *backend.WorkflowWorkItem) error {
	return errOwnLoop
}

// AbandonWorkflowWorkItem implements backend.Backend.
func (noWorkItems) AbandonWorkflowWorkItem(context.Context, *backend.WorkflowWorkItem) error {
	return errOwnLoop
}

// NextActivityWorkItem implements backend.Backend.
func (noWorkItems) NextActivityWorkItem(context.Context) (*backend.ActivityWorkItem, error) {
	return nil, errOwnLoop
}

// CompleteActivityWorkItem implements backend.Backend.
func (noWorkItems) CompleteActivityWorkItem(context.Context, *backend.ActivityWorkItem) error {
	return errOwnLoop
}

// AbandonActivityWorkItem implements backend.Backend.
func (noWorkItems) AbandonActivityWorkItem(context.Context, *backend.ActivityWorkItem) error {
	return errOwnLoop
}
