package embedded

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// archiveNow archives all ended sagas.
func (r running) archiveNow(t testing.TB) {
	t.Helper()
	require.NoError(t, r.store.archiveEnded(t.Context(), time.Now().Add(time.Hour)))
}

func (r running) inMemory() int {
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	return r.store.instances.Len()
}

// ids lists all ids, in pages of two.
func (r running) ids(t testing.TB) (all []string) {
	t.Helper()
	for cursor := ""; ; {
		ids, next, err := r.List(t.Context(), cursor, 2)
		require.NoError(t, err)
		all = append(all, ids...)
		if next == "" {
			return all
		}
		cursor = next
	}
}

// TestConformanceWhileArchiving: clients cannot observe whether an ended saga is
// in memory or in the archive.
func TestConformanceWhileArchiving(t *testing.T) {
	w := enginetest.NewWorld()
	e := run(t, w, Options{Dir: t.TempDir(), Terminated: w.Terminated})
	ctx, cancel := context.WithCancel(t.Context())
	var mover sync.WaitGroup
	mover.Go(func() {
		for ctx.Err() == nil {
			if err := e.store.archiveEnded(ctx, time.Now().Add(time.Hour)); err != nil && ctx.Err() == nil {
				t.Errorf("archive ended sagas: %v, want nil", err)
				return
			}
		}
	})
	defer mover.Wait()
	defer cancel()
	enginetest.Conformance(t, e, w, "m", enginetest.Deviations{})
}

func TestArchivedSagasBehaveAsBefore(t *testing.T) {
	dir, w := t.TempDir(), enginetest.NewWorld()
	e := run(t, w, Options{Dir: dir})
	ctx := t.Context()
	for n := range 5 {
		e.start(t, "Chain", fmt.Sprint("chain", n), nil)
		e.wait(t, fmt.Sprint("chain", n))
		e.start(t, "Listen", fmt.Sprint("listen", n), nil)
	}
	text := func(v any) string {
		b, err := json.Marshal(v)
		require.NoError(t, err)
		return string(b)
	}
	before := make(map[string]string)
	for n := range 5 {
		id := fmt.Sprint("chain", n)
		h, err := e.History(ctx, id)
		require.NoError(t, err)
		before[id] = text(h)
	}
	was, all := e.wait(t, "chain3"), e.ids(t)
	e.archiveNow(t)
	if n := e.inMemory(); n != 5 {
		t.Errorf("%d sagas are in memory, want the 5 running ones", n)
	}
	check := func(when string) {
		t.Helper()
		if now := e.wait(t, "chain3"); text(now) != text(was) {
			t.Errorf("%s: chain3 is %+v, want %+v as before", when, now, was)
		}
		if ids := e.ids(t); !slices.Equal(ids, all) || len(ids) != 10 {
			t.Errorf("%s: List = %v, want %v", when, ids, all)
		}
		for id, want := range before {
			if h, err := e.History(ctx, id); err != nil || text(h) != want {
				t.Errorf("%s: history of %s = %+v (%v), want %s", when, id, h, err, want)
			}
		}
		if err := e.Raise(ctx, "chain1", "go", nil); !errors.Is(err, engine.ErrEnded) {
			t.Errorf("%s: Raise to an ended saga = %v, want ErrEnded", when, err)
		}
		if err := e.Raise(ctx, "chainX", "go", nil); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("%s: Raise to an unknown id = %v, want ErrNotFound", when, err)
		}
		if st, err := e.Stats(ctx); err != nil || st.Live != 5 {
			t.Errorf("%s: Stats = %+v, %v, want 5 live", when, st, err)
		}
	}
	check("archived")
	e.stop()
	e = run(t, w, Options{Dir: dir})
	if n := e.inMemory(); n != 5 {
		t.Errorf("%d sagas are in memory after the restart, want the 5 running ones", n)
	}
	check("after a restart")

	require.NoError(t, errors.Join(e.Purge(ctx, "chain0"), e.store.journal.Compact(e.store.snapshot)))
	if err := e.Purge(ctx, "chain0"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("second Purge = %v, want ErrNotFound", err)
	}
	if err := e.Purge(ctx, "listen0"); !errors.Is(err, engine.ErrNotCompleted) {
		t.Errorf("Purge of a running saga = %v, want ErrNotCompleted", err)
	}
	id, err := e.Rerun(ctx, "chain1", 1)
	require.NoError(t, err)
	e.want(t, id, engine.Completed, "3")
	e.stop()
	e = run(t, w, Options{Dir: dir})
	if _, err := e.Get(ctx, "chain0"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("after a restart, Get of the purged saga = %v, want ErrNotFound", err)
	}
}

