package sqs

import (
	"encoding/base64"
	"fmt"
	"time"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
	"github.com/ordersaga/ordersaga/internal/journal"
)

// delete removes the message that a handle names; one that is gone already is
// as good as deleted.
func (s *Service) delete(q *queue, handle string) (journal.Commit, error) {
	if handle == "" {
		return journal.Commit{}, errMissing("ReceiptHandle")
	}
	id, ok := parseHandle(handle, q.id)
	if !ok {
		return journal.Commit{}, errHandle(handle)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone {
		return journal.Commit{}, errNoQueue()
	}
	m := q.msgs[id]
	if m == nil {
		return journal.Commit{}, nil
	}
	q.drop(m)
	return s.append(goneRecord(id)), nil
}

// rehide changes when an in-flight message becomes visible again.
func (s *Service) rehide(q *queue, handle string, seconds *int32) (journal.Commit, error) {
	if handle == "" {
		return journal.Commit{}, errMissing("ReceiptHandle")
	}
	if seconds == nil {
		return journal.Commit{}, errMissing("VisibilityTimeout")
	}
	if *seconds < 0 || *seconds > maxVisibility {
		return journal.Commit{}, errValue(*seconds, "VisibilityTimeout", "VisibilityTimeout must be an integer between 0 and 43200.")
	}
	id, ok := parseHandle(handle, q.id)
	if !ok {
		return journal.Commit{}, errHandle(handle)
	}
	now := time.Now().UnixNano()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone {
		return journal.Commit{}, errNoQueue()
	}
	q.advance(now)
	m := q.msgs[id]
	if m == nil {
		return journal.Commit{}, errValue(handle, "ReceiptHandle",
			"Message does not exist or is not available for visibility timeout change.")
	}
	if m.state != inFlight {
		return journal.Commit{}, &wire.Error{
			Shape: shape + "MessageNotInflight", Code: oldCode + "MessageNotInflight",
			Message: "The specified message is not in flight.",
		}
	}
	q.lift(m)
	m.due = now + int64(*seconds)*int64(time.Second)
	q.place(m, now, inFlight)
	c := s.append(stateRecord(m))
	q.wakeUp(now)
	return c, nil
}

func (s *Service) deleteBatch(_ *call, in *deleteBatchInput) (*deleteBatchOutput, error) {
	ok, bad, err := s.eachHandle(in.QueueUrl, in.Entries, func(q *queue, e *handleEntry) (journal.Commit, error) {
		return s.delete(q, e.ReceiptHandle)
	})
	if err != nil {
		return nil, err
	}
	return &deleteBatchOutput{ok, bad}, nil
}

func (s *Service) changeBatch(_ *call, in *changeBatchInput) (*changeBatchOutput, error) {
	ok, bad, err := s.eachHandle(in.QueueUrl, in.Entries, func(q *queue, e *handleEntry) (journal.Commit, error) {
		return s.rehide(q, e.ReceiptHandle, e.VisibilityTimeout)
	})
	if err != nil {
		return nil, err
	}
	return &changeBatchOutput{ok, bad}, nil
}

func (s *Service) eachHandle(url string, entries []handleEntry, do func(*queue, *handleEntry) (journal.Commit, error)) (ok []entryOutput, bad []failedEntry, err error) {
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
		ok = append(ok, entryOutput{entries[i].Id})
		commits = append(commits, c)
	}
	for _, c := range commits {
		if err := c.Wait(); err != nil {
			return nil, nil, fmt.Errorf("batch on %s: %w", q.name, err)
		}
	}
	return ok, bad, nil
}

// appendJSON writes one received message.
func (r *received) appendJSON(b []byte) []byte {
	member := func(name, value string) {
		b = append(b, '"')
		b = append(b, name...)
		b = append(b, `":`...)
		b = wire.AppendString(b, value)
	}
	b = append(b, '{')
	member("MessageId", r.MessageId)
	b = append(b, ',')
	member("ReceiptHandle", r.ReceiptHandle)
	b = append(b, ',')
	member("MD5OfBody", r.MD5OfBody)
	b = append(b, ',')
	member("Body", r.Body)
	if len(r.Attributes) > 0 {
		b = append(b, `,"Attributes":{`...)
		for name, value := range r.Attributes {
			member(name, value)
			b = append(b, ',')
		}
		b[len(b)-1] = '}'
	}
	if len(r.MessageAttributes) > 0 {
		b = append(b, ',')
		member("MD5OfMessageAttributes", r.MD5OfMessageAttributes)
		b = append(b, `,"MessageAttributes":{`...)
		for name, a := range r.MessageAttributes {
			b = wire.AppendString(b, name)
			b = append(b, ":{"...)
			member("DataType", a.DataType)
			b = append(b, ',')
			if a.Binary() {
				b = append(b, `"BinaryValue":"`...)
				b = base64.StdEncoding.AppendEncode(b, a.BinaryValue)
				b = append(b, '"')
			} else {
				member("StringValue", a.StringValue)
			}
			b = append(b, "},"...)
		}
		b[len(b)-1] = '}'
	}
	return append(b, '}')
}

// AppendJSON writes the answer without reflection: it is the hot path.
func (o *sendOutput) AppendJSON(b []byte) []byte {
	b = append(b, `{"MessageId":"`...)
	b = append(b, o.MessageId...)
	b = append(b, `","MD5OfMessageBody":"`...)
	b = append(b, o.MD5OfMessageBody...)
	if o.MD5OfMessageAttributes != "" {
		b = append(b, `","MD5OfMessageAttributes":"`...)
		b = append(b, o.MD5OfMessageAttributes...)
	}
	return append(b, `"}`...)
}
