package embedded

import (
	"slices"
	"time"

	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/backend/runtimestate"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ordersaga/ordersaga/internal/journal"
)

// instance is one workflow instance. docs/engine.md has the picture of its states,
// and the record that each transition writes. In the terms of the code:
//
//	idle       neither inFlight nor queued
//	queued     in store.workflows
//	in flight  with a worker; events and results that arrive collect in the inbox
//	           for the next turn
//	stalled    idle, and not queued again in this process; see stallIfAsked
//	ended      hasEnded; in store.endedInMemory, once the end is durable
//	archived   removed, and in store.archive
//	removed    final: a work item of a removed instance is rejected when it completes
//
// It is durable if metaSeq == seq and pendingCommit is durable, and compacted if
// compacted is not nil.
//
// All fields are guarded by store.mu, except that the runtime state given to a
// work item belongs to the worker while the instance is in flight.
type instance struct {
	id      string
	seq     uint64 // of the last record applied
	metaSeq uint64 // record at which body.meta was published: durable
	endedAt int64  // in Unix seconds, once the end is durable

	pendingCommit journal.Commit // of the creation, then of the end, while not durable
	firstTimer    *timerEntry    // list of its entries in store.timers
	changed       *change        // the next change of body.meta; nil if nothing watches

	// compacted is the encoded body, as in a snapshot, or nil. It takes a twentieth
	// of the memory.
	compacted  []byte
	compressed bool // compacted is

	inFlight       bool // a worker has it
	queued         bool // for the workflow workers
	hasEnded       bool
	stalled        bool // this process does not run it again; see stallIfAsked
	removed        bool // purged, replaced or archived
	awaitsExternal bool // by its custom status; see Options.AwaitsExternal
	counted        counted

	*body // &emptyBody if it is compacted
}

// body is the part of an instance that compacting encodes and drops.
type body struct {
	history []*protos.HistoryEvent
	inbox   []*protos.HistoryEvent         // durable, not yet in history
	tasks   map[int32]*protos.HistoryEvent // activities in progress, by event id
	timers  map[int32]*protos.HistoryEvent // timers that have not fired, by timer id

	state       *protos.WorkflowRuntimeState // derived from history; nil if it must be rebuilt
	custom      *wrapperspb.StringValue      // custom status
	retries     int                          // of the current turn
	takenEvents int                          // events of inbox that are in the work item in flight
	fired       []*protos.HistoryEvent       // due timers; not in inbox, because they are not journaled
	startAt     time.Time                    // scheduled start
	meta        *protos.WorkflowMetadata     // as published: durable
}

func newInstance(id string) *instance { return &instance{id: id, body: new(body)} }

func (i *instance) ended() bool { return i.hasEnded }

// durable reports whether everything applied to the instance is on disk.
func (i *instance) durable() bool {
	return i.metaSeq == i.seq && i.pendingCommit.Durable()
}

// idle reports whether nothing will happen until an event or a timer arrives.
func (i *instance) idle() bool {
	return !i.inFlight && !i.queued && len(i.inbox) == 0 && len(i.fired) == 0 && len(i.tasks) == 0
}

func (i *instance) timerEntry(e *protos.HistoryEvent) timerEntry {
	return timerEntry{at: ringsAt(e), inst: i, timer: e.GetTimerFired().GetTimerId()}
}

// timerEntries returns the entries of the timers that have not fired.
func (i *instance) timerEntries() (all []timerEntry) {
	for _, e := range i.timers {
		all = append(all, i.timerEntry(e))
	}
	return all
}

func (i *instance) create(e *protos.HistoryEvent) {
	i.inbox = []*protos.HistoryEvent{e}
	if at := e.GetExecutionStarted().GetScheduledStartTimestamp(); at != nil {
		i.startAt = at.AsTime()
	}
	i.meta = i.metadata()
}

// commitDurable clears the pending commit c, and with it its buffer.
func (i *instance) commitDurable(c journal.Commit) {
	if i.pendingCommit == c {
		i.pendingCommit = journal.Commit{}
	}
}

