// Package engine runs sagas durably. One Engine has two implementations: the
// embedded one in this process, and Dapr behind a sidecar. Workflows,
// activities, intake and API see this interface and never know which.
package engine

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/dapr/durabletask-go/task"
)

// Errors that both engines answer with.
var (
	ErrNotFound     = errors.New("no saga has this id")
	ErrActive       = errors.New("a saga with this id is running")
	ErrNotCompleted = errors.New("the saga has not ended yet")
	ErrEnded        = errors.New("the saga has ended")
	ErrBadCursor    = errors.New("the cursor was not made by a list call")
	ErrAway         = errors.New("the engine does not answer now; try again")
	ErrUnsupported  = errors.New("the engine cannot do this")
	ErrInMemory     = errors.New("the state of the last saga of this id is gone from the store, and a Dapr sidecar still has it in memory, stalled: restart the workers' sidecars")
	ErrStalled      = errors.New("the saga is stalled, and takes nothing in until the cause is gone; most often its history has outgrown the Dapr sidecar's max-body-size: " +
		"raise that and restart the sidecars, and it goes on by itself (the history's last event names the cause; docs/operations.md, Stalled sagas)")
)

// Engine runs a registry of workflows and activities, and manages their
// instances. All methods are safe for concurrent use.
type Engine interface {
	// Run executes work until ctx ends, then finishes what is in progress and
	// returns nil. Instances that wait stay where they are.
	Run(ctx context.Context, registry *task.TaskRegistry) error

	// Start begins an instance. The start is durable when it returns.
	// ErrActive if one with this id is running; what happens with the id of an
	// ended instance differs by engine, so callers check before.
	Start(ctx context.Context, workflow, id string, input any) error
	// Get reads an instance, or ErrNotFound.
	Get(ctx context.Context, id string) (Instance, error)
	// Wait blocks until the instance has ended.
	Wait(ctx context.Context, id string) (Instance, error)
	// Raise sends an event. It is kept until the workflow asks for it.
	// ErrNotFound, or ErrEnded if nobody can receive it any more, or ErrStalled.
	Raise(ctx context.Context, id, event string, payload any) error
	// Suspend stops an instance from going on; Resume lets it. To suspend what is
	// suspended changes nothing, nor does to resume what is not, whichever client
	// does: one resumption ends any number of suspensions.
	Suspend(ctx context.Context, id, reason string) error
	Resume(ctx context.Context, id, reason string) error
	// Terminate ends an instance where it stands: nothing is compensated. Like
	// the two above it says ErrStalled of one that is.
	Terminate(ctx context.Context, id, reason string) error
	// Purge forgets an ended instance; ErrNotCompleted otherwise.
	Purge(ctx context.Context, id string) error
	// Rerun starts a new instance from a copy of the history up to the given
	// event, and returns its id.
	Rerun(ctx context.Context, id string, eventID int) (newID string, err error)
	// List pages through the ids of all instances, in a stable order.
	List(ctx context.Context, cursor string, limit int) (ids []string, next string, err error)
	// History returns what has happened to an instance, oldest first.
	History(ctx context.Context, id string) ([]Event, error)
	// Stats counts live instances and those that only wait for an event.
	Stats(ctx context.Context) (Stats, error)
}

// OnTerminated is called for each instance that a client has terminated, before
// the instance ends: after that the client may purge it. An error keeps the
// instance from ending, and the call is repeated. It may be called more than once
// for one termination, for instances that are no sagas, and concurrently. Nil is
// not called.
type OnTerminated func(ctx context.Context, id, reason string) error

// RuntimeStatus is the engine's view of an instance; the business status is in
// the orders read model.
type RuntimeStatus string

// Runtime statuses.
const (
	Pending   RuntimeStatus = "PENDING"
	Running   RuntimeStatus = "RUNNING"
	Suspended RuntimeStatus = "SUSPENDED"
	// Stalled: Dapr does not run it, and takes neither events nor a termination
	// in, until the cause is gone: its history is too large for the sidecar, or no
	// worker has its version. It has not ended, and goes on by itself then.
	Stalled    RuntimeStatus = "STALLED"
	Completed  RuntimeStatus = "COMPLETED"
	Failed     RuntimeStatus = "FAILED"
	Terminated RuntimeStatus = "TERMINATED"
)

// Ended reports whether the instance will not go on.
func (s RuntimeStatus) Ended() bool { return s == Completed || s == Failed || s == Terminated }

// Instance is one workflow instance.
type Instance struct {
	ID           string          `json:"id"`
	Workflow     string          `json:"workflow"`
	Status       RuntimeStatus   `json:"runtimeStatus"`
	CustomStatus string          `json:"customStatus,omitempty"`
	CreatedAt    time.Time       `json:"createdAt"`
	UpdatedAt    time.Time       `json:"updatedAt"`
	Input        json.RawMessage `json:"input,omitempty"`
	Output       json.RawMessage `json:"output,omitempty"`
	Failure      string          `json:"failure,omitempty"`
}

// Event is one entry of an instance's history.
type Event struct {
	ID        int             `json:"id"` // sequence number of an action, or -1
	At        time.Time       `json:"at"`
	Type      string          `json:"type"`           // e.g. TaskScheduled
	Name      string          `json:"name,omitempty"` // of the activity, event or timer
	RelatesTo *int            `json:"relatesTo,omitempty"`
	Data      json.RawMessage `json:"data,omitempty"` // input, result or payload
	Error     string          `json:"error,omitempty"`
	FireAt    *time.Time      `json:"fireAt,omitempty"`
}

// Stats describes the engine's load.
type Stats struct {
	Live    int // not ended
	Waiting int // of those, no step in progress: they wait for an event or a timer
	// Resting is how many of the waiting ones a person or the carrier has to bring
	// on: no step is under way, nor is one to be tried again.
	Resting int
	// ByOrder says that orders were counted, also those that have no saga.
	ByOrder bool
}
