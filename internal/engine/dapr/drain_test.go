package dapr

import (
	"context"
	"testing"

	"google.golang.org/grpc"
)

// streams remembers the contexts of the streams it is asked for.
type streams struct {
	grpc.ClientConnInterface

	opened []context.Context
}

func (s *streams) NewStream(ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	s.opened = append(s.opened, ctx)
	return nil, nil
}

// TestReconnecting: a sidecar that comes and goes all day leaves nothing
// behind, and the last stream is the one to end.
func TestReconnecting(t *testing.T) {
	s := &streams{}
	d := &drain{ClientConnInterface: s}
	for range 3 {
		if _, err := d.NewStream(t.Context(), nil, "/TaskHubSidecarService/GetWorkItems"); err != nil {
			t.Fatal(err)
		}
	}
	for i, ctx := range s.opened {
		if ended := ctx.Err() != nil; ended != (i < 2) {
			t.Errorf("stream %d of 3 has ended: %v", i+1, ended)
		}
	}
	d.stop(0)
	if s.opened[2].Err() == nil {
		t.Error("the last stream goes on")
	}
}
