package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/backend"
	"github.com/dapr/durabletask-go/backend/local"
	"github.com/dapr/durabletask-go/backend/runtimestate"
	"github.com/rs/zerolog"
	"github.com/tidwall/btree"
	"golang.org/x/sync/semaphore"
	"google.golang.org/protobuf/proto"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/journal"
)

// turnLimit bounds how many events one run of the workflow code consumes, so
// that an instance flooded with events does not monopolize a worker.
const turnLimit = 1000

// store is the durable task hub; it implements backend.Backend.
type store struct {
	*local.TasksBackend // for a gRPC executor, if one is used
	log                 zerolog.Logger
	journal             *journal.Journal
	violations          violations

	mu               sync.Mutex // guards the fields up to created, and all instances
	seq              uint64     // of the last record
	appended         uint64     // of the last record that was appended
	last             journal.Commit
	instances        *btree.Map[string, *instance]
	live             int // instances that have not ended; see count
	waiting          int // those of them that are idle
	awaitingExternal int // those of the waiting that await an external event
	awaitsExternal   func(customStatus string) bool
	timers           timerHeap
	timersChanged    chan struct{} // holds a token when the earliest timer changed
	endedInMemory    []*instance   // ended, not archived yet
	notArchivable    []*instance   // ended; the archive has rejected each of them by itself
	archiveMarked    bool          // the journal names the archive; see opArchive
	created          chan struct{} // closed when an instance is created; nil if no watcher of an archived one waits for that

	workflows  *queue[*instance]
	activities *queue[activity]

	// archive has the ended sagas that are no longer in memory. archiving is held
	// while sagas move there, and while one is removed from both. Acquire it before mu.
	archive   *archive
	archiving *semaphore.Weighted // of 1

	background sync.WaitGroup // what calls whose context has ended have left to do; it ends with the journal
}

// activity is an activity of an instance that is to be run.
type activity struct {
	inst *instance
	task *protos.HistoryEvent // its TaskScheduled event
}

// itemKey is the key in a work item's Properties under which the store keeps
// the *instance or the activity that the item belongs to.
const itemKey = "embedded"

// instanceOfItem returns the instance that a workflow work item belongs to, or
// nil if this store did not create the item.
func instanceOfItem(wi *backend.WorkflowWorkItem) *instance {
	i, _ := wi.Properties[itemKey].(*instance)
	return i
}

// activityOfItem returns the activity that a work item belongs to; ok is false
// if this store did not create the item.
func activityOfItem(wi *backend.ActivityWorkItem) (a activity, ok bool) {
	a, ok = wi.Properties[itemKey].(activity)
	return a, ok
}

var _ backend.Backend = (*store)(nil)

func newStore(log zerolog.Logger) *store {
	return &store{
		awaitsExternal: func(string) bool { return false },
		TasksBackend:   local.NewTasksBackend(), log: log, violations: violations{log: log, panics: assertions},
		instances:     btree.NewMap[string, *instance](0),
		timersChanged: make(chan struct{}, 1), workflows: newQueue[*instance](), activities: newQueue[activity](),
		archiving: semaphore.NewWeighted(1),
	}
}