// finishTask moves an activity's result to the inbox if the activity is in
// progress.
func (i *instance) finishTask(result *protos.HistoryEvent) {
	if id, ok := taskIDOf(result); ok && i.tasks[id] != nil {
		delete(i.tasks, id)
		i.inbox = append(i.inbox, result)
	}
}

func taskIDOf(result *protos.HistoryEvent) (int32, bool) {
	if c := result.GetTaskCompleted(); c != nil {
		return c.GetTaskScheduledId(), true
	}
	if f := result.GetTaskFailed(); f != nil {
		return f.GetTaskScheduledId(), true
	}
	return 0, false
}

// turnOf returns what one run of the workflow code changed, in the form in which
// it is journaled: the events added to the history, and the activities and timers
// started. The message type is durabletask's own, so that this package needs no
// generated code.
func turnOf(s *protos.WorkflowRuntimeState) *protos.WorkflowRuntimeState {
	return &protos.WorkflowRuntimeState{
		NewEvents: s.NewEvents, PendingTasks: s.PendingTasks, PendingTimers: s.PendingTimers,
		CustomStatus: s.CustomStatus, ContinuedAsNew: s.ContinuedAsNew,
	}
}

// addPending adds the activities and timers of w to those in progress.
func (i *instance) addPending(w *protos.WorkflowRuntimeState) {
	if i.tasks == nil {
		i.tasks, i.timers = map[int32]*protos.HistoryEvent{}, map[int32]*protos.HistoryEvent{}
	}
	for _, e := range w.PendingTasks {
		i.tasks[e.GetEventId()] = e
	}
	for _, e := range w.PendingTimers {
		i.timers[e.GetTimerFired().GetTimerId()] = e
	}
}

// applyTurn applies a turn made by turnOf that consumed the given number of inbox
// events.
func (i *instance) applyTurn(t *protos.WorkflowRuntimeState, taken int) {
	if t.ContinuedAsNew {
		i.history, i.fired = nil, nil // timers are numbered from the start again
		clear(i.tasks)
		clear(i.timers)
	}
	i.history = append(i.history, t.NewEvents...)
	i.inbox = i.inbox[min(taken, len(i.inbox)):]
	for _, e := range t.NewEvents {
		if f := e.GetTimerFired(); f != nil {
			delete(i.timers, f.GetTimerId())
		}
	}
	i.addPending(t)
	if t.CustomStatus != nil {
		i.custom = t.CustomStatus
	}
	if t.ContinuedAsNew {
		i.state = nil
	} else if i.state != nil {
		i.extendState(t.NewEvents)
	}
	if i.rebuildState().CompletedEvent != nil {
		i.inbox, i.fired, i.tasks, i.timers = nil, nil, nil, nil // nothing will read late results
	}
}

// rebuildState returns the runtime state of the history, and derives it first if
// necessary. Its events are in the history only.
func (i *instance) rebuildState() *protos.WorkflowRuntimeState {
	if i.state == nil {
		i.state = &protos.WorkflowRuntimeState{InstanceId: i.id}
		i.extendState(i.history)
	}
	return i.state
}

// extendState derives the runtime state of a history that has grown by events. It
// does what runtimestate.NewWorkflowRuntimeState does with a whole history.
func (i *instance) extendState(events []*protos.HistoryEvent) {
	s := i.state
	for _, e := range events {
		s.LastUpdatedTime, s.Stalled = e.GetTimestamp(), nil
		switch t := e.GetEventType().(type) {
		case *protos.HistoryEvent_ExecutionStarted:
			s.StartEvent, s.CreatedTime = t.ExecutionStarted, e.GetTimestamp()
		case *protos.HistoryEvent_ExecutionCompleted:
			s.CompletedEvent, s.CompletedTime = t.ExecutionCompleted, e.GetTimestamp()
			i.hasEnded = true
		case *protos.HistoryEvent_ExecutionSuspended:
			s.IsSuspended = true
		case *protos.HistoryEvent_ExecutionResumed:
			s.IsSuspended = false
		case *protos.HistoryEvent_ExecutionStalled:
			s.Stalled = &protos.RuntimeStateStalled{Reason: t.ExecutionStalled.GetReason(), Description: t.ExecutionStalled.Description}
		}
	}
}

