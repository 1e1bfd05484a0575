package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
	"github.com/ordersaga/ordersaga/internal/journal"
)

// lived leaves the state of an engine that has done a bit of everything: a
// snapshot and a log after it, with sagas begun in the one and ended in the
// other.
func lived(t *testing.T, dir string) {
	t.Helper()
	e := run(t, enginetest.NewWorld(), Options{Dir: dir})
	both := func(half string) {
		for n := range 6 {
			for _, workflow := range []string{"Chain", "Again", "Listen", "Child"} {
				e.start(t, workflow, fmt.Sprint(workflow, half, n), 2)
			}
		}
		for n := range 6 {
			for _, workflow := range []string{"Chain", "Again", "Child"} {
				e.wait(t, fmt.Sprint(workflow, half, n))
			}
		}
	}
	both("old")
	if err := e.store.journal.Compact(e.store.snapshot); err != nil {
		t.Fatal(err)
	}
	both("new")
	for n := range 3 {
		id := fmt.Sprint("Listenold", n)
		if err := errors.Join(e.Raise(t.Context(), id, "go", "x"), e.Purge(t.Context(), fmt.Sprint("Chainold", n))); err != nil {
			t.Fatal(err)
		}
		e.wait(t, id)
	}
	e.stop()
}

func copyDir(t testing.TB, from string) (to string) {
	t.Helper()
	to = filepath.Join(t.TempDir(), "engine")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// states are all histories, in a form to compare.
func states(t testing.TB, dir string) map[string]string {
	t.Helper()
	e, err := Open(Options{Dir: dir, Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	ids, _, err := e.List(t.Context(), "", 1000)
	for _, id := range ids {
		h, err := e.History(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		all[id] = string(text)
	}
	if err := errors.Join(err, e.Close()); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestRepair damages state at random. Damage is seen; what is repaired opens;
// each saga is as it was, or in a state that it was in before, and the report
// tells which; and all go on.
func TestRepair(t *testing.T) {
	src := filepath.Join(t.TempDir(), "engine")
	lived(t, src)
	whole := states(t, src)
	logs, err := filepath.Glob(filepath.Join(src, "*-*"))
	if err != nil || len(logs) != 2 {
		t.Fatal(logs, err)
	}
	if r, err := Verify(src); err != nil || len(r.Damage) > 0 || r.Live != 9 || r.Live+r.Ended != len(whole) {
		t.Fatalf("undamaged: %+v, %v", r, err)
	}
	rounds := 300
	if testing.Short() {
		rounds = 60
	}
	torn, unnamed := 0, 0
	for seed := range rounds {
		rng := rand.New(rand.NewPCG(uint64(seed), 4))
		dir := copyDir(t, src)
		name := filepath.Join(dir, filepath.Base(logs[rng.IntN(2)]))
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		at, cut := rng.IntN(len(b)), rng.IntN(4) == 0
		if b[at] ^= byte(1 + rng.IntN(255)); cut {
			b = b[:at]
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		what := fmt.Sprintf("seed %d: %s byte %d, cut %v", seed, filepath.Base(name), at, cut)
		found, err := Verify(dir)
		if err != nil || len(found.Damage) == 0 && !cut {
			t.Fatalf("%s: not seen: %v", what, err)
		}
		if e, err := Open(Options{Dir: dir, Logger: zerolog.Nop()}); (err == nil) != found.Intact() {
			t.Fatalf("%s: start says %v, verify %+v", what, err, found.Damage)
		} else if err == nil {
			if torn++; e.Close() != nil {
				t.Error("close")
			}
			continue // the start has cut it off
		} else if !strings.Contains(err.Error(), "ordersaga engine repair --data-dir "+filepath.Dir(dir)) {
			t.Fatalf("%s: start says %v", what, err)
		}
		r, err := Repair(dir)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if kept, err := os.ReadFile(filepath.Join(r.Backup, filepath.Base(name))); err != nil || !slices.Equal(kept, b) {
			t.Errorf("%s: no copy is in %s: %v", what, r.Backup, err)
		}
		if r, err := Verify(dir); err != nil || len(r.Damage) > 0 {
			t.Errorf("%s: after repair %+v, %v", what, r, err)
		}
		changed := 0
		saved := states(t, dir)
		for id, h := range whole {
			switch got, ok := saved[id]; {
			case got == h:
				continue
			case ok && !strings.HasPrefix(h, strings.TrimSuffix(got, "]")) && !strings.HasPrefix(id, "Again"): // those begin anew
				t.Errorf("%s: %s was never in the state that it is in\n%s\n%s", what, id, got, h)
			case !cut && !slices.Contains(slices.Concat(r.Behind, r.Gone, r.Named), id):
				unnamed++
			}
			changed++
		}
		// A record is of one saga, or of a parent and its child.
		if !cut && changed > 2 {
			t.Errorf("%s: %d sagas changed", what, changed)
		}
		if changed > 0 && r.LostBytes+int64(r.LostRecords) == 0 && !cut {
			t.Errorf("%s: %d sagas changed, nothing lost", what, changed)
		}
		if seed%10 == 0 {
			finish(t, dir, slices.Collect(maps.Keys(saved)))
		}
	}
	t.Logf("%d torn, %d sagas behind a flipped byte could not be named", torn, unnamed)
	if torn > rounds/3 || unnamed > rounds/5 {
		t.Errorf("too much is not told: %d torn, %d unnamed", torn, unnamed)
	}
}

// finish lets all sagas end.
func finish(t *testing.T, dir string, ids []string) {
	t.Helper()
	e := run(t, enginetest.NewWorld(), Options{Dir: dir})
	for _, id := range ids {
		if err := e.Raise(t.Context(), id, "go", "x"); err != nil && !errors.Is(err, engine.ErrEnded) {
			t.Error(err)
		}
	}
	for _, id := range ids {
		if strings.HasSuffix(id, "-child") {
			continue // its end is its parent's, or nobody's
		}
		if i := e.wait(t, id); i.Status != engine.Completed {
			t.Errorf("%s is %s: %s", id, i.Status, i.Failure)
		}
	}
	e.stop()
}

func TestVerifyAndRepairLeaveARunningEngineAlone(t *testing.T) {
	dir := t.TempDir()
	run(t, enginetest.NewWorld(), Options{Dir: dir})
	_, verified := Verify(dir)
	_, repaired := Repair(dir)
	for _, err := range []error{verified, repaired} {
		var locked *journal.LockedError
		if !errors.As(err, &locked) || !strings.Contains(err.Error(), fmt.Sprint("pid ", os.Getpid())) {
			t.Error(err)
		}
	}
}

func TestRepairCutsATornEnd(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "engine")
	lived(t, dir)
	whole := states(t, dir)
	logs, err := filepath.Glob(filepath.Join(dir, "log-*"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(logs[0], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("osjC and no more"); errors.Join(err, f.Close()) != nil {
		t.Fatal(err)
	}
	r, err := Verify(dir)
	if err != nil || !r.Intact() || len(r.Damage) != 1 || r.Damage[0].Length != 16 {
		t.Errorf("verify: %+v, %v", r, err)
	}
	if r, err = Repair(dir); err != nil || r.Backup == "" {
		t.Errorf("repair: %+v, %v", r, err)
	}
	if r, err = Repair(dir); err != nil || r.Backup != "" || len(r.Damage) != 0 {
		t.Errorf("repair of what is whole: %+v, %v", r, err)
	}
	if !maps.Equal(states(t, dir), whole) {
		t.Error("state changed")
	}
}

// TestOnlyLogIsLost: what is left of the log, and that something is missing,
// must not look like an engine that begins.
func TestOnlyLogIsLost(t *testing.T) {
	src := filepath.Join(t.TempDir(), "engine")
	e := run(t, enginetest.NewWorld(), Options{Dir: src})
	e.start(t, "Chain", "ended", nil)
	e.wait(t, "ended")
	e.moveNow(t)
	e.start(t, "Listen", "live", nil)
	e.stop()
	for what, lose := range map[string]func(name string) error{
		"deleted": os.Remove,
		"emptied": func(name string) error { return os.Truncate(name, 0) },
	} {
		dir := copyDir(t, src)
		if err := lose(filepath.Join(dir, "log-0000000000000001")); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(Options{Dir: dir, Logger: zerolog.Nop()}); err == nil || !strings.Contains(err.Error(), "log-0000000000000001") || !strings.Contains(err.Error(), "ordersaga engine repair --data-dir "+filepath.Dir(dir)) {
			t.Errorf("%s: start says %v", what, err)
		}
		if r, err := Verify(dir); err != nil || r.Intact() || r.Live != 0 || r.Ended != 1 {
			t.Errorf("%s: %+v, %v", what, r, err)
		}
		if _, err := Repair(dir); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if left := states(t, dir); len(left) != 1 || left["ended"] == "" {
			t.Errorf("%s: left are %v", what, left)
		}
	}
}
