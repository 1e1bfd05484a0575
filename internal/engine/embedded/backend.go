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
	"google.golang.org/protobuf/proto"

	"github.com/ordersaga/ordersaga/internal/journal"
)

// turnLimit bounds how many events one run of the workflow code takes in, so
// that an instance flooded with events does not keep a worker to itself.
const turnLimit = 1000

// store is the durable task hub; it implements backend.Backend.
type store struct {
	*local.TasksBackend // the rendezvous of a gRPC executor, if one is used
	log                 zerolog.Logger
	journal             *journal.Journal

	mu        sync.Mutex
	seq       uint64
	last      journal.Commit // of the last record
	instances *btree.Map[string, *instance]
	live      int // instances that have not ended; see count
	waiting   int // of those, the idle
	resting   int // of those, the ones that rest
	rests     func(customStatus string) bool
	alarms    alarms
	alarmSet  chan struct{} // holds a token when the earliest alarm changed

	workflows  *queue[*instance]
	activities *queue[activity]

	// archive has the ended sagas that memory has not. over are those that
	// memory still has, as they ended; moving is held while sagas go over, and
	// by whoever takes one out of both. It comes before mu.
	archive *archive
	over    []*instance
	moving  sync.Mutex
	born    chan struct{} // closed when a saga begins; nil: no watcher of an archived one waits for that
}

type activity struct {
	inst *instance
	task *protos.HistoryEvent
}

var _ backend.Backend = (*store)(nil)

func newStore(log zerolog.Logger) *store {
	return &store{
		rests:        func(string) bool { return false },
		TasksBackend: local.NewTasksBackend(), log: log, instances: btree.NewMap[string, *instance](0),
		alarmSet: make(chan struct{}, 1), workflows: newQueue[*instance](), activities: newQueue[activity](),
	}
}

func openStore(dir string, rests func(string) bool, opt journal.Options) (*store, error) {
	s := newStore(opt.Logger)
	if rests != nil {
		s.rests = rests
	}
	j, err := journal.Open(dir, opt, s.replay)
	if err != nil {
		if corrupt := new(journal.CorruptError); errors.As(err, &corrupt) {
			err = fmt.Errorf("%w; `ordersaga engine verify --data-dir %[2]s` shows all of the damage, `ordersaga engine repair --data-dir %[2]s` saves the rest", err, filepath.Dir(dir))
		}
		return nil, fmt.Errorf("open engine state: %w", err)
	}
	s.journal = j
	if dir != "" && opt.FS == nil { // a file system of a test's making has no archive
		if s.archive, err = openArchive(dir); err != nil {
			return nil, errors.Join(fmt.Errorf("open engine state: %w", err), j.Close())
		}
	}
	s.instances.Scan(func(_ string, i *instance) bool {
		if i.packed == nil {
			i.publish(i.metadata(), i.seq)
		}
		s.count(i) // replay does not know yet who has ended
		if i.ended() {
			s.over = append(s.over, i)
		} else {
			s.resume(i)
		}
		i.pack()
		return true
	})
	return s, nil
}

// resume schedules all that an instance of a former process had under way.
func (s *store) resume(i *instance) {
	for _, e := range i.tasks {
		s.activities.push(activity{i, e})
	}
	for _, a := range append(i.planned(), i.due...) {
		s.setAlarm(a)
	}
	i.due = nil
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
	if o, ok := s.broken(seq, ops); ok {
		return fmt.Errorf("record %d of saga %s, which follows its record %d, is missing; `ordersaga engine repair` takes the saga back to before", o.prev, o.id, s.seqOf(o.id))
	}
	s.apply(seq, ops)
	if len(ops) == 1 && ops[0].kind == opState { // a million of them would not fit in otherwise
		i, _ := s.instances.Get(ops[0].id)
		if i.idle() || i.ended() {
			i.publish(i.metadata(), i.seq)
			due := i.planned()
			i.fold(bytes.Clone(ops[0].raw))
			i.due = due
		}
	}
	return nil
}

// stale reports whether an instance has an operation already: snapshots
// overlap the log.
func (s *store) stale(seq uint64, o op) bool {
	i, ok := s.instances.Get(o.id)
	return ok && i.seq >= seq && o.kind != opState
}

func (s *store) seqOf(id string) uint64 {
	if i, ok := s.instances.Get(id); ok {
		return i.seq
	}
	return 0
}

// broken finds an operation that builds on a record that is missing.
func (s *store) broken(seq uint64, ops []op) (op, bool) {
	for _, o := range ops {
		at := s.seqOf(o.id) // 0: purged later in the log
		if o.builds() && at > 0 && o.prev > 0 && o.prev != at && !s.stale(seq, o) {
			return o, true
		}
	}
	return op{}, false
}

