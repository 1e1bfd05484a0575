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
	// moveEvery is how often ended sagas go over to the archive, and the least
	// time that they stay in memory, where who waits for one finds it.
	moveEvery = 2 * time.Second
	// moveBatch bounds one transaction of the archive, and what is behind it in
	// the journal.
	moveBatch = 1000
)

// find returns a saga that memory or the archive has, to be read only.
// api.ErrInstanceNotFound if neither does.
func (s *store) find(id string) (*instance, error) {
	s.mu.Lock()
	i, ok := s.instances.Get(id)
	if ok {
		c := *i.look() // as it is now: slices grow behind what it has
		s.mu.Unlock()
		return &c, nil
	}
	s.mu.Unlock()
	return s.archived(id)
}

// seen is find for those outside: what they are shown is durable. Of a saga
// that has begun, its metadata is; its history may be ahead of the disk.
func (s *store) seen(ctx context.Context, id string, history bool) (*instance, error) {
	s.mu.Lock()
	i, ok := s.instances.Get(id)
	if !ok {
		s.mu.Unlock()
		return s.archived(id)
	}
	c, last := *i.look(), s.last
	s.mu.Unlock()
	if c.metaSeq == 0 || history && c.metaSeq != c.seq {
		if err := last.WaitFor(ctx); err != nil {
			return nil, err
		}
	}
	return &c, nil
}

// archived returns a saga that the archive has.
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

// keep moves ended sagas to the archive and forgets those past their
// retention, until ctx ends.
func (s *store) keep(ctx context.Context, retention time.Duration) {
	tick := time.NewTicker(moveEvery)
	defer tick.Stop()
	var failing bool
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.moveEnded(ctx, time.Now().Add(-moveEvery))
		if err == nil && time.Since(last) > min(retention/10, time.Minute) {
			last = time.Now()
			var n int
			if n, err = s.expire(ctx, last.Add(-retention)); n > 0 {
				s.log.Info().Int("sagas", n).Msg("purged ended sagas past their retention")
			}
		}
		if err != nil && !failing {
			s.log.Warn().Err(err).Msg("ended sagas stay in memory until they can be archived")
		}
		failing = err != nil
	}
}

// moveEnded moves the sagas that ended before.
func (s *store) moveEnded(ctx context.Context, before time.Time) error {
	for s.archive != nil && ctx.Err() == nil {
		n, err := s.moveSome(before)
		if err != nil || n < moveBatch {
			return err
		}
	}
	return nil
}

// moveSome moves some of them, and tells how many it looked at. A saga is on
// the archive's disk before the journal and memory forget it; between the two
// it is in both, and the same.
func (s *store) moveSome(before time.Time) (n int, err error) {
	s.moving.Lock()
	defer s.moving.Unlock()
	var batch []ended
	from := map[string]*instance{}
	s.mu.Lock()
	for _, i := range s.over[:min(moveBatch, len(s.over))] {
		if i.overAt >= before.Unix() { // the others ended later still
			break
		}
		n++
		i.pack()
		if current, _ := s.instances.Get(i.id); current != i || i.packed == nil {
			continue
		}
		batch = append(batch, ended{i.id, i.overAt, i.packed})
		from[i.id] = i
	}
	taken := slices.Clone(s.over[:n])
	s.mu.Unlock()
	if err := s.archive.put(batch); err != nil {
		return 0, err
	}
	c, err := s.leave(from, taken)
	if err != nil {
		return 0, err
	}
	return n, c.Wait() // those who purge may count on it
}

// leave makes memory and journal forget what the archive has. One begun anew
// meanwhile stays: memory goes before the archive.
func (s *store) leave(from map[string]*instance, taken []*instance) (journal.Commit, error) {
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
		if c, err = s.commit(ops...); err != nil {
			return c, err
		}
	}
	for _, i := range from {
		i.tell() // who watches it looks again, in the archive
	}
	// What could not be packed yet is tried again.
	s.over = slices.Delete(s.over, 0, len(taken))
	for _, i := range taken {
		if current, _ := s.instances.Get(i.id); current == i {
			s.over = append(s.over, i)
		}
	}
	return c, nil
}

// expire forgets sagas that ended before: those of the archive, and without one
// those that memory has. Journals of old may have them in any order.
func (s *store) expire(ctx context.Context, before time.Time) (purged int, err error) {
	for s.archive != nil && ctx.Err() == nil {
		s.moving.Lock()
		n, err := s.archive.expire(before, moveBatch)
		s.moving.Unlock()
		purged += n
		if err != nil || n < moveBatch {
			return purged, err
		}
	}
	if s.archive != nil {
		return purged, nil
	}
	s.mu.Lock()
	var ids []string
	s.over = slices.DeleteFunc(s.over, func(i *instance) bool {
		if i.gone {
			return true
		}
		past := i.overAt > 0 && i.overAt < before.Unix()
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
