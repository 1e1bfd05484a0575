package sqs

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// Kinds of journal records. A record is the kind, one byte, and then the content that is
// noted below. A message's records carry its id, which is unique over all queues. So the
// record "message M is in queue Q" also takes M out of the queue that it was in.
const (
	recQueue          = 'Q' // the queue's attributes as JSON
	recQueueDeleted   = 'q' // queue id
	recMessage        = 'M' // the whole message
	recState          = 'S' // message id, due, first, receives, state
	recMessageDeleted = 'm' // message id
	recPurge          = 'P' // queue id; deletes all its messages
)

// queueRecord is the JSON of a recQueue record.
type queueRecord struct {
	ID      uint64
	Name    string
	Created int64
	Attrs   map[string]string
	Tags    map[string]string `json:",omitempty"`
}

// record is an encoded record in a pooled buffer. append returns the buffer to the pool.
type record = *[]byte

// append writes a record to the journal, which copies it. run waits until it is durable.
func (s *Service) append(r record) {
	s.log.Append(*r)
	wire.PutBuffer(r)
	// Checking after every record would lock the journal twice as often.
	if s.appends.Add(1)%1024 == 0 {
		s.log.CompactIfNeeded(s.snapshot)
	}
}

func newRecord(kind byte) record {
	r := wire.GetBuffer()
	*r = append((*r)[:0], kind)
	return r
}

// queueRecordOf encodes a queue without its messages.
func queueRecordOf(q *queue) (record, error) {
	body, err := json.Marshal(queueRecord{ID: q.id, Name: q.name, Created: q.created, Attrs: q.settings.Load().raw, Tags: q.tags})
	if err != nil {
		return nil, fmt.Errorf("encode queue %s: %w", q.name, err)
	}
	r := newRecord(recQueue)
	*r = append(*r, body...)
	return r, nil
}

// queueIDRecord encodes a recQueueDeleted or a recPurge.
func queueIDRecord(kind byte, q *queue) record {
	r := newRecord(kind)
	*r = binary.BigEndian.AppendUint64(*r, q.id)
	return r
}

func deletedRecord(id uuid.UUID) record {
	r := newRecord(recMessageDeleted)
	*r = append(*r, id[:]...)
	return r
}

func stateRecord(m *message) record {
	r := newRecord(recState)
	*r = append(*r, m.id[:]...)
	*r = appendState(*r, m)
	return r
}

func appendState(b []byte, m *message) []byte {
	b = binary.AppendVarint(b, m.due)
	b = binary.AppendVarint(b, m.first)
	b = binary.AppendVarint(b, int64(m.receives))
	return append(b, byte(m.state))
}