func openStore(dir string, awaitsExternal func(string) bool, opt journal.Options) (*store, error) {
	s := newStore(opt.Logger)
	if awaitsExternal != nil {
		s.awaitsExternal = awaitsExternal
	}
	j, err := journal.Open(dir, opt, s.replay)
	if err != nil {
		if corrupt := new(journal.CorruptError); errors.As(err, &corrupt) {
			err = fmt.Errorf("%w; `ordersaga engine verify --data-dir %[2]s` shows all of the damage, "+
				"`ordersaga engine repair --data-dir %[2]s` saves the rest", err, filepath.Dir(dir))
		}
		return nil, fmt.Errorf("open engine state: %w", err)
	}
	s.journal = j
	if dir != "" && opt.FS == nil { // the archive cannot use a test's file system
		s.archive, err = openArchive(dir, s.archiveMarked, journal.Disk{})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open engine state: %w", err), j.Close())
		}
		// A version without the mark may have written the archive.
		if ids, err := s.archive.idsAfter("", 1); err == nil && len(ids) > 0 && !s.archiveMarked {
			if _, err := s.commit(op{kind: opArchive}); err != nil {
				return nil, errors.Join(fmt.Errorf("open engine state: %w", err), s.archive.close(), j.Close())
			}
		}
	}
	s.instances.Scan(func(_ string, i *instance) bool {
		if i.compacted == nil {
			i.publish(i.metadata(), i.seq)
		}
		s.count(i) // replay has not derived yet which instances have ended
		if i.ended() {
			s.endedInMemory = append(s.endedInMemory, i)
		} else {
			s.resume(i)
		}
		i.compact()
		return true
	})
	return s, nil
}

// resume schedules everything that an instance had in progress when the previous
// process exited.
func (s *store) resume(i *instance) {
	for _, e := range i.tasks {
		s.activities.push(activity{inst: i, task: e})
	}
	for _, a := range append(i.timerEntries(), i.replayTimers...) {
		s.scheduleTimer(a)
	}
	i.replayTimers = nil
	if len(i.inbox) > 0 {
		s.enqueue(i)
	}
}

func (s *store) replay(record []byte) error {
	seq, ops, err := decodeRecord(record)
	if err != nil {
		return err
	}
	s.seq = max(s.seq, seq)
	if o, ok := s.firstBroken(seq, ops); ok {
		return fmt.Errorf("record %d of saga %s, which follows its record %d, is missing; "+
			"`ordersaga engine repair` restores the saga's state before the gap", o.prev, o.id, s.seqOf(o.id))
	}
	s.apply(seq, ops)
	if len(ops) == 1 && ops[0].kind == opState { // compact at once: a million decoded ones would not fit in memory
		i, _ := s.instances.Get(ops[0].id)
		if i.idle() || i.ended() {
			i.publish(i.metadata(), i.seq)
			due := i.timerEntries()
			i.setCompacted(bytes.Clone(ops[0].raw))
			i.replayTimers = due
		}
	}
	return nil
}

// stale reports whether an operation is already applied to its instance:
// snapshots overlap the log.
func (s *store) stale(seq uint64, o op) bool {
	i, ok := s.instances.Get(o.id)
	return ok && i.seq >= seq && o.kind != opState
}

// seqOf returns the sequence number of an instance's last record, or 0.
func (s *store) seqOf(id string) uint64 {
	if i, ok := s.instances.Get(id); ok {
		return i.seq
	}
	return 0
}

// firstBroken returns the first operation that builds on a missing record.
func (s *store) firstBroken(seq uint64, ops []op) (op, bool) {
	for _, o := range ops {
		at := s.seqOf(o.id) // 0: purged later in the log
		if o.builds() && at > 0 && o.prev > 0 && o.prev != at && !s.stale(seq, o) {
			return o, true
		}
	}
	return op{}, false
}

// apply applies a record to memory. Both replay and commit use it, so that a
// record has one meaning.
func (s *store) apply(seq uint64, ops []op) {
	stale := make([]bool, len(ops)) // decided before the record touches anything
	for n, o := range ops {
		stale[n] = s.stale(seq, o)
	}
	for n, o := range ops {
		if !stale[n] {
			s.applyOp(seq, o)
		}
	}
}

