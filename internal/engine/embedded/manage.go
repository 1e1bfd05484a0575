package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/api/protos"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ordersaga/ordersaga/internal/engine"
)

func (s *store) CreateTaskHub(context.Context) error { return nil }
func (s *store) DeleteTaskHub(context.Context) error {
	return errors.New("delete the data directory instead")
}
func (s *store) Start(context.Context) error { return nil }
func (s *store) Stop(context.Context) error  { return nil }

func (s *store) GetWorkflowMetadata(ctx context.Context, id api.InstanceID) (*protos.WorkflowMetadata, error) {
	i, err := s.seen(ctx, string(id), false)
	if err != nil {
		return nil, err
	}
	return i.meta, nil
}

// watch returns what is known of a saga, and a channel that is closed when
// that may have changed.
func (s *store) watch(id string) (*protos.WorkflowMetadata, <-chan struct{}, error) {
	s.mu.Lock()
	i, ok := s.instances.Get(id)
	if ok {
		defer s.mu.Unlock()
		if i.changed == nil {
			i.changed = make(chan struct{})
		}
		return i.look().meta, i.changed, nil
	}
	if s.born == nil {
		s.born = make(chan struct{})
	}
	born := s.born
	s.mu.Unlock()
	i, err := s.archived(id)
	if err != nil {
		return nil, nil, err
	}
	return i.meta, born, nil
}

