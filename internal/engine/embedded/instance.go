package embedded

import (
	"fmt"
	"time"

	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/backend/runtimestate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ordersaga/ordersaga/internal/journal"
)

// never marks timers that only stand for "wait without a time-out": the SDK
// gives those the last instant of the year 9999.
const neverYear = 9999

// instance is one workflow instance. All fields are guarded by backend.mu,
// except that state belongs to the work item while one is out.
type instance struct {
	id      string
	seq     uint64 // of the last record applied
	history []*protos.HistoryEvent
	inbox   []*protos.HistoryEvent         // durable, not yet in history
	tasks   map[int32]*protos.HistoryEvent // activities in progress, by event id
	timers  map[int32]*protos.HistoryEvent // not fired yet, by timer id

	state   *protos.WorkflowRuntimeState // of history; nil: to be rebuilt
	custom  *wrapperspb.StringValue
	taken   int                    // how many of inbox the work item that is out has
	fired   []*protos.HistoryEvent // timers that are due; not in inbox, for they are not journalled
	out     bool                   // a work item is out
	queued  bool
	retries int32
	startAt time.Time // scheduled start

	gone    bool // purged or replaced
	live    bool // as counted by the store
	waiting bool // likewise
	resting bool // likewise
	rests   bool // by its custom status; see Options.Rests

	alarms *alarm // the first of those that are set

	unsettled journal.Commit // of the creation, then of the end, while not durable

	meta    *protos.WorkflowMetadata // as published: durable
	metaSeq uint64
	changed chan struct{} // closed when meta changes; nil: nobody waits for that

	over   bool  // has ended
	overAt int64 // when, in Unix seconds, once that is durable

	// packed is the instance as in a snapshot, in place of history, inbox,
	// tasks, timers, state, custom and meta: a tenth of their size.
	packed []byte
	due    []alarm // of the timers in packed, during replay
}

func newInstance(id string) *instance { return &instance{id: id} }

func (i *instance) ended() bool { return i.over }

// pack folds an instance up if it is durable and nothing will happen to it
// until an event or a timer comes.
func (i *instance) pack() {
	if i.packed != nil || i.metaSeq != i.seq || i.unsettled != (journal.Commit{}) || i.out || i.queued || !i.over && !i.idle() {
		return
	}
	b, err := proto.Marshal(i.whole())
	if err != nil {
		return // it stays as it is
	}
	i.fold(b)
}

// fold puts the packed form in the place of the rest.
func (i *instance) fold(b []byte) {
	*i = instance{
		id: i.id, seq: i.seq, retries: i.retries, live: i.live, waiting: i.waiting, resting: i.resting, rests: i.rests, gone: i.gone, alarms: i.alarms,
		metaSeq: i.metaSeq, changed: i.changed, over: i.over, overAt: i.overAt, packed: b,
	}
}

func (i *instance) alarmOf(e *protos.HistoryEvent) alarm {
	return alarm{at: e.GetTimerFired().GetFireAt().AsTime(), inst: i, timer: e.GetTimerFired().GetTimerId()}
}

// planned are the alarms of the timers that have not fired.
func (i *instance) planned() (all []alarm) {
	for _, e := range i.timers {
		all = append(all, i.alarmOf(e))
	}
	return all
}

// unpack undoes pack.
func (i *instance) unpack() {
	if i.packed == nil {
		return
	}
	var w protos.WorkflowRuntimeState
	if err := proto.Unmarshal(i.packed, &w); err != nil {
		panic(fmt.Sprintf("saga %s does not unpack from memory: %v", i.id, err))
	}
	i.packed, i.due = nil, nil
	i.restore(&w)
	i.meta = i.metadata()
}

// look is the instance unpacked, to be read only: it may be a copy.
func (i *instance) look() *instance {
	if i.packed == nil {
		return i
	}
	c := *i
	c.unpack()
	return &c
}

