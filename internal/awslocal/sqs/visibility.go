package sqs

import (
	"time"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

func (s *Service) changeVisibility(_ *call, in *changeInput) (*empty, error) {
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return &empty{}, s.setVisibility(q, in.ReceiptHandle, in.VisibilityTimeout)
}

func (s *Service) changeBatch(_ *call, in *changeBatchInput) (*changeBatchOutput, error) {
	ok, bad, err := s.eachHandle(in.QueueUrl, in.Entries, func(q *queue, e *handleEntry) error {
		return s.setVisibility(q, e.ReceiptHandle, e.VisibilityTimeout)
	})
	if err != nil {
		return nil, err
	}
	return &changeBatchOutput{Successful: ok, Failed: bad}, nil
}

// setVisibility changes the visibility timeout, counted from now, of an in-flight message.
func (s *Service) setVisibility(q *queue, handle string, seconds *int32) error {
	if handle == "" {
		return errMissing("ReceiptHandle")
	}
	if seconds == nil {
		return errMissing("VisibilityTimeout")
	}
	if *seconds < 0 || *seconds > maxVisibility {
		return errInvalidValue(*seconds, "VisibilityTimeout", "VisibilityTimeout must be an integer between 0 and 43200.")
	}
	id, ok := parseHandle(handle, q.id)
	if !ok {
		return errInvalidHandle(handle)
	}
	now := time.Now().UnixNano()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.deleted {
		return errNoQueue()
	}
	q.advance(now)
	m := q.msgs[id]
	if m == nil {
		return errInvalidValue(handle, "ReceiptHandle",
			"Message does not exist or is not available for visibility timeout change.")
	}
	if m.state != inFlight {
		return &wire.Error{
			Shape: shape + "MessageNotInflight", Code: legacyPrefix + "MessageNotInflight",
			Message: "The specified message is not in flight.",
		}
	}
	q.detach(m)
	m.due = now + int64(*seconds)*int64(time.Second)
	q.place(m, now, inFlight)
	s.append(stateRecord(m))
	q.wakePolls(now)
	return nil
}
