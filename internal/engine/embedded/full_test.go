package embedded

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
	"github.com/ordersaga/ordersaga/internal/journal"
)

// disk answers writes with an error, if it has one.
type disk struct {
	journal.Disk
	err *atomic.Pointer[error]
}

func (d disk) Open(path string) (journal.File, error) {
	f, err := d.Disk.Open(path)
	return diskFile{f, d.err}, err
}

func (d disk) Create(path string) (journal.File, error) {
	f, err := d.Disk.Create(path)
	return diskFile{f, d.err}, err
}

type diskFile struct {
	journal.File
	err *atomic.Pointer[error]
}

func (d diskFile) WriteAt(b []byte, at int64) (int, error) {
	if err := d.err.Load(); err != nil {
		return 0, &os.PathError{Op: "write", Path: d.Name(), Err: *err}
	}
	return d.File.WriteAt(b, at)
}

// onDisk runs an engine on a disk that can be broken.
func onDisk(t *testing.T, dir string, w *enginetest.World) (e *Engine, broken *atomic.Pointer[error], stop func(), ran chan error) {
	t.Helper()
	broken = &atomic.Pointer[error]{}
	e, err := open(Options{Dir: dir, Logger: zerolog.Nop(), DrainTimeout: time.Minute}, disk{err: broken})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	ran = make(chan error, 1)
	registry := w.Registry(t)
	go func() { ran <- e.Run(ctx, registry) }()
	return e, broken, stop, ran
}

func ends(t *testing.T, what string, ended chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(10 * time.Second):
		t.Fatalf("%s does not end", what)
		return nil
	}
}

// TestFullDisk: the engine is not ready while it cannot write, ends all the
// same, and goes on where it was when there is space again.
func TestFullDisk(t *testing.T) {
	dir, w := t.TempDir(), enginetest.NewWorld()
	e, broken, stop, ran := onDisk(t, dir, w)
	release := w.Hold()
	if err := errors.Join(e.Start(t.Context(), "Chain", "a", nil), e.Ready()); err != nil {
		t.Fatal(err)
	}
	w.AwaitStep(t)
	full := error(syscall.ENOSPC)
	broken.Store(&full)
	release() // its result finds no room
	starting := make(chan error, 1)
	go func() { starting <- e.Start(context.Background(), "Chain", "b", nil) }()
	eventually(t, "not ready", func() bool { return errors.Is(e.Ready(), syscall.ENOSPC) })
	// What is not on disk is not shown.
	eventually(t, "it has begun in memory", func() bool { st, err := e.Stats(t.Context()); return err == nil && st.Live == 2 })
	brief, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if i, err := e.Get(brief, "b"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a saga whose start is not on disk is shown: %+v, %v", i, err)
	}
	if h, err := e.History(brief, "b"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("and its history: %v, %v", h, err)
	}

	stop()
	if err := ends(t, "Run", ran); err != nil {
		t.Errorf("run: %v", err)
	}
	if err := ends(t, "Start", starting); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("start: %v", err)
	}
	if err := e.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("close: %v", err)
	}

	again := run(t, w, Options{Dir: dir})
	again.want(t, "a", engine.Completed, "3")
	if _, err := again.Get(t.Context(), "b"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("what was refused is there: %v", err)
	}
}

// TestBrokenDiskEndsTheEngine: what is in memory and not on disk must not
// go on.
func TestBrokenDiskEndsTheEngine(t *testing.T) {
	e, broken, _, ran := onDisk(t, t.TempDir(), enginetest.NewWorld())
	bad := error(syscall.EIO)
	broken.Store(&bad)
	if err := e.Start(t.Context(), "Chain", "a", nil); !errors.Is(err, syscall.EIO) {
		t.Errorf("start: %v", err)
	}
	if err := ends(t, "Run", ran); !errors.Is(err, errStopped) {
		t.Errorf("run: %v", err)
	}
	if err := errors.Join(e.Ready(), e.Close()); !errors.Is(err, syscall.EIO) {
		t.Errorf("%v", err)
	}
}
