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
)

// moveNow moves all that have ended.
func (r running) moveNow(t testing.TB) {
	t.Helper()
	if err := r.store.moveEnded(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
}

func (r running) inMemory() int {
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	return r.store.instances.Len()
}

// ids lists all, in pages of two.
func (r running) ids(t testing.TB) (all []string) {
	t.Helper()
	for cursor := ""; ; {
		ids, next, err := r.List(t.Context(), cursor, 2)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ids...)
		if cursor = next; next == "" {
			return all
		}
	}
}

// TestConformanceWhileSagasMove: nobody sees whether an ended saga is in memory
// or in the archive.
func TestConformanceWhileSagasMove(t *testing.T) {
	w := enginetest.NewWorld()
	e := run(t, w, Options{Dir: t.TempDir(), Terminated: w.Terminated})
	ctx, cancel := context.WithCancel(t.Context())
	var mover sync.WaitGroup
	mover.Go(func() {
		for ctx.Err() == nil {
			if err := e.store.moveEnded(ctx, time.Now().Add(time.Hour)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	defer mover.Wait()
	defer cancel()
	enginetest.Conformance(t, e, w, "m")
}

func TestEndedSagasMove(t *testing.T) {
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
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	before := make(map[string]string)
	for n := range 5 {
		id := fmt.Sprint("chain", n)
		h, err := e.History(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		before[id] = text(h)
	}
	was, all := e.wait(t, "chain3"), e.ids(t)
	e.moveNow(t)
	if n := e.inMemory(); n != 5 {
		t.Errorf("%d sagas are in memory, of which 5 live", n)
	}
	check := func(when string) {
		t.Helper()
		if now := e.wait(t, "chain3"); text(now) != text(was) {
			t.Errorf("%s: %+v, was %+v", when, now, was)
		}
		if ids := e.ids(t); !slices.Equal(ids, all) || len(ids) != 10 {
			t.Errorf("%s: listed are %v, want %v", when, ids, all)
		}
		for id, want := range before {
			if h, err := e.History(ctx, id); err != nil || text(h) != want {
				t.Errorf("%s: %s has the history %+v %v", when, id, h, err)
			}
		}
		if err := e.Raise(ctx, "chain1", "go", nil); !errors.Is(err, engine.ErrEnded) {
			t.Errorf("%s: event to an ended saga: %v", when, err)
		}
		if err := e.Raise(ctx, "chainX", "go", nil); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("%s: event to none: %v", when, err)
		}
		if st, err := e.Stats(ctx); err != nil || st.Live != 5 {
			t.Errorf("%s: %+v %v", when, st, err)
		}
	}
	check("moved")
	e.stop()
	e = run(t, w, Options{Dir: dir})
	if n := e.inMemory(); n != 5 {
		t.Errorf("%d sagas are in memory after the restart, of which 5 live", n)
	}
	check("restarted")

	if err := errors.Join(e.Purge(ctx, "chain0"), e.store.journal.Compact(e.store.snapshot)); err != nil {
		t.Fatal(err)
	}
	if err := e.Purge(ctx, "chain0"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("purged twice: %v", err)
	}
	if err := e.Purge(ctx, "listen0"); !errors.Is(err, engine.ErrNotCompleted) {
		t.Errorf("a live one is purged: %v", err)
	}
	if id, err := e.Rerun(ctx, "chain1", 1); err != nil {
		t.Error(err)
	} else {
		e.want(t, id, engine.Completed, "3")
	}
	e.stop()
	e = run(t, w, Options{Dir: dir})
	if _, err := e.Get(ctx, "chain0"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("what was purged is back: %v", err)
	}
}

// TestBegunAnew: a saga that is started under the id of an archived one takes
// its place, whatever happens to it.
func TestBegunAnew(t *testing.T) {
	dir, w := t.TempDir(), enginetest.NewWorld()
	e := run(t, w, Options{Dir: dir})
	ctx := t.Context()
	e.start(t, "Chain", "a", nil)
	e.wait(t, "a")
	e.moveNow(t)
	watching := make(chan error, 1)
	e.start(t, "Listen", "a", nil)
	go func() { _, err := e.Wait(ctx, "a"); watching <- err }()
	if i, err := e.Get(ctx, "a"); err != nil || i.Status.Ended() {
		t.Errorf("%+v %v", i, err)
	}
	if ids := e.ids(t); !slices.Equal(ids, []string{"a"}) {
		t.Error(ids)
	}
	// The old one's retention is over; the new one is not touched.
	if n, err := e.store.expire(ctx, time.Now().Add(time.Hour)); err != nil || n != 1 {
		t.Errorf("%d %v", n, err)
	}
	if err := e.Raise(ctx, "a", "go", "x"); err != nil {
		t.Fatal(err)
	}
	if err := <-watching; err != nil {
		t.Fatal(err)
	}
	e.want(t, "a", engine.Completed, `"x"`)
	e.moveNow(t)
	e.want(t, "a", engine.Completed, `"x"`)

	// Begun anew again, ended and purged: the one in the archive does not show.
	e.start(t, "Chain", "a", nil)
	e.want(t, "a", engine.Completed, "3")
	if err := e.Purge(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	e.stop()
	e = run(t, w, Options{Dir: dir})
	if i, err := e.Get(ctx, "a"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("%+v %v", i, err)
	}
}

// TestDeathBetweenArchiveAndJournal: a saga that is in both is one.
func TestDeathBetweenArchiveAndJournal(t *testing.T) {
	dir, w := t.TempDir(), enginetest.NewWorld()
	e := run(t, w, Options{Dir: dir})
	for n := range 3 {
		e.start(t, "Chain", fmt.Sprint("c", n), nil)
		e.wait(t, fmt.Sprint("c", n))
	}
	e.store.mu.Lock()
	var batch []ended
	for _, i := range e.store.over {
		batch = append(batch, ended{i.id, i.overAt, i.packed})
	}
	e.store.mu.Unlock()
	if err := e.store.archive.put(batch); err != nil {
		t.Fatal(err)
	}
	e.stop() // the journal has not forgotten them
	e = run(t, w, Options{Dir: dir})
	if ids := e.ids(t); len(ids) != 3 {
		t.Error(ids)
	}
	e.moveNow(t)
	if ids := e.ids(t); len(ids) != 3 || e.inMemory() != 0 {
		t.Errorf("%v, %d in memory", ids, e.inMemory())
	}
	if err := e.Purge(t.Context(), "c1"); err != nil {
		t.Fatal(err)
	}
	if ids := e.ids(t); !slices.Equal(ids, []string{"c0", "c2"}) {
		t.Error(ids)
	}
}

func TestArchiveRetention(t *testing.T) {
	a, err := openArchive(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.close() })
	var all []ended
	for n := range 50 {
		all = append(all, ended{fmt.Sprintf("s%02d", n), int64(1000 + n), []byte("state")})
	}
	if err := errors.Join(a.put(all), a.put([]ended{{"s00", 2000, []byte("later")}})); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{10, 10, 4, 0} { // 1 to 24; the first has ended anew since
		if n, err := a.expire(time.Unix(1025, 0), 10); err != nil || n != want {
			t.Fatalf("%d %v, want %d", n, err, want)
		}
	}
	ids, err := a.after("", 100)
	if err != nil || len(ids) != 26 || ids[0] != "s00" || ids[1] != "s25" {
		t.Errorf("%v %v", ids, err)
	}
	if state, ok, err := a.get("s00"); err != nil || !ok || string(state) != "later" {
		t.Errorf("%s %v %v", state, ok, err)
	}
	if ids, err := a.after("s47", 100); err != nil || !slices.Equal(ids, []string{"s48", "s49"}) {
		t.Errorf("%v %v", ids, err)
	}
}

// TestDamagedArchive: damage is an error that names the file and the way out,
// and never a saga that differs; repair saves what can be read.
func TestDamagedArchive(t *testing.T) {
	src := filepath.Join(t.TempDir(), "engine")
	w := enginetest.NewWorld()
	e := run(t, w, Options{Dir: src})
	for n := range 40 {
		e.start(t, "Chain", fmt.Sprint("c", n), nil)
		e.wait(t, fmt.Sprint("c", n))
	}
	e.moveNow(t)
	e.start(t, "Listen", "live", nil)
	e.stop()
	if r, err := Verify(src); err != nil || !r.Intact() || r.Ended != 40 || r.Archive.Sagas != 40 || r.Live != 1 {
		t.Fatalf("%+v %v", r, err)
	}
	whole, err := os.ReadFile(filepath.Join(src, archiveName))
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	// every is where the file has saga c7: pages that it was in before, too.
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
		"empty of sense":  func([]byte) []byte { return []byte("this is no archive") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, src)
			if err := os.WriteFile(filepath.Join(dir, archiveName), change(slices.Clone(whole)), 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := Verify(dir)
			if err != nil || r.Intact() || !strings.Contains(r.Archive.Damage, archiveName) {
				t.Fatalf("%+v %v", r, err)
			}
			if e, err := Open(Options{Dir: dir}); err == nil {
				_ = e.Close()
			} else if !strings.Contains(err.Error(), "engine repair --data-dir") || !strings.Contains(err.Error(), archiveName) {
				t.Errorf("the way out is not said: %v", err)
			}
			r, err = Repair(dir)
			if err != nil || r.Backup == "" {
				t.Fatalf("%+v %v", r, err)
			}
			after, err := Verify(dir)
			if err != nil || !after.Intact() || after.Ended != r.Ended || after.Live != 1 {
				t.Fatalf("%+v %v", after, err)
			}
			t.Logf("%d of 40 saved", after.Ended)
			e := run(t, w, Options{Dir: dir})
			for n := range 40 {
				i, err := e.Get(t.Context(), fmt.Sprint("c", n))
				if err != nil && !errors.Is(err, engine.ErrNotFound) || err == nil && string(i.Output) != "3" {
					t.Errorf("c%d: %+v %v", n, i, err)
				}
			}
			if err := e.Raise(t.Context(), "live", "go", "x"); err != nil {
				t.Error(err)
			}
			e.want(t, "live", engine.Completed, `"x"`)
			e.stop()
		})
	}
}
