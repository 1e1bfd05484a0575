package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// register is the simplest state machine: values by key.
type register struct {
	mu sync.Mutex
	m  map[string]string
	j  *Journal
}

func openRegister(t testing.TB, dir string, opt Options) (*register, error) {
	t.Helper()
	r := &register{m: map[string]string{}}
	j, err := Open(dir, opt, func(rec []byte) error {
		k, v, ok := strings.Cut(string(rec), "=")
		if !ok {
			return fmt.Errorf("bad record %q", rec)
		}
		r.m[k] = v
		return nil
	})
	r.j = j
	return r, err
}

func mustOpen(t testing.TB, dir string, opt Options) *register {
	t.Helper()
	r, err := openRegister(t, dir, opt)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return r
}

func (r *register) want(t testing.TB, k, v string) {
	t.Helper()
	if got := r.m[k]; got != v {
		t.Errorf("%s = %q after reopening, want %q", k, got, v)
	}
}

func (r *register) set(t testing.TB, k, v string) {
	t.Helper()
	r.mu.Lock()
	r.m[k] = v
	c := r.j.Append([]byte(k + "=" + v))
	r.mu.Unlock()
	if err := c.Wait(); err != nil {
		t.Errorf("append %s: %v", k, err)
	}
}

func (r *register) compact(t testing.TB) {
	t.Helper()
	err := r.j.Compact(func(emit func([]byte) error) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		for k, v := range r.m {
			if err := emit([]byte(k + "=" + v)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("compact: %v", err)
	}
}

func (r *register) close(t testing.TB) {
	t.Helper()
	if err := r.j.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestReopenReplaysConcurrentAppendsAndCompactions(t *testing.T) {
	for _, mode := range []Sync{SyncGroup, SyncAlways, SyncOff} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			dir := t.TempDir()
			r := mustOpen(t, dir, Options{Sync: mode})
			var wg sync.WaitGroup
			for w := range 8 {
				wg.Go(func() {
					for i := range 50 {
						r.set(t, fmt.Sprintf("w%d-%d", w, i%10), strconv.Itoa(i))
					}
				})
			}
			wg.Go(func() {
				for range 5 {
					r.compact(t)
				}
			})
			wg.Wait()
			r.close(t)

			again := mustOpen(t, dir, Options{})
			defer again.close(t)
			if len(again.m) != 80 {
				t.Fatalf("%d keys came back, want 80", len(again.m))
			}
			for k, v := range r.m {
				if again.m[k] != v {
					t.Errorf("%s came back as %q, want %q", k, again.m[k], v)
				}
			}
		})
	}
}

func TestTornEndIsCutOffAtEveryByte(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	r := mustOpen(t, src, Options{})
	r.set(t, "a", "1")
	r.set(t, "b", "2")
	r.set(t, "b", "3")
	r.close(t)
	whole, err := os.ReadFile(logName(src, 1))
	require.NoError(t, err)
	for cut := range whole {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(logName(dir, 1), whole[:cut], 0o600))
		got := mustOpen(t, dir, Options{Logger: zerolog.Nop()})
		if b := got.m["b"]; b != "" && b != "2" {
			t.Fatalf("cut at %d: b = %q, want 2 or none, as the batch that sets it to 3 is incomplete", cut, b)
		}
		got.set(t, "c", "4") // the journal continues from there
		got.close(t)
		again := mustOpen(t, dir, Options{})
		if again.m["c"] != "4" || again.m["a"] != got.m["a"] || again.m["b"] != got.m["b"] {
			t.Fatalf("cut at %d: reopened as %v, want %v", cut, again.m, got.m)
		}
		again.close(t)
	}
}

func TestOpenRejectsEveryFlippedByteBeforeTheLastBatch(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	r := mustOpen(t, src, Options{})
	r.set(t, "a", "1")
	r.set(t, "b", "2")
	r.set(t, "c", "3")
	r.close(t)
	whole, err := os.ReadFile(logName(src, 1))
	require.NoError(t, err)
	last := fileHeader + 2*(len(whole)-fileHeader)/3
	for at := range last {
		dir := t.TempDir()
		damaged := append([]byte(nil), whole...)
		damaged[at] ^= 0x40
		require.NoError(t, os.WriteFile(logName(dir, 1), damaged, 0o600))
		got, err := openRegister(t, dir, Options{})
		if err == nil {
			got.close(t)
			t.Fatalf("byte %d flipped: opened as %v, want an error", at, got.m)
		}
		var corrupt *CorruptError
		if at != fileHeader-1 && !errors.As(err, &corrupt) {
			t.Fatalf("byte %d flipped: %v, want a CorruptError", at, err)
		}
	}
}

