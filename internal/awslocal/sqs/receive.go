package sqs

import (
	"context"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

func (s *Service) receiveMessage(c *call, in *receiveInput) (*receiveOutput, error) {
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	set := q.set.Load()
	n, err := within(in.MaxNumberOfMessages, 1, 1, maxReceive, "MaxNumberOfMessages")
	if err != nil {
		return nil, err
	}
	visibility, err := within(in.VisibilityTimeout, int(set.visibility/time.Second), 0, maxVisibility, "VisibilityTimeout")
	if err != nil {
		return nil, err
	}
	wait, err := within(in.WaitTimeSeconds, int(set.wait/time.Second), 0, maxWait, "WaitTimeSeconds")
	if err != nil {
		return nil, err
	}
	view, err := newView(in)
	if err != nil {
		return nil, err
	}
	out := &receiveOutput{}
	err = s.receive(c.ctx, q, n, time.Duration(visibility)*time.Second, time.Duration(wait)*time.Second, func(m *message) {
		if out.Messages == nil {
			out.Messages = make([]received, 0, n)
		}
		out.Messages = append(out.Messages, view.show(s, q, m))
	})
	return out, err
}

func within(v *int32, standard, low, high int, parameter string) (int, error) {
	if v == nil {
		return standard, nil
	}
	if int(*v) < low || int(*v) > high {
		return 0, errValue(*v, parameter, "Must be >= "+strconv.Itoa(low)+" and <= "+strconv.Itoa(high)+", if provided.")
	}
	return int(*v), nil
}

// receive hands up to n messages to show, under the queue's lock. If there are
// none it waits: for a message that arrives or comes due, the end of wait, of
// ctx or of the service.
func (s *Service) receive(ctx context.Context, q *queue, n int, visibility, wait time.Duration, show func(*message)) error {
	var timeout <-chan time.Time
	for {
		dlq, limit := s.deadLetters(q) // before the lock: it takes Service.mu
		now := time.Now().UnixNano()
		q.mu.Lock()
		if q.gone {
			q.mu.Unlock()
			return errNoQueue()
		}
		q.advance(now)
		if q.counts[inFlight] >= maxInFlight {
			q.mu.Unlock()
			return &wire.Error{Status: 403, Shape: shape + "OverLimit", Code: "OverLimit", Message: "Too many messages in flight."}
		}
		got, dead := s.take(q, now, n, visibility, dlq != nil && dlq != q, limit, show)
		if got > 0 || wait <= 0 {
			q.wakeUp(now)
			q.mu.Unlock()
			s.bury(q, dlq, dead)
			return nil
		}
		w, place := q.wait()
		q.wakeUp(now) // arms the timer
		q.mu.Unlock()
		s.bury(q, dlq, dead)

		if timeout == nil {
			t := time.NewTimer(wait)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-w.wake:
		case <-timeout:
			q.leave(w, place)
			wait = 0 // look once more: something may have come at this moment
		case <-s.done:
			q.leave(w, place)
			wait = 0
		case <-ctx.Done():
			q.leave(w, place)
			return nil // nobody is left to take a message
		}
	}
}

// take moves visible messages into flight and shows them. Those received too
// often are taken out and returned.
func (s *Service) take(q *queue, now int64, n int, visibility time.Duration, redrive bool, limit int, show func(*message)) (got int, dead []*message) {
	var again [maxReceive]*message // with no visibility timeout: visible at once, but not twice in one answer
	back := 0
	for got < n && q.ready.head != nil {
		m := q.ready.head
		switch {
		case q.expired(m, now):
			q.drop(m)
			s.append(goneRecord(m.id))
			continue
		case redrive && m.receives >= limit:
			q.drop(m)
			dead = append(dead, m)
			continue
		}
		q.lift(m)
		m.receives++
		if m.first == 0 {
			m.first = now
		}
		if visibility > 0 {
			m.due = now + int64(visibility)
			q.place(m, now, inFlight)
		} else {
			again[back] = m
			back++
		}
		s.append(stateRecord(m))
		show(m)
		got++
	}
	for _, m := range again[:back] {
		q.place(m, now, inFlight)
	}
	return got, dead
}

// bury puts messages that left q into its dead-letter queue, keeping id and
// age. Until the record is written the journal still has them in q.
func (s *Service) bury(q, dlq *queue, dead []*message) {
	for _, m := range dead {
		m.source, m.due, m.receives, m.first = q.arn, 0, 0, 0
		if !s.move(dlq, m) {
			s.move(q, m) // deleted meanwhile: it stays, as with AWS
		}
	}
}

func (s *Service) move(q *queue, m *message) bool {
	now := time.Now().UnixNano()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone {
		return false
	}
	q.add(m, now)
	s.append(putRecord(q, m, nil))
	q.wakeUp(now)
	return true
}

func (s *Service) deleteMessage(_ *call, in *deleteInput) (*empty, error) {
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	commit, err := s.delete(q, in.ReceiptHandle)
	if err != nil {
		return nil, err
	}
	return &nothing, commit.Wait() //nolint:wrapcheck // becomes an InternalFailure
}

var nothing empty

func (s *Service) changeVisibility(_ *call, in *changeInput) (*empty, error) {
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	commit, err := s.rehide(q, in.ReceiptHandle, in.VisibilityTimeout)
	if err != nil {
		return nil, err
	}
	return &nothing, commit.Wait() //nolint:wrapcheck // becomes an InternalFailure
}

// view is what of a message the receiver asked for.
type view struct {
	all    bool
	system []string
	attrs  []string
}

var systemAttributes = [...]string{
	"SenderId", "SentTimestamp", "ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp",
	"AWSTraceHeader", "DeadLetterQueueSourceArn", "MessageGroupId", "SequenceNumber", "MessageDeduplicationId",
}

func newView(in *receiveInput) (*view, error) {
	v := &view{attrs: in.MessageAttributeNames}
	for _, names := range [...][]string{in.AttributeNames, in.MessageSystemAttributeNames} {
		for _, name := range names {
			if name == "All" {
				v.all = true
				continue
			}
			known := knownAttribute(name) // AttributeNames once took queue attributes
			for _, s := range systemAttributes {
				known = known || s == name
			}
			if !known {
				return nil, errAttributeName(name)
			}
			v.system = append(v.system, name)
		}
	}
	if v.all {
		v.system = systemAttributes[:]
	}
	return v, nil
}

func (v *view) show(s *Service, q *queue, m *message) received {
	var handle [64]byte
	r := received{
		MessageId: m.id.String(), ReceiptHandle: string(appendHandle(handle[:0], q.id, m.id, m.receives)),
		MD5OfBody: hex.EncodeToString(m.bodyMD5[:]), Body: m.body,
	}
	for _, name := range v.system {
		if value := m.system(name, s.opt.AccountID); value != "" {
			if r.Attributes == nil {
				r.Attributes = make(attributeMap, len(v.system))
			}
			r.Attributes[name] = value
		}
	}
	if len(m.attrs) == 0 || len(v.attrs) == 0 {
		return r
	}
	chosen := make(messageAttributes, len(m.attrs))
	for name, a := range m.attrs {
		if v.wants(name) {
			chosen[name] = a
		}
	}
	switch len(chosen) {
	case 0:
		return r
	case len(m.attrs):
		r.MD5OfMessageAttributes = hex.EncodeToString(m.attrsMD5[:])
	default:
		sum := wire.AttributesMD5(chosen)
		r.MD5OfMessageAttributes = hex.EncodeToString(sum[:])
	}
	r.MessageAttributes = chosen
	return r
}

func (v *view) wants(name string) bool {
	for _, w := range v.attrs {
		if w == name || w == "All" {
			return true
		}
		if prefix, ok := strings.CutSuffix(w, ".*"); ok && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func (m *message) system(name, account string) string {
	millis := func(t int64) string { return strconv.FormatInt(t/int64(time.Millisecond), 10) }
	switch name {
	case "SenderId":
		return account
	case "SentTimestamp":
		return millis(m.sent)
	case "ApproximateReceiveCount":
		return strconv.Itoa(m.receives)
	case "ApproximateFirstReceiveTimestamp":
		return millis(m.first)
	case "AWSTraceHeader":
		return m.trace
	case "MessageGroupId":
		return m.group
	case "DeadLetterQueueSourceArn":
		return m.source
	}
	return ""
}

// AppendJSON writes the answer without reflection: it is the hot path.
func (o *receiveOutput) AppendJSON(b []byte) []byte {
	if len(o.Messages) == 0 {
		return append(b, "{}"...)
	}
	b = append(b, `{"Messages":[`...)
	for i := range o.Messages {
		if i > 0 {
			b = append(b, ',')
		}
		b = o.Messages[i].appendJSON(b)
	}
	return append(b, "]}"...)
}
