package embedded

import (
	"runtime"
	"sync"

	"github.com/dapr/durabletask-go/api/protos"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Numbers of the fields that scanState looks at.
var (
	stateField = fieldsOf[*protos.WorkflowRuntimeState]("newEvents", "oldEvents", "pendingTasks", "pendingTimers", "customStatus")
	endedField = fieldsOf[*protos.HistoryEvent]("executionCompleted")[0]
)

func fieldsOf[M proto.Message](names ...protoreflect.Name) (numbers []protowire.Number) {
	var m M
	for _, name := range names {
		numbers = append(numbers, m.ProtoReflect().Descriptor().Fields().ByName(name).Number())
	}
	return numbers
}

// scanned is what replay needs of an encoded instance that waits.
type scanned struct {
	custom string
	timers []*protos.HistoryEvent
}

// scanState reads an instance's encoded state without decoding its history: a
// million instances may wait. ok is false if it does not only wait for events and
// timers, and must be decoded.
func scanState(raw []byte) (w scanned, ok bool) {
	begun := false
	for len(raw) > 0 {
		number, value, n := nextField(raw)
		if n < 0 {
			return w, false
		}
		raw = raw[n:]
		switch number {
		case stateField[0], stateField[2]: // something to do
			return w, false
		case stateField[1]:
			begun = true
			if hasField(value, endedField) {
				return w, false
			}
		case stateField[3]:
			e := new(protos.HistoryEvent)
			if proto.Unmarshal(value, e) != nil {
				return w, false
			}
			w.timers = append(w.timers, e)
		case stateField[4]:
			_, text, n := nextField(value) // of a StringValue; none if it is empty
			if n < 0 {
				return w, false
			}
			w.custom = string(text)
		default: // the id
		}
	}
	return w, begun
}

// hasField reports whether an encoded message has a field, or is not valid.
func hasField(b []byte, wanted protowire.Number) bool {
	for len(b) > 0 {
		number, _, n := nextField(b)
		if n < 0 || number == wanted {
			return true
		}
		b = b[n:]
	}
	return false
}

// nextField returns the first field of an encoded message, and its length; that is
// negative if it is not valid. value is nil for a field that has no length.
func nextField(b []byte) (number protowire.Number, value []byte, n int) {
	if len(b) == 0 {
		return 0, nil, 0
	}
	number, kind, n := protowire.ConsumeTag(b)
	if n < 0 {
		return 0, nil, n
	}
	size := protowire.ConsumeFieldValue(number, kind, b[n:])
	if size < 0 {
		return 0, nil, size
	}
	if kind == protowire.BytesType {
		value, _ = protowire.ConsumeBytes(b[n:])
	}
	return number, value, n + size
}

// restored collects the instances of a snapshot, which are scanned and compressed
// on all processors, many at a time. The zero value is empty.
type restored struct {
	all []restoredState
	raw []byte // their encoded states, one after the other
}

// restoredState is the record of one instance.
type restoredState struct {
	id   string
	seq  uint64
	from int // where its state begins in restored.raw

	waits      bool // it waits, and the rest is set; otherwise it must be decoded
	scanned    scanned
	compacted  []byte
	compressed bool
}

// At most so many instances, and bytes, are collected.
const (
	maxRestored      = 4096
	maxRestoredBytes = 16 << 20
)

// add adds an instance, and reports whether enough have been collected.
func (r *restored) add(seq uint64, o op) (full bool) {
	r.all = append(r.all, restoredState{id: o.id, seq: seq, from: len(r.raw)})
	r.raw = append(r.raw, o.raw...)
	return len(r.all) == maxRestored || len(r.raw) > maxRestoredBytes
}

func (r *restored) rawOf(n int) []byte {
	if n+1 < len(r.all) {
		return r.raw[r.all[n].from:r.all[n+1].from]
	}
	return r.raw[r.all[n].from:]
}

// scan scans and compresses what has been collected.
func (r *restored) scan() {
	var workers sync.WaitGroup
	processors := runtime.GOMAXPROCS(0)
	for p := range processors {
		workers.Go(func() {
			buffers := new([2][]byte)
			for n := p; n < len(r.all); n += processors {
				x := &r.all[n]
				x.scanned, x.waits = scanState(r.rawOf(n))
				if x.waits {
					x.compacted, x.compressed = compress(buffers, r.rawOf(n))
				}
			}
		})
	}
	workers.Wait()
}

// restoreStates applies the collected records of a snapshot.
func (s *store) restoreStates() error {
	r := &s.restored
	if len(r.all) == 0 { // most often: each record of the log asks
		return nil
	}
	r.scan()
	for n, x := range r.all {
		if x.waits {
			s.restoreWaiting(x)
			continue
		}
		o := op{kind: opState, id: x.id, raw: r.rawOf(n)}
		if err := o.decode(recordFormat); err != nil {
			return err
		}
		s.apply(x.seq, []op{o})
	}
	clear(r.all)
	r.all, r.raw = r.all[:0], r.raw[:0]
	return nil
}

// restoreWaiting restores an instance without decoding it.
func (s *store) restoreWaiting(x restoredState) {
	old, _ := s.instances.Get(x.id)
	s.forget(old)
	i := &instance{id: x.id, seq: x.seq, metaSeq: x.seq, awaitsExternal: s.awaitsExternal(x.scanned.custom)}
	i.setCompacted(x.compacted, x.compressed)
	s.instances.Set(x.id, i)
	s.count(i)
	for _, e := range x.scanned.timers {
		s.scheduleTimer(i.timerEntry(e))
	}
}