func TestCrashDuringCompactionKeepsTheState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := mustOpen(t, dir, Options{})
	r.set(t, "a", "1")
	err := r.j.Compact(func(emit func([]byte) error) error {
		r.set(t, "a", "2") // into the new log file
		if err := emit([]byte("a=1")); err != nil {
			return err
		}
		return errors.New("power cut")
	})
	if err == nil {
		t.Fatal("compaction with a failing snapshot succeeded, want an error")
	}
	// A crashed process leaves a half-written snapshot under its temporary name.
	half := snapshotName(dir, 2) + tmpSuffix
	require.NoError(t, os.WriteFile(half, []byte("half"), 0o600))
	r.close(t)
	found, err := Verify(dir)
	if err != nil || !found.Intact() || len(found.Leftovers) != 1 || found.Leftovers[0].Bytes != 4 {
		t.Errorf("Verify = %+v, %v, want it intact, with a leftover of 4 bytes", found, err)
	}
	again := mustOpen(t, dir, Options{})
	defer again.close(t)
	again.want(t, "a", "2")
	if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s after the start: %v, want it removed", half, err)
	}
}

// TestSizeIsThatOfTheFiles holds also while logs remain that a failed compaction
// should have replaced, and after a start.
func TestSizeIsThatOfTheFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := mustOpen(t, dir, Options{})
	check := func(when string) {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(dir, "*-*"))
		require.NoError(t, err)
		var want int64
		for _, name := range files {
			b, err := os.ReadFile(name)
			require.NoError(t, err)
			want += int64(len(bytes.TrimRight(b, "\x00"))) // no record of this test ends with zeros
		}
		if got := r.j.Size(); got != want {
			t.Errorf("%s: Size() = %d, want %d as %v have", when, got, want, files)
		}
	}
	check("new")
	r.set(t, "a", strings.Repeat("x", 1000))
	for range 2 {
		if err := r.j.Compact(func(func([]byte) error) error { return errors.New("no snapshot") }); err == nil {
			t.Error("compaction with a failing snapshot succeeded, want an error")
		}
		r.set(t, "a", "2")
		check("after a failed compaction")
	}
	r.close(t)
	r = mustOpen(t, dir, Options{})
	check("after a start")
	r.compact(t)
	r.set(t, "a", "3")
	check("after a compaction")
	r.close(t)
}

// TestZerosElsewhereAreDamage: they are written ahead only of the log in use, after its
// first batch.
func TestZerosElsewhereAreDamage(t *testing.T) {
	t.Parallel()
	zeros := make([]byte, 1000)
	for name, damage := range map[string]func(t *testing.T, dir string){
		"the log":        func(t *testing.T, dir string) { t.Helper(); overwrite(t, logName(dir, 2), fileHeader) },
		"an earlier log": func(t *testing.T, dir string) { t.Helper(); overwrite(t, logName(dir, 1), fileHeader) },
		"the end of an earlier log": func(t *testing.T, dir string) {
			t.Helper()
			f, err := os.OpenFile(logName(dir, 1), os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.Write(zeros)
			require.NoError(t, errors.Join(err, f.Close()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			r := mustOpen(t, dir, Options{})
			r.set(t, "a", "1")
			if err := r.j.Compact(func(func([]byte) error) error { return errors.New("no snapshot") }); err == nil {
				t.Error("compaction with a failing snapshot succeeded, want an error")
			}
			r.set(t, "a", "2")
			r.close(t)
			damage(t, dir)
			found, err := Verify(dir)
			if err != nil || found.Intact() {
				t.Errorf("Verify = %+v, %v, want damage", found, err)
			}
			if j, err := Open(dir, Options{Logger: zerolog.Nop()}, func([]byte) error { return nil }); !errors.As(err, new(*CorruptError)) {
				t.Errorf("Open = %v, %v, want a *CorruptError", j, err)
			}
		})
	}
}

// overwrite replaces the content of a file by zeros, from a position.
func overwrite(t *testing.T, path string, from int) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	clear(b[from:])
	require.NoError(t, os.WriteFile(path, b, 0o600))
}

// TestZerosAheadOfTheLogAreNoDamage: a crash leaves them behind.
func TestZerosAheadOfTheLogAreNoDamage(t *testing.T) {
	t.Parallel()
	dir, crashed := t.TempDir(), t.TempDir()
	r := mustOpen(t, dir, Options{})
	r.set(t, "a", "1")
	log := logName(dir, 1)
	b, err := os.ReadFile(log)
	require.NoError(t, err)
	if zeros := len(b) - len(bytes.TrimRight(b, "\x00")); int64(len(b)) <= r.j.Size() || zeros < 64<<10 {
		t.Errorf("log of %d bytes ends with %d zeros, want at least 64 KiB of them", len(b), zeros)
	}
	require.NoError(t, os.WriteFile(logName(crashed, 1), b, 0o600))
	r.close(t)
	if info, err := os.Stat(log); err != nil || info.Size() != r.j.Size() {
		t.Errorf("log after Close = %+v, %v, want %d bytes", info, err, r.j.Size())
	}

	found, err := Verify(crashed)
	if err != nil || len(found.Damage) > 0 || found.Records != 1 {
		t.Errorf("Verify = %+v, %v, want one record and no damage, not even a torn end", found, err)
	}
	again := mustOpen(t, crashed, Options{})
	defer again.close(t)
	again.want(t, "a", "1")
	again.set(t, "a", "2")
}

func TestCompactionShrinksTheDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := mustOpen(t, dir, Options{Sync: SyncOff, CompactAfter: 1000})
	for i := range 200 {
		r.set(t, "k", strconv.Itoa(i))
	}
	before := r.j.Size()
	if !r.j.outgrown() {
		t.Fatalf("outgrown() = false with %d bytes of log, want true", before)
	}
	r.compact(t)
	if after := r.j.Size(); after > before/10 || r.j.outgrown() {
		t.Fatalf("%d bytes before compaction, %d after, want at most a tenth", before, after)
	}
	r.close(t)
	files, err := filepath.Glob(filepath.Join(dir, "*-*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files left: %v (%v), want one snapshot and one log", files, err)
	}
	again := mustOpen(t, dir, Options{})
	defer again.close(t)
	again.want(t, "k", "199")
}

