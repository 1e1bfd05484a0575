package embedded

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/backend"
	"github.com/dapr/durabletask-go/backend/local"
	"github.com/rs/zerolog"
	"github.com/tidwall/btree"
	"golang.org/x/sync/semaphore"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/journal"
)

// store is the durable task hub; it implements backend.Backend.
type store struct {
	*local.TasksBackend // of the SDK's worker loop, as is noWorkItems; backend.Backend has them
	noWorkItems
	log        zerolog.Logger
	journal    *journal.Journal
	violations violations

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
	restored         restored      // of the snapshot; during replay only
	created          chan struct{} // closed when an instance is created; nil if no watcher of an archived one waits for that

	workflows  queue[*instance]
	activities queue[activity]

	// archive has the ended sagas that are no longer in memory. archiving is held
	// while sagas move there, and while one is removed from both. Acquire it before mu.
	archive   *archive
	archiving *semaphore.Weighted // of 1

	background sync.WaitGroup // what calls whose context has ended have left to do; it ends with the journal
}

var _ backend.Backend = (*store)(nil)

func newStore(log zerolog.Logger) *store {
	return &store{
		awaitsExternal: func(string) bool { return false },
		TasksBackend:   local.NewTasksBackend(), log: log, violations: violations{log: log, panics: assertions},
		instances:     btree.NewMap[string, *instance](0),
		timersChanged: make(chan struct{}, 1), archiving: semaphore.NewWeighted(1),
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
	if err := s.restoreStates(); err != nil {
		return nil, errors.Join(fmt.Errorf("open engine state: %w", err), j.Close())
	}
	s.restored = restored{}
	s.journal = j
	if opt.FS == nil {
		opt.FS = journal.Disk{}
	}
	if dir != "" {
		s.archive, err = openArchive(dir, s.archiveMarked, opt.FS)
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
	if i.compacted == nil { // otherwise restoreWaiting has done it
		s.cancelTimers(i)
	}
	for _, a := range i.timerEntries() {
		s.scheduleTimer(a)
	}
	if len(i.inbox) > 0 {
		s.enqueue(i)
	}
}

func (s *store) replay(record []byte) error {
	seq, ops, err := decodeRecordTo(record, opState)
	if err != nil {
		return err
	}
	s.seq = max(s.seq, seq)
	if len(ops) == 1 && ops[0].kind == opState { // of a snapshot
		if full := s.restored.add(seq, ops[0]); full {
			return s.restoreStates()
		}
		return nil
	}
	if err := s.restoreStates(); err != nil {
		return err
	}
	for n := range ops {
		if ops[n].kind == opState {
			if err := ops[n].decode(recordFormat); err != nil {
				return err
			}
		}
	}
	if o, ok := s.firstBroken(seq, ops); ok {
		return fmt.Errorf("record %d of saga %s, which follows its record %d, is missing; "+
			"`ordersaga engine repair` restores the saga's state before the gap", o.prev, o.id, s.seqOf(o.id))
	}
	s.apply(seq, ops)
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

// lockToChange locks mu for one commit. While the journal has no room for it, most
// often because the disk is full, it waits without the lock, until ctx ends.
func (s *store) lockToChange(ctx context.Context) error {
	if err := s.journal.LockWithRoom(ctx, &s.mu); err != nil {
		return fmt.Errorf("the engine's journal has no room: %w", errors.Join(err, s.journal.Err()))
	}
	return nil
}

// enqueue offers an instance to the workflow workers if it has something to
// process. The caller holds mu.
func (s *store) enqueue(i *instance) {
	if i.inFlight || i.queued || i.stalled || i.ended() || (len(i.inbox) == 0 && len(i.fired) == 0) {
		return
	}
	if wait := time.Until(i.startAt); wait > 0 && len(i.history) == 0 {
		s.addTimer(timerEntry{at: ringing(i.startAt), inst: i, timer: wakeUp})
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
