package embedded

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/dapr/durabletask-go/api/protos"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

func TestRecordRoundTrip(t *testing.T) {
	t.Parallel()
	ops := []op{
		{kind: opCreate, id: "a", payload: &protos.HistoryEvent{EventId: 1}},
		{kind: opInbox, id: "", payload: &protos.HistoryEvent{}},
		{kind: opTurn, id: "b", taken: 300, payload: &protos.WorkflowRuntimeState{CustomStatus: wrapperspb.String("x")}},
		{kind: opTaskDone, id: "c", payload: &protos.HistoryEvent{EventId: 4}, prev: 1<<40 - 3},
		{kind: opPurge, id: "d"},
		{kind: opState, id: "e", payload: &protos.WorkflowRuntimeState{InstanceId: "e"}},
		{kind: opArchive},
	}
	record, err := encodeRecord(1<<40, ops...)
	require.NoError(t, err)
	seq, got, err := decodeRecord(record)
	if err != nil || seq != 1<<40 || len(got) != len(ops) {
		t.Fatalf("decoded sequence number %d and %d operations (%v), want %d and %d", seq, len(got), err, 1<<40, len(ops))
	}
	for n, o := range ops {
		g := got[n]
		same := g.kind == o.kind && g.id == o.id && g.prev == o.prev && g.taken == o.taken && (o.payload != nil) == (g.payload != nil)
		if !same || (o.payload != nil && !proto.Equal(g.payload, o.payload)) {
			t.Errorf("operation %d: %+v, want %+v", n, g, o)
		}
	}
	for end := range record {
		if _, some, err := decodeRecord(record[:end]); err == nil {
			t.Errorf("a record cut at %d of %d bytes decodes to %+v, want an error", end, len(record), some)
		}
	}
	if _, _, err := decodeRecord(append(record, 0)); err == nil {
		t.Error("a record with a byte too many decodes, want an error")
	}
}

// oldRecord encodes an operation in the given format, 1 or 2.
func oldRecord(t *testing.T, format int, seq uint64, o op) []byte {
	t.Helper()
	b := binary.AppendUvarint(nil, seq)
	if format == 2 {
		b = binary.AppendUvarint(append(b, byte(o.kind)|chained), seq-o.prev)
	} else {
		b = append(b, byte(o.kind))
	}
	payload, err := proto.Marshal(o.payload)
	require.NoError(t, err)
	b = append(binary.AppendUvarint(b, uint64(len(o.id))), o.id...)
	return append(binary.AppendUvarint(b, uint64(len(payload))), payload...)
}

func TestTurnOfAnOldFormatDecodesWithItsCount(t *testing.T) {
	t.Parallel()
	turn := &protos.WorkflowRuntimeState{CustomStatus: wrapperspb.String("x"), CreatedTime: &timestamppb.Timestamp{Seconds: 7}}
	for format, prev := range map[int]uint64{1: 0, 2: 12} {
		record := oldRecord(t, format, 15, op{kind: opTurn, id: "a", payload: turn, prev: 12})
		seq, ops, err := decodeRecord(record)
		if err != nil || seq != 15 || len(ops) != 1 || ops[0].taken != 7 || ops[0].prev != prev || ops[0].id != "a" {
			t.Errorf("format %d: decoded %d, %+v (%v), want record 15 with a turn of a after %d that took 7 events", format, seq, ops, err, prev)
			continue
		}
		if w := runtimeState(ops[0]); w.CreatedTime != nil || w.CustomStatus.GetValue() != "x" {
			t.Errorf("format %d: turn is %v, want it without the count, which is no time", format, w)
		}
	}
}

func TestRecordOfANewerVersionIsRejected(t *testing.T) {
	t.Parallel()
	newKind, err := encodeRecord(1, op{kind: 77, id: "a"})
	require.NoError(t, err)
	newFormat, err := encodeRecord(1, op{kind: opPurge, id: "a"})
	require.NoError(t, err)
	newFormat[1]++
	for what, record := range map[string][]byte{"kind 77": newKind, "format 4": newFormat} {
		_, _, err := decodeRecord(record)
		if err == nil || !strings.Contains(err.Error(), "newer version") || !strings.Contains(err.Error(), what) {
			t.Errorf("decodeRecord = %v, want an error that names %s and a newer version", err, what)
		}
	}
	if _, _, err := decodeRecord([]byte{0, 1, 0, 0, 1, 0}); err == nil {
		t.Error("a record with an invalid header decodes, want an error")
	}
}

// TestProgramsOfOlderFormatsRejectARecord: to them the header is an operation of
// kind 67, without id and payload, in a record with number 0. They reject such a
// kind as written by a newer version.
func TestProgramsOfOlderFormatsRejectARecord(t *testing.T) {
	t.Parallel()
	record, err := encodeRecord(1, op{kind: opPurge, id: "a"})
	require.NoError(t, err)
	old := &recordReader{left: record}
	seq, o := old.number(), old.op(2, 0)
	if seq != 0 || o.kind != 67 || o.id != "" || len(o.raw) != 0 || old.err != nil {
		t.Errorf("an older program reads record %d with %+v (%v), want record 0 with an operation of kind 67", seq, o, old.err)
	}
}
