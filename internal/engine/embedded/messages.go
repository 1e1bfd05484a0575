package embedded

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/backend/runtimestate/dedup"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ordersaga/ordersaga/internal/engine"
)

// turnOps returns the operations of a turn of i that led to state: the turn itself,
// and what it sends to other instances, in the order in which they apply. The caller
// holds mu.
func (s *store) turnOps(i *instance, state *protos.WorkflowRuntimeState) []op {
	turn := op{kind: opTurn, id: i.id, taken: i.takenEvents}
	changes, taken, rest := turnOf(state), i.inbox[:i.takenEvents], i.inbox[i.takenEvents:]
	var kept []op
	switch {
	case state.GetCompletedEvent() != nil: // nothing will read the rest, but each event accepted is in a history
		changes.NewEvents = slices.Concat(changes.NewEvents, rest)
	case state.GetContinuedAsNew():
		kept = withoutAnswers(i.id, rest)
		if len(kept) < len(rest) {
			turn.taken = len(i.inbox) // those kept are added again
		} else {
			kept = nil
		}
	}
	turn.payload = changes
	ops := append([]op{turn}, kept...)
	created := map[string]bool{}
	for _, m := range state.GetPendingMessages() {
		e, ended := m.GetHistoryEvent(), state.GetCompletedEvent() != nil
		if start := e.GetExecutionStarted(); start == nil {
			ops = append(ops, s.send(state, m)...)
		} else if err := s.checkChild(start, created); err == nil {
			ops = append(ops, op{kind: opCreate, id: m.GetTargetInstanceId(), payload: e})
		} else if !ended { // the parent itself would not read it
			ops = append(ops, op{kind: opInbox, id: i.id, payload: childNotStarted(start, err)})
		}
	}
	if state.GetCompletedEvent() != nil {
		ops = append(ops, s.terminateChildren(i.id, state, taken)...)
	}
	return ops
}

// withoutAnswers returns operations that add the given events to an instance's
// inbox, without the answers to activities, timers and children: a new generation
// numbers these from the start again, and would take them for answers to its own.
func withoutAnswers(id string, events []*protos.HistoryEvent) (ops []op) {
	for _, e := range events {
		if _, _, answers := dedup.Of(e); !answers {
			ops = append(ops, op{kind: opInbox, id: id, payload: e})
		}
	}
	return ops
}

// checkChild returns why a child cannot be started, and adds its id to created.
func (s *store) checkChild(start *protos.ExecutionStartedEvent, created map[string]bool) error {
	id := start.GetWorkflowInstance().GetInstanceId()
	if err := engine.CheckID(id); err != nil {
		return fmt.Errorf("start child saga: %w", err)
	}
	if other, exists := s.instances.Get(id); created[id] || exists && !other.ended() {
		return fmt.Errorf("start child saga %s: %w", id, engine.ErrActive)
	}
	created[id] = true
	return nil
}

// childNotStarted is the event that fails a parent's task.
func childNotStarted(start *protos.ExecutionStartedEvent, err error) *protos.HistoryEvent {
	return &protos.HistoryEvent{EventId: -1, Timestamp: timestamppb.Now(), EventType: &protos.HistoryEvent_ChildWorkflowInstanceFailed{
		ChildWorkflowInstanceFailed: &protos.ChildWorkflowInstanceFailedEvent{
			TaskScheduledId: start.GetParentInstance().GetTaskScheduledId(),
			FailureDetails:  &protos.TaskFailureDetails{ErrorType: engine.ChildNotStarted, ErrorMessage: err.Error()},
		},
	}}
}

// send returns the operation for an event from the instance with the given state to
// another, most often from a child to its parent. It is dropped if the other has
// ended, or is another execution of its id, or another generation of it, than the
// one that started the child.
func (s *store) send(from *protos.WorkflowRuntimeState, m *protos.WorkflowRuntimeStateMessage) []op {
	target, exists := s.instances.Get(m.GetTargetInstanceId())
	if !exists || target.ended() {
		return nil
	}
	e := m.GetHistoryEvent()
	if kind, _, _ := dedup.Of(e); kind == dedup.KindChild {
		waits := from.GetStartEvent().GetParentInstance().GetWorkflowInstance().GetExecutionId().GetValue()
		runs := target.startEvent().GetWorkflowInstance().GetExecutionId().GetValue()
		if waits != runs && waits != "" && runs != "" {
			return nil
		}
	}
	if failed := e.GetChildWorkflowInstanceFailed(); failed != nil && failed.GetFailureDetails() == nil {
		failed.FailureDetails = engine.ChildTerminated(from.GetInstanceId()) // the SDK takes it for a success otherwise
	}
	return []op{{kind: opInbox, id: target.id, payload: e}}
}

// terminateChildren returns the operations that terminate the children of an
// instance which ends by a recursive termination among the given events. An
// instance that only has the id of a child is left alone: the child was not started
// because its id was taken, or it has ended and its id was used again.
func (s *store) terminateChildren(id string, state *protos.WorkflowRuntimeState, taken []*protos.HistoryEvent) (ops []op) {
	var end *protos.ExecutionTerminatedEvent
	for _, e := range taken {
		if t := e.GetExecutionTerminated(); t != nil && end == nil {
			end = t
		}
	}
	if !end.GetRecurse() {
		return nil
	}
	for _, child := range childrenOf(state.GetOldEvents(), state.GetNewEvents()) {
		target, exists := s.instances.Get(child)
		if exists && !target.ended() && target.startedBy(id, state.GetStartEvent()) {
			ops = append(ops, op{kind: opInbox, id: child, payload: &protos.HistoryEvent{
				EventId: -1, Timestamp: timestamppb.Now(),
				EventType: &protos.HistoryEvent_ExecutionTerminated{ExecutionTerminated: &protos.ExecutionTerminatedEvent{
					Input: end.GetInput(), Recurse: true,
				}},
			}})
		}
	}
	return ops
}

// childrenOf returns the ids of the children that a history has, each once.
func childrenOf(histories ...[]*protos.HistoryEvent) (ids []string) {
	seen := map[string]bool{}
	for _, events := range histories {
		for _, e := range events {
			c := e.GetChildWorkflowInstanceCreated()
			if c != nil && !seen[c.GetInstanceId()] {
				seen[c.GetInstanceId()] = true
				ids = append(ids, c.GetInstanceId())
			}
		}
	}
	return ids
}

// startEvent returns the event with which the instance's current generation began.
// The caller holds mu.
func (i *instance) startEvent() *protos.ExecutionStartedEvent {
	v := i.view()
	if start := v.rebuildState().GetStartEvent(); start != nil || len(v.inbox) == 0 {
		return start
	}
	return v.inbox[0].GetExecutionStarted()
}

// startedBy reports whether the execution of an instance that began with the given
// event has started this instance as its child.
func (i *instance) startedBy(id string, start *protos.ExecutionStartedEvent) bool {
	parent := i.startEvent().GetParentInstance().GetWorkflowInstance()
	was, is := parent.GetExecutionId().GetValue(), start.GetWorkflowInstance().GetExecutionId().GetValue()
	return parent.GetInstanceId() == id && (was == is || was == "" || is == "")
}

// withValidChildIDs replaces bytes of children's ids that are not UTF-8: the record
// of the turn could not be encoded. Such a child is not started; see checkChild.
func withValidChildIDs(res *protos.WorkflowResponse) {
	for _, a := range res.GetActions() {
		if c := a.GetCreateChildWorkflow(); c != nil {
			c.InstanceId = strings.ToValidUTF8(c.GetInstanceId(), "\uFFFD")
		}
	}
}
