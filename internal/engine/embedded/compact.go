package embedded

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/dapr/durabletask-go/api/protos"
	"github.com/klauspost/compress/s2"
	"google.golang.org/protobuf/proto"

	"github.com/ordersaga/ordersaga/internal/journal"
)

// emptyBody is the body of all compacted instances: empty, and never written to.
var emptyBody body

// scratch holds buffers for encoding, which is larger than its result.
var scratch = sync.Pool{New: func() any { return new([2][]byte) }}

// encode returns an instance's whole state. The state of one that has not ended is
// compressed, if that makes it smaller: it may wait for days. The archive takes the
// others in a moment.
func encode(w *protos.WorkflowRuntimeState, ended bool) (b []byte, compressed bool, err error) {
	buffers, _ := scratch.Get().(*[2][]byte)
	defer scratch.Put(buffers)
	raw, err := proto.MarshalOptions{}.MarshalAppend(buffers[0][:0], w)
	if err != nil {
		return nil, false, err
	}
	buffers[0] = raw
	if ended {
		return bytes.Clone(raw), false, nil
	}
	b, compressed = compress(buffers, raw)
	return b, compressed, nil
}

// compress returns raw compressed, or a copy of it if that is not larger.
func compress(buffers *[2][]byte, raw []byte) (b []byte, compressed bool) {
	if need := s2.MaxEncodedLen(len(raw)); need > len(buffers[1]) {
		buffers[1] = make([]byte, need)
	}
	if small := s2.Encode(buffers[1], raw); len(small) < len(raw) {
		return bytes.Clone(small), true
	}
	return bytes.Clone(raw), false
}

// compactable reports whether the instance is durable, and nothing will happen to
// it until an event or a timer arrives.
func (i *instance) compactable() bool {
	return i.compacted == nil && i.durable() && !i.inFlight && !i.queued && (i.hasEnded || i.idle())
}

// compact encodes the body if the instance is compactable.
func (i *instance) compact() {
	if !i.compactable() {
		return
	}
	if b, compressed, err := encode(i.snapshotState(), i.hasEnded); err == nil {
		i.setCompacted(b, compressed)
	}
}

// compact does the same for callers without mu. It encodes without it, because a
// history may be long.
func (s *store) compact(i *instance) {
	s.mu.Lock()
	if !i.compactable() {
		s.mu.Unlock()
		return
	}
	w, seq, ended := i.snapshotState(), i.seq, i.hasEnded
	s.mu.Unlock()
	b, compressed, err := encode(w, ended)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && i.seq == seq && i.compactable() {
		i.setCompacted(b, compressed)
	}
}

// setCompacted replaces the body by its encoded form.
func (i *instance) setCompacted(b []byte, compressed bool) {
	i.compacted, i.compressed, i.body, i.pendingCommit = b, compressed, &emptyBody, journal.Commit{}
}

// encoded returns a compacted body as proto.Marshal encodes it.
func (i *instance) encoded() []byte { return i.encodedIn(nil) }

// encodedIn is encoded that uses buffer if that is large enough.
func (i *instance) encodedIn(buffer []byte) []byte {
	if !i.compressed {
		return i.compacted
	}
	b, err := s2.Decode(buffer, i.compacted)
	if err != nil {
		panic(fmt.Sprintf("cannot decompress saga %s in memory: %v", i.id, err))
	}
	return b
}

// decode undoes compact.
func (i *instance) decode() {
	if i.compacted == nil {
		return
	}
	var w protos.WorkflowRuntimeState
	if err := proto.Unmarshal(i.encoded(), &w); err != nil {
		panic(fmt.Sprintf("cannot decode saga %s from memory: %v", i.id, err))
	}
	i.compacted, i.body = nil, new(body)
	i.restore(&w)
	i.meta = i.metadata()
}

// view returns the instance decoded, for reading only: it is a copy if the
// instance is compacted.
func (i *instance) view() *instance {
	if i.compacted == nil {
		return i
	}
	c := *i
	c.decode()
	return &c
}

// copied returns a copy of the instance, which can be read without mu: its events
// are never changed, and its slices grow only beyond the length of the copy's.
func (i *instance) copied() *instance {
	c, b := *i, *i.body
	b.state = nil // the instance extends its own in place
	c.body = &b
	return &c
}
