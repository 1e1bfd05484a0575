package dapr

import (
	"context"
	"testing"

	"google.golang.org/grpc"
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
