package sqs

import (
	"fmt"

	"github.com/ordersaga/ordersaga/internal/journal"
)

func (s *Service) deleteMessage(_ *call, in *deleteInput) (*empty, error) {
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	commit, err := s.delete(q, in.ReceiptHandle)
	if err != nil {
		return nil, err
	}
	return &empty{}, commit.Wait() //nolint:wrapcheck // becomes an InternalFailure
}

func (s *Service) deleteBatch(_ *call, in *deleteBatchInput) (*deleteBatchOutput, error) {
	ok, bad, err := s.eachHandle(in.QueueUrl, in.Entries, func(q *queue, e *handleEntry) (journal.Commit, error) {
		return s.delete(q, e.ReceiptHandle)
	})
	if err != nil {
		return nil, err
	}
	return &deleteBatchOutput{Successful: ok, Failed: bad}, nil
}

// delete deletes the message that a receipt handle names. It succeeds also if the message
// was deleted before.
func (s *Service) delete(q *queue, handle string) (journal.Commit, error) {
	if handle == "" {
		return journal.Commit{}, errMissing("ReceiptHandle")
	}
	id, ok := parseHandle(handle, q.id)
	if !ok {
		return journal.Commit{}, errInvalidHandle(handle)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.deleted {
		return journal.Commit{}, errNoQueue()
	}
	m := q.msgs[id]
	if m == nil {
		return journal.Commit{}, nil
	}
	q.remove(m)
	return s.append(deletedRecord(id)), nil
}

// eachHandle calls do for every entry of a batch, waits until what they changed is
// durable, and returns the entries that succeeded and those that failed.
func (s *Service) eachHandle(
	url string, entries []handleEntry, do func(*queue, *handleEntry) (journal.Commit, error),
) (ok []entryOutput, bad []failedEntry, err error) {
	q, err := s.byURL(url)
	if err != nil {
		return nil, nil, err
	}
	if err := checkBatch(len(entries), func(i int) string { return entries[i].Id }); err != nil {
		return nil, nil, err
	}
	ok = make([]entryOutput, 0, len(entries))
	commits := make([]journal.Commit, 0, len(entries))
	for i := range entries {
		c, err := do(q, &entries[i])
		if err != nil {
			bad = append(bad, failed(entries[i].Id, err))
			continue
		}
		ok = append(ok, entryOutput{Id: entries[i].Id})
		commits = append(commits, c)
	}
	for _, c := range commits {
		if err := c.Wait(); err != nil {
			return nil, nil, fmt.Errorf("batch on %s: %w", q.name, err)
		}
	}
	return ok, bad, nil
}
