package embedded

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/api/protos"
	"google.golang.org/protobuf/proto"

	"github.com/ordersaga/ordersaga/internal/journal"
)

const (
	// archiveEvery is how often ended sagas move to the archive, and the shortest
	// time that they stay in memory, where callers of Wait find them.
	archiveEvery = 2 * time.Second
	// archiveBatchSize bounds one transaction of the archive, and the journal
	// record that follows it.
	archiveBatchSize = 1000
)

// read returns a saga from memory or the archive, for reading only. The error
// is api.ErrInstanceNotFound if neither has it.
func (s *store) read(id string) (*instance, error) {
	s.mu.Lock()
	i, ok := s.instances.Get(id)
	if ok {
		c := *i.view() // its slices may grow, but not within the length of the copy's
		s.mu.Unlock()
		return &c, nil
	}
	s.mu.Unlock()
	return s.archived(id)
}

// durableView is read for clients: what they see is durable. The metadata of a
// saga in memory always is. Its history may be ahead of the disk, so with
// history set durableView waits for it.
func (s *store) durableView(ctx context.Context, id string, history bool) (*instance, error) {
	s.mu.Lock()
	i, ok := s.instances.Get(id)
	if !ok {
		s.mu.Unlock()
		return s.archived(id)
	}
	c, last := *i.view(), s.last
	s.mu.Unlock()
	if c.metaSeq == 0 || history && c.metaSeq != c.seq {
		if err := last.WaitFor(ctx); err != nil {
			return nil, err
		}
	}
	return &c, nil
}

// archived returns a saga from the archive, or api.ErrInstanceNotFound.
func (s *store) archived(id string) (*instance, error) {
	state, ok, err := s.archive.get(id)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, api.ErrInstanceNotFound
	}
	var w protos.WorkflowRuntimeState
	if err := proto.Unmarshal(state, &w); err != nil {
		return nil, fmt.Errorf("read saga %s from the archive: %w", id, err)
	}
	i := newInstance(id)
	i.restore(&w)
	i.meta = i.metadata()
	return i, nil
}

// maintainArchive moves ended sagas to the archive, and purges those past their
// retention, until ctx ends.
func (s *store) maintainArchive(ctx context.Context, retention time.Duration) {
	tick := time.NewTicker(archiveEvery)
	defer tick.Stop()
	var failing bool
	var lastPurge time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.archiveEnded(ctx, time.Now().Add(-archiveEvery))
		if err == nil && time.Since(lastPurge) > min(retention/10, time.Minute) {
			lastPurge = time.Now()
			var n int
			n, err = s.purgeExpired(ctx, lastPurge.Add(-retention))
			if n > 0 {
				s.log.Info().Int("sagas", n).Msg("purged ended sagas past their retention")
			}
		}
		if err != nil && !failing {
			s.log.Warn().Err(err).Msg("cannot archive ended sagas; they stay in memory until that succeeds")
		}
		failing = err != nil
	}
}

// archiveEnded moves the sagas that ended before the given time to the archive.
func (s *store) archiveEnded(ctx context.Context, before time.Time) error {
	for s.archive != nil && ctx.Err() == nil {
		n, err := s.archiveBatch(before)
		if err != nil || n < archiveBatchSize {
			return err
		}
	}
	return nil
}

// archiveBatch moves up to archiveBatchSize of them, and returns how many it
// looked at. A saga is durable in the archive before it is removed from journal
// and memory; in between it is in both, with the same content.
func (s *store) archiveBatch(before time.Time) (n int, err error) {
	s.archiving.Lock()
	defer s.archiving.Unlock()
	var batch []archivedSaga
	from := map[string]*instance{}
	s.mu.Lock()
	for _, i := range s.endedInMemory[:min(archiveBatchSize, len(s.endedInMemory))] {
		if i.endedAt >= before.Unix() { // the list is in order: the rest ended even later
			break
		}
		n++
		i.compact()
		if current, _ := s.instances.Get(i.id); current != i || i.compacted == nil {
			continue
		}
		batch = append(batch, archivedSaga{id: i.id, at: i.endedAt, state: i.compacted})
		from[i.id] = i
	}
	taken := slices.Clone(s.endedInMemory[:n])
	s.mu.Unlock()
	if err := s.archive.put(batch); err != nil {
		return 0, err
	}
	c, err := s.removeArchived(from, taken)
	if err != nil {
		return 0, err
	}
	return n, c.Wait() // purgeExpired may rely on it
}

// removeArchived removes archived sagas from memory and journal. A saga whose id
// was started again meanwhile stays: memory takes precedence over the archive.
func (s *store) removeArchived(from map[string]*instance, taken []*instance) (journal.Commit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ops []op
	for id, i := range from {
		if current, _ := s.instances.Get(id); current == i {
			ops = append(ops, op{kind: opPurge, id: id})
		}
	}
	var c journal.Commit
	if len(ops) > 0 {
		var err error
		c, err = s.commit(ops...)
		if err != nil {
			return c, err
		}
	}
	for _, i := range from {
		i.notifyWatchers() // they look again, and find it in the archive
	}
	// Sagas that could not be compacted yet are retried.
	s.endedInMemory = slices.Delete(s.endedInMemory, 0, len(taken))
	for _, i := range taken {
		if current, _ := s.instances.Get(i.id); current == i {
			s.endedInMemory = append(s.endedInMemory, i)
		}
	}
	return c, nil
}

// purgeExpired purges sagas that ended before the given time, and returns how
// many. It looks in the archive, or in memory if there is no archive; old
// journals can hold the latter in any order.
func (s *store) purgeExpired(ctx context.Context, before time.Time) (purged int, err error) {
	for s.archive != nil && ctx.Err() == nil {
		s.archiving.Lock()
		n, err := s.archive.purgeExpired(before, archiveBatchSize)
		s.archiving.Unlock()
		purged += n
		if err != nil || n < archiveBatchSize {
			return purged, err
		}
	}
	if s.archive != nil {
		return purged, nil
	}
	s.mu.Lock()
	var ids []string
	s.endedInMemory = slices.DeleteFunc(s.endedInMemory, func(i *instance) bool {
		if i.removed {
			return true
		}
		past := i.endedAt > 0 && i.endedAt < before.Unix()
		if past {
			ids = append(ids, i.id)
		}
		return past
	})
	s.mu.Unlock()
	for _, id := range ids {
		if _, err := s.PurgeWorkflowState(ctx, api.InstanceID(id), nil, false); err == nil {
			purged++
		}
	}
	return purged, nil
}
