package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// failingDisk is a file system whose writes return an error while one is set.
type failingDisk struct {
	journal.Disk
	err *atomic.Pointer[error]
}

func (d failingDisk) Open(path string) (journal.File, error) {
	f, err := d.Disk.Open(path)
	return failingFile{File: f, err: d.err}, err
}

func (d failingDisk) Create(path string) (journal.File, error) {
	f, err := d.Disk.Create(path)
	return failingFile{File: f, err: d.err}, err
}

type failingFile struct {
	journal.File
	err *atomic.Pointer[error]
}

func (d failingFile) WriteAt(b []byte, at int64) (int, error) {
	if err := d.err.Load(); err != nil {
		return 0, &os.PathError{Op: "write", Path: d.Name(), Err: *err}
	}
	return d.File.WriteAt(b, at)
}

// runOnFailingDisk runs an engine on a disk whose writes fail while writeErr has
// an error.
func runOnFailingDisk(
	t *testing.T, dir string, w *enginetest.World, fsync journal.Sync,
) (e *Engine, writeErr *atomic.Pointer[error], stop func(), ran chan error) {
	t.Helper()
	writeErr = &atomic.Pointer[error]{}
	e, err := open(Options{Dir: dir, Fsync: fsync, Logger: zerolog.Nop(), DrainTimeout: time.Minute}, failingDisk{err: writeErr})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	ran = make(chan error, 1)
	registry := w.Registry(t)
	go func() { ran <- e.Run(ctx, registry) }()
	return e, writeErr, stop, ran
}

// returned waits for the result of a call in another goroutine.
func returned(t *testing.T, what string, ended chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(10 * time.Second):
		t.Fatalf("%s has not returned after 10 s, want it to return", what)
		return nil
	}
}

// TestEngineIsNotReadyWhileTheDiskIsFull: the engine is not ready while it cannot write, stops all the
// same, and continues from its state when there is space again.
func TestEngineIsNotReadyWhileTheDiskIsFull(t *testing.T) {
	dir, w := t.TempDir(), enginetest.NewWorld()
	e, writeErr, stop, ran := runOnFailingDisk(t, dir, w, journal.SyncGroup)
	release := w.Hold()
	require.NoError(t, errors.Join(e.Start(t.Context(), "Chain", "a", nil), e.Ready()))
	w.AwaitStep(t)
	full := error(syscall.ENOSPC)
	writeErr.Store(&full)
	release() // its result cannot be written
	starting := make(chan error, 1)
	go func() { starting <- e.Start(context.Background(), "Chain", "b", nil) }()
	waitUntil(t, "Ready to report the full disk", func() bool { return errors.Is(e.Ready(), syscall.ENOSPC) })
	// What is not on disk is not visible.
	waitUntil(t, "the saga to start in memory", func() bool { st, err := e.Stats(t.Context()); return err == nil && st.Live == 2 })
	brief, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if i, err := e.Get(brief, "b"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get of a saga whose start is not on disk = %+v, %v, want it to wait", i, err)
	}
	if h, err := e.History(brief, "b"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("History of a saga whose start is not on disk = %v, %v, want it to wait", h, err)
	}

	stop()
	if err := returned(t, "Run", ran); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if err := returned(t, "Start", starting); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Start = %v, want ENOSPC", err)
	}
	if err := e.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Close = %v, want ENOSPC", err)
	}

	again := run(t, w, Options{Dir: dir})
	again.want(t, "a", engine.Completed, "3")
	if _, err := again.Get(t.Context(), "b"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("after the restart, the saga whose Start failed: %v, want ErrNotFound", err)
	}
}

