package embedded

import (
	"context"
	"errors"
	"testing"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
)

// TestDeploy: each instance ends by the version it began with, also when a
// program came in between that does not know it.
func TestDeploy(t *testing.T) {
	ctx := context.Background()
	dir, w := t.TempDir(), enginetest.NewWorld()
	begin := func(e running, id string) {
		e.start(t, "Deploy", id, nil)
		eventually(t, id+" waits", func() bool { return e.happened(t, id, "TimerCreated", "") })
	}
	w.Versions = []string{"v1"}
	e := run(t, w, Options{Dir: dir})
	begin(e, "old")
	begin(e, "strange")
	e.stop()

	w.Versions = []string{"v2"} // deployed too early
	e = run(t, w, Options{Dir: dir})
	begin(e, "new")
	if err := e.Raise(ctx, "strange", "go", nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is told, and waits for a program that knows it", func() bool { return e.happened(t, "strange", "EventRaised", "go") })
	if i, err := e.Get(ctx, "strange"); err != nil || i.Status.Ended() {
		t.Errorf("%+v %v", i, err)
	}
	e.stop()

	w.Versions = []string{"v1", "v2"}
	e = run(t, w, Options{Dir: dir})
	if err := errors.Join(e.Raise(ctx, "old", "go", nil), e.Raise(ctx, "new", "go", nil), e.Raise(ctx, "strange", "nudge", nil)); err != nil {
		t.Fatal(err)
	}
	e.want(t, "old", engine.Completed, `"v1"`)
	e.want(t, "new", engine.Completed, `"v2"`)
	e.want(t, "strange", engine.Completed, `"v1"`)
}