// TestStartWithAnArchivedID: a saga that is started with the id of an archived one
// replaces it permanently.
func TestStartWithAnArchivedID(t *testing.T) {
	dir, w := t.TempDir(), enginetest.NewWorld()
	e := run(t, w, Options{Dir: dir})
	ctx := t.Context()
	e.start(t, "Chain", "a", nil)
	e.wait(t, "a")
	e.archiveNow(t)
	watching := make(chan error, 1)
	e.start(t, "Listen", "a", nil)
	go func() { _, err := e.Wait(ctx, "a"); watching <- err }()
	if i, err := e.Get(ctx, "a"); err != nil || i.Status.Ended() {
		t.Errorf("Get of the new saga = %+v, %v, want one that has not ended", i, err)
	}
	if ids := e.ids(t); !slices.Equal(ids, []string{"a"}) {
		t.Errorf("List = %v, want a once", ids)
	}
	// The retention of the old saga ends; the new one is not affected.
	if n, err := e.store.purgeExpired(ctx, time.Now().Add(time.Hour)); err != nil || n != 1 {
		t.Errorf("purged %d (%v), want 1", n, err)
	}
	require.NoError(t, e.Raise(ctx, "a", "go", "x"))
	require.NoError(t, <-watching)
	e.want(t, "a", engine.Completed, `"x"`)
	e.archiveNow(t)
	e.want(t, "a", engine.Completed, `"x"`)

	// Started again, ended and purged: the one in the archive is not visible.
	e.start(t, "Chain", "a", nil)
	e.want(t, "a", engine.Completed, "3")
	require.NoError(t, e.Purge(ctx, "a"))
	e.stop()
	e = run(t, w, Options{Dir: dir})
	if i, err := e.Get(ctx, "a"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("Get of the purged saga = %+v, %v, want ErrNotFound", i, err)
	}
}

// TestCrashBetweenArchiveAndJournal: a saga that is in both is one saga.
func TestCrashBetweenArchiveAndJournal(t *testing.T) {
	dir, w := t.TempDir(), enginetest.NewWorld()
	e := run(t, w, Options{Dir: dir})
	for n := range 3 {
		e.start(t, "Chain", fmt.Sprint("c", n), nil)
		e.wait(t, fmt.Sprint("c", n))
	}
	e.store.mu.Lock()
	var batch []archivedSaga
	for _, i := range e.store.endedInMemory {
		batch = append(batch, archivedSaga{id: i.id, at: i.endedAt, state: i.compacted})
	}
	e.store.mu.Unlock()
	require.NoError(t, e.store.archive.put(batch))
	e.stop() // the journal still has them
	e = run(t, w, Options{Dir: dir})
	if ids := e.ids(t); len(ids) != 3 {
		t.Errorf("List = %v, want 3 ids", ids)
	}
	e.archiveNow(t)
	if ids := e.ids(t); len(ids) != 3 || e.inMemory() != 0 {
		t.Errorf("List = %v with %d sagas in memory, want 3 ids and none", ids, e.inMemory())
	}
	require.NoError(t, e.Purge(t.Context(), "c1"))
	if ids := e.ids(t); !slices.Equal(ids, []string{"c0", "c2"}) {
		t.Errorf("List after the purge of c1 = %v, want c0 and c2", ids)
	}
}

