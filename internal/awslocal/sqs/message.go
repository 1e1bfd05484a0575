package sqs

import (
	"crypto/md5" //nolint:gosec // the protocol's checksum
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"

	"github.com/google/uuid"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// state is the place of a message in its queue.
type state uint8

const (
	visible  state = iota // can be received
	delayed               // becomes visible after its delay
	inFlight              // received; becomes visible after its visibility timeout
)

// message is one message. Its queue's mu guards it; what the sender gave never changes.
// Times are Unix nanoseconds.
type message struct {
	id       uuid.UUID
	body     string
	bodyMD5  [md5.Size]byte
	attrs    map[string]wire.MessageAttribute
	attrsMD5 [md5.Size]byte
	trace    string // AWSTraceHeader
	group    string // MessageGroupId, which standard queues accept for fair queues
	source   string // ARN of the queue that dead-lettered it
	sent     int64

	first    int64 // time of the first receive; 0 before it
	due      int64 // when a delayed or in-flight message becomes visible
	receives int
	state    state
	heapAt   int      // index in queue.timed
	prev     *message // in queue.ready
	next     *message // in queue.ready
}

func newMessage(body string, attrs map[string]wire.MessageAttribute) *message {
	m := &message{id: uuid.New(), body: body, bodyMD5: md5.Sum([]byte(body)), attrs: attrs} //nolint:gosec // see the import
	if len(attrs) > 0 {
		m.attrsMD5 = wire.AttributesMD5(attrs)
	}
	return m
}

// handleLen is the number of bytes in a receipt handle: queue, message, receive count and
// a checksum. The checksum distinguishes an invalid handle from the handle of a message
// that was deleted.
const handleLen = 8 + 16 + 4 + 4

// appendHandle appends a receipt handle to b and returns the result.
func appendHandle(b []byte, queue uint64, id uuid.UUID, receive int) []byte {
	var h [handleLen]byte
	binary.BigEndian.PutUint64(h[0:], queue)
	copy(h[8:], id[:])
	binary.BigEndian.PutUint32(h[24:], uint32(receive))
	binary.BigEndian.PutUint32(h[28:], crc32.ChecksumIEEE(h[:28]))
	return base64.StdEncoding.AppendEncode(b, h[:])
}

// parseHandle returns the id of the message that a receipt handle of the queue names.
// The handle of an earlier receive still works, as it usually does with AWS's standard
// queues.
func parseHandle(s string, queue uint64) (uuid.UUID, bool) {
	var h [handleLen + 1]byte // one more, because the decoder needs space for the padding
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

// messageList is a doubly linked list of visible messages, in the order in which they
// became visible.
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

// dueHeap is a heap of delayed and in-flight messages; the first is the next to become
// visible.
type dueHeap []*message

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due < h[j].due }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapAt, h[j].heapAt = i, j
}

// Push implements heap.Interface.
func (h *dueHeap) Push(x any) {
	m := x.(*message) //nolint:forcetypeassert // only messages are pushed
	m.heapAt = len(*h)
	*h = append(*h, m)
}

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	old := *h
	m := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return m
}
