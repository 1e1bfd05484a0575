package engine

import (
	"testing"

	"github.com/dapr/durabletask-go/api/protos"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestValidTextReachesEveryText(t *testing.T) {
	t.Parallel()
	made := func(text string) *protos.HistoryEvent {
		return &protos.HistoryEvent{EventType: &protos.HistoryEvent_ExecutionStarted{ExecutionStarted: &protos.ExecutionStartedEvent{
			Name: text, Input: wrapperspb.String(text), Tags: map[string]string{"tag": text},
			WorkflowInstance: &protos.WorkflowInstance{InstanceId: "valid: é"},
		}}}
	}
	patches := func(text string) *protos.WorkflowVersion {
		return &protos.WorkflowVersion{Patches: []string{"a", text}}
	}
	for _, c := range []struct{ got, want proto.Message }{
		{made("caf\xe9"), made("caf\uFFFD")},
		{patches("caf\xe9"), patches("caf\uFFFD")},
	} {
		ValidText(c.got)
		if !proto.Equal(c.got, c.want) {
			t.Errorf("ValidText = %v, want %v", c.got, c.want)
		}
	}
	ValidText(nil)
}
