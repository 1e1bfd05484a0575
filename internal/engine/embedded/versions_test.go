package embedded

import (
	"context"
	"errors"
	"testing"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
	"github.com/ordersaga/ordersaga/internal/replay"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestInstancesKeepTheirWorkflowVersion: each instance ends with the version it
// began with. A program without that version shows that it stands still, and what
// arrives meanwhile is not lost.
func TestInstancesKeepTheirWorkflowVersion(t *testing.T) {
	ctx := context.Background()
	dir, w := t.TempDir(), enginetest.NewWorld()
	start := func(e running, id string) {
		e.start(t, "Deploy", id, nil)
		waitUntil(t, id+" to wait", func() bool { return e.happened(t, id, "TimerCreated", "") })
	}
	w.Versions = []string{"v1"}
	e := run(t, w, Options{Dir: dir})
	start(e, "old")
	start(e, "unknown")
	e.stop()

	w.Versions = []string{"v2"} // deployed too early
	e = run(t, w, Options{Dir: dir})
	start(e, "new")
	require.NoError(t, e.Raise(ctx, "unknown", "go", nil))
	e.becomes(t, "unknown", engine.Stalled)
	if err := (hubServer{engine: e.Engine}).checkRunning(ctx, "unknown"); !errors.Is(err, engine.ErrStalled) {
		t.Errorf("a gRPC client's termination of the stalled instance = %v, want ErrStalled", err)
	}
	if i, err := e.Get(ctx, "unknown"); err != nil || replay.ChangedBy(i.CustomStatus) != "this program does not have its version v1" {
		t.Errorf("without a program of its version, the custom status is %q (%v), want that v1 is missing", i.CustomStatus, err)
	}
	e.stop()

	w.Versions = []string{"v1", "v2"}
	e = run(t, w, Options{Dir: dir})
	require.NoError(t, errors.Join(e.Raise(ctx, "old", "go", nil), e.Raise(ctx, "new", "go", nil)))
	e.want(t, "old", engine.Completed, `"v1"`)
	e.want(t, "new", engine.Completed, `"v2"`)
	e.want(t, "unknown", engine.Completed, `"v1"`)
}
