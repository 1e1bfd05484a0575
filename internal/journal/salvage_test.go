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

	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// writeJournal writes a journal of one snapshot and two logs.
func writeJournal(t *testing.T, dir string) {
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
		t.Fatal("a compaction with a failing snapshot succeeded, want an error")
	}
	for i := range 5 {
		r.set(t, fmt.Sprint("last", i), "z")
	}
	r.close(t)
}

func copyDir(t testing.TB, from string) (to string) {
	t.Helper()
	to = t.TempDir()
	require.NoError(t, os.CopyFS(to, os.DirFS(from)))
	return to
}

type found struct {
	records []string
	damage  []Damage
}

func inspect(t *testing.T, dir string) found {
	t.Helper()
	h, err := Hold(dir)
	require.NoError(t, err)
	var f found
	_, err = h.Inspect(Visitor{
		Record: func(r []byte, _ bool) error { f.records = append(f.records, string(r)); return nil },
		Damage: func(d Damage, _ [][]byte) { f.damage = append(f.damage, d) },
	})
	require.NoError(t, err)
	require.NoError(t, h.Release())
	return f
}

// TestEveryDamageIsDetected flips bytes everywhere in a journal, and cuts its
// files everywhere. All damage is detected, except for a log that ends where a
// batch did. Open accepts exactly what Inspect calls torn. A flipped byte costs
// at most one record.
func TestEveryDamageIsDetected(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	writeJournal(t, src)
	whole := inspect(t, src)
	if len(whole.damage) > 0 || len(whole.records) != 45 {
		t.Fatalf("undamaged: %d records and damage %v, want 45 records and none", len(whole.records), whole.damage)
	}
	files, err := listFiles(src)
	if err != nil || len(files) != 3 {
		t.Fatalf("listFiles = %v, %v, want 3 files", files, err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for n, f := range files {
		content, err := os.ReadFile(filepath.Join(src, f.name))
		require.NoError(t, err)
		last := n == len(files)-1
		for at := rng.IntN(3); at < len(content); at += 1 + rng.IntN(3) {
			for _, cut := range []bool{false, true} {
				what := fmt.Sprintf("%s byte %d of %d, cut %v", f.name, at, len(content), cut)
				dir, damaged := copyDir(t, src), slices.Clone(content)
				damaged[at] ^= byte(1 + rng.IntN(255))
				if cut {
					damaged = damaged[:at]
				}
				require.NoError(t, os.WriteFile(filepath.Join(dir, f.name), damaged, 0o600))
				got := inspect(t, dir)
				boundary := cut && last && len(got.records) < len(whole.records)
				if len(got.damage) == 0 && !boundary {
					t.Fatalf("%s: no damage detected, want some", what)
				}
				torn := !slices.ContainsFunc(got.damage, func(d Damage) bool { return !d.Torn })
				r, err := openRegister(t, dir, Options{Logger: zerolog.Nop()})
				if (err == nil) != torn {
					t.Fatalf("%s: Inspect found %v, Open returned %v, want an error = %t", what, got.damage, err, !torn)
				}
				if err == nil {
					r.close(t)
				}
				if lost := len(whole.records) - len(got.records); !cut && lost > 1 {
					t.Fatalf("%s: %d records lost, want at most 1", what, lost)
				}
			}
		}
	}
}

// TestMissingFileIsDetected removes, empties and truncates each file of a journal
// with several files, and the only file of another.
func TestMissingFileIsDetected(t *testing.T) {
	t.Parallel()
	several, only := t.TempDir(), t.TempDir()
	writeJournal(t, several)
	r := mustOpen(t, only, Options{})
	r.set(t, "a", "1")
	r.close(t)
	for _, src := range []string{several, only} {
		files, err := listFiles(src)
		require.NoError(t, err)
		for _, f := range files {
			for what, damage := range map[string]func(name string) error{
				"missing": os.Remove,
				"emptied": func(name string) error { return os.Truncate(name, 0) },
				"cut":     func(name string) error { return os.Truncate(name, emptyFileSize-1) },
			} {
				dir := copyDir(t, src)
				require.NoError(t, damage(filepath.Join(dir, f.name)))
				if got := inspect(t, dir); !slices.ContainsFunc(got.damage, func(d Damage) bool { return !d.Torn }) {
					t.Errorf("%s is %s: damage = %+v, want some that is not a torn end", f.name, what, got.damage)
				}
				if r, err := openRegister(t, dir, Options{}); err == nil {
					r.close(t)
					t.Errorf("%s is %s: Open succeeded, want an error", f.name, what)
				}
				checkReplace(t, dir)
			}
		}
	}
}

// checkReplace replaces a journal by its remaining records, and checks that it
// opens then.
func checkReplace(t *testing.T, dir string) {
	t.Helper()
	left := inspect(t, dir).records
	h, err := Hold(dir)
	require.NoError(t, err)
	err = h.Replace(func(emit func([]byte) error) error {
		for _, r := range left {
			if err := emit([]byte(r)); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, errors.Join(err, h.Release()))
	r := mustOpen(t, dir, Options{})
	r.set(t, "new", "record")
	r.close(t)
	if got := inspect(t, dir); len(got.damage) > 0 || len(got.records) != len(left)+1 {
		t.Errorf("after Replace and an append: %d records and damage %v, want %d records and none",
			len(got.records), got.damage, len(left)+1)
	}
}

// TestFailedBackupLeavesNothing: on a full disk, part of a copy would only take
// more space.
func TestFailedBackupLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "journal")
	r := mustOpen(t, dir, Options{})
	r.set(t, "a", "1")
	r.close(t)
	if err := os.Mkdir(logName(dir, 2), 0o700); err != nil { // Backup cannot copy a directory
		t.Fatal(err)
	}
	h, err := Hold(dir)
	require.NoError(t, err)
	_, err = h.Backup()
	if err == nil || !strings.Contains(err.Error(), "bytes, to "+dir+".damaged-") {
		t.Errorf("Backup = %v, want an error that names size and target", err)
	}
	if left, err := filepath.Glob(dir + ".damaged-*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v), want nothing", left, err)
	}
	if err := h.Release(); err != nil {
		t.Error(err)
	}
}

// TestMissingOldOrUnreadableMarkLosesNothing: a crash can happen before the mark
// is written.
func TestMissingOldOrUnreadableMarkLosesNothing(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	writeJournal(t, src)
	for what, change := range map[string]func(dir string) error{
		"no":     func(dir string) error { return os.Remove(filepath.Join(dir, markName)) },
		"an old": func(dir string) error { return writeMark(Disk{}, dir, 1) },
	} {
		dir := copyDir(t, src)
		require.NoError(t, change(dir))
		mustOpen(t, dir, Options{}).close(t)
		if n, err := readMark(dir); n != 3 || err != nil {
			t.Errorf("with %s mark, it is %d, %v after Open, want 3", what, n, err)
		}
	}
	dir := copyDir(t, src)
	require.NoError(t, os.WriteFile(filepath.Join(dir, markName), []byte("log-"), 0o600))
	if got := inspect(t, dir); len(got.damage) != 1 || len(got.records) != 45 {
		t.Errorf("with an unreadable mark: %d records and damage %v, want 45 and one", len(got.records), got.damage)
	}
	if _, err := openRegister(t, dir, Options{}); err == nil || !strings.Contains(err.Error(), "names no log") {
		t.Errorf("Open with an unreadable mark = %v, want an error", err)
	}
	checkReplace(t, dir)
}

// TestVersion1IsReadContinuedAndCompacted covers the previous format.
func TestVersion1IsReadContinuedAndCompacted(t *testing.T) {
	t.Parallel()
	for _, torn := range []string{"", "torn"} {
		dir := t.TempDir()
		const log = "osjourn\x01" +
			"osjB\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xa9\xb4\xcc\x27\x03a=1" +
			"osjB\x04\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x1e\x53\xc3\xef\x03b=2"
		require.NoError(t, os.WriteFile(logName(dir, 1), []byte(log+torn), 0o600))
		r := mustOpen(t, dir, Options{Logger: zerolog.Nop()})
		r.set(t, "c", "3")
		r.close(t)
		r = mustOpen(t, dir, Options{Logger: zerolog.Nop()})
		if r.m["a"] != "1" || r.m["b"] != "2" || r.m["c"] != "3" {
			t.Errorf("read %v, want a=1 b=2 c=3", r.m)
		}
		r.compact(t)
		r.close(t)
		if got := inspect(t, dir); len(got.records) != 3 || len(got.damage) != 0 {
			t.Errorf("compacted to %+v, want 3 records and no damage", got)
		}
	}
}
