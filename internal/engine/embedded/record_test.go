package embedded

import (
	"strings"
	"testing"

	"github.com/dapr/durabletask-go/api/protos"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

func TestRecordRoundTrip(t *testing.T) {
	t.Parallel()
	ops := []op{
		{kind: opCreate, id: "a", payload: &protos.HistoryEvent{EventId: 1}},
		{kind: opInbox, id: "", payload: &protos.HistoryEvent{}},
		{kind: opTurn, id: "b", payload: &protos.WorkflowRuntimeState{CustomStatus: wrapperspb.String("x")}},
		{kind: opTaskDone, id: "c", payload: &protos.HistoryEvent{EventId: 4}, prev: 1<<40 - 3},
		{kind: opPurge, id: "d"},
		{kind: opState, id: "e", payload: &protos.WorkflowRuntimeState{InstanceId: "e"}},
	}
	record, err := encodeRecord(1<<40, ops...)
	require.NoError(t, err)
	seq, got, err := decodeRecord(record)
	if err != nil || seq != 1<<40 || len(got) != len(ops) {
		t.Fatalf("decoded sequence number %d and %d operations (%v), want %d and %d", seq, len(got), err, 1<<40, len(ops))
	}
	for n, o := range ops {
		g := got[n]
		same := g.kind == o.kind && g.id == o.id && g.prev == o.prev && (o.payload != nil) == (g.payload != nil)
		if !same || (o.payload != nil && !proto.Equal(g.payload, o.payload)) {
			t.Errorf("operation %d: %+v, want %+v", n, g, o)
		}
	}
	whole := 0
	for end := range record { // no cut panics; a record cut between operations is valid
		if _, some, err := decodeRecord(record[:end]); err == nil {
			whole++
			if len(some) >= len(ops) {
				t.Errorf("a record cut at %d of %d bytes has %d operations, want fewer than %d", end, len(record), len(some), len(ops))
			}
		}
	}
	if whole != len(ops) {
		t.Errorf("%d cuts decode, want %d: one before each operation", whole, len(ops))
	}
}

func TestRecordOfANewerVersionIsRejected(t *testing.T) {
	t.Parallel()
	record, err := encodeRecord(1, op{kind: 77, id: "a"})
	require.NoError(t, err)
	if _, _, err := decodeRecord(record); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("decodeRecord = %v, want an error that names a newer version", err)
	}
}
