package embedded

import "github.com/dapr/durabletask-go/api/protos"

// snapshotBatch is how many instances snapshot looks at under one hold of mu.
const snapshotBatch = 32

// snapshotted is an instance as it was while snapshot held mu.
type snapshotted struct {
	instance // compacted; otherwise it has only id and seq

	state *protos.WorkflowRuntimeState // nil if it is compacted
}

// snapshot emits records that rebuild the whole state, for journal.Compact. Work
// continues meanwhile: instances are encoded and emitted without mu.
func (s *store) snapshot(emit func([]byte) error) error {
	s.mu.Lock()
	seq, marked := s.seq, s.archiveMarked
	s.mu.Unlock()
	if marked {
		record, err := encodeRecord(seq, op{kind: opArchive})
		if err != nil {
			return err
		}
		if err := emit(record); err != nil {
			return err
		}
	}
	batch := make([]snapshotted, 0, snapshotBatch)
	var record, body []byte // used again: the collector would slow down everybody else
	for after, done := "", false; !done; {
		batch = batch[:0]
		s.mu.Lock()
		s.instances.Ascend(after, func(id string, i *instance) bool {
			if id == after {
				return true
			}
			x := snapshotted{instance: instance{id: id, seq: i.seq, compacted: i.compacted, compressed: i.compressed}}
			if i.compacted == nil {
				x.state = i.snapshotState()
			}
			batch = append(batch, x)
			return len(batch) < snapshotBatch
		})
		s.mu.Unlock()
		for _, x := range batch {
			o := op{kind: opState, id: x.id}
			if x.state != nil {
				o.payload = x.state
			} else {
				o.raw = x.encodedIn(body)
				if x.compressed {
					body = o.raw
				}
			}
			var err error
			record, err = appendRecord(record[:0], x.seq, o)
			if err != nil {
				return err
			}
			if err := emit(record); err != nil {
				return err
			}
			after = x.id
		}
		done = len(batch) < snapshotBatch
	}
	return nil
}
