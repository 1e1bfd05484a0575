package embedded

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestUpgradeOfADataDirectory opens data directories that older versions have
// written. Each has sagas in every state, half of them in the snapshot and half in
// the log. All are there, and continue, through a compaction and restarts.
func TestUpgradeOfADataDirectory(t *testing.T) {
	for _, format := range []string{"format1", "format2"} {
		t.Run(format, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "engine")
			require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", format))))
			r, err := Verify(dir)
			if err != nil || len(r.Damage) > 0 || r.Live != 14 || r.Ended != 3 {
				t.Fatalf("Verify = %+v, %v, want no damage, 14 sagas in progress and 3 ended", r, err)
			}
			if format == "format2" && r.Archive.Sagas != 1 {
				t.Errorf("Verify has found %d archived sagas, want 1", r.Archive.Sagas)
			}
			hold := make(chan struct{})
			e := upgraded(t, dir, hold)
			for _, part := range []string{"snapshot-", "log-"} {
				e.want(t, part+"ended", engine.Completed, "")
				e.want(t, part+"due", engine.Completed, `"awake"`)
				if i, err := e.Get(t.Context(), part+"waiting"); err != nil || i.CustomStatus != "ab" {
					t.Errorf("%swaiting is %+v (%v), want a custom status of ab from two of its three events", part, i, err)
				}
			}
			require.NoError(t, e.store.journal.Compact(e.store.snapshot))
			e.stop() // with what was in progress still in progress, in the new format

			close(hold)
			e = upgraded(t, dir, hold)
			e.want(t, "archived", engine.Completed, "")
			for _, part := range []string{"snapshot-", "log-"} {
				require.NoError(t, e.Raise(t.Context(), part+"waiting", "go", "c"))
				for _, payload := range []string{"a", "b", "c"} {
					require.NoError(t, e.Raise(t.Context(), part+"parent-child", "go", payload))
				}
				require.NoError(t, e.Raise(t.Context(), part+"again", "go", nil))
				e.want(t, part+"live", engine.Completed, `"held"`)
				e.want(t, part+"waiting", engine.Completed, `"abc"`)
				e.want(t, part+"parent", engine.Completed, `"abc"`)
				e.want(t, part+"again", engine.Completed, `"generation 2"`)
				if h, err := e.History(t.Context(), part+"later"); err != nil || !e.hasTimer(part+"later") {
					t.Errorf("%slater has no timer left (%v), want one in 50 years; its history is %+v", part, err, h)
				}
			}
			waitUntil(t, "all ended sagas to be archived", func() bool { e.archiveNow(t); return e.inMemory() == 2 })
			e.stop()

			r, err = Verify(dir)
			if err != nil || !r.Intact() || r.Live != 2 || r.Ended != 15 || r.Archive.Sagas != 15 {
				t.Errorf("Verify of the upgraded directory = %+v, %v, want it intact, with 2 sagas in progress and 15 archived", r, err)
			}
			if n := oldRecords(t, dir); n != 0 {
				t.Errorf("%d records of an old format are left after a compaction, want none", n)
			}
		})
	}
}

// upgraded runs an engine with the workflows of the data directories in testdata.
func upgraded(t *testing.T, dir string, hold chan struct{}) running {
	t.Helper()
	registry, err := upgradeRegistry(hold)
	require.NoError(t, err)
	return runEngine(t, registry, Options{Dir: dir, DrainTimeout: 1})
}

// hasTimer reports whether the saga has a timer that is scheduled.
func (r running) hasTimer(id string) bool {
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	return slices.ContainsFunc(r.store.timers, func(e *timerEntry) bool { return e.inst.id == id })
}

// oldRecords counts the records of formats 1 and 2 in a journal.
func oldRecords(t *testing.T, dir string) (n int) {
	t.Helper()
	held, err := journal.Hold(dir)
	require.NoError(t, err)
	_, err = held.Inspect(journal.Visitor{
		Record: func(b []byte, _ bool) error {
			if b[0] != 0 {
				n++
			}
			return nil
		},
		Damage: func(d journal.Damage, _ [][]byte) { t.Errorf("damage: %+v, want none", d) },
	})
	require.NoError(t, err, held.Release())
	return n
}
