package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// written is a journal with a snapshot, a log behind it and one more.
func written(t *testing.T, dir string) {
	t.Helper()
	r := mustOpen(t, dir, Options{})
	for i := range 20 {
		r.set(t, fmt.Sprint("old", i), strings.Repeat("x", i))
	}
	r.compact(t)
	for i := range 20 {
		r.set(t, fmt.Sprint("new", i), strings.Repeat("y", i))
	}
	// A compaction that fails leaves both logs.
	if err := r.j.Compact(func(func([]byte) error) error { return os.ErrInvalid }); err == nil {
		t.Fatal("compacted")
	}
	for i := range 5 {
		r.set(t, fmt.Sprint("last", i), "z")
	}
	r.close(t)
}

func copyDir(t testing.TB, from string) (to string) {
	t.Helper()
	to = t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

type found struct {
	records []string
	damage  []Damage
}

func inspect(t *testing.T, dir string) found {
	t.Helper()
	h, err := Hold(dir)
	if err != nil {
		t.Fatal(err)
	}
	var f found
	_, err = h.Inspect(Visitor{
		Record: func(r []byte, _ bool) error { f.records = append(f.records, string(r)); return nil },
		Damage: func(d Damage, _ [][]byte) { f.damage = append(f.damage, d) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Release(); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestEveryDamageIsSeen flips bytes everywhere in a journal, and cuts its
// files everywhere. All is seen, but a log that ends where a batch did; a start does
// not pass over more than Inspect calls torn; and at most one record is lost.
func TestEveryDamageIsSeen(t *testing.T) {
	src := t.TempDir()
	written(t, src)
	whole := inspect(t, src)
	if len(whole.damage) > 0 || len(whole.records) != 45 {
		t.Fatalf("undamaged: %d records, %v", len(whole.records), whole.damage)
	}
	files, err := listFiles(src)
	if err != nil || len(files) != 3 {
		t.Fatal(files, err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for n, f := range files {
		content, err := os.ReadFile(filepath.Join(src, f.name))
		if err != nil {
			t.Fatal(err)
		}
		last := n == len(files)-1
		for at := rng.IntN(3); at < len(content); at += 1 + rng.IntN(3) {
			for _, cut := range []bool{false, true} {
				what := fmt.Sprintf("%s byte %d of %d, cut %v", f.name, at, len(content), cut)
				dir, damaged := copyDir(t, src), slices.Clone(content)
				damaged[at] ^= byte(1 + rng.IntN(255))
				if cut {
					damaged = damaged[:at]
				}
				if err := os.WriteFile(filepath.Join(dir, f.name), damaged, 0o600); err != nil {
					t.Fatal(err)
				}
				got := inspect(t, dir)
				boundary := cut && last && len(got.records) < len(whole.records)
				if len(got.damage) == 0 && !boundary {
					t.Fatalf("%s: not seen", what)
				}
				torn := !slices.ContainsFunc(got.damage, func(d Damage) bool { return !d.Torn })
				r, err := openRegister(t, dir, Options{Logger: zerolog.Nop()})
				if (err == nil) != torn {
					t.Fatalf("%s: found %v, start says %v", what, got.damage, err)
				}
				if err == nil {
					r.close(t)
				}
				if lost := len(whole.records) - len(got.records); !cut && lost > 1 {
					t.Fatalf("%s: %d records lost", what, lost)
				}
			}
		}
	}
}

// TestMissingFileIsSeen takes files away and empties them, also the only one.
func TestMissingFileIsSeen(t *testing.T) {
	several, only := t.TempDir(), t.TempDir()
	written(t, several)
	r := mustOpen(t, only, Options{})
	r.set(t, "a", "1")
	r.close(t)
	for _, src := range []string{several, only} {
		files, err := listFiles(src)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			for what, damage := range map[string]func(name string) error{
				"missing": os.Remove,
				"emptied": func(name string) error { return os.Truncate(name, 0) },
				"cut":     func(name string) error { return os.Truncate(name, opening-1) },
			} {
				dir := copyDir(t, src)
				if err := damage(filepath.Join(dir, f.name)); err != nil {
					t.Fatal(err)
				}
				if got := inspect(t, dir); !slices.ContainsFunc(got.damage, func(d Damage) bool { return !d.Torn }) {
					t.Errorf("%s is %s: not seen", f.name, what)
				}
				if r, err := openRegister(t, dir, Options{}); err == nil {
					r.close(t)
					t.Errorf("%s is %s: opened", f.name, what)
				}
				replaced(t, dir)
			}
		}
	}
}

// replaced puts what is left in the place of a journal, which opens then.
func replaced(t *testing.T, dir string) {
	t.Helper()
	left := inspect(t, dir).records
	h, err := Hold(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = h.Replace(func(emit func([]byte) error) error {
		for _, r := range left {
			if err := emit([]byte(r)); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, h.Release()); err != nil {
		t.Fatal(err)
	}
	r := mustOpen(t, dir, Options{})
	r.set(t, "on", "and on")
	r.close(t)
	if got := inspect(t, dir); len(got.damage) > 0 || len(got.records) != len(left)+1 {
		t.Errorf("%d records of %d, %v", len(got.records), len(left)+1, got.damage)
	}
}

// TestBackupThatFailsLeavesNothing: where there is no room, part of a copy
// would only take more of it.
func TestBackupThatFailsLeavesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	r := mustOpen(t, dir, Options{})
	r.set(t, "a", "1")
	r.close(t)
	if err := os.Mkdir(logName(dir, 2), 0o700); err != nil { // can't be copied
		t.Fatal(err)
	}
	h, err := Hold(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = h.Backup(); err == nil || !strings.Contains(err.Error(), "bytes, to "+dir+".damaged-") {
		t.Errorf("backup: %v", err)
	}
	if left, err := filepath.Glob(dir + ".damaged-*"); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
	if err := h.Release(); err != nil {
		t.Error(err)
	}
}

// TestMark: a death before the mark is written, or one that is unreadable,
// loses nothing.
func TestMark(t *testing.T) {
	src := t.TempDir()
	written(t, src)
	for what, change := range map[string]func(dir string) error{
		"none":   func(dir string) error { return os.Remove(filepath.Join(dir, markName)) },
		"an old": func(dir string) error { return writeMark(Disk{}, dir, 1) },
	} {
		dir := copyDir(t, src)
		if err := change(dir); err != nil {
			t.Fatal(err)
		}
		mustOpen(t, dir, Options{}).close(t)
		if n, err := readMark(dir); n != 3 || err != nil {
			t.Errorf("%s mark: %d now, %v", what, n, err)
		}
	}
	dir := copyDir(t, src)
	if err := os.WriteFile(filepath.Join(dir, markName), []byte("log-"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := inspect(t, dir); len(got.damage) != 1 || len(got.records) != 45 {
		t.Errorf("%d records, %v", len(got.records), got.damage)
	}
	if _, err := openRegister(t, dir, Options{}); err == nil || !strings.Contains(err.Error(), "names no log") {
		t.Errorf("garbled: %v", err)
	}
	replaced(t, dir)
}

// TestVersion1 reads, goes on behind, and compacts what the former format has.
func TestVersion1(t *testing.T) {
	for _, torn := range []string{"", "torn"} {
		dir := t.TempDir()
		const log = "osjourn\x01" +
			"osjB\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xa9\xb4\xcc\x27\x03a=1" +
			"osjB\x04\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x1e\x53\xc3\xef\x03b=2"
		if err := os.WriteFile(logName(dir, 1), []byte(log+torn), 0o600); err != nil {
			t.Fatal(err)
		}
		r := mustOpen(t, dir, Options{Logger: zerolog.Nop()})
		r.set(t, "c", "3")
		r.close(t)
		r = mustOpen(t, dir, Options{Logger: zerolog.Nop()})
		if r.m["a"] != "1" || r.m["b"] != "2" || r.m["c"] != "3" {
			t.Errorf("read %v", r.m)
		}
		r.compact(t)
		r.close(t)
		if got := inspect(t, dir); len(got.records) != 3 || len(got.damage) != 0 {
			t.Errorf("compacted: %+v", got)
		}
	}
}