// stateForTurn returns the runtime state for a run of the workflow code. It shares
// the history's events, which are never changed.
func (i *instance) stateForTurn() *protos.WorkflowRuntimeState {
	s := i.rebuildState()
	return &protos.WorkflowRuntimeState{
		InstanceId: i.id, OldEvents: slices.Clip(i.history), CustomStatus: i.custom, StartEvent: s.StartEvent,
		CreatedTime: s.CreatedTime, LastUpdatedTime: s.LastUpdatedTime, IsSuspended: s.IsSuspended,
	}
}

// snapshotState returns the whole instance in the form of a snapshot; restore
// reads it.
func (i *instance) snapshotState() *protos.WorkflowRuntimeState {
	w := &protos.WorkflowRuntimeState{
		InstanceId: i.id, OldEvents: slices.Clip(i.history), NewEvents: slices.Clip(i.inbox), CustomStatus: i.custom,
	}
	for _, e := range i.tasks {
		w.PendingTasks = append(w.PendingTasks, e)
	}
	for _, e := range i.timers {
		w.PendingTimers = append(w.PendingTimers, e)
	}
	return w
}

func (i *instance) restore(w *protos.WorkflowRuntimeState) {
	i.history, i.inbox, i.custom = w.OldEvents, w.NewEvents, w.CustomStatus
	i.addPending(w)
	if len(i.history) == 0 && len(i.inbox) > 0 {
		i.create(i.inbox[0])
		i.inbox = w.NewEvents
	}
}

// metadata describes the instance in its current state, durable or not.
func (i *instance) metadata() *protos.WorkflowMetadata {
	s := i.rebuildState()
	m := &protos.WorkflowMetadata{
		InstanceId: i.id, RuntimeStatus: runtimestate.RuntimeStatus(s), CustomStatus: i.custom,
		CreatedAt: s.CreatedTime, LastUpdatedAt: s.LastUpdatedTime, CompletedAt: s.CompletedTime,
	}
	start := s.StartEvent
	if start == nil && len(i.inbox) > 0 {
		start = i.inbox[0].GetExecutionStarted()
		m.CreatedAt, m.LastUpdatedAt = i.inbox[0].GetTimestamp(), i.inbox[0].GetTimestamp()
	}
	if start != nil {
		m.Name, m.Input, m.Version = start.GetName(), start.GetInput(), start.GetVersion()
		m.ParentInstanceId = start.GetParentInstance().GetWorkflowInstance().GetInstanceId()
	}
	if len(i.history) > 0 {
		m.StartedAt = i.history[0].GetTimestamp()
	}
	if c := s.CompletedEvent; c != nil {
		m.LastUpdatedAt = s.CompletedTime // events that no turn has seen may follow it in the history
		m.Output, m.FailureDetails = c.GetResult(), c.GetFailureDetails()
	}
	return m
}

// publish makes meta, the metadata as of record seq, visible to clients. It does
// nothing if later metadata is visible already.
func (i *instance) publish(meta *protos.WorkflowMetadata, seq uint64) {
	if seq < i.metaSeq {
		return
	}
	i.meta, i.metaSeq = meta, seq
	if at := meta.GetCompletedAt(); at != nil {
		i.endedAt = at.GetSeconds()
	}
	i.notifyWatchers(meta)
}

// change is a change of an instance's metadata that watchers wait for.
type change struct {
	done chan struct{}            // closed when it has happened
	meta *protos.WorkflowMetadata // afterwards; nil if watchers must look again
}

// notifyWatchers passes the metadata to watchers, so that they need not decode an
// instance that is compacted by the time they look. With nil they look again.
func (i *instance) notifyWatchers(meta *protos.WorkflowMetadata) {
	if i.changed != nil {
		i.changed.meta = meta
		close(i.changed.done)
		i.changed = nil
	}
}
