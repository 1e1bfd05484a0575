package sqs

import (
	"context"
	"encoding/hex"
	"math"
	"net/http"
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
	set := q.settings.Load()
	n, err := intParameter(in.MaxNumberOfMessages, 1, 1, maxReceive, "MaxNumberOfMessages")
	if err != nil {
		return nil, err
	}
	visibility, err := intParameter(in.VisibilityTimeout, int(set.visibility/time.Second), 0, maxVisibility, "VisibilityTimeout")
	if err != nil {
		return nil, err
	}
	wait, err := intParameter(in.WaitTimeSeconds, int(set.wait/time.Second), 0, maxWait, "WaitTimeSeconds")
	if err != nil {
		return nil, err
	}
	attributes, err := newAttributeFilter(in)
	if err != nil {
		return nil, err
	}
	out := &receiveOutput{}
	err = s.receive(c.ctx, q, n, time.Duration(visibility)*time.Second, time.Duration(wait)*time.Second, func(m *message) {
		if out.Messages == nil {
			out.Messages = make([]received, 0, n)
		}
		out.Messages = append(out.Messages, attributes.render(s, q, m))
	})
	return out, err
}

// intParameter returns an optional parameter, or initial if it is missing. It must be
// between low and high.
func intParameter(v *int32, initial, low, high int, parameter string) (int, error) {
	if v == nil {
		return initial, nil
	}
	if int(*v) < low || int(*v) > high {
		return 0, errInvalidValue(*v, parameter, "Must be >= "+strconv.Itoa(low)+" and <= "+strconv.Itoa(high)+", if provided.")
	}
	return int(*v), nil
}

// receive calls show with up to n visible messages, while it holds the queue's lock. If
// there are none it waits until a message becomes visible, wait has passed, ctx ends or
// the service drains.
func (s *Service) receive(ctx context.Context, q *queue, n int, visibility, wait time.Duration, show func(*message)) error {
	var timeout <-chan time.Time
	for {
		dlq, limit := s.redriveTarget(q) // before q.mu is locked, because it locks Service.mu
		now := time.Now().UnixNano()
		q.mu.Lock()
		if q.deleted {
			q.mu.Unlock()
			return errNoQueue()
		}
		q.advance(now)
		if q.counts[inFlight] >= maxInFlight {
			q.mu.Unlock()
			return &wire.Error{
				Status: http.StatusForbidden, Shape: shape + "OverLimit", Code: "OverLimit", Message: "Too many messages in flight.",
			}
		}
		if dlq == nil || dlq == q {
			limit = math.MaxInt
		}
		got, dead := s.takeVisible(q, now, n, visibility, limit, show)
		if got > 0 || wait <= 0 {
			q.wakePolls(now)
			q.mu.Unlock()
			s.deadLetter(q, dlq, dead)
			return nil
		}
		w, element := q.addWaiter()
		q.wakePolls(now) // arms the timer
		q.mu.Unlock()
		s.deadLetter(q, dlq, dead)

		if timeout == nil {
			t := time.NewTimer(wait)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-w.wake:
		case <-timeout:
			q.removeWaiter(w, element)
			wait = 0 // look once more: a message may have arrived at the same moment
		case <-s.draining:
			q.removeWaiter(w, element)
			wait = 0
		case <-ctx.Done():
			q.removeWaiter(w, element)
			return nil // the client has disconnected
		}
	}
}

// takeVisible puts up to n visible messages into flight and calls show for each. It takes
// messages that were received limit times out of the queue and returns them as dead.
func (s *Service) takeVisible(
	q *queue, now int64, n int, visibility time.Duration, limit int, show func(*message),
) (got int, dead []*message) {
	// Without a visibility timeout a message is visible again at once, but must not be in
	// one response twice.
	var immediate [maxReceive]*message
	count := 0
	for got < n && q.ready.head != nil {
		m := q.ready.head
		switch {
		case q.expired(m, now):
			q.remove(m)
			s.append(deletedRecord(m.id))
			continue
		case m.receives >= limit:
			q.remove(m)
			dead = append(dead, m)
			continue
		}
		q.detach(m)
		m.receives++
		if m.first == 0 {
			m.first = now
		}
		if visibility > 0 {
			m.due = now + int64(visibility)
			q.place(m, now, inFlight)
		} else {
			immediate[count] = m
			count++
		}
		s.append(stateRecord(m))
		show(m)
		got++
	}
	for _, m := range immediate[:count] {
		q.place(m, now, inFlight)
	}
	return got, dead
}

// deadLetter moves messages that were taken out of q to its dead-letter queue. They keep
// their id and age. Until the record is written the journal still has them in q.
func (s *Service) deadLetter(q, dlq *queue, dead []*message) {
	for _, m := range dead {
		m.source, m.due, m.receives, m.first = q.arn, 0, 0, 0
		if !s.move(dlq, m) {
			s.move(q, m) // the dead-letter queue was just deleted: the message stays, as with AWS
		}
	}
}

// move puts a message into q. It returns false if q was deleted.
func (s *Service) move(q *queue, m *message) bool {
	now := time.Now().UnixNano()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.deleted {
		return false
	}
	q.add(m, now)
	s.append(messageRecord(q, m, nil))
	q.wakePolls(now)
	return true
}

// attributeFilter selects the attributes that a receive returns.
type attributeFilter struct {
	all    bool
	system []string // names of system attributes
	attrs  []string // names and prefixes of message attributes
}

// systemAttributes are the names of a message's system attributes.
var systemAttributes = [...]string{
	"SenderId", "SentTimestamp", "ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp",
	"AWSTraceHeader", "DeadLetterQueueSourceArn", "MessageGroupId", "SequenceNumber", "MessageDeduplicationId",
}

func newAttributeFilter(in *receiveInput) (*attributeFilter, error) {
	v := &attributeFilter{attrs: in.MessageAttributeNames}
	for _, names := range [...][]string{in.AttributeNames, in.MessageSystemAttributeNames} {
		for _, name := range names {
			if name == "All" {
				v.all = true
				continue
			}
			known := knownAttribute(name) // AttributeNames used to accept queue attributes
			for _, s := range systemAttributes {
				known = known || s == name
			}
			if !known {
				return nil, errUnknownAttribute(name)
			}
			v.system = append(v.system, name)
		}
	}
	if v.all {
		v.system = systemAttributes[:]
	}
	return v, nil
}

// render returns the message as a receive returns it.
func (v *attributeFilter) render(s *Service, q *queue, m *message) received {
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
		if v.includes(name) {
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

// includes reports whether the receive returns the message attribute of that name.
func (v *attributeFilter) includes(name string) bool {
	for _, selector := range v.attrs {
		if selector == name || selector == "All" {
			return true
		}
		if prefix, ok := strings.CutSuffix(selector, ".*"); ok && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// system returns a system attribute, or "".
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
