package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// FS is the file system that a journal writes to. Tests replace it by one that
// is full or loses power. Reads go to the operating system directly.
type FS interface {
	Mkdir(dir string) error           // as os.Mkdir
	Create(path string) (File, error) // creates a file, or empties an existing one
	Open(path string) (File, error)   // opens an existing file for writing
	Rename(from, to string) error     // replaces to if it exists
	Remove(path string) error         // as os.Remove
	// SyncDir makes names created, renamed and removed in dir durable.
	SyncDir(dir string) error
}

// File is an open file of an FS.
type File interface {
	io.WriterAt
	io.Closer
	Name() string              // path
	Sync() error               // makes the content and the size durable
	Truncate(size int64) error // as (*os.File).Truncate
}

// Disk is the operating system's file system. The zero value is ready to use.
type Disk struct{}

// Mkdir implements FS.
func (Disk) Mkdir(dir string) error { return os.Mkdir(dir, 0o750) }

// Create implements FS.
func (Disk) Create(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	return diskFile{File: f}, err
}

// Open implements FS.
func (Disk) Open(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	return diskFile{File: f}, err
}

type diskFile struct{ *os.File }

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

// makeDir creates a directory that survives a power cut. A synced file is lost
// with its directory if the directory's own name was never synced.
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
