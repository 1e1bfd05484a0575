package sqs

func (s *Service) deleteMessage(_ *call, in *deleteInput) (*empty, error) {
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return &empty{}, s.delete(q, in.ReceiptHandle)
}

func (s *Service) deleteBatch(_ *call, in *deleteBatchInput) (*deleteBatchOutput, error) {
	ok, bad, err := s.eachHandle(in.QueueUrl, in.Entries, func(q *queue, e *handleEntry) error {
		return s.delete(q, e.ReceiptHandle)
	})
	if err != nil {
		return nil, err
	}
	return &deleteBatchOutput{Successful: ok, Failed: bad}, nil
}

// delete deletes the message that a receipt handle names. It succeeds also if the message
// was deleted before.
func (s *Service) delete(q *queue, handle string) error {
	if handle == "" {
		return errMissing("ReceiptHandle")
	}
	id, ok := parseHandle(handle, q.id)
	if !ok {
		return errInvalidHandle(handle)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.deleted {
		return errNoQueue()
	}
	m := q.msgs[id]
	if m == nil {
		return nil
	}
	q.remove(m)
	s.append(deletedRecord(id))
	return nil
}

// eachHandle calls do for every entry of a batch, and returns the entries that succeeded
// and those that failed.
func (s *Service) eachHandle(
	url string, entries []handleEntry, do func(*queue, *handleEntry) error,
) (ok []entryOutput, bad []failedEntry, err error) {
	q, err := s.byURL(url)
	if err != nil {
		return nil, nil, err
	}
	if err := checkBatch(len(entries), func(i int) string { return entries[i].Id }); err != nil {
		return nil, nil, err
	}
	ok = make([]entryOutput, 0, len(entries))
	for i := range entries {
		if err := do(q, &entries[i]); err != nil {
			bad = append(bad, failed(entries[i].Id, err))
			continue
		}
		ok = append(ok, entryOutput{Id: entries[i].Id})
	}
	return ok, bad, nil
}
