package sqs

import (
	"crypto/md5" //nolint:gosec // the protocol's checksum
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"

	"github.com/google/uuid"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

type state uint8

const (
	visible state = iota
	delayed
	inFlight
)

// message is one message; its queue's lock guards it, but what the sender gave
// never changes. Times are Unix nanoseconds.
type message struct {
	id       uuid.UUID
	body     string
	bodyMD5  [md5.Size]byte
	attrs    map[string]wire.MessageAttribute
	attrsMD5 [md5.Size]byte
	trace    string // AWSTraceHeader
	group    string // MessageGroupId, which standard queues take for fairness
	source   string // ARN of the queue that dead-lettered it
	sent     int64

	first    int64 // first received, 0 for never
	due      int64 // when delayed or in flight: becomes visible
	receives int
	state    state
	heapAt   int
	prev     *message
	next     *message
}

func newMessage(body string, attrs map[string]wire.MessageAttribute) *message {
	m := &message{id: uuid.New(), body: body, bodyMD5: md5.Sum([]byte(body)), attrs: attrs} //nolint:gosec // see the import
	if len(attrs) > 0 {
		m.attrsMD5 = wire.AttributesMD5(attrs)
	}
	return m
}

// A receipt handle names queue, message and receive, with a check sum so that
// garbage is told from a handle whose message is gone.
const handleLen = 8 + 16 + 4 + 4

func appendHandle(b []byte, queue uint64, id uuid.UUID, receive int) []byte {
	var h [handleLen]byte
	binary.BigEndian.PutUint64(h[0:], queue)
	copy(h[8:], id[:])
	binary.BigEndian.PutUint32(h[24:], uint32(receive))
	binary.BigEndian.PutUint32(h[28:], crc32.ChecksumIEEE(h[:28]))
	return base64.StdEncoding.AppendEncode(b, h[:])
}

// parseHandle accepts any handle given out for the queue. One from an earlier
// receive of the message still works, as it mostly does with AWS's standard
// queues.
func parseHandle(s string, queue uint64) (uuid.UUID, bool) {
	var h [handleLen + 1]byte // room for the decoder's estimate of padded input
	if len(s) != base64.StdEncoding.EncodedLen(handleLen) {
		return uuid.Nil, false
	}
	n, err := base64.StdEncoding.Decode(h[:], []byte(s))
	if err != nil || n != handleLen ||
		binary.BigEndian.Uint32(h[28:]) != crc32.ChecksumIEEE(h[:28]) ||
		binary.BigEndian.Uint64(h[0:]) != queue {
		return uuid.Nil, false
	}
	return uuid.UUID(h[8:24]), true
}

// messageList is a queue's visible messages, oldest first.
type messageList struct {
	head, tail *message
	n          int
}

func (l *messageList) push(m *message) {
	m.prev, m.next = l.tail, nil
	if l.tail == nil {
		l.head = m
	} else {
		l.tail.next = m
	}
	l.tail = m
	l.n++
}

func (l *messageList) remove(m *message) {
	if m.prev == nil {
		l.head = m.next
	} else {
		m.prev.next = m.next
	}
	if m.next == nil {
		l.tail = m.prev
	} else {
		m.next.prev = m.prev
	}
	m.prev, m.next = nil, nil
	l.n--
}

// dueHeap orders delayed and in-flight messages by when they become visible.
type dueHeap []*message

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due < h[j].due }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapAt, h[j].heapAt = i, j
}

// Push is for container/heap.
func (h *dueHeap) Push(x any) {
	m := x.(*message) //nolint:forcetypeassert // only messages are pushed
	m.heapAt = len(*h)
	*h = append(*h, m)
}

// Pop is for container/heap.
func (h *dueHeap) Pop() any {
	old := *h
	m := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return m
}
