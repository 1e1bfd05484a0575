package embedded

import (
	"context"
	"slices"
	"time"

	"github.com/dapr/durabletask-go/api/protos"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/journal"
)

// turnLimit bounds how many events one run of the workflow code consumes, so
// that an instance flooded with events does not monopolize a worker.
const turnLimit = 1000

// turn is one run of an instance's workflow code. Its state belongs to the
// goroutine that runs it, until finishTurn.
type turn struct {
	inst  *instance
	added []*protos.HistoryEvent // not in the history yet: from the inbox, then fired
	fired []*protos.HistoryEvent // timers; a part of added
	state *protos.WorkflowRuntimeState
	seen  journal.Commit // once it is durable, so are the added events
}

// activity is an activity of an instance that is to be run.
type activity struct {
	inst *instance
	task *protos.HistoryEvent // its TaskScheduled event
}

// takeTurn marks a queued instance as in flight. ok is false if there is nothing
// to run: it was purged or replaced meanwhile.
func (s *store) takeTurn(i *instance) (t turn, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i.queued = false
	if i.removed || i.ended() || i.inFlight {
		s.count(i)
		return turn{}, false
	}
	i.decode()
	i.inFlight = true
	i.takenEvents = min(len(i.inbox), turnLimit)
	t = turn{inst: i, seen: s.last, added: slices.Concat(i.inbox[:i.takenEvents], i.fired), state: i.stateForTurn()}
	t.fired = t.added[i.takenEvents:]
	i.fired = nil
	return t, true
}

// finishTurn journals a turn and the messages to other instances as one record,
// and starts the turn's activities once that is durable. The error is not nil if
// the turn has had no effect.
func (s *store) finishTurn(t turn) error {
	i := t.inst
	if err := s.lockToChange(context.Background()); err != nil { // the work is done: its outcome waits for room
		return err
	}
	if i.removed {
		s.mu.Unlock()
		return nil
	}
	t.stallIfAsked()
	ops := s.turnOps(i, t.state)
	c, err := s.commitText(ops...)
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
	for _, e := range t.state.PendingTimers {
		if !ended {
			s.scheduleTimer(i.timerEntry(e))
		}
	}
	for _, o := range ops {
		if target, ok := s.instances.Get(o.id); ok {
			if o.kind == opCreate {
				target.pendingCommit = c
			}
			s.enqueue(target)
		}
	}
	s.mu.Unlock()

	durable := c.Wait() == nil
	if !durable {
		return nil // the journal has failed, and Run ends: memory stays ahead of the disk
	}
	for _, e := range t.state.PendingTasks {
		if !ended {
			s.activities.push(activity{inst: i, task: e})
		}
	}
	s.mu.Lock()
	i.publish(meta, seq)
	i.commitDurable(c)
	if ended {
		s.endedInMemory = append(s.endedInMemory, i)
	}
	s.mu.Unlock()
	s.compact(i)
	s.journal.CompactIfNeeded(s.snapshot)
	return nil
}

// abandonTurn returns a turn's events to its instance, which takes them again
// after a pause that grows with each attempt.
func (s *store) abandonTurn(t turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := t.inst
	if i.removed {
		return
	}
	pause := min(max(time.Duration(i.retries)*time.Second, 100*time.Millisecond), 5*time.Minute)
	i.retries++
	i.inFlight = false
	i.fired = slices.Concat(t.fired, i.fired) // timers keep their order
	s.count(i)
	s.addTimer(timerEntry{at: time.Now().Add(pause).UnixNano(), inst: i, timer: wakeUp})
}

// commitText is commit, for what workflow code and activities have produced: text
// in it that is not UTF-8, which the encoding rejects, is made valid. The caller
// holds mu.
func (s *store) commitText(ops ...op) (journal.Commit, error) {
	c, err := s.commit(ops...)
	if err == nil {
		return c, nil
	}
	for _, o := range ops {
		engine.ValidText(o.payload)
	}
	return s.commit(ops...)
}

// wanted reports whether an instance waits for this activity. It does not if it
// has ended, was removed, or has continued as new, which may have reused the
// task's number. The caller holds mu.
func (a activity) wanted() bool {
	return !a.inst.removed && a.inst.tasks[a.task.GetEventId()] == a.task
}

// stillWanted is wanted, for callers without mu.
func (s *store) stillWanted(a activity) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return a.wanted()
}

// finishActivity journals an activity's result, and continues the instance once
// that is durable. A result that no instance waits for is dropped.
func (s *store) finishActivity(a activity, result *protos.HistoryEvent) {
	if s.lockToChange(context.Background()) != nil {
		return
	}
	if !a.wanted() {
		s.mu.Unlock()
		return
	}
	c, err := s.commitText(op{kind: opTaskDone, id: a.inst.id, payload: result})
	if err != nil { // the saga must learn that; the activity has run and would fail in the same way again
		failed := taskFailed(a.task, "ResultNotRecorded", "record the activity's result: "+err.Error())
		c, err = s.commitText(op{kind: opTaskDone, id: a.inst.id, payload: failed})
	}
	if err == nil {
		s.enqueue(a.inst)
	}
	s.mu.Unlock()
	if err != nil {
		s.log.Error().Err(err).Str("saga", a.inst.id).
			Msg("the result of an activity cannot be recorded; it runs again after a restart")
		return
	}
	_ = c.Wait() // an error is the journal's, which ends Run
}
