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

// Options of an embedded engine.
type Options struct {
	Dir    string // state directory; "" keeps nothing
	Fsync  journal.Sync
	Logger zerolog.Logger
	// Activities and Workflows bound the work items in progress at a time;
	// 0 means 256 and 64.
	Activities, Workflows int
	// DrainTimeout is how long Run waits for activities in progress when its
	// context ends, before it cancels theirs; 0 means 25 s.
	DrainTimeout time.Duration
	// Rests reports, by its custom status, whether a saga that waits can only be
	// brought on from outside; nil: none is known to. See engine.Stats.
	Rests func(customStatus string) bool
	// Terminated is called before a termination takes effect; may be nil.
	Terminated engine.OnTerminated
	// Retention is how long ended sagas can be read; 0 means 7 days. The
	// orders table remembers them for ever.
	Retention time.Duration
}

// Engine is the embedded engine.Engine.
type Engine struct {
	engine.Client
	store *store
	opt   Options
}

var _ engine.Engine = (*Engine)(nil)

// Open reads the engine's state; Run makes it work, Close releases it.
func Open(opt Options) (*Engine, error) { return open(opt, nil) }

func open(opt Options, fs journal.FS) (*Engine, error) {
	setDefault(&opt.Activities, 256)
	setDefault(&opt.Workflows, 64)
	setDefault(&opt.DrainTimeout, 25*time.Second)
	setDefault(&opt.Retention, 7*24*time.Hour)
	s, err := openStore(opt.Dir, opt.Rests, journal.Options{Sync: opt.Fsync, Logger: opt.Logger, FS: fs})
	if err != nil {
		return nil, err
	}
	return &Engine{Client: engine.Client{Hub: hub{backend.NewTaskHubClient(s), s}}, store: s, opt: opt}, nil
}

func setDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Close waits for a compaction that is going on, and for everything appended
// to be on disk.
func (e *Engine) Close() error {
	return errors.Join(e.store.journal.Close(), e.store.archive.close())
}

// Ready returns why sagas make no progress, if they make none: what they do
// cannot be written down.
func (e *Engine) Ready() error {
	if err := e.store.journal.Err(); err != nil {
		return fmt.Errorf("engine cannot write: %w", err)
	}
	return nil
}

// errStopped: Close says why.
var errStopped = errors.New("engine stopped: its journal cannot be written")

// Run implements engine.Engine. It also returns when the journal fails: memory
// is then ahead of the disk, and only a restart brings them together.
func (e *Engine) Run(ctx context.Context, registry *task.TaskRegistry) error {
	log := engine.Logger(e.opt.Logger)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// Activities in progress outlive ctx, for DrainTimeout at most.
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	exec := guarded{task.NewTaskExecutor(registry), hard, e.opt.Terminated}
	workflows := backend.NewWorkflowWorker(backend.WorkflowWorkerOptions{Backend: e.store, Executor: exec, Logger: log},
		backend.WithMaxParallelism(int32(e.opt.Workflows)))
	activities := backend.NewActivityTaskWorker(e.store, exec, log,
		backend.WithMaxParallelism(int32(e.opt.Activities)))

	var background sync.WaitGroup
	background.Go(func() { e.store.ring(ctx) })
	background.Go(func() { e.store.keep(ctx, e.opt.Retention) })
	workflows.Start(hard)
	activities.Start(hard)
	var err error
	select {
	case <-ctx.Done():
		// What waits for a full disk is cut off: it goes on after the restart.
		e.store.journal.StopWaiting()
	case <-e.store.journal.Failed():
		err = errStopped
		cancel()
	}
	stop()

	hurry := time.AfterFunc(e.opt.DrainTimeout, cancel)
	defer hurry.Stop()
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
	return engine.Stats{Live: s.live, Waiting: s.waiting, Resting: s.resting}, nil
}

// guarded runs work so that neither a shutdown nor a bug costs more than it
// must: activities outlive the worker's context, which the SDK cancels as soon
// as draining begins, and a panic stays with the instance that caused it (the
// SDK sees to activities).
type guarded struct {
	backend.Executor
	hard       context.Context //nolint:containedctx // it is the point of this type
	terminated engine.OnTerminated
}

// ExecuteWorkflow turns a panic into an error: the instance is tried again
// later, with growing pauses, so that a mended program carries on with it.
// Failing it instead would leave its steps done and never undone.
func (g guarded) ExecuteWorkflow(ctx context.Context, id api.InstanceID, old, added []*protos.HistoryEvent, o backend.ExecuteOptions) (res *protos.WorkflowResponse, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("workflow code of %s panicked: %v\n%s", id, v, debug.Stack())
		}
	}()
	past, turn, terminated := engine.ForSDK(old, added)
	res, err = g.Executor.ExecuteWorkflow(ctx, id, past, turn, o)
	if terminated && err == nil {
		res.CustomStatus = nil // it did not run, and has none to set
		if reason, _ := engine.EndsTerminated(res); g.terminated != nil {
			err = g.terminated(ctx, string(id), reason)
		}
	}
	return res, err
}

func (g guarded) ExecuteActivity(ctx context.Context, id api.InstanceID, e *protos.HistoryEvent, o backend.ExecuteOptions) (*protos.HistoryEvent, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(g.hard, cancel)
	defer stop()
	res, err := g.Executor.ExecuteActivity(ctx, id, e, o)
	if g.hard.Err() != nil && res.GetTaskFailed() != nil {
		// Cut off by us, not failed: it runs again after the restart, without
		// costing the saga one of its attempts.
		return nil, fmt.Errorf("activity cut off by shutdown: %w", g.hard.Err())
	}
	return res, err
}

// hub joins the SDK's client with the calls that only the backend has.
type hub struct {
	backend.TaskHubClient
	s *store
}

func (h hub) ListInstanceIDs(ctx context.Context, opts ...api.ListInstanceIDsOptions) (*protos.ListInstanceIDsResponse, error) {
	req := &protos.ListInstanceIDsRequest{}
	for _, o := range opts {
		if err := o(req); err != nil {
			return nil, err
		}
	}
	return h.s.ListInstanceIDs(ctx, req)
}

func (h hub) GetInstanceHistory(ctx context.Context, id api.InstanceID) (*protos.GetInstanceHistoryResponse, error) {
	return h.s.GetInstanceHistory(ctx, &protos.GetInstanceHistoryRequest{InstanceId: string(id)})
}
