package journal

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// fullDisk is a file system whose disk is full while full is set.
type fullDisk struct {
	Disk
	full         atomic.Bool
	failedWrites chan struct{} // gets a token for each write that failed
}

func newFullDisk() *fullDisk { return &fullDisk{failedWrites: make(chan struct{}, 100)} }

// Open and Create return files of this disk.
func (d *fullDisk) Open(path string) (File, error)   { return d.wrap(d.Disk.Open(path)) }
func (d *fullDisk) Create(path string) (File, error) { return d.wrap(d.Disk.Create(path)) }

func (d *fullDisk) wrap(f File, err error) (File, error) { return fullDiskFile{File: f, d: d}, err }

type fullDiskFile struct {
	File
	d *fullDisk
}

func (f fullDiskFile) WriteAt(b []byte, at int64) (int, error) {
	if !f.d.full.Load() {
		return f.File.WriteAt(b, at)
	}
	n, _ := f.File.WriteAt(b[:len(b)/2], at) // as a real disk: as much as there is space for
	f.d.failedWrites <- struct{}{}
	return n, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
}

func TestFullDiskIsReportedAndWaitedOut(t *testing.T) {
	dir, d := t.TempDir(), newFullDisk()
	r := mustOpen(t, dir, Options{Logger: zerolog.Nop(), FS: d})
	r.set(t, "a", "1")
	d.full.Store(true)
	c := r.j.Append([]byte("a=2"))
	<-d.failedWrites
	<-d.failedWrites // the second attempt: Err reports the first by now
	if err := r.j.Err(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Err on a full disk = %v, want ENOSPC", err)
	}
	d.full.Store(false)
	if err := errors.Join(c.Wait(), r.j.Err()); err != nil {
		t.Errorf("with free space, Wait and Err return %v, want nil", err)
	}
	r.close(t)
	again := mustOpen(t, dir, Options{})
	defer again.close(t)
	again.want(t, "a", "2")
}

// smallDisk is a file system whose files have at most 100 bytes. Beyond that, writing
// fails, or syncing.
type smallDisk struct {
	Disk
	write, sync error // nil: it succeeds
	failed      *atomic.Int32
}

// Create returns a file of this disk.
func (d smallDisk) Create(path string) (File, error) {
	f, err := d.Disk.Create(path)
	return smallDiskFile{File: f, d: d}, err
}

type smallDiskFile struct {
	File
	d smallDisk
}

func (f smallDiskFile) WriteAt(b []byte, at int64) (int, error) {
	if f.d.write == nil || at+int64(len(b)) <= 100 {
		return f.File.WriteAt(b, at)
	}
	f.d.failed.Add(1)
	n, _ := f.File.WriteAt(b[:max(0, 100-at)], at)
	return n, &os.PathError{Op: "write", Path: f.Name(), Err: f.d.write}
}

func (f smallDiskFile) Sync() error {
	if info, err := os.Stat(f.Name()); err == nil && info.Size() > 100 && f.d.sync != nil {
		f.d.failed.Add(1)
		return &os.PathError{Op: "fsync", Path: f.Name(), Err: f.d.sync}
	}
	return f.File.Sync()
}

// TestZerosAheadTakeNoSpaceFromTheLog: where there is room for records but not for zeros,
// records are written.
func TestZerosAheadTakeNoSpaceFromTheLog(t *testing.T) {
	for name, disk := range map[string]smallDisk{
		"disk full": {write: syscall.ENOSPC}, "disk full at the fsync": {sync: syscall.ENOSPC}, "file too large": {write: syscall.EFBIG},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			disk.failed = &atomic.Int32{}
			r := mustOpen(t, dir, Options{Logger: zerolog.Nop(), FS: disk})
			r.set(t, "a", "1")
			r.set(t, "a", "2")
			info, err := os.Stat(logName(dir, 1))
			if err != nil || info.Size() != r.j.Size() || r.j.Err() != nil {
				t.Errorf("log = %+v, %v, want %d bytes and no zeros; Err = %v, want nil", info, err, r.j.Size(), r.j.Err())
			}
			if n := disk.failed.Load(); n != 1 {
				t.Errorf("the disk has refused the zeros %d times, want once: they are not written once more", n)
			}
			r.close(t)
			again := mustOpen(t, dir, Options{})
			defer again.close(t)
			again.want(t, "a", "2")
		})
	}
}