// TestCallsHeedTheirContextWhileTheDiskIsFull: also once the journal takes no more
// records. Reads, counts and calls of others return at once all the time, and no
// goroutine is left behind.
func TestCallsHeedTheirContextWhileTheDiskIsFull(t *testing.T) {
	for name, mode := range map[string]journal.Sync{"group": journal.SyncGroup, "always": journal.SyncAlways} {
		t.Run(name, func(t *testing.T) {
			w := enginetest.NewWorld()
			e, writeErr, stop, ran := runOnFailingDisk(t, t.TempDir(), w, mode)
			r := running{Engine: e}
			for _, id := range []string{"a", "b", "c"} {
				r.start(t, "Chain", id, nil)
				r.want(t, id, engine.Completed, "3")
			}
			for _, id := range []string{"listens", "ends"} {
				r.start(t, "Listen", id, nil)
				r.becomes(t, id, engine.Running)
			}
			full := error(syscall.ENOSPC)
			writeErr.Store(&full)
			calls := func(round int) map[string]func(context.Context) error {
				return map[string]func(context.Context) error{
					"Start":     func(ctx context.Context) error { return e.Start(ctx, "Chain", fmt.Sprint("new", round), nil) },
					"Raise":     func(ctx context.Context) error { return e.Raise(ctx, "listens", "other", "x") },
					"Purge":     func(ctx context.Context) error { return e.Purge(ctx, []string{"a", "b"}[round]) },
					"Terminate": func(ctx context.Context) error { return e.Terminate(ctx, "ends", "") },
					"Rerun":     func(ctx context.Context) error { _, err := e.Rerun(ctx, "c", 0); return err },
				}
			}
			// In the first round records join the batch; in the second there is no room.
			for round, input := range []string{"", strings.Repeat("x", 33<<20)} {
				brief, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				if err := e.Start(brief, "Listen", fmt.Sprint("fills", round), input); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("round %d: Start on a full disk = %v, want DeadlineExceeded", round, err)
				}
				ended := make(chan error, 1)
				for what, call := range calls(round) {
					go func() { ended <- call(brief) }()
					if err := returned(t, what, ended); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("round %d: %s on a full disk = %v, want DeadlineExceeded", round, what, err)
					}
				}
				go func() { _, err := e.Stats(t.Context()); ended <- err }()
				require.NoError(t, returned(t, "Stats", ended))
				go func() { _, _, err := e.List(t.Context(), "", 10); ended <- err }()
				require.NoError(t, returned(t, "List", ended))
				cancel()
			}
			writeErr.Store(nil)
			// What was accepted before its caller left is carried out.
			r.becomes(t, "fills0", engine.Running)
			stop()
			require.NoError(t, returned(t, "Run", ran), e.Close())
		})
	}
}

// TestEngineStopsWhileTheJournalHasNoRoom: also with an activity whose result finds
// none. It runs again after the restart.
func TestEngineStopsWhileTheJournalHasNoRoom(t *testing.T) {
	dir, w := t.TempDir(), enginetest.NewWorld()
	e, writeErr, stop, ran := runOnFailingDisk(t, dir, w, journal.SyncAlways)
	release := w.Hold()
	require.NoError(t, e.Start(t.Context(), "Chain", "a", nil))
	w.AwaitStep(t)
	full := error(syscall.ENOSPC)
	writeErr.Store(&full)
	brief, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for _, id := range []string{"waits for space", "fills the batch", "finds no room"} {
		if err := e.Start(brief, "Chain", id, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Start of a saga that %s = %v, want DeadlineExceeded", id, err)
		}
	}
	release()
	stop()
	require.NoError(t, returned(t, "Run", ran))
	if err := e.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Close = %v, want ENOSPC", err)
	}
	again := run(t, w, Options{Dir: dir})
	again.want(t, "a", engine.Completed, "3")
}

// TestWriteErrorStopsTheEngine: changes that are in memory but not on disk must
// have no effects.
func TestWriteErrorStopsTheEngine(t *testing.T) {
	e, writeErr, _, ran := runOnFailingDisk(t, t.TempDir(), enginetest.NewWorld(), journal.SyncGroup)
	bad := error(syscall.EIO)
	writeErr.Store(&bad)
	if err := e.Start(t.Context(), "Chain", "a", nil); !errors.Is(err, syscall.EIO) {
		t.Errorf("Start = %v, want EIO", err)
	}
	if err := returned(t, "Run", ran); !errors.Is(err, errStopped) {
		t.Errorf("Run = %v, want errStopped", err)
	}
	if err := errors.Join(e.Ready(), e.Close()); !errors.Is(err, syscall.EIO) {
		t.Errorf("Ready and Close = %v, want EIO", err)
	}
}
