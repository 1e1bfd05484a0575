package embedded

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/backend"
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
	log := engine.Logger(e.opt.Logger)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// Activities in progress continue after ctx ends, for at most DrainTimeout.
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	exec := guardedExecutor{Executor: task.NewTaskExecutor(registry), hard: hard, terminated: e.opt.Terminated}
	workflows := backend.NewWorkflowWorker(backend.WorkflowWorkerOptions{Backend: e.store, Executor: exec, Logger: log},
		backend.WithMaxParallelism(int32(e.opt.Workflows)))
	activities := backend.NewActivityTaskWorker(e.store, exec, log,
		backend.WithMaxParallelism(int32(e.opt.Activities)))

	var background sync.WaitGroup
	background.Go(func() { e.store.fireTimers(ctx) })
	background.Go(func() { e.store.maintainArchive(ctx, e.opt.Retention) })
	workflows.Start(hard)
	activities.Start(hard)
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
	var draining sync.WaitGroup
	draining.Go(workflows.StopAndDrain)
	draining.Go(activities.StopAndDrain)
	draining.Wait()
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

// guardedExecutor limits what a shutdown and a bug cost. Activities continue
// after the worker's context ends, which the SDK cancels as soon as draining
// begins. A panic of workflow code affects only the instance that caused it; the
// SDK itself handles panics of activities.
type guardedExecutor struct {
	backend.Executor
	hard       context.Context     //nolint:containedctx // it is the point of this type: it ends when draining times out
	terminated engine.OnTerminated // may be nil
}

// ExecuteWorkflow implements backend.Executor. It turns a panic into an error:
// the SDK retries the instance later, with growing pauses, so that a fixed
// program continues it. Failing it instead would leave its steps done and never
// compensated.
func (g guardedExecutor) ExecuteWorkflow(
	ctx context.Context, id api.InstanceID, old, added []*protos.HistoryEvent, o backend.ExecuteOptions,
) (res *protos.WorkflowResponse, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("workflow code of %s panicked: %v\n%s", id, v, debug.Stack())
		}
	}()
	past, turn, terminated := engine.ForSDK(old, added)
	res, err = g.Executor.ExecuteWorkflow(ctx, id, past, turn, o)
	withValidChildIDs(res)
	if terminated && err == nil {
		res.CustomStatus = nil // the workflow code did not run, so it has set none
		if reason, _ := engine.EndsTerminated(res); g.terminated != nil {
			err = g.terminated(ctx, string(id), reason)
		}
	}
	return res, err
}

// ExecuteActivity implements backend.Executor.
func (g guardedExecutor) ExecuteActivity(
	ctx context.Context, id api.InstanceID, e *protos.HistoryEvent, o backend.ExecuteOptions,
) (*protos.HistoryEvent, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(g.hard, cancel)
	defer stop()
	res, err := g.Executor.ExecuteActivity(ctx, id, e, o)
	if g.hard.Err() != nil && res.GetTaskFailed() != nil {
		// The shutdown canceled it, it did not fail: it runs again after the
		// restart, without costing the saga one of its attempts.
		return nil, fmt.Errorf("activity canceled by shutdown: %w", g.hard.Err())
	}
	return res, err
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
