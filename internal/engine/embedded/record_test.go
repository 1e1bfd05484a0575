package embedded

import (
	"strings"
	"testing"

	"github.com/dapr/durabletask-go/api/protos"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestRecord(t *testing.T) {
	ops := []op{
		{kind: opCreate, id: "a", payload: &protos.HistoryEvent{EventId: 1}},
		{kind: opInbox, id: "", payload: &protos.HistoryEvent{}},
		{kind: opTurn, id: "b", payload: &protos.WorkflowRuntimeState{CustomStatus: wrapperspb.String("x")}},
		{kind: opTaskDone, id: "c", payload: &protos.HistoryEvent{EventId: 4}, prev: 1<<40 - 3},
		{kind: opPurge, id: "d"},
		{kind: opState, id: "e", payload: &protos.WorkflowRuntimeState{InstanceId: "e"}},
	}
	record, err := encodeRecord(1<<40, ops...)
	if err != nil {
		t.Fatal(err)
	}
	seq, got, err := decodeRecord(record)
	if err != nil || seq != 1<<40 || len(got) != len(ops) {
		t.Fatal(seq, len(got), err)
	}
	for n, o := range ops {
		if g := got[n]; g.kind != o.kind || g.id != o.id || g.prev != o.prev || (o.payload != nil) != (g.payload != nil) || (o.payload != nil && !proto.Equal(g.payload, o.payload)) {
			t.Errorf("operation %d: %+v, want %+v", n, g, o)
		}
	}
	whole := 0
	for end := range record { // no cut panics; one between operations is whole again
		if _, some, err := decodeRecord(record[:end]); err == nil {
			if whole++; len(some) >= len(ops) {
				t.Errorf("cut at %d of %d has all operations", end, len(record))
			}
		}
	}
	if whole != len(ops) {
		t.Errorf("%d cuts decode, want those before each operation", whole)
	}
}

func TestRecordOfANewerVersionIsRefused(t *testing.T) {
	record, err := encodeRecord(1, op{kind: 77, id: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := decodeRecord(record); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("%v", err)
	}
}