func TestArchivePurgesExpiredSagas(t *testing.T) {
	t.Parallel()
	a, err := openArchive(t.TempDir(), false, journal.Disk{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.close() })
	var all []archivedSaga
	for n := range 50 {
		all = append(all, archivedSaga{id: fmt.Sprintf("s%02d", n), at: int64(1000 + n), state: []byte("state")})
	}
	require.NoError(t, errors.Join(a.put(all), a.put([]archivedSaga{{id: "s00", at: 2000, state: []byte("later")}})))
	for _, want := range []int{10, 10, 4, 0} { // sagas 1 to 24; saga 0 was replaced by a later one
		if n, err := a.purgeExpired(time.Unix(1025, 0), 10); err != nil || n != want {
			t.Fatalf("purgeExpired = %d, %v, want %d", n, err, want)
		}
	}
	ids, err := a.idsAfter("", 100)
	if err != nil || len(ids) != 26 || ids[0] != "s00" || ids[1] != "s25" {
		t.Errorf("idsAfter = %v, %v, want s00 and s25 to s49", ids, err)
	}
	if state, ok, err := a.get("s00"); err != nil || !ok || string(state) != "later" {
		t.Errorf("get s00 = %s, %v, %v, want the later state", state, ok, err)
	}
	if ids, err := a.idsAfter("s47", 100); err != nil || !slices.Equal(ids, []string{"s48", "s49"}) {
		t.Errorf("idsAfter s47 = %v, %v, want s48 and s49", ids, err)
	}
}

// TestDamagedArchiveIsReportedAndRepaired: damage is reported as an error that names the file and the
// command that helps. It never changes a saga. Repair saves what can be read.
func TestDamagedArchiveIsReportedAndRepaired(t *testing.T) {
	src := filepath.Join(t.TempDir(), "engine")
	w := enginetest.NewWorld()
	e := run(t, w, Options{Dir: src})
	for n := range 40 {
		e.start(t, "Chain", fmt.Sprint("c", n), nil)
		e.wait(t, fmt.Sprint("c", n))
	}
	e.archiveNow(t)
	e.start(t, "Listen", "live", nil)
	e.stop()
	if r, err := Verify(src); err != nil || !r.Intact() || r.Ended != 40 || r.Archive.Sagas != 40 || r.Live != 1 {
		t.Fatalf("Verify of the undamaged state = %+v, %v, want 40 ended sagas and 1 live", r, err)
	}
	whole, err := os.ReadFile(filepath.Join(src, archiveName))
	require.NoError(t, err)
	page := os.Getpagesize()
	// every calls change wherever the file has saga c7, including unused pages.
	every := func(b []byte, change func(at int)) []byte {
		for at := range b {
			if bytes.HasPrefix(b[at:], []byte("c7")) {
				change(at)
			}
		}
		return b
	}
	for name, change := range map[string]func([]byte) []byte{
		"a byte of a state": func(b []byte) []byte { return every(b, func(at int) { b[at+60] ^= 1 }) },
		"a page of zeros": func(b []byte) []byte {
			return every(b, func(at int) { at -= at % page; clear(b[at : at+page]) })
		},
		"both meta pages": func(b []byte) []byte { clear(b[:2*page]); return b },
		"cut short":       func(b []byte) []byte { return b[:6*page] },
		"not an archive":  func([]byte) []byte { return []byte("this is not an archive") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, src)
			require.NoError(t, os.WriteFile(filepath.Join(dir, archiveName), change(slices.Clone(whole)), 0o600))
			r, err := Verify(dir)
			if err != nil || r.Intact() || !strings.Contains(r.Archive.Damage, archiveName) {
				t.Fatalf("Verify = %+v, %v, want damage of %s", r, err, archiveName)
			}
			if e, err := Open(Options{Dir: dir}); err == nil {
				_ = e.Close()
			} else if !strings.Contains(err.Error(), "engine repair --data-dir") || !strings.Contains(err.Error(), archiveName) {
				t.Errorf("Open = %v, want an error that names the file and the repair command", err)
			}
			r, err = Repair(dir)
			if err != nil || r.Backup == "" {
				t.Fatalf("Repair = %+v, %v, want a backup", r, err)
			}
			after, err := Verify(dir)
			if err != nil || !after.Intact() || after.Ended != r.Ended || after.Live != 1 {
				t.Fatalf("Verify after Repair = %+v, %v, want intact with %d ended sagas and 1 live", after, err, r.Ended)
			}
			t.Logf("%d of 40 saved", after.Ended)
			e := run(t, w, Options{Dir: dir})
			for n := range 40 {
				i, err := e.Get(t.Context(), fmt.Sprint("c", n))
				if err != nil && !errors.Is(err, engine.ErrNotFound) || err == nil && string(i.Output) != "3" {
					t.Errorf("c%d after Repair is %+v (%v), want it unchanged or lost", n, i, err)
				}
			}
			require.NoError(t, e.Raise(t.Context(), "live", "go", "x"))
			e.want(t, "live", engine.Completed, `"x"`)
			e.stop()
		})
	}
}
