package embedded

// snapshot emits records that rebuild the whole state, for journal.Compact. It
// releases mu between instances, so that work continues meanwhile.
func (s *store) snapshot(emit func([]byte) error) error {
	var ids []string
	s.mu.Lock()
	seq, marked := s.seq, s.archiveMarked
	s.instances.Scan(func(id string, _ *instance) bool {
		ids = append(ids, id)
		return true
	})
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
	for _, id := range ids {
		s.mu.Lock()
		var record []byte
		var err error
		if i, ok := s.instances.Get(id); ok {
			o := op{kind: opState, id: id, raw: i.compacted}
			if o.raw == nil {
				o.payload = i.snapshotState()
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
