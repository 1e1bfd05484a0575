package embedded

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/backend"
	"github.com/dapr/durabletask-go/backend/runtimestate"
	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/journal"
)

// Options configures an Engine. The zero value is an engine in memory only.
type Options struct {
	Dir    string         // state directory; "" keeps nothing
	Fsync  journal.Sync   // when a change counts as durable
	Logger zerolog.Logger // the zero value discards everything
	// Activities and Workflows bound how many work items run concurrently;
	// 0 means 256 activities and 64 workflows.
	Activities, Workflows int
	// DrainTimeout is how long Run waits for activities in progress when its
	// context ends, before it cancels their context; 0 means 25 s.
	DrainTimeout time.Duration
	// AwaitsExternal reports, by its custom status, whether a waiting saga can be
	// continued only by an external event. It must be pure. nil means none can.
	// See engine.Stats.
	AwaitsExternal func(customStatus string) bool
	// Terminated is called before a termination takes effect; nil disables it.
	Terminated engine.OnTerminated
	// Stalled is called when this program cannot run an instance; nil disables it.
	Stalled engine.OnStalled
	// Retention is how long ended sagas remain readable; 0 means 7 days. The
	// orders table keeps the orders permanently.
	Retention time.Duration
}

// Engine is the embedded implementation of engine.Engine. Create it with Open.
// It is safe for concurrent use.
type Engine struct {
	engine.Client
	store *store
	opt   Options
}

var _ engine.Engine = (*Engine)(nil)

// Open reads the engine's state. Run then executes work, and Close releases the
// directory. Until Run is called, sagas can be started and read, but do not run.
// If another process has the directory open, the error wraps a
// *journal.LockedError; if the state is damaged, a *journal.CorruptError.
func Open(opt Options) (*Engine, error) { return open(opt, nil) }

func open(opt Options, fs journal.FS) (*Engine, error) {
	setDefault(&opt.Activities, 256)
	setDefault(&opt.Workflows, 64)
	setDefault(&opt.DrainTimeout, 25*time.Second)
	setDefault(&opt.Retention, 7*24*time.Hour)
	s, err := openStore(opt.Dir, opt.AwaitsExternal, journal.Options{Sync: opt.Fsync, Logger: opt.Logger, FS: fs})
	if err != nil {
		return nil, err
	}
	hub := taskHub{TaskHubClient: backend.NewTaskHubClient(s), s: s}
	return &Engine{Client: engine.Client{Hub: hub}, store: s, opt: opt}, nil
}

func setDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Close waits for a compaction in progress, and until everything appended is on
// disk. Call it after Run has returned.
func (e *Engine) Close() error {
	err := e.store.journal.Close()
	e.store.background.Wait()
	return errors.Join(err, e.store.archive.close())
}

// Ready returns why sagas make no progress, or nil. They make none while the
// journal cannot be written.
func (e *Engine) Ready() error {
	if err := e.store.journal.Err(); err != nil {
		return fmt.Errorf("engine cannot write its journal: %w", err)
	}
	return nil
}

// errStopped is Run's error when the journal has failed. Close returns the cause.
var errStopped = errors.New("engine stopped: its journal cannot be written")

// Run implements engine.Engine. It returns an error when the journal fails:
// memory is then ahead of the disk, and only a restart makes them equal again.
func (e *Engine) Run(ctx context.Context, registry *task.TaskRegistry) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// Activities in progress continue after ctx ends, for at most DrainTimeout.
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	l := loop{
		store: e.store, exec: task.NewTaskExecutor(registry), applier: runtimestate.NewApplier("", ""),
		terminated: e.opt.Terminated, stalled: e.opt.Stalled, hard: hard,
	}

	var background sync.WaitGroup
	background.Go(func() { e.store.fireTimers(ctx) })
	background.Go(func() { e.store.maintainArchive(ctx, e.opt.Retention) })
	var workers sync.WaitGroup
	l.start(ctx, &workers, e.opt.Workflows, e.opt.Activities)
	var err error
	select {
	case <-ctx.Done():
		// Writes that wait for a full disk fail now; their sagas continue after the restart.
		e.store.journal.StopWaiting()
	case <-e.store.journal.Failed():
		err = errStopped
		cancel()
	}
	stop()

	drainTimer := time.AfterFunc(e.opt.DrainTimeout, cancel)
	defer drainTimer.Stop()
	e.store.workflows.release()
	e.store.activities.release()
	workers.Wait()
	background.Wait()
	return err
}

// Stats implements engine.Engine.
func (e *Engine) Stats(context.Context) (engine.Stats, error) {
	s := e.store
	s.mu.Lock()
	defer s.mu.Unlock()
	return engine.Stats{Live: s.live, Waiting: s.waiting, AwaitingExternal: s.awaitingExternal}, nil
}

// taskHub adds the calls that only the backend has to the SDK's client.
type taskHub struct {
	backend.TaskHubClient
	s *store
}

// ListInstanceIDs implements engine.TaskHub.
func (h taskHub) ListInstanceIDs(ctx context.Context, opts ...api.ListInstanceIDsOptions) (*protos.ListInstanceIDsResponse, error) {
	req := &protos.ListInstanceIDsRequest{}
	for _, o := range opts {
		if err := o(req); err != nil {
			return nil, err
		}
	}
	return h.s.ListInstanceIDs(ctx, req)
}

// GetInstanceHistory implements engine.TaskHub.
func (h taskHub) GetInstanceHistory(ctx context.Context, id api.InstanceID) (*protos.GetInstanceHistoryResponse, error) {
	return h.s.GetInstanceHistory(ctx, &protos.GetInstanceHistoryRequest{InstanceId: string(id)})
}
