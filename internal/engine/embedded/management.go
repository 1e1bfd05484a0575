package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/backend"
	"github.com/dapr/durabletask-go/backend/runtimestate"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/journal"
)

// CreateTaskHub implements backend.Backend. Opening the store has created it.
func (s *store) CreateTaskHub(context.Context) error { return nil }

// DeleteTaskHub implements backend.Backend. It always fails.
func (s *store) DeleteTaskHub(context.Context) error {
	return errors.New("the embedded engine cannot delete its task hub: delete the data directory instead")
}

// Start implements backend.Backend.
func (s *store) Start(context.Context) error { return nil }

// Stop implements backend.Backend.
func (s *store) Stop(context.Context) error { return nil }

// GetWorkflowMetadata implements backend.Backend. What it returns is durable.
func (s *store) GetWorkflowMetadata(ctx context.Context, id api.InstanceID) (*protos.WorkflowMetadata, error) {
	i, err := s.durableView(ctx, string(id), false)
	if err != nil {
		return nil, err
	}
	return i.meta, nil
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

// watch returns a saga's metadata, and its next change. The metadata may stay as it
// is at that.
func (s *store) watch(id string) (*protos.WorkflowMetadata, *change, error) {
	s.mu.Lock()
	i, ok := s.instances.Get(id)
	if ok {
		if i.changed == nil {
			i.changed = &change{done: make(chan struct{})}
		}
		c := i.copied()
		s.mu.Unlock()
		return c.view().meta, c.changed, nil
	}
	if s.created == nil {
		s.created = make(chan struct{})
	}
	created := &change{done: s.created}
	s.mu.Unlock()
	i, err := s.archived(id)
	if err != nil {
		return nil, nil, err
	}
	return i.meta, created, nil
}

// WatchWorkflowRuntimeStatus implements backend.Backend. It waits until condition
// holds, or ctx ends.
func (s *store) WatchWorkflowRuntimeStatus(
	ctx context.Context, id api.InstanceID, condition func(*protos.WorkflowMetadata) bool,
) error {
	for {
		meta, next, err := s.watch(string(id))
		if err != nil {
			return err
		}
		if condition(meta) {
			return nil
		}
		select {
		case <-next.done:
			if next.meta != nil && condition(next.meta) {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// purgeTree removes an ended instance, or with force any, and if recursive its
// children with theirs. An instance that only has the id of a child stays; see
// terminateChildren. It returns how many were removed.
func (s *store) purgeTree(ctx context.Context, id string, recursive, force bool) (n int, err error) {
	i, err := s.read(id)
	if err != nil {
		return 0, err
	}
	if !i.ended() && !force {
		return 0, api.ErrNotCompleted
	}
	for _, child := range childrenOf(i.history) {
		c, err := s.read(child)
		if !recursive || errors.Is(err, api.ErrInstanceNotFound) || err == nil && !c.startedBy(id, i.startEvent()) {
			continue
		}
		if err != nil {
			return n, err
		}
		purged, err := s.purgeTree(ctx, child, recursive, force)
		n += purged
		if err != nil && !errors.Is(err, api.ErrInstanceNotFound) {
			return n, fmt.Errorf("purge child saga %s: %w", child, err)
		}
	}
	purged, err := s.PurgeWorkflowState(ctx, api.InstanceID(id), nil, force)
	return n + purged, err
}

// PurgeWorkflowState implements backend.Backend. It removes an ended instance, or
// with force any instance, and returns how many were removed. If ctx ends first,
// the instance may have been removed.
func (s *store) PurgeWorkflowState(ctx context.Context, id api.InstanceID, router *protos.TaskRouter, force bool) (int, error) {
	if router.GetTargetAppID() != "" {
		return 0, fmt.Errorf("purge of app %s: %w", router.GetTargetAppID(), engine.ErrUnsupported)
	}
	c, err := s.purge(ctx, string(id), force)
	if err == nil {
		err = c.WaitFor(ctx)
	}
	if err != nil {
		return 0, err
	}
	return 1, nil
}

// purge removes an instance from memory and archive; see PurgeWorkflowState.
func (s *store) purge(ctx context.Context, id string, force bool) (c journal.Commit, err error) {
	if err := s.archiving.Acquire(ctx, 1); err != nil {
		return c, err
	}
	defer s.archiving.Release(1)
	s.mu.Lock()
	i, ok := s.instances.Get(id)
	if ok && !i.ended() && !force {
		s.mu.Unlock()
		return c, api.ErrNotCompleted
	}
	s.mu.Unlock()
	// The archive first: once the instance is removed from memory, an older one
	// with its id in the archive would be visible again.
	was, err := s.archive.remove(id)
	if err != nil {
		return c, err
	}
	if !ok && !was {
		return c, api.ErrInstanceNotFound
	}
	if err := s.lockToChange(ctx); err != nil {
		return c, err
	}
	defer s.mu.Unlock()
	// It may have been archived before, or its id started again meanwhile.
	if now, _ := s.instances.Get(id); now != i || i == nil {
		return c, nil
	}
	c, err = s.commit(op{kind: opPurge, id: id})
	i.notifyWatchers(nil)
	return c, err
}

// RerunWorkflowFromEvent implements backend.Backend. It copies the history of an
// ended instance up to and including the given TaskScheduled event, and continues
// from there as a new instance. If ctx ends first, the new instance may have been
// created.
func (s *store) RerunWorkflowFromEvent(ctx context.Context, req *protos.RerunWorkflowFromEventRequest) (api.InstanceID, error) {
	newID := req.GetNewInstanceID()
	if newID == "" {
		newID = uuid.NewString()
	}
	if err := engine.CheckID(newID); err != nil {
		return "", err
	}
	source, err := s.read(req.GetSourceInstanceID())
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
	if err := s.lockToChange(ctx); err != nil {
		return "", err
	}
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
	i.pendingCommit = c
	i.meta = i.metadata()
	meta, seq := i.meta, i.seq
	s.count(i)
	for _, e := range copied.PendingTimers {
		s.scheduleTimer(i.timerEntry(e))
	}
	s.mu.Unlock()
	continued := make(chan error, 1)
	s.background.Go(func() {
		err := c.Wait()
		if err == nil {
			s.mu.Lock()
			i.publish(meta, seq)
			s.mu.Unlock()
			for _, e := range copied.PendingTasks { // a turn meanwhile has pushed only those that it started itself
				s.activities.push(activity{inst: i, task: e})
			}
		}
		continued <- err
	})
	select {
	case err = <-continued:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return "", err
	}
	return api.InstanceID(newID), nil
}

// copyUpTo returns the state of a rerun; see RerunWorkflowFromEvent.
func copyUpTo(source *instance, newID string, req *protos.RerunWorkflowFromEventRequest) (*protos.WorkflowRuntimeState, error) {
	w := &protos.WorkflowRuntimeState{InstanceId: newID}
	open := map[int32]*protos.HistoryEvent{} // scheduled in the copy, without a result in it
	for _, e := range source.history {
		e, _ = proto.Clone(e).(*protos.HistoryEvent)
		if start := e.GetExecutionStarted(); start != nil {
			start.WorkflowInstance = &protos.WorkflowInstance{InstanceId: newID, ExecutionId: wrapperspb.String(uuid.NewString())}
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
				EventType: &protos.HistoryEvent_TimerFired{TimerFired: &protos.TimerFiredEvent{
					TimerId: id, FireAt: e.GetTimerCreated().GetFireAt(),
				}},
			})
		}
		return w, nil
	}
	return nil, fmt.Errorf("event %d of saga %s does not schedule an activity: %w", req.GetEventID(), source.id, api.ErrInstanceNotFound)
}

// ListInstanceIDs implements backend.Backend. It lists the ids of memory and
// archive in ascending order, at most engine.MaxListLimit of them: the SDK's client
// asks for 1,024.
func (s *store) ListInstanceIDs(_ context.Context, req *protos.ListInstanceIDsRequest) (*protos.ListInstanceIDsResponse, error) {
	limit := int(min(req.GetPageSize(), engine.MaxListLimit))
	if limit == 0 {
		limit = engine.MaxListLimit
	}
	// Memory first: an instance that leaves it meanwhile is in the archive by then.
	var ids []string
	s.mu.Lock()
	s.instances.Ascend(req.GetContinuationToken(), func(id string, _ *instance) bool {
		if id != req.GetContinuationToken() {
			ids = append(ids, id)
		}
		return len(ids) <= limit
	})
	s.mu.Unlock()
	archived, err := s.archive.idsAfter(req.GetContinuationToken(), limit+1)
	if err != nil {
		return nil, err
	}
	ids = append(ids, archived...)
	slices.Sort(ids)
	ids = slices.Compact(ids) // an id is in both while it is archived, or when it was started again
	res := &protos.ListInstanceIDsResponse{InstanceIds: ids[:min(limit, len(ids))]}
	if len(ids) > limit {
		res.ContinuationToken = &ids[limit-1]
	}
	return res, nil
}

// GetInstanceHistory implements backend.Backend. What it returns is durable.
func (s *store) GetInstanceHistory(ctx context.Context, req *protos.GetInstanceHistoryRequest) (*protos.GetInstanceHistoryResponse, error) {
	i, err := s.durableView(ctx, req.GetInstanceId(), true)
	if err != nil {
		return nil, err
	}
	return &protos.GetInstanceHistoryResponse{Events: slices.Clip(i.history)}, nil
}

// PurgeWorkflowState implements engine.TaskHub.
func (h taskHub) PurgeWorkflowState(ctx context.Context, id api.InstanceID, opts ...api.PurgeOptions) error {
	req := &protos.PurgeInstancesRequest{Recursive: true}
	for _, o := range opts {
		if err := o(req); err != nil {
			return err
		}
	}
	_, err := h.s.purgeTree(ctx, string(id), req.GetRecursive(), req.GetForce())
	return err
}
