package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dapr/durabletask-go/api/protos"
	"google.golang.org/protobuf/proto"
)

// opKind is the kind of an operation. A journal record is a sequence number and
// operations that take effect together. Each operation names an instance, and
// applies only if the instance is older than the record: snapshots overlap the
// log (see package journal).
type opKind byte

const (
	opCreate   opKind = 1 // payload: ExecutionStarted event; replaces an ended instance
	opInbox    opKind = 2 // payload: event
	opTurn     opKind = 3 // payload: turn, as a WorkflowRuntimeState; see turnOf
	opTaskDone opKind = 4 // payload: result event
	opPurge    opKind = 5 // no payload
	opState    opKind = 6 // payload: whole instance, as a WorkflowRuntimeState; see snapshotState
)

// chained is a flag of an operation that names its instance's previous record,
// as the distance to it. A missing record is detected by that.
const chained = 0x80

// op is one operation of a record.
type op struct {
	kind    opKind
	id      string        // of the instance
	payload proto.Message // nil for opPurge
	raw     []byte        // encoded payload, if available
	prev    uint64        // sequence number of the instance's previous record; 0 if there is none, or it is not known
}

// builds reports whether the operation changes an instance, rather than
// replacing or removing it.
func (o op) builds() bool { return o.kind == opInbox || o.kind == opTurn || o.kind == opTaskDone }

func encodeRecord(seq uint64, ops ...op) ([]byte, error) {
	b := binary.AppendUvarint(make([]byte, 0, 512), seq)
	for _, o := range ops {
		if o.prev > 0 {
			b = binary.AppendUvarint(append(b, byte(o.kind)|chained), seq-o.prev)
		} else {
			b = append(b, byte(o.kind))
		}
		b = binary.AppendUvarint(b, uint64(len(o.id)))
		b = append(b, o.id...)
		size := len(o.raw)
		if o.raw == nil && o.payload != nil {
			size = proto.Size(o.payload)
		}
		b = append(binary.AppendUvarint(b, uint64(size)), o.raw...)
		if o.raw == nil && o.payload != nil {
			var err error
			b, err = proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, o.payload)
			if err != nil {
				return nil, fmt.Errorf("encode change of saga %s: %w", o.id, err)
			}
		}
	}
	return b, nil
}

var errShort = errors.New("engine record is cut off inside a batch with a valid checksum")

func decodeRecord(b []byte) (seq uint64, ops []op, err error) {
	seq, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, errShort
	}
	b = b[n:]
	field := func() ([]byte, bool) {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, false
		}
		f := b[n : n+int(size)]
		b = b[n+int(size):]
		return f, true
	}
	for len(b) > 0 {
		o := op{kind: opKind(b[0] &^ chained)}
		isChained := b[0]&chained != 0
		b = b[1:]
		if isChained {
			back, n := binary.Uvarint(b)
			if n <= 0 || back > seq {
				return 0, nil, errShort
			}
			o.prev, b = seq-back, b[n:]
		}
		id, ok1 := field()
		payload, ok2 := field()
		if !ok1 || !ok2 {
			return 0, nil, errShort
		}
		o.id, o.raw = string(id), payload
		switch o.kind {
		case opCreate, opInbox, opTaskDone:
			o.payload = &protos.HistoryEvent{}
		case opTurn, opState:
			o.payload = &protos.WorkflowRuntimeState{}
		case opPurge:
		default:
			return 0, nil, fmt.Errorf("engine record has an operation of kind %d, written by a newer version of ordersaga", o.kind)
		}
		if o.payload != nil {
			if err := proto.Unmarshal(payload, o.payload); err != nil {
				return 0, nil, fmt.Errorf("decode change of saga %s: %w", o.id, err)
			}
		}
		ops = append(ops, o)
	}
	return seq, ops, nil
}
