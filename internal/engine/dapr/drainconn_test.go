package dapr

import (
	"context"
	"testing"

	"github.com/dapr/durabletask-go/api/protos"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// streams records the contexts of the streams that are opened.
type streams struct {
	grpc.ClientConnInterface

	opened []context.Context
}

func (s *streams) NewStream(ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	s.opened = append(s.opened, ctx)
	return nil, nil
}

// TestReconnectEndsTheFormerStream: reconnections leave nothing behind, and stop
// ends the last stream.
func TestReconnectEndsTheFormerStream(t *testing.T) {
	t.Parallel()
	s := &streams{}
	d := &drainConn{ClientConnInterface: s}
	for range 3 {
		if _, err := d.NewStream(t.Context(), nil, "/TaskHubSidecarService/GetWorkItems"); err != nil {
			t.Fatal(err)
		}
	}
	for i, ctx := range s.opened {
		if ended := ctx.Err() != nil; ended != (i < 2) {
			t.Errorf("stream %d of 3: ended = %v, want %v", i+1, ended, i < 2)
		}
	}
	d.stop(0)
	if s.opened[2].Err() == nil {
		t.Error("the last stream is open after stop, want it ended")
	}
}

// encoder encodes the calls that it gets, as gRPC does.
type encoder struct{ grpc.ClientConnInterface }

func (encoder) Invoke(_ context.Context, _ string, args, _ any, _ ...grpc.CallOption) error {
	_, err := proto.Marshal(args.(proto.Message))
	return err
}

// TestAnswersWithAnyBytesReachTheSidecar: an activity's error or a custom status may
// contain any bytes, such as those of another program's response.
func TestAnswersWithAnyBytesReachTheSidecar(t *testing.T) {
	t.Parallel()
	d := &drainConn{ClientConnInterface: encoder{}, items: 2}
	for method, answer := range map[string]proto.Message{
		"CompleteActivityTask": &protos.ActivityResponse{FailureDetails: &protos.TaskFailureDetails{ErrorMessage: "caf\xe9"}},
		"CompleteWorkflowTask": &protos.WorkflowResponse{CustomStatus: wrapperspb.String("caf\xe9")},
	} {
		if err := d.Invoke(t.Context(), "/TaskHubSidecarService/"+method, answer, nil); err != nil {
			t.Errorf("%s with bytes that are not UTF-8: error %v, want nil", method, err)
		}
	}
}