// idle reports whether nothing will happen until an event or a timer comes.
func (i *instance) idle() bool {
	return !i.out && !i.queued && len(i.inbox) == 0 && len(i.fired) == 0 && len(i.tasks) == 0
}

func (i *instance) create(e *protos.HistoryEvent) {
	i.inbox = []*protos.HistoryEvent{e}
	if at := e.GetExecutionStarted().GetScheduledStartTimestamp(); at != nil {
		i.startAt = at.AsTime()
	}
	i.meta = i.metadata()
}

// settle forgets a commit that is durable, and with it its buffer.
func (i *instance) settle(c journal.Commit) {
	if i.unsettled == c {
		i.unsettled = journal.Commit{}
	}
}

// finishTask moves an activity's result to the inbox, if the activity is in
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

// turnOf is what one run of the workflow code changed, as it is journalled:
// events added to the history, activities and timers begun, and, in
// CreatedTime's seconds, how many inbox events it took in. (The message is
// durabletask's own, so that no format of ours needs to be generated.)
func turnOf(s *protos.WorkflowRuntimeState, taken int) *protos.WorkflowRuntimeState {
	return &protos.WorkflowRuntimeState{
		NewEvents: s.NewEvents, PendingTasks: s.PendingTasks, PendingTimers: s.PendingTimers,
		CustomStatus: s.CustomStatus, ContinuedAsNew: s.ContinuedAsNew,
		CreatedTime: &timestamppb.Timestamp{Seconds: int64(taken)},
	}
}

func (i *instance) pending(w *protos.WorkflowRuntimeState) {
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

// turn applies what turnOf describes.
func (i *instance) turn(t *protos.WorkflowRuntimeState) {
	if t.ContinuedAsNew {
		i.history, i.fired = nil, nil // numbers of timers begin anew
		clear(i.tasks)
		clear(i.timers)
	}
	i.history = append(i.history, t.NewEvents...)
	i.inbox = i.inbox[min(int(t.GetCreatedTime().GetSeconds()), len(i.inbox)):]
	for _, e := range t.NewEvents {
		if f := e.GetTimerFired(); f != nil {
			delete(i.timers, f.GetTimerId())
		}
	}
	i.pending(t)
	if t.CustomStatus != nil {
		i.custom = t.CustomStatus
	}
	i.state = nil
	if i.rebuilt().CompletedEvent != nil {
		i.inbox, i.fired, i.tasks, i.timers = nil, nil, nil, nil // late answers have nobody to read them
	}
}

// rebuilt returns the runtime state of the history.
func (i *instance) rebuilt() *protos.WorkflowRuntimeState {
	if i.state == nil {
		i.state = runtimestate.NewWorkflowRuntimeState(i.id, i.custom, i.history)
		i.over = i.state.CompletedEvent != nil
	}
	return i.state
}

func (i *instance) whole() *protos.WorkflowRuntimeState {
	w := &protos.WorkflowRuntimeState{InstanceId: i.id, OldEvents: i.history, NewEvents: i.inbox, CustomStatus: i.custom}
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
	i.pending(w)
	if len(i.history) == 0 && len(i.inbox) > 0 {
		i.create(i.inbox[0])
		i.inbox = w.NewEvents
	}
}

// metadata describes the instance as of now.
func (i *instance) metadata() *protos.WorkflowMetadata {
	s := i.rebuilt()
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
		m.Output, m.FailureDetails = c.GetResult(), c.GetFailureDetails()
	}
	return m
}

// publish makes meta visible, unless a later one already is.
func (i *instance) publish(meta *protos.WorkflowMetadata, seq uint64) {
	if seq < i.metaSeq {
		return
	}
	i.meta, i.metaSeq = meta, seq
	if at := meta.GetCompletedAt(); at != nil {
		i.overAt = at.GetSeconds()
	}
	i.tell()
}

// tell wakes those who watch.
func (i *instance) tell() {
	if i.changed != nil {
		close(i.changed)
		i.changed = nil
	}
}