func (s *store) applyOp(seq uint64, o op) {
	i, ok := s.instances.Get(o.id)
	switch o.kind {
	case opArchive:
		s.archiveMarked = true
	case opCreate, opState:
		s.forget(i)
		i = newInstance(o.id)
		if o.kind == opCreate {
			i.create(event(o))
		} else {
			i.restore(runtimeState(o))
			i.rebuildState()
		}
		s.instances.Set(o.id, i)
		if s.created != nil {
			close(s.created)
			s.created = nil
		}
	case opPurge:
		s.forget(i)
		s.instances.Delete(o.id)
	case opInbox, opTaskDone, opTurn:
		if !ok {
			return // purged later in the log
		}
		i.decode()
		switch o.kind {
		case opInbox:
			i.inbox = append(i.inbox, event(o))
		case opTaskDone:
			i.finishTask(event(o))
		default:
			t := runtimeState(o)
			i.applyTurn(t, o.taken)
			if i.ended() || t.ContinuedAsNew {
				s.cancelTimers(i) // the SDK does not cancel them
			}
		}
	}
	if i != nil {
		i.seq = seq
		s.count(i)
	}
}

func event(o op) *protos.HistoryEvent { e, _ := o.payload.(*protos.HistoryEvent); return e }
func runtimeState(o op) *protos.WorkflowRuntimeState {
	w, _ := o.payload.(*protos.WorkflowRuntimeState)
	return w
}

// commit applies operations and appends their record. The caller holds mu, and
// waits for the result after it has released mu.
func (s *store) commit(ops ...op) (journal.Commit, error) {
	seq := s.seq + 1
	for n := range ops {
		ops[n].prev = s.seqOf(ops[n].id)
		s.violations.check(logInOrder, ops[n].prev < seq, ops[n].id)
	}
	record, err := encodeRecord(seq, ops...)
	if err != nil {
		return journal.Commit{}, err
	}
	s.seq = seq
	s.apply(seq, ops)
	s.violations.check(logInOrder, s.appended < seq, ops[0].id)
	s.appended = seq
	s.last = s.journal.Append(record)
	return s.last, nil
}

// lockToChange locks mu for one commit. While a full disk leaves the journal no
// room for it, it waits without the lock, until ctx ends.
func (s *store) lockToChange(ctx context.Context) error {
	if err := s.journal.LockWithRoom(ctx, &s.mu); err != nil {
		return fmt.Errorf("the engine's disk is full: %w", err)
	}
	return nil
}

// enqueue offers an instance to the workflow workers if it has something to
// process. The caller holds mu.
func (s *store) enqueue(i *instance) {
	if i.inFlight || i.queued || i.ended() || (len(i.inbox) == 0 && len(i.fired) == 0) {
		return
	}
	if wait := time.Until(i.startAt); wait > 0 && len(i.history) == 0 {
		s.addTimer(timerEntry{at: i.startAt, inst: i, timer: wakeUp})
		return
	}
	i.queued = true
	s.count(i)
	s.workflows.push(i)
}

