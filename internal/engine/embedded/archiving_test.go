package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/api/protos"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// end runs n sagas to their end.
func (r running) end(t testing.TB, prefix string, n int) {
	t.Helper()
	for k := range n {
		id := fmt.Sprint(prefix, k)
		r.start(t, "Chain", id, nil)
		r.wait(t, id)
	}
	waitUntil(t, "the ends to be recorded", func() bool {
		r.store.mu.Lock()
		defer r.store.mu.Unlock()
		return !slices.ContainsFunc(r.store.instances.Values(), func(i *instance) bool { return i.ended() && !i.durable() })
	})
}

// copyEnded adds a copy of an ended saga under an id that the engine's callers
// cannot choose.
func (r running) copyEnded(t testing.TB, from, to string) {
	t.Helper()
	source, err := r.store.read(from)
	require.NoError(t, err)
	state, _ := proto.Clone(source.snapshotState()).(*protos.WorkflowRuntimeState)
	state.InstanceId = to
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	c, err := r.store.commit(op{kind: opState, id: to, payload: state})
	require.NoError(t, err, c.Wait())
	i, _ := r.store.instances.Get(to)
	i.publish(i.metadata(), i.seq)
	r.store.endedInMemory = append(r.store.endedInMemory, i)
}

// TestSagaThatTheArchiveRejectsDoesNotStopOthers: bbolt accepts no id of 33,000
// bytes. The saga stays in memory until its retention is over.
func TestSagaThatTheArchiveRejectsDoesNotStopOthers(t *testing.T) {
	dir, w := t.TempDir(), enginetest.NewWorld()
	e := run(t, w, Options{Dir: dir})
	long := strings.Repeat("x", 33_000)
	e.end(t, "before", 3)
	e.copyEnded(t, "before0", long)
	e.end(t, "after", 3)
	e.archiveNow(t)
	if n := e.inMemory(); n != 1 {
		t.Errorf("%d ended sagas are in memory, want only the one with the long id", n)
	}
	e.end(t, "later", 1)
	e.archiveNow(t) // without the rejected one
	e.stop()

	e = run(t, w, Options{Dir: dir})
	e.archiveNow(t)
	// Older versions started sagas with such ids; clients cannot name them any more.
	if i, err := e.store.read(long); err != nil || i.meta.GetOutput().GetValue() != "3" {
		t.Errorf("the saga with the long id: %v, want it to be there with its output 3", err)
	}
	e.want(t, "after2", engine.Completed, "3")
	if n := e.inMemory(); n != 1 {
		t.Errorf("%d ended sagas are in memory after a restart, want only the one with the long id", n)
	}
	if n, err := e.store.purgeExpired(t.Context(), time.Now().Add(time.Hour)); err != nil || n != 8 || e.inMemory() != 0 {
		t.Errorf("purgeExpired = %d, %v with %d sagas left in memory, want all 8 purged", n, err, e.inMemory())
	}
}

// TestSagaThatEndedInTheFutureDoesNotStopOthers: the clock was an hour ahead when
// it ended, and has been set back.
func TestSagaThatEndedInTheFutureDoesNotStopOthers(t *testing.T) {
	e := run(t, enginetest.NewWorld(), Options{Dir: t.TempDir()})
	e.end(t, "future", 1)
	e.store.mu.Lock()
	for _, i := range e.store.instances.Values() {
		i.endedAt += 3600
	}
	e.store.mu.Unlock()
	e.end(t, "now", 5)
	waitUntil(t, "all ended sagas to be archived", func() bool {
		require.NoError(t, e.store.archiveEnded(t.Context(), time.Now()))
		return e.inMemory() == 0
	})
	e.want(t, "future0", engine.Completed, "3")
}

// TestLostArchiveIsDetected: an archive that the journal names and that is not
// there must not look like one that never existed. A repair goes on without it.
func TestLostArchiveIsDetected(t *testing.T) {
	w := enginetest.NewWorld()
	src := filepath.Join(t.TempDir(), "engine")
	e := run(t, w, Options{Dir: src})
	e.end(t, "ended", 2)
	e.archiveNow(t)
	e.start(t, "Listen", "live", nil)
	e.stop()
	compacted := copyDir(t, src)
	e = run(t, w, Options{Dir: compacted})
	require.NoError(t, e.store.journal.Compact(e.store.snapshot))
	e.stop()
	old := filepath.Join(t.TempDir(), "engine") // its journal has no mark until the first start
	require.NoError(t, os.CopyFS(old, os.DirFS("testdata/format2")))
	opened, err := Open(Options{Dir: old})
	require.NoError(t, err)
	require.NoError(t, opened.Close())

	for state, from := range map[string]string{"in the log": src, "in the snapshot": compacted, "of an older version": old} {
		for what, lose := range map[string]func(name string) error{
			"deleted": os.Remove,
			"emptied": func(name string) error { return os.Truncate(name, 0) },
		} {
			t.Run(state+" "+what, func(t *testing.T) {
				dir := copyDir(t, from)
				intact, err := Verify(dir)
				require.NoError(t, err)
				require.NoError(t, lose(filepath.Join(dir, archiveName)))
				repair := "ordersaga engine repair --data-dir " + filepath.Dir(dir)
				r, err := Verify(dir)
				names := func(text string) bool { return strings.Contains(text, archiveName) && strings.Contains(text, repair) }
				if err != nil || r.Intact() || r.Live != intact.Live || !names(r.Archive.Damage) {
					t.Errorf("Verify = %+v, %v, want damage that names %s and the repair command", r, err, archiveName)
				}
				if _, err := Open(Options{Dir: dir}); err == nil || !names(err.Error()) {
					t.Errorf("Open = %v, want an error that names %s and the repair command", err, archiveName)
				}
				if r, err := Repair(dir); err != nil || r.Backup == "" {
					t.Errorf("Repair = %+v, %v, want a backup", r, err)
				}
				after, err := Verify(dir)
				if err != nil || !after.Intact() || after.Live != intact.Live || after.Archive.Sagas != 0 {
					t.Errorf("Verify after Repair = %+v, %v, want it intact, with %d live sagas and none archived", after, err, intact.Live)
				}
				e, err := Open(Options{Dir: dir, Logger: zerolog.Nop()})
				require.NoError(t, err)
				require.NoError(t, e.Close())
			})
		}
	}
}

// syncedDirs records which names a directory had when it was synced.
type syncedDirs struct {
	journal.Disk
	names []string
}

// SyncDir implements journal.FS.
func (d *syncedDirs) SyncDir(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		d.names = append(d.names, e.Name())
	}
	return errors.Join(err, d.Disk.SyncDir(dir))
}

// TestNameOfANewArchiveIsSynced: otherwise a power cut may take the archive, after
// the journal has removed what it holds.
func TestNameOfANewArchiveIsSynced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for n, named := range []bool{false, false, true} { // by the journal; the second time, a crash came before that
		files := &syncedDirs{}
		a, err := openArchive(dir, named, files)
		require.NoError(t, err, a.close())
		if got := len(files.names) == 1 && files.names[0] == archiveName; got == named {
			t.Errorf("open %d of the archive has synced the names %v, want %s unless the journal names it", n, files.names, archiveName)
		}
	}
}