func TestSecondOpenReportsTheHolderOfTheLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := mustOpen(t, dir, Options{})
	defer r.close(t)
	_, err := openRegister(t, dir, Options{})
	var locked *LockedError
	if !errors.As(err, &locked) || !strings.Contains(locked.Holder, fmt.Sprintf("pid %d", os.Getpid())) {
		t.Fatalf("second open: error %v, want a LockedError that names pid %d", err, os.Getpid())
	}
}

// TestRemovedLockFileDoesNotAdmitASecondProcess: the directory is locked too, and
// cannot be removed with a journal in it.
func TestRemovedLockFileDoesNotAdmitASecondProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := mustOpen(t, dir, Options{})
	require.NoError(t, os.Remove(filepath.Join(dir, "LOCK")))
	for range 2 {
		_, err := openRegister(t, dir, Options{})
		if locked := new(LockedError); !errors.As(err, &locked) {
			t.Errorf("second open without the lock file: error %v, want a LockedError", err)
		}
	}
	r.set(t, "a", "1")
	r.close(t)
	again := mustOpen(t, dir, Options{})
	defer again.close(t)
	again.want(t, "a", "1")
}

func TestAppendAfterCloseFails(t *testing.T) {
	t.Parallel()
	r := mustOpen(t, t.TempDir(), Options{})
	r.close(t)
	if err := r.j.Append([]byte("a=1")).Wait(); !errors.Is(err, ErrClosed) {
		t.Fatalf("append after Close: error %v, want ErrClosed", err)
	}
	r.close(t) // closing twice is harmless
}

func TestOpenRejectsAnUnknownFormatVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	head := fileMagic
	head[fileHeader-1] = version + 1
	require.NoError(t, os.WriteFile(logName(dir, 1), head[:], 0o600))
	if _, err := openRegister(t, dir, Options{}); err == nil || !strings.Contains(err.Error(), "format version 3") {
		t.Fatalf("open: error %v, want one that names format version 3", err)
	}
}

func BenchmarkAppend(b *testing.B) {
	record := make([]byte, 512)
	for _, mode := range []string{"group", "always", "off"} {
		for _, writers := range []int{1, 64} {
			b.Run(fmt.Sprintf("fsync=%s/writers=%d", mode, writers), func(b *testing.B) {
				s, err := ParseSync(mode)
				if err != nil {
					b.Fatal(err)
				}
				j, err := Open(b.TempDir(), Options{Sync: s}, func([]byte) error { return nil })
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				b.SetParallelism(writers)
				b.RunParallel(func(pb *testing.PB) {
					for i := 0; pb.Next(); i++ {
						if err := j.Append(binary.LittleEndian.AppendUint64(record[:504:504], uint64(i))).Wait(); err != nil {
							b.Error(err)
						}
					}
				})
				if err := j.Close(); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}