// CreateWorkflowInstance implements backend.Backend. The instance is durable
// when it returns nil. The error is api.ErrDuplicateInstance if the id is running,
// and engine.ErrInvalidID if no instance can have it. If ctx ends first, the
// instance may have been created.
func (s *store) CreateWorkflowInstance(ctx context.Context, e *protos.HistoryEvent) error {
	id := e.GetExecutionStarted().GetWorkflowInstance().GetInstanceId()
	if err := engine.CheckID(id); err != nil {
		return err
	}
	if e.GetTimestamp() == nil {
		return errors.New("start event must have a time")
	}
	if err := s.lockToChange(ctx); err != nil {
		return err
	}
	old, exists := s.instances.Get(id)
	if exists && !old.ended() {
		creation := old.pendingCommit
		s.mu.Unlock()
		// The caller deletes its message once it learns that the instance exists,
		// so that is reported only after the creation is durable.
		if err := creation.WaitFor(ctx); err != nil {
			return err
		}
		return api.ErrDuplicateInstance
	}
	c, err := s.commit(op{kind: opCreate, id: id, payload: e})
	if err != nil {
		s.mu.Unlock()
		return err
	}
	i, _ := s.instances.Get(id)
	i.pendingCommit = c
	s.enqueue(i)
	s.mu.Unlock()
	s.journal.CompactIfNeeded(s.snapshot)
	if err := c.WaitFor(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	i.commitDurable(c)
	s.mu.Unlock()
	return nil
}

// AddNewWorkflowEvent implements backend.Backend. The event is durable when it
// returns nil. For an ended instance the error is engine.ErrEnded. If ctx ends first,
// the event may have been added.
func (s *store) AddNewWorkflowEvent(ctx context.Context, id api.InstanceID, e *protos.HistoryEvent) error {
	if err := s.lockToChange(ctx); err != nil {
		return err
	}
	i, ok := s.instances.Get(string(id))
	if !ok {
		s.mu.Unlock()
		if _, err := s.archived(string(id)); err != nil {
			return err
		}
		return engine.ErrEnded
	}
	if i.ended() { // nothing will read the event
		end := i.pendingCommit
		s.mu.Unlock()
		if err := end.WaitFor(ctx); err != nil { // if the end were lost in a crash, the event would be needed
			return err
		}
		return engine.ErrEnded
	}
	c, err := s.commit(op{kind: opInbox, id: string(id), payload: e})
	if err == nil {
		s.enqueue(i)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return c.WaitFor(ctx)
}

// NextWorkflowWorkItem implements backend.Backend. It waits for an instance with
// new events or due timers, and marks it as in flight.
func (s *store) NextWorkflowWorkItem(ctx context.Context) (*backend.WorkflowWorkItem, error) {
	for {
		i, err := s.workflows.pop(ctx)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		i.queued = false
		current, _ := s.instances.Get(i.id)
		if current != i || i.ended() || i.inFlight { // purged or replaced meanwhile
			s.count(i)
			s.mu.Unlock()
			continue
		}
		i.decode()
		i.inFlight = true
		i.takenEvents = min(len(i.inbox), turnLimit)
		events := slices.Concat(notRecursive(i.inbox[:i.takenEvents]), i.fired)
		wi := &backend.WorkflowWorkItem{
			InstanceID: api.InstanceID(i.id), NewEvents: events, RetryCount: i.retries,
			State:      runtimestate.NewWorkflowRuntimeState(i.id, i.custom, i.history),
			Properties: map[string]any{itemKey: i},
		}
		i.fired = nil
		s.mu.Unlock()
		return wi, nil
	}
}

// GetWorkflowRuntimeState implements backend.Backend.
func (s *store) GetWorkflowRuntimeState(_ context.Context, wi *backend.WorkflowWorkItem) (*protos.WorkflowRuntimeState, error) {
	i, err := s.read(string(wi.InstanceID))
	if errors.Is(err, api.ErrInstanceNotFound) {
		return runtimestate.NewWorkflowRuntimeState(string(wi.InstanceID), nil, nil), nil
	}
	if err != nil {
		return nil, err
	}
	return runtimestate.NewWorkflowRuntimeState(i.id, i.custom, i.history), nil
}

// CompleteWorkflowWorkItem implements backend.Backend. It journals the turn and
// the messages to other instances as one record, and starts the turn's activities
// once that is durable.
func (s *store) CompleteWorkflowWorkItem(ctx context.Context, wi *backend.WorkflowWorkItem) error {
	i := instanceOfItem(wi)
	if err := s.lockToChange(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	current, _ := s.instances.Get(string(wi.InstanceID))
	if i == nil || current != i || !i.inFlight {
		s.mu.Unlock()
		return backend.ErrWorkItemLockLost
	}
	ops := s.turnOps(i, wi.State)
	c, err := s.commit(ops...)
	if err != nil {
		s.mu.Unlock()
		return err
	}
	i.inFlight, i.retries = false, 0
	s.count(i)
	seq, meta, ended := i.seq, i.metadata(), i.ended()
	if ended {
		i.pendingCommit = c
	}
	for _, e := range wi.State.PendingTimers {
		if !ended {
			s.scheduleTimer(i.timerEntry(e))
		}
	}
	for _, o := range ops {
		if t, ok := s.instances.Get(o.id); ok {
			s.enqueue(t)
		}
	}
	s.mu.Unlock()

	// Not bounded by ctx, which ends when draining begins: what follows is part of the
	// turn. The journal ends the wait when the engine stops.
	if err := c.Wait(); err != nil {
		return err
	}
	for _, e := range wi.State.PendingTasks {
		if !ended {
			s.activities.push(activity{inst: i, task: e})
		}
	}
	s.mu.Lock()
	i.publish(meta, seq)
	i.commitDurable(c)
	i.compact()
	if ended {
		s.endedInMemory = append(s.endedInMemory, i)
	}
	s.mu.Unlock()
	s.journal.CompactIfNeeded(s.snapshot)
	return nil
}

// AbandonWorkflowWorkItem implements backend.Backend. The instance is queued
// again after the item's delay, at least 100 ms.
func (s *store) AbandonWorkflowWorkItem(_ context.Context, wi *backend.WorkflowWorkItem) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := instanceOfItem(wi)
	current, _ := s.instances.Get(string(wi.InstanceID))
	if i == nil || current != i || !i.inFlight {
		return backend.ErrWorkItemLockLost
	}
	i.inFlight = false
	i.retries++
	i.fired = append(i.fired, wi.NewEvents[i.takenEvents:]...)
	s.count(i)
	s.addTimer(timerEntry{at: time.Now().Add(max(wi.GetAbandonDelay(), 100*time.Millisecond)), inst: i, timer: wakeUp})
	return nil
}

// wanted reports whether an instance waits for this activity. It does not if it
// has ended, was removed, or has continued as new, which may have reused the
// task's number. The caller holds mu.
func (s *store) wanted(a activity) bool {
	if a.inst == nil {
		return false
	}
	current, _ := s.instances.Get(a.inst.id)
	return current == a.inst && current.tasks[a.task.GetEventId()] == a.task
}

// NextActivityWorkItem implements backend.Backend. It waits for an activity that
// its instance still waits for.
func (s *store) NextActivityWorkItem(ctx context.Context) (*backend.ActivityWorkItem, error) {
	var a activity
	var id api.InstanceID
	for wanted := false; !wanted; {
		var err error
		a, err = s.activities.pop(ctx)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		wanted = s.wanted(a) // the instance may have been terminated while the activity was queued
		id = api.InstanceID(a.inst.id)
		s.mu.Unlock()
	}
	// The worker writes its trace context into the event; ours is shared with snapshots.
	task, _ := proto.Clone(a.task).(*protos.HistoryEvent)
	return &backend.ActivityWorkItem{
		InstanceID: id, NewEvent: task, Properties: map[string]any{itemKey: a},
	}, nil
}

// CompleteActivityWorkItem implements backend.Backend. The result is durable when
// it returns. A result that no instance waits for is dropped. Like the other
// completion, it does not heed ctx: that ends when draining begins.
func (s *store) CompleteActivityWorkItem(ctx context.Context, wi *backend.ActivityWorkItem) error {
	a, _ := activityOfItem(wi)
	if err := s.lockToChange(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	if !s.wanted(a) {
		s.mu.Unlock()
		return nil
	}
	c, err := s.commit(op{kind: opTaskDone, id: a.inst.id, payload: wi.Result})
	if err == nil {
		s.enqueue(a.inst)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return c.Wait()
}

// AbandonActivityWorkItem implements backend.Backend. The activity is queued
// again.
func (s *store) AbandonActivityWorkItem(_ context.Context, wi *backend.ActivityWorkItem) error {
	a, ok := activityOfItem(wi)
	if !ok {
		return backend.ErrWorkItemLockLost
	}
	s.activities.push(a)
	return nil
}
