package journal

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// disk is a disk that is full while full is set.
type disk struct {
	Disk
	full   atomic.Bool
	writes chan struct{} // gets a token for each write that failed
}

func newDisk() *disk { return &disk{writes: make(chan struct{}, 100)} }

// Open and Create make files of this disk.
func (d *disk) Open(path string) (File, error)   { return d.wrap(d.Disk.Open(path)) }
func (d *disk) Create(path string) (File, error) { return d.wrap(d.Disk.Create(path)) }

func (d *disk) wrap(f File, err error) (File, error) { return diskFile{f, d}, err }

type diskFile struct {
	File
	d *disk
}

func (f diskFile) WriteAt(b []byte, at int64) (int, error) {
	if !f.d.full.Load() {
		return f.File.WriteAt(b, at)
	}
	n, _ := f.File.WriteAt(b[:len(b)/2], at) // as a real one: what there is room for
	f.d.writes <- struct{}{}
	return n, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
}

func TestFullDiskIsToldAndWaitedOut(t *testing.T) {
	dir, d := t.TempDir(), newDisk()
	r := mustOpen(t, dir, Options{Logger: zerolog.Nop(), FS: d})
	r.set(t, "a", "1")
	d.full.Store(true)
	c := r.j.Append([]byte("a=2"))
	<-d.writes
	<-d.writes // the second try: the first has been told of
	if err := r.j.Err(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("on a full disk: %v", err)
	}
	d.full.Store(false)
	if err := errors.Join(c.Wait(), r.j.Err()); err != nil {
		t.Errorf("with space again: %v", err)
	}
	r.close(t)
	again := mustOpen(t, dir, Options{})
	defer again.close(t)
	if again.m["a"] != "2" {
		t.Errorf("a = %q", again.m["a"])
	}
}

// TestCloseOnAFullDisk ends at once, whoever waits for the disk: appends, more
// of them than fit, and a compaction.
func TestCloseOnAFullDisk(t *testing.T) {
	dir, d := t.TempDir(), newDisk()
	r := mustOpen(t, dir, Options{Logger: zerolog.Nop(), Sync: SyncAlways, FS: d})
	r.set(t, "a", "1")
	d.full.Store(true)
	waiting := make(chan error, 4)
	for range 3 {
		go func() { waiting <- r.j.Append([]byte("a=2")).Wait() }()
	}
	<-d.writes
	go func() { waiting <- r.j.Compact(func(func([]byte) error) error { return nil }) }()
	closed := make(chan error, 1)
	go func() { closed <- r.j.Close() }()
	late := time.After(10 * time.Second)
	for range cap(waiting) {
		select {
		case err := <-waiting:
			if err == nil {
				t.Error("done on a full disk")
			}
		case <-late:
			t.Fatal("somebody waits for ever")
		}
	}
	select {
	case err := <-closed:
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("close: %v", err)
		}
	case <-late:
		t.Fatal("Close waits for ever")
	}
	<-r.j.Failed()
	again := mustOpen(t, dir, Options{Logger: zerolog.Nop()})
	defer again.close(t)
	if again.m["a"] != "1" {
		t.Errorf("a = %q", again.m["a"])
	}
}

func TestNoRoomForANewLogFileIsNoEnd(t *testing.T) {
	dir := t.TempDir()
	r := mustOpen(t, dir, Options{Logger: zerolog.Nop()})
	r.set(t, "a", "1")
	if err := os.Mkdir(logName(dir, 2), 0o700); err != nil { // the next one cannot be created
		t.Fatal(err)
	}
	if err := r.j.Compact(func(func([]byte) error) error { return nil }); !errors.Is(err, errNotRotated) {
		t.Errorf("compacted: %v", err)
	}
	r.set(t, "a", "2")
	r.compact(t)
	r.close(t)
	again := mustOpen(t, dir, Options{})
	defer again.close(t)
	if again.m["a"] != "2" {
		t.Errorf("a = %q", again.m["a"])
	}
}
