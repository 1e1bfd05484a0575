package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/api/protos"
	bolterrors "go.etcd.io/bbolt/errors"
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
		c := i.copied()
		s.mu.Unlock()
		return c.view(), nil
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
	c, last := i.copied(), s.last
	s.mu.Unlock()
	if c.metaSeq == 0 || history && c.metaSeq != c.seq {
		if err := last.WaitFor(ctx); err != nil {
			return nil, err
		}
	}
	return c.view(), nil
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

// archiveEnded moves the sagas that ended before the given time to the archive,
// and those that ended in the future: the clock has been set back since.
func (s *store) archiveEnded(ctx context.Context, before time.Time) error {
	for s.archive != nil && ctx.Err() == nil {
		n, c, err := s.archiveBatch(ctx, before)
		if err == nil {
			err = c.WaitFor(ctx) // purgeExpired may rely on it
		}
		if err != nil || n < archiveBatchSize {
			return err
		}
	}
	return nil
}

// archiveBatch moves up to archiveBatchSize of them, and returns how many were
// due. A saga is durable in the archive before it is removed from journal and
// memory; in between it is in both, with the same content.
func (s *store) archiveBatch(ctx context.Context, before time.Time) (n int, c journal.Commit, err error) {
	if err := s.archiving.Acquire(ctx, 1); err != nil {
		return 0, c, err
	}
	defer s.archiving.Release(1)
	due, batch := s.dueForArchive(before)
	rejected, err := s.putOneByOne(batch)
	if err != nil {
		return 0, c, err
	}
	c, err = s.removeArchived(ctx, due, rejected)
	return len(due), c, err
}

// dueForArchive returns up to archiveBatchSize of the sagas in endedInMemory that
// are to be archived, and the state of those that can be. The list is not in the
// order of the clock, which may have been set meanwhile.
func (s *store) dueForArchive(before time.Time) (due map[*instance]bool, batch []archivedSaga) {
	due = map[*instance]bool{}
	now := time.Now().Unix()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.endedInMemory {
		if i.endedAt >= before.Unix() && i.endedAt <= now {
			continue
		}
		if len(due) == archiveBatchSize {
			break
		}
		i.compact()
		current, _ := s.instances.Get(i.id)
		due[i] = current == i && i.compacted != nil
		if due[i] {
			batch = append(batch, archivedSaga{id: i.id, at: i.endedAt, state: i.encoded()})
		}
	}
	return due, batch
}

// putOneByOne puts a batch into the archive, and returns the ids that it rejects.
// If the batch fails, each saga is put by itself, so that one cannot keep the
// others in memory. The error is one that concerns all of them, as that of a full
// disk does.
func (s *store) putOneByOne(batch []archivedSaga) (rejected map[string]bool, err error) {
	all := s.archive.put(batch)
	if all == nil {
		return nil, nil
	}
	rejected = map[string]bool{}
	invalid := false
	for _, e := range batch {
		err := s.archive.put([]archivedSaga{e})
		if _, is := errors.AsType[syscall.Errno](err); is {
			return nil, err
		}
		if err == nil {
			continue
		}
		rejected[e.id] = true
		invalid = invalid || errors.Is(err, bolterrors.ErrKeyTooLarge) || errors.Is(err, bolterrors.ErrValueTooLarge)
		all = err
	}
	if len(rejected) == len(batch) && !invalid {
		return nil, all
	}
	for id := range rejected {
		s.log.Error().Err(all).Str("saga", id[:min(len(id), 200)]).
			Msg("the archive rejects an ended saga: it stays in memory until its retention is over, or it is purged")
	}
	return rejected, nil
}

// removeArchived removes archived sagas from memory and journal, and all that were
// due from endedInMemory. due[i] is true if i has been put into the archive; rejected
// has those that it did not accept. A saga whose id was started again meanwhile
// stays: memory takes precedence over the archive.
func (s *store) removeArchived(ctx context.Context, due map[*instance]bool, rejected map[string]bool) (c journal.Commit, err error) {
	if err := s.lockToChange(ctx); err != nil {
		return c, err
	}
	defer s.mu.Unlock()
	var ops []op
	var again []*instance // not compacted yet
	for i, put := range due {
		switch current, _ := s.instances.Get(i.id); {
		case current != i:
		case rejected[i.id]:
			s.notArchivable = append(s.notArchivable, i)
		case put:
			ops = append(ops, op{kind: opPurge, id: i.id})
		default:
			again = append(again, i)
		}
	}
	if len(ops) > 0 {
		if !s.archiveMarked {
			ops = append(ops, op{kind: opArchive})
		}
		c, err = s.commit(ops...)
		if err != nil {
			return c, err
		}
	}
	for i := range due {
		i.notifyWatchers(nil) // they look again, and find it in the archive
	}
	s.endedInMemory = slices.DeleteFunc(s.endedInMemory, func(i *instance) bool { _, was := due[i]; return was })
	s.endedInMemory = append(s.endedInMemory, again...)
	return c, nil
}

// purgeExpired purges sagas that ended before the given time, and returns how
// many. It looks in the archive, and among the sagas that are kept in memory: those
// that the archive rejects, or all if there is no archive.
func (s *store) purgeExpired(ctx context.Context, before time.Time) (purged int, err error) {
	for s.archive != nil {
		if err := s.archiving.Acquire(ctx, 1); err != nil {
			return purged, err
		}
		n, err := s.archive.purgeExpired(before, archiveBatchSize)
		s.archiving.Release(1)
		purged += n
		if err != nil {
			return purged, err
		}
		if n < archiveBatchSize {
			break
		}
	}
	kept := &s.notArchivable
	if s.archive == nil {
		kept = &s.endedInMemory
	}
	s.mu.Lock()
	var ids []string
	*kept = slices.DeleteFunc(*kept, func(i *instance) bool {
		if i.removed {
			return true
		}
		past := i.endedAt > 0 && i.endedAt < before.Unix()
		if past {
			ids = append(ids, i.id)
		}
		return false // once purged it is removed, and goes at the next call
	})
	s.mu.Unlock()
	for _, id := range ids {
		if _, err := s.PurgeWorkflowState(ctx, api.InstanceID(id), nil, false); err == nil {
			purged++
		}
	}
	return purged, nil
}