// apply changes memory as a record says; used by replay and by commit, so that
// there is one meaning of a record.
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
	case opCreate, opState:
		s.forget(i)
		i = newInstance(o.id)
		if o.kind == opCreate {
			i.create(event(o))
		} else {
			i.restore(runtimeState(o))
			i.rebuilt()
		}
		s.instances.Set(o.id, i)
		if s.born != nil {
			close(s.born)
			s.born = nil
		}
	case opPurge:
		s.forget(i)
		s.instances.Delete(o.id)
	case opInbox, opTaskDone, opTurn:
		if !ok {
			return // purged later in the log
		}
		i.unpack()
		switch o.kind {
		case opInbox:
			i.inbox = append(i.inbox, event(o))
		case opTaskDone:
			i.finishTask(event(o))
		default:
			t := runtimeState(o)
			if i.turn(t); i.ended() || t.ContinuedAsNew {
				s.silence(i) // its timers are gone; the SDK cancels none
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

// commit applies operations and appends their record; the caller holds mu, and
// waits on the result after letting go of it.
func (s *store) commit(ops ...op) (journal.Commit, error) {
	for n := range ops {
		ops[n].prev = s.seqOf(ops[n].id)
	}
	record, err := encodeRecord(s.seq+1, ops...)
	if err != nil {
		return journal.Commit{}, err
	}
	s.seq++
	s.apply(s.seq, ops)
	s.last = s.journal.Append(record)
	return s.last, nil
}

// enqueue offers an instance to the workflow workers; mu is held.
func (s *store) enqueue(i *instance) {
	if i.out || i.queued || i.ended() || (len(i.inbox) == 0 && len(i.fired) == 0) {
		return
	}
	if wait := time.Until(i.startAt); wait > 0 && len(i.history) == 0 {
		s.addAlarm(alarm{at: i.startAt, inst: i, timer: -1})
		return
	}
	i.queued = true
	s.count(i)
	s.workflows.push(i)
}

func (s *store) CreateWorkflowInstance(_ context.Context, e *protos.HistoryEvent) error {
	id := e.GetExecutionStarted().GetWorkflowInstance().GetInstanceId()
	if id == "" || e.GetTimestamp() == nil {
		return errors.New("start event must name an instance and have a time")
	}
	s.mu.Lock()
	old, exists := s.instances.Get(id)
	if exists && !old.ended() {
		begun := old.unsettled
		s.mu.Unlock()
		// Who hears that it is running lets go of the order: not before it will
		// still be running after a crash.
		if err := begun.Wait(); err != nil {
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
	i.unsettled = c
	s.enqueue(i)
	s.mu.Unlock()
	s.journal.CompactIfNeeded(s.snapshot)
	if err := c.Wait(); err != nil {
		return err
	}
	s.mu.Lock()
	i.settle(c)
	s.mu.Unlock()
	return nil
}

func (s *store) AddNewWorkflowEvent(_ context.Context, id api.InstanceID, e *protos.HistoryEvent) error {
	s.mu.Lock()
	i, ok := s.instances.Get(string(id))
	if !ok {
		s.mu.Unlock()
		if e.GetExecutionTerminated() != nil {
			return nil // a parent's last word to a child that was purged; an error would keep the parent from ending
		}
		_, err := s.archived(string(id))
		return err // nil, as for those that have ended and are still in memory
	}
	if i.ended() { // as Dapr: nobody will read it
		over := i.unsettled
		s.mu.Unlock()
		return over.Wait() // but after a crash somebody might
	}
	c, err := s.commit(op{kind: opInbox, id: string(id), payload: e})
	if err == nil {
		s.enqueue(i)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return c.Wait()
}

func (s *store) NextWorkflowWorkItem(ctx context.Context) (*backend.WorkflowWorkItem, error) {
	for {
		i, err := s.workflows.pop(ctx)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		i.queued = false
		current, _ := s.instances.Get(i.id)
		if current != i || i.ended() || i.out { // purged or replaced meanwhile
			s.count(i)
			s.mu.Unlock()
			continue
		}
		i.unpack()
		i.out = true
		i.taken = min(len(i.inbox), turnLimit)
		events := slices.Concat(i.inbox[:i.taken], i.fired)
		wi := &backend.WorkflowWorkItem{
			InstanceID: api.InstanceID(i.id), NewEvents: events, RetryCount: i.retries,
			State:      runtimestate.NewWorkflowRuntimeState(i.id, i.custom, i.history),
			Properties: map[string]any{"": i},
		}
		i.fired = nil
		s.mu.Unlock()
		return wi, nil
	}
}

func (s *store) GetWorkflowRuntimeState(_ context.Context, wi *backend.WorkflowWorkItem) (*protos.WorkflowRuntimeState, error) {
	i, err := s.find(string(wi.InstanceID))
	if errors.Is(err, api.ErrInstanceNotFound) {
		return runtimestate.NewWorkflowRuntimeState(string(wi.InstanceID), nil, nil), nil
	}
	if err != nil {
		return nil, err
	}
	return runtimestate.NewWorkflowRuntimeState(i.id, i.custom, i.history), nil
}

func (s *store) CompleteWorkflowWorkItem(_ context.Context, wi *backend.WorkflowWorkItem) error {
	i, _ := wi.Properties[""].(*instance)
	s.mu.Lock()
	current, _ := s.instances.Get(string(wi.InstanceID))
	if i == nil || current != i || !i.out {
		s.mu.Unlock()
		return backend.ErrWorkItemLockLost
	}
	ops := []op{{kind: opTurn, id: i.id, payload: turnOf(wi.State, i.taken)}}
	var targets []string
	for _, m := range wi.State.PendingMessages {
		if o, ok := s.message(m); ok {
			ops = append(ops, o)
			targets = append(targets, o.id)
		}
	}
	c, err := s.commit(ops...)
	if err != nil {
		s.mu.Unlock()
		return err
	}
	i.out, i.retries = false, 0
	s.count(i)
	seq, meta, ended := i.seq, i.metadata(), i.ended()
	if ended {
		i.unsettled = c
	}
	for _, e := range wi.State.PendingTimers {
		if !ended {
			s.setAlarm(i.alarmOf(e))
		}
	}
	s.enqueue(i)
	for _, id := range targets {
		if t, ok := s.instances.Get(id); ok {
			s.enqueue(t)
		}
	}
	s.mu.Unlock()

	if err := c.Wait(); err != nil {
		return err
	}
	for _, e := range wi.State.PendingTasks {
		if !ended {
			s.activities.push(activity{i, e})
		}
	}
	s.mu.Lock()
	i.publish(meta, seq)
	i.settle(c)
	i.pack()
	if ended {
		s.over = append(s.over, i)
	}
	s.mu.Unlock()
	s.journal.CompactIfNeeded(s.snapshot)
	return nil
}

// message turns what a workflow sends to another instance into an operation.
func (s *store) message(m *protos.WorkflowRuntimeStateMessage) (op, bool) {
	target, exists := s.instances.Get(m.GetTargetInstanceId())
	if m.GetHistoryEvent().GetExecutionStarted() != nil {
		if exists && !target.ended() {
			s.log.Warn().Str("saga", target.id).Msg("child workflow not started: its id is running")
			return op{}, false
		}
		return op{kind: opCreate, id: m.GetHistoryEvent().GetExecutionStarted().GetWorkflowInstance().GetInstanceId(), payload: m.GetHistoryEvent()}, true
	}
	if !exists || target.ended() {
		return op{}, false
	}
	return op{kind: opInbox, id: target.id, payload: m.GetHistoryEvent()}, true
}

func (s *store) AbandonWorkflowWorkItem(_ context.Context, wi *backend.WorkflowWorkItem) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := wi.Properties[""].(*instance)
	current, _ := s.instances.Get(string(wi.InstanceID))
	if i == nil || current != i || !i.out {
		return backend.ErrWorkItemLockLost
	}
	i.out = false
	i.retries++
	i.fired = append(i.fired, wi.NewEvents[i.taken:]...)
	s.count(i)
	s.addAlarm(alarm{at: time.Now().Add(max(wi.GetAbandonDelay(), 100*time.Millisecond)), inst: i, timer: -1})
	return nil
}

// wanted reports whether an instance waits for this activity: not if it has
// ended, is gone, or has continued as new with a task of the same number.
func (s *store) wanted(a activity) bool {
	if a.inst == nil {
		return false
	}
	current, _ := s.instances.Get(a.inst.id)
	return current == a.inst && current.tasks[a.task.GetEventId()] == a.task
}

func (s *store) NextActivityWorkItem(ctx context.Context) (*backend.ActivityWorkItem, error) {
	var a activity
	var id api.InstanceID
	for wanted := false; !wanted; {
		var err error
		if a, err = s.activities.pop(ctx); err != nil {
			return nil, err
		}
		s.mu.Lock()
		wanted = s.wanted(a) // it may have been terminated while this one was queued, or be terminated and folded up from here on
		id = api.InstanceID(a.inst.id)
		s.mu.Unlock()
	}
	// The worker writes its trace context into the event; ours is shared with snapshots.
	task, _ := proto.Clone(a.task).(*protos.HistoryEvent)
	return &backend.ActivityWorkItem{
		InstanceID: id, NewEvent: task, Properties: map[string]any{"": a},
	}, nil
}

func (s *store) CompleteActivityWorkItem(_ context.Context, wi *backend.ActivityWorkItem) error {
	a, _ := wi.Properties[""].(activity)
	s.mu.Lock()
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

func (s *store) AbandonActivityWorkItem(_ context.Context, wi *backend.ActivityWorkItem) error {
	a, ok := wi.Properties[""].(activity)
	if !ok {
		return backend.ErrWorkItemLockLost
	}
	s.activities.push(a)
	return nil
}
