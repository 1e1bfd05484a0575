package journaltest

import (
	"sync"

	"github.com/ordersaga/ordersaga/internal/journal"
)

// Disk is a journal.FS of which a test can hold back the writes, or make them fail. It is safe
// for concurrent use.
type Disk struct {
	journal.Disk

	tried chan struct{}

	mu   sync.Mutex
	held chan struct{} // nil: writes are not held back
	err  error
}

// NewDisk returns a disk that works.
func NewDisk() *Disk { return &Disk{tried: make(chan struct{}, 1)} }

// Hold holds back all writes until Release.
func (d *Disk) Hold() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = make(chan struct{})
}

// Release ends Hold.
func (d *Disk) Release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.held)
	d.held = nil
}

// Works reports whether writes are neither held back nor fail.
func (d *Disk) Works() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held == nil && d.err == nil
}

// Fail makes all writes fail with err; nil ends that.
func (d *Disk) Fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

// Tried receives a value after a write that is held back or fails has begun.
func (d *Disk) Tried() <-chan struct{} { return d.tried }

// Create implements journal.FS.
func (d *Disk) Create(path string) (journal.File, error) { return d.wrap(d.Disk.Create(path)) }

// Open implements journal.FS.
func (d *Disk) Open(path string) (journal.File, error) { return d.wrap(d.Disk.Open(path)) }

func (d *Disk) wrap(f journal.File, err error) (journal.File, error) {
	return &diskFile{File: f, d: d}, err
}

type diskFile struct {
	journal.File
	d *Disk
}

// WriteAt implements io.WriterAt.
func (f *diskFile) WriteAt(b []byte, at int64) (int, error) {
	f.d.mu.Lock()
	held, err := f.d.held, f.d.err
	f.d.mu.Unlock()
	if held != nil || err != nil {
		select {
		case f.d.tried <- struct{}{}:
		default: // the test has not looked at the last one
		}
	}
	if held != nil {
		<-held
	}
	if err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, at)
}
