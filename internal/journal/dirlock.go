package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// LockedError means that another process has locked the directory.
type LockedError struct {
	Dir    string
	Holder string // describes the other process, or "unknown"
}

// Error implements error.
func (e *LockedError) Error() string {
	return fmt.Sprintf("%s is in use by another process (%s); stop it or choose another --data-dir", e.Dir, e.Holder)
}

// Lock is an advisory lock on a directory. Release it after use.
type Lock struct{ fl *flock.Flock }

func lockDir(dir string) (*Lock, error) { return TakeLock(dir, "LOCK") }

// TakeLock takes the kernel's advisory lock on the file dir/name without waiting.
// The kernel releases it when the process exits, for whatever reason. The file's
// text only describes the holder to humans. The error is a *LockedError if
// another process has the lock.
func TakeLock(dir, name string) (*Lock, error) {
	path := filepath.Join(dir, name)
	fl := flock.New(path)
	got, err := fl.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !got {
		holder, readErr := os.ReadFile(path)
		if readErr != nil {
			holder = []byte("unknown")
		}
		return nil, &LockedError{Dir: dir, Holder: strings.TrimSpace(string(holder))}
	}
	text := fmt.Sprintf("pid %d, %s, since %s\n", os.Getpid(), filepath.Base(os.Args[0]), time.Now().UTC().Format(time.RFC3339))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", path, err), fl.Close())
	}
	return &Lock{fl: fl}, nil
}

// Release unlocks the directory.
func (l *Lock) Release() error { return l.fl.Close() }
