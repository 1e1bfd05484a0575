package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// FS is what a journal asks of the disk when it writes. Tests fill it up and
// cut its power.
type FS interface {
	Mkdir(dir string) error
	Create(path string) (File, error) // empty, also where there was a file
	Open(path string) (File, error)   // for writing
	Rename(from, to string) error
	Remove(path string) error
	// SyncDir makes names created, renamed and removed in dir durable.
	SyncDir(dir string) error
}

// File is what a journal does with a file that it writes.
type File interface {
	io.WriterAt
	io.Closer
	Name() string
	Sync() error
	Truncate(size int64) error
}

// Disk is the operating system's FS.
type Disk struct{}

// Mkdir implements FS.
func (Disk) Mkdir(dir string) error { return os.Mkdir(dir, 0o750) }

// Create implements FS.
func (Disk) Create(path string) (File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
}

// Open implements FS.
func (Disk) Open(path string) (File, error) { return os.OpenFile(path, os.O_RDWR, 0o600) }

// Rename implements FS.
func (Disk) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements FS.
func (Disk) Remove(path string) error { return os.Remove(path) }

// SyncDir implements FS.
func (Disk) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open directory to sync it: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// makeDir creates a directory so that it is still there after a power cut: a
// synced file in a directory whose own name was never synced is lost with it.
func makeDir(fs FS, dir string) error {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := makeDir(fs, parent); err != nil {
		return err
	}
	if err := fs.Mkdir(dir); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return fs.SyncDir(parent)
}

func removeIfThere(fs FS, path string) error {
	if err := fs.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
