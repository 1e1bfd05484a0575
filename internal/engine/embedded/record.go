package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/dapr/durabletask-go/api/protos"
	"google.golang.org/protobuf/proto"
)

// A record of the engine's journal is a sequence number and operations that take
// effect together. Each operation names an instance, and applies only if the
// instance is older than the record: snapshots overlap the log (see package
// journal). In format 3 a record is
//
//	0 u8 | format u8, plus formatBase | 0 u16 | sequence number | number of operations | operations
//
// and an operation is
//
//	kind u8 | distance to the instance's previous record, 0 if there is none |
//	events taken from the inbox, of opTurn only | length of id | id | length of payload | payload
//
// with numbers as uvarints. Records of formats 1 and 2 have no header: they begin
// with their sequence number, which is never 0. They are still read, and the next
// compaction rewrites them. The format of a record is independent of that of the
// file around it, which belongs to package journal.
//
// Programs of formats 1 and 2 read the header as an operation of an
// unknown kind without id and payload, and reject it as written by a newer version.
const (
	recordFormat = 3
	formatBase   = 0x40
)

var recordHeader = [4]byte{0, formatBase + recordFormat}

// opKind is the kind of an operation.
type opKind byte

const (
	opCreate   opKind = 1 // payload: ExecutionStarted event; replaces an ended instance
	opInbox    opKind = 2 // payload: event
	opTurn     opKind = 3 // payload: turn, as a WorkflowRuntimeState; see turnOf
	opTaskDone opKind = 4 // payload: result event
	opPurge    opKind = 5 // no payload
	opState    opKind = 6 // payload: whole instance, as a WorkflowRuntimeState; see snapshotState
	opArchive  opKind = 7 // no id, no payload: there is an archive, without which ended sagas are missing
)

// chained is a flag of the kind in formats 1 and 2: the distance to the instance's
// previous record follows.
const chained = 0x80

// op is one operation of a record.
type op struct {
	kind    opKind
	id      string        // of the instance
	taken   int           // of opTurn: how many events of the inbox it consumed
	payload proto.Message // nil for opPurge and opArchive
	raw     []byte        // encoded payload, if available
	prev    uint64        // sequence number of the instance's previous record; 0 if there is none, or it is not known
}

// builds reports whether the operation changes an instance, rather than
// replacing or removing it.
func (o op) builds() bool { return o.kind == opInbox || o.kind == opTurn || o.kind == opTaskDone }

func encodeRecord(seq uint64, ops ...op) ([]byte, error) {
	return appendRecord(make([]byte, 0, 512), seq, ops...)
}

// appendRecord is encodeRecord into a buffer of the caller's.
func appendRecord(b []byte, seq uint64, ops ...op) ([]byte, error) {
	b = append(b, recordHeader[:]...)
	b = binary.AppendUvarint(b, seq)
	b = binary.AppendUvarint(b, uint64(len(ops)))
	for _, o := range ops {
		b = append(b, byte(o.kind))
		var back uint64
		if o.prev > 0 {
			back = seq - o.prev
		}
		b = binary.AppendUvarint(b, back)
		if o.kind == opTurn {
			b = binary.AppendUvarint(b, uint64(o.taken))
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

// recordReader reads the numbers and fields of a record. After the first one that
// is cut off it returns zeros.
type recordReader struct {
	left []byte
	err  error // errShort
}

func (r *recordReader) number() uint64 {
	v, n := binary.Uvarint(r.left)
	if n <= 0 {
		r.left, r.err = nil, errShort
		return 0
	}
	r.left = r.left[n:]
	return v
}

// bytes reads n bytes.
func (r *recordReader) bytes(n uint64) []byte {
	if n > uint64(len(r.left)) {
		r.left, r.err = nil, errShort
		return nil
	}
	b := r.left[:n:n]
	r.left = r.left[n:]
	return b
}

func (r *recordReader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

// header reads the beginning of a record. more reports whether operations follow
// after the given number of them have been read.
func (r *recordReader) header() (format int, seq uint64, more func(read int) bool) {
	if len(r.left) == 0 || r.left[0] != 0 {
		return 2, r.number(), func(int) bool { return len(r.left) > 0 } // or format 1
	}
	head := r.bytes(uint64(len(recordHeader)))
	if head == nil || head[1] < formatBase+3 || head[2] != 0 || head[3] != 0 {
		r.left, r.err = nil, errors.New("engine record has no valid header")
		return 0, 0, nil
	}
	format, seq = int(head[1])-formatBase, r.number()
	count := r.number()
	return format, seq, func(read int) bool { return uint64(read) < count }
}

// op reads an operation, without decoding its payload.
func (r *recordReader) op(format int, seq uint64) (o op) {
	kind := r.byte()
	o.kind = opKind(kind)
	var back uint64
	switch {
	case format > 2:
		back = r.number()
		if o.kind == opTurn {
			o.taken = int(min(r.number(), math.MaxInt32))
		}
	case kind&chained != 0:
		o.kind &^= chained
		back = r.number()
	}
	if back > seq {
		r.err = errShort
	}
	if back > 0 {
		o.prev = seq - back
	}
	o.id = string(r.bytes(r.number()))
	o.raw = r.bytes(r.number())
	return o
}

func decodeRecord(b []byte) (seq uint64, ops []op, err error) { return decodeRecordTo(b, 0) }

// decodeRecordTo is decodeRecord, but leaves the payloads of one kind encoded.
func decodeRecordTo(b []byte, encoded opKind) (seq uint64, ops []op, err error) {
	r := &recordReader{left: b}
	format, seq, more := r.header()
	if format > recordFormat {
		return 0, nil, fmt.Errorf("engine record has format %d, this program reads up to %d: a newer version of ordersaga wrote it; "+
			"start that version, or a later one", format, recordFormat)
	}
	for r.err == nil && more(len(ops)) {
		o := r.op(format, seq)
		if r.err != nil {
			break
		}
		if o.kind != encoded {
			if err := o.decode(format); err != nil {
				return 0, nil, err
			}
		}
		ops = append(ops, o)
	}
	if r.err == nil && len(r.left) > 0 {
		r.err = errors.New("engine record continues after its last operation")
	}
	if r.err != nil {
		return 0, nil, r.err
	}
	return seq, ops, nil
}

// decode decodes the payload.
func (o *op) decode(format int) error {
	switch o.kind {
	case opCreate, opInbox, opTaskDone:
		o.payload = &protos.HistoryEvent{}
	case opTurn, opState:
		o.payload = &protos.WorkflowRuntimeState{}
	case opPurge, opArchive:
		return nil
	default:
		return fmt.Errorf("engine record has an operation of kind %d, written by a newer version of ordersaga", o.kind)
	}
	if err := proto.Unmarshal(o.raw, o.payload); err != nil {
		return fmt.Errorf("decode change of saga %s: %w", o.id, err)
	}
	if w := runtimeState(*o); o.kind == opTurn && format < 3 {
		o.taken = int(w.GetCreatedTime().GetSeconds()) // where formats 1 and 2 have it
		w.CreatedTime = nil
	}
	return nil
}