// messageRecord records that m is in q and, if replaces is not nil, that the message with
// that id no longer exists. A redriven message gets a new id; with one record for both it
// can be neither duplicated nor lost.
func messageRecord(q *queue, m *message, replaces *uuid.UUID) record {
	r := newRecord(recMessage)
	b := append(*r, m.id[:]...)
	b = binary.BigEndian.AppendUint64(b, q.id)
	if replaces != nil {
		b = append(b, 1)
		b = append(b, replaces[:]...)
	} else {
		b = append(b, 0)
	}
	b = appendState(b, m)
	b = binary.AppendVarint(b, m.sent)
	b = appendString(b, m.trace)
	b = appendString(b, m.group)
	b = appendString(b, m.source)
	b = binary.AppendUvarint(b, uint64(len(m.attrs)))
	for name, a := range m.attrs {
		b = appendString(b, name)
		b = appendString(b, a.DataType)
		b = appendString(b, a.StringValue)
		b = appendString(b, string(a.BinaryValue))
	}
	*r = appendString(b, m.body)
	return r
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// reader decodes a record. After the first error bad is set, and further reads return
// zero values.
type reader struct {
	b   []byte // what is left of the record
	bad bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.bad = true
		return make([]byte, min(max(n, 0), 16))
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	r.take(n)
	r.bad = r.bad || n <= 0
	return v
}

func (r *reader) length() int {
	v, n := binary.Uvarint(r.b)
	r.take(n)
	if n <= 0 || v > uint64(len(r.b)) {
		r.bad = true
		return 0
	}
	return int(v)
}

func (r *reader) string() string { return string(r.take(r.length())) }
func (r *reader) id() uuid.UUID  { return uuid.UUID(r.take(16)) }
func (r *reader) state(m *message) {
	m.due, m.first, m.receives = r.varint(), r.varint(), int(r.varint())
	m.state = state(r.take(1)[0])
}

func (r *reader) message() (m *message, queue uint64, replaces *uuid.UUID) {
	id := r.id()
	queue = binary.BigEndian.Uint64(r.take(8))
	if r.take(1)[0] == 1 {
		old := r.id()
		replaces = &old
	}
	var meta message
	r.state(&meta)
	meta.sent, meta.trace, meta.group, meta.source = r.varint(), r.string(), r.string(), r.string()
	n := r.length()
	attrs := make(map[string]wire.MessageAttribute, n)
	for range n {
		name := r.string()
		a := wire.MessageAttribute{DataType: r.string(), StringValue: r.string()}
		if b := r.string(); b != "" {
			a.BinaryValue = []byte(b)
		}
		attrs[name] = a
	}
	if n == 0 {
		attrs = nil
	}
	m = newMessage(r.string(), attrs)
	m.id, m.sent, m.trace, m.group, m.source = id, meta.sent, meta.trace, meta.group, meta.source
	m.due, m.first, m.receives, m.state = meta.due, meta.first, meta.receives, meta.state
	return m, queue, replaces
}

// replay rebuilds a Service from its journal. Until finish has seen all records, messages
// are in their queue's map only, and neither in its list nor in its heap.
type replay struct {
	s       *Service
	queues  map[uint64]*queue    // by id
	queueOf map[uuid.UUID]*queue // by message
}

func newReplay(s *Service) *replay {
	return &replay{s: s, queues: make(map[uint64]*queue), queueOf: make(map[uuid.UUID]*queue)}
}

var errRecord = errors.New("sqs: journal record is malformed")

// record applies one journal record.
func (p *replay) record(b []byte) error {
	if len(b) == 0 {
		return errRecord
	}
	r := &reader{b: b[1:]}
	switch b[0] {
	case recQueue:
		return p.queue(r.b)
	case recQueueDeleted, recPurge:
		q := p.queues[binary.BigEndian.Uint64(r.take(8))]
		if q == nil {
			break
		}
		for id := range q.msgs {
			p.remove(id)
		}
		if b[0] == recQueueDeleted {
			delete(p.queues, q.id)
			if p.s.queues[q.name] == q {
				delete(p.s.queues, q.name)
			}
		}
	case recMessage:
		m, queueID, replaces := r.message()
		if replaces != nil {
			p.remove(*replaces)
		}
		p.remove(m.id)
		if q := p.queues[queueID]; q != nil && !r.bad {
			q.msgs[m.id] = m
			p.queueOf[m.id] = q
		}
	case recState:
		if q := p.queueOf[r.id()]; q != nil {
			r.state(q.msgs[uuid.UUID(b[1:17])])
		}
	case recMessageDeleted:
		p.remove(r.id())
	default:
		return fmt.Errorf("%w: kind %q", errRecord, b[0])
	}
	if r.bad {
		return errRecord
	}
	return nil
}

// remove deletes a message, if it exists.
func (p *replay) remove(id uuid.UUID) {
	if q := p.queueOf[id]; q != nil {
		delete(q.msgs, id)
		delete(p.queueOf, id)
	}
}

// queue applies a recQueue.
func (p *replay) queue(body []byte) error {
	var rec queueRecord
	if err := json.Unmarshal(body, &rec); err != nil {
		return fmt.Errorf("%w: %w", errRecord, err)
	}
	set, err := (*settings)(nil).with(rec.Attrs)
	if err != nil {
		return fmt.Errorf("%w: queue %s: %w", errRecord, rec.Name, err)
	}
	q := p.queues[rec.ID]
	if q == nil {
		q = p.s.newQueue(rec.Name, set, nil)
		q.id = rec.ID
		p.queues[q.id] = q
		p.s.queues[q.name] = q
	}
	q.created, q.tags = rec.Created, rec.Tags
	q.settings.Store(set)
	return nil
}

// finish puts all messages into their queue's list or heap, in the order in which they
// were sent.
func (p *replay) finish(now int64) {
	for _, q := range p.queues {
		all := make([]*message, 0, len(q.msgs))
		for _, m := range q.msgs {
			all = append(all, m)
		}
		slices.SortFunc(all, func(a, b *message) int {
			if a.sent != b.sent {
				return int(min(max(a.sent-b.sent, -1), 1))
			}
			return slices.Compare(a.id[:], b.id[:])
		})
		for _, m := range all {
			timed := m.state
			if timed == visible {
				timed = inFlight
			}
			q.place(m, now, timed)
		}
	}
}

// snapshotChunk is the number of messages that are encoded while a queue's lock is held.
const snapshotChunk = 256

// snapshot emits the current state while requests change it. A message that moves to
// another queue meanwhile may be emitted twice or not at all; the record of its move
// follows the snapshot in the journal.
func (s *Service) snapshot(emit func([]byte) error) error {
	s.mu.RLock()
	queues := make([]*queue, 0, len(s.queues))
	for _, q := range s.queues {
		queues = append(queues, q)
	}
	s.mu.RUnlock()
	for _, q := range queues {
		if err := s.snapshotQueue(q, emit); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) snapshotQueue(q *queue, emit func([]byte) error) error {
	q.mu.Lock()
	header, err := queueRecordOf(q)
	ids := make([]uuid.UUID, 0, len(q.msgs))
	for id := range q.msgs {
		ids = append(ids, id)
	}
	q.mu.Unlock()
	if err != nil {
		return err
	}
	defer wire.PutBuffer(header)
	if err := emit(*header); err != nil {
		return err
	}
	for chunk := range slices.Chunk(ids, snapshotChunk) {
		var records []record
		q.mu.Lock()
		for _, id := range chunk {
			if m := q.msgs[id]; m != nil {
				records = append(records, messageRecord(q, m, nil))
			}
		}
		q.mu.Unlock()
		for _, r := range records {
			if err := emit(*r); err != nil {
				return err
			}
			wire.PutBuffer(r)
		}
	}
	return nil
}