func (s *store) WatchWorkflowRuntimeStatus(ctx context.Context, id api.InstanceID, condition func(*protos.WorkflowMetadata) bool) error {
	for {
		meta, changed, err := s.watch(string(id))
		if err != nil {
			return err
		}
		if condition(meta) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *store) PurgeWorkflowState(_ context.Context, id api.InstanceID, router *protos.TaskRouter, force bool) (int, error) {
	if router.GetTargetAppID() != "" {
		return 0, fmt.Errorf("purge of app %s: %w", router.GetTargetAppID(), engine.ErrUnsupported)
	}
	s.moving.Lock()
	defer s.moving.Unlock()
	s.mu.Lock()
	i, ok := s.instances.Get(string(id))
	if ok && !i.ended() && !force {
		s.mu.Unlock()
		return 0, api.ErrNotCompleted
	}
	s.mu.Unlock()
	// First: once memory has forgotten it, an older saga of that id would
	// show again.
	was, err := s.archive.remove(string(id))
	if err != nil {
		return 0, err
	}
	if !ok && !was {
		return 0, api.ErrInstanceNotFound
	}
	s.mu.Lock()
	if now, _ := s.instances.Get(string(id)); now != i || i == nil { // gone over to the archive before, or begun anew just now
		s.mu.Unlock()
		return 1, nil
	}
	c, err := s.commit(op{kind: opPurge, id: string(id)})
	i.tell()
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return 1, c.Wait()
}

// RerunWorkflowFromEvent copies the history of an ended instance up to and
// with the given scheduling event, and goes on from there as a new instance.
func (s *store) RerunWorkflowFromEvent(_ context.Context, req *protos.RerunWorkflowFromEventRequest) (api.InstanceID, error) {
	newID := req.GetNewInstanceID()
	if newID == "" {
		newID = uuid.NewString()
	}
	source, err := s.find(req.GetSourceInstanceID())
	if err != nil {
		return "", err
	}
	if !source.ended() {
		return "", api.ErrNotCompleted
	}
	copied, err := copyUpTo(source, newID, req)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	if other, taken := s.instances.Get(newID); newID == source.id || taken && !other.ended() {
		s.mu.Unlock()
		return "", api.ErrDuplicateInstance
	}
	c, err := s.commit(op{kind: opState, id: newID, payload: copied})
	if err != nil {
		s.mu.Unlock()
		return "", err
	}
	i, _ := s.instances.Get(newID)
	i.meta = i.metadata()
	meta, seq := i.meta, i.seq
	s.count(i)
	for _, e := range copied.PendingTimers {
		s.setAlarm(i.alarmOf(e))
	}
	s.mu.Unlock()
	if err := c.Wait(); err != nil {
		return "", err
	}
	s.mu.Lock()
	i.publish(meta, seq)
	s.mu.Unlock()
	for _, e := range copied.PendingTasks { // a turn in between has pushed those that it began
		s.activities.push(activity{i, e})
	}
	return api.InstanceID(newID), nil
}

func copyUpTo(source *instance, newID string, req *protos.RerunWorkflowFromEventRequest) (*protos.WorkflowRuntimeState, error) {
	w := &protos.WorkflowRuntimeState{InstanceId: newID}
	open := map[int32]*protos.HistoryEvent{} // scheduled in the copy, not answered in it
	for _, e := range source.history {
		e, _ = proto.Clone(e).(*protos.HistoryEvent)
		if start := e.GetExecutionStarted(); start != nil {
			start.WorkflowInstance.InstanceId = newID
		}
		w.OldEvents = append(w.OldEvents, e)
		if id, ok := taskIDOf(e); ok {
			delete(open, id)
		}
		if f := e.GetTimerFired(); f != nil {
			delete(open, f.GetTimerId())
		}
		scheduled, timer := e.GetTaskScheduled(), e.GetTimerCreated()
		if scheduled != nil || timer != nil {
			open[e.GetEventId()] = e
		}
		if scheduled == nil || e.GetEventId() != int32(req.GetEventID()) {
			continue
		}
		if req.GetOverwriteInput() {
			scheduled.Input = req.GetInput()
		}
		for id, e := range open {
			if e.GetTaskScheduled() != nil {
				w.PendingTasks = append(w.PendingTasks, e)
				continue
			}
			w.PendingTimers = append(w.PendingTimers, &protos.HistoryEvent{
				EventId: -1, Timestamp: timestamppb.Now(),
				EventType: &protos.HistoryEvent_TimerFired{TimerFired: &protos.TimerFiredEvent{TimerId: id, FireAt: e.GetTimerCreated().GetFireAt()}},
			})
		}
		return w, nil
	}
	return nil, fmt.Errorf("event %d of saga %s does not schedule an activity: %w", req.GetEventID(), source.id, api.ErrInstanceNotFound)
}

func (s *store) ListInstanceIDs(_ context.Context, req *protos.ListInstanceIDsRequest) (*protos.ListInstanceIDsResponse, error) {
	limit := int(req.GetPageSize())
	if limit <= 0 {
		limit = 1000
	}
	// Memory first: what it has then and not later is in the archive by now.
	var ids []string
	s.mu.Lock()
	s.instances.Ascend(req.GetContinuationToken(), func(id string, _ *instance) bool {
		if id != req.GetContinuationToken() {
			ids = append(ids, id)
		}
		return len(ids) <= limit
	})
	s.mu.Unlock()
	archived, err := s.archive.after(req.GetContinuationToken(), limit+1)
	if err != nil {
		return nil, err
	}
	ids = append(ids, archived...)
	slices.Sort(ids)
	ids = slices.Compact(ids) // one that goes over just now is in both, and so is one begun anew
	res := &protos.ListInstanceIDsResponse{InstanceIds: ids[:min(limit, len(ids))]}
	if len(ids) > limit {
		res.ContinuationToken = &ids[limit-1]
	}
	return res, nil
}

func (s *store) GetInstanceHistory(ctx context.Context, req *protos.GetInstanceHistoryRequest) (*protos.GetInstanceHistoryResponse, error) {
	i, err := s.seen(ctx, req.GetInstanceId(), true)
	if err != nil {
		return nil, err
	}
	return &protos.GetInstanceHistoryResponse{Events: i.history[:len(i.history):len(i.history)]}, nil
}

func (s *store) snapshot(emit func([]byte) error) error {
	var ids []string
	s.mu.Lock()
	s.instances.Scan(func(id string, _ *instance) bool { ids = append(ids, id); return true })
	s.mu.Unlock()
	for _, id := range ids {
		s.mu.Lock()
		var record []byte
		var err error
		if i, ok := s.instances.Get(id); ok {
			o := op{kind: opState, id: id, raw: i.packed}
			if o.raw == nil {
				o.payload = i.whole()
			}
			record, err = encodeRecord(i.seq, o)
		}
		s.mu.Unlock()
		if err != nil {
			return err
		}
		if record == nil {
			continue
		}
		if err := emit(record); err != nil {
			return err
		}
	}
	return nil
}
