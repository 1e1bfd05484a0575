// Package engine defines the interface of a durable workflow engine. It has two
// implementations: package embedded in this process, and package dapr behind a
// sidecar. Workflows, activities, intake and API use only this interface.
package engine

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/dapr/durabletask-go/task"
)

// Errors that both engines return, wrapped. Compare them with errors.Is.
var (
	// ErrNotFound means that no instance has the id.
	ErrNotFound = errors.New("no saga has this id")
	// ErrActive means that the id of a new instance is in use by a running one.
	ErrActive = errors.New("a saga with this id is running")
	// ErrNotCompleted means that the operation requires an ended instance.
	ErrNotCompleted = errors.New("the saga has not ended yet")
	// ErrEnded means that the instance can no longer receive anything.
	ErrEnded = errors.New("the saga has ended")
	// ErrInvalidID means that no instance can have the id; see CheckID.
	ErrInvalidID = errors.New("the saga's id is not valid")
	// ErrInvalidLimit means that the limit of a list is not 1 to MaxListLimit.
	ErrInvalidLimit = errors.New("the limit of a list must be 1 to 1000")
	// ErrUnavailable means that the engine cannot be reached at the moment.
	ErrUnavailable = errors.New("the engine does not respond at the moment; retry later")
	// ErrUnsupported means that this engine does not implement the operation.
	ErrUnsupported = errors.New("the engine does not support this")
	// ErrInMemory means that a Dapr sidecar has an instance in memory whose state
	// was deleted from the store.
	ErrInMemory = errors.New("the state of the last saga with this id was deleted from the store, " +
		"but a Dapr sidecar still has it in memory, stalled: restart the workers' sidecars")
	// ErrStalled means that the engine does not run the instance; see Stalled.
	ErrStalled = errors.New("the saga is stalled, and accepts nothing until the cause is removed. " +
		"Its custom status or its history's last event names the cause. If another release began it, run that: it continues by itself. " +
		"If its history is larger than the Dapr sidecar's max-body-size, raise that and restart the sidecars " +
		"(docs/operations.md, Stalled sagas)")
)

// Engine runs a registry of workflows and activities, and manages their
// instances. All methods are safe for concurrent use. Methods that take the id of
// an instance return ErrInvalidID for one that CheckID rejects.
type Engine interface {
	// Run executes work until ctx ends, then finishes the work items in progress
	// and returns nil. Waiting instances continue at the next Run.
	Run(ctx context.Context, registry *task.TaskRegistry) error

	// Start creates an instance. The start is durable when it returns. The error
	// is ErrActive if an instance with this id is running. The result for the id
	// of an ended instance differs by engine, so callers check first.
	Start(ctx context.Context, workflow, id string, input any) error
	// Get returns an instance, or ErrNotFound.
	Get(ctx context.Context, id string) (Instance, error)
	// Wait blocks until the instance has ended, and returns it.
	Wait(ctx context.Context, id string) (Instance, error)
	// Raise sends an event. The event is kept until the workflow waits for it. The
	// error is ErrNotFound, ErrEnded or ErrStalled if the instance cannot receive
	// it.
	Raise(ctx context.Context, id, event string, payload any) error
	// Suspend pauses an instance. Suspending a suspended instance has no effect.
	// Errors are those of Raise.
	Suspend(ctx context.Context, id, reason string) error
	// Resume continues a suspended instance, however often it was suspended.
	// Resuming another instance has no effect. Errors are those of Raise.
	Resume(ctx context.Context, id, reason string) error
	// Terminate ends an instance in its current state: nothing is compensated.
	// Errors are those of Raise.
	Terminate(ctx context.Context, id, reason string) error
	// Purge deletes an ended instance. The error is ErrNotCompleted for another.
	Purge(ctx context.Context, id string) error
	// Rerun starts a new instance from a copy of the history of an ended one, up
	// to the event with the given id, and returns the new instance's id.
	Rerun(ctx context.Context, id string, eventID int) (newID string, err error)
	// List returns a page of at most limit ids of all instances, in a stable
	// order. The first page has cursor ""; next is "" after the last. The error is
	// ErrInvalidLimit unless limit is 1 to MaxListLimit.
	List(ctx context.Context, cursor string, limit int) (ids []string, next string, err error)
	// History returns the events of an instance, oldest first.
	History(ctx context.Context, id string) ([]Event, error)
	// Stats counts instances.
	Stats(ctx context.Context) (Stats, error)
}

// OnTerminated is called for each instance that a client has terminated, before
// the instance ends: after that the client may purge it. While it returns an
// error the instance does not end, and the call is repeated. It may be called
// more than once for one termination, for instances that are not sagas, and
// concurrently. nil disables it.
type OnTerminated func(ctx context.Context, id, reason string) error

// OnStalled is called when a worker leaves an instance as it is because its program
// cannot run it: it lacks the instance's version, or has changed. why names the
// difference, and comes from the names in the program. It may be called again for the
// same instance, and concurrently. nil disables it.
type OnStalled func(id, why string)

// RuntimeStatus is the engine's status of an instance. The business status is in
// the orders table.
type RuntimeStatus string

// Runtime statuses.
const (
	Pending   RuntimeStatus = "PENDING"   // created, and not run yet
	Running   RuntimeStatus = "RUNNING"   // also while it waits
	Suspended RuntimeStatus = "SUSPENDED" // paused by a client
	// Stalled means that the engine does not run the instance, and accepts neither
	// events nor a termination, until the cause is removed: no worker has its
	// version or the table of steps that began it, or, on Dapr, its history is too
	// large for the sidecar. The instance has not ended, and continues by itself
	// then.
	Stalled    RuntimeStatus = "STALLED"
	Completed  RuntimeStatus = "COMPLETED"  // the workflow returned
	Failed     RuntimeStatus = "FAILED"     // the workflow returned an error
	Terminated RuntimeStatus = "TERMINATED" // ended by a client
)

// Ended reports whether the instance is in a final status.
func (s RuntimeStatus) Ended() bool { return s == Completed || s == Failed || s == Terminated }

// Instance describes one workflow instance.
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
	ID        int             `json:"id" doc:"Number of the action that the event schedules, or -1."`
	At        time.Time       `json:"at" doc:"When it was recorded, RFC 3339."`
	Type      string          `json:"type" doc:"Type of the event, such as TaskScheduled."`
	Name      string          `json:"name,omitempty" doc:"Name of the activity, event or timer. Absent if it has none."`
	RelatesTo *int            `json:"relatesTo,omitempty" doc:"The id of the event that scheduled what this one completes. Absent for others."`
	Data      json.RawMessage `json:"data,omitempty" doc:"Input, result or payload, as JSON. Absent if there is none."`
	Error     string          `json:"error,omitempty" doc:"Error of what failed. Absent otherwise."`
	FireAt    *time.Time      `json:"fireAt,omitempty" doc:"When the timer fires, RFC 3339. Only for TimerCreated."`
}

// Stats counts an engine's instances.
type Stats struct {
	Live    int // have not ended
	Waiting int // those of Live without a step in progress: they wait for an event or a timer
	// AwaitingExternal counts those of Waiting that only an operator, a customer or
	// the carrier can continue: no step is in progress or about to be retried.
	AwaitingExternal int
	// ByOrder means that orders were counted, including those without a saga.
	ByOrder bool
}