// TestCloseOnAFullDiskReturnsAtOnce checks that Close does not wait for space,
// and that nothing else does afterwards: appends, more than fit in the pending
// batch, and a compaction.
func TestCloseOnAFullDiskReturnsAtOnce(t *testing.T) {
	dir, d := t.TempDir(), newFullDisk()
	r := mustOpen(t, dir, Options{Logger: zerolog.Nop(), Sync: SyncAlways, FS: d})
	r.set(t, "a", "1")
	d.full.Store(true)
	waiting := make(chan error, 4)
	for range 3 {
		go func() { waiting <- r.j.Append([]byte("a=2")).Wait() }()
	}
	<-d.failedWrites
	go func() { waiting <- r.j.Compact(func(func([]byte) error) error { return nil }) }()
	closed := make(chan error, 1)
	go func() { closed <- r.j.Close() }()
	late := time.After(10 * time.Second)
	for range cap(waiting) {
		select {
		case err := <-waiting:
			if err == nil {
				t.Error("an append or a compaction succeeded on a full disk, want an error")
			}
		case <-late:
			t.Fatal("an append or the compaction still waits for space 10 s after Close, want an error")
		}
	}
	select {
	case err := <-closed:
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Close on a full disk = %v, want ENOSPC", err)
		}
	case <-late:
		t.Fatal("Close has not returned after 10 s, want ENOSPC")
	}
	<-r.j.Failed()
	again := mustOpen(t, dir, Options{Logger: zerolog.Nop()})
	defer again.close(t)
	again.want(t, "a", "1")
}

// TestCallersHeedTheirContextWhileTheDiskIsFull: a caller whose context ends leaves
// without the lock, so that others can read.
func TestCallersHeedTheirContextWhileTheDiskIsFull(t *testing.T) {
	for name, mode := range map[string]Sync{"group": SyncGroup, "always": SyncAlways} {
		t.Run(name, func(t *testing.T) {
			d := newFullDisk()
			r := mustOpen(t, t.TempDir(), Options{Logger: zerolog.Nop(), Sync: mode, FS: d})
			defer r.close(t)
			d.full.Store(true)
			written := r.j.Append([]byte("a=1"))
			<-d.failedWrites // the writer has it, and waits for space
			pending := r.j.Append([]byte("a=" + strings.Repeat("2", maxBatch/2)))
			brief, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			if err := pending.WaitFor(brief); !errors.Is(err, context.DeadlineExceeded) || pending.Durable() {
				t.Errorf("WaitFor on a full disk = %v, Durable = %v, want DeadlineExceeded and false", err, pending.Durable())
			}
			if err := r.j.LockWithRoom(brief, &r.mu); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("LockWithRoom with a full batch = %v, want DeadlineExceeded", err)
			}
			if !r.mu.TryLock() {
				t.Fatal("LockWithRoom has failed and holds the lock, want it free")
			}
			r.mu.Unlock()
			d.full.Store(false)
			require.NoError(t, r.j.LockWithRoom(t.Context(), &r.mu))
			c := r.j.Append([]byte("a=3"))
			r.mu.Unlock()
			if err := errors.Join(written.Wait(), pending.Wait(), c.Wait()); err != nil || !c.Durable() {
				t.Errorf("with free space, Wait returns %v and Durable %v, want nil and true", err, c.Durable())
			}
		})
	}
}

func TestJournalContinuesWhenTheNextLogFileCannotBeCreated(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := mustOpen(t, dir, Options{Logger: zerolog.Nop()})
	r.set(t, "a", "1")
	if err := os.Mkdir(logName(dir, 2), 0o700); err != nil { // the next one cannot be created
		t.Fatal(err)
	}
	if err := r.j.Compact(func(func([]byte) error) error { return nil }); !errors.Is(err, errNotRotated) {
		t.Errorf("Compact = %v, want %v", err, errNotRotated)
	}
	r.set(t, "a", "2")
	r.compact(t)
	r.close(t)
	again := mustOpen(t, dir, Options{})
	defer again.close(t)
	again.want(t, "a", "2")
}
