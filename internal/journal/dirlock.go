package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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
type Lock struct{ dir, file *flock.Flock }

func lockDir(dir string) (*Lock, error) { return TakeLock(dir, "LOCK") }

// TakeLock takes the kernel's advisory locks on dir itself and on the file
// dir/name, without waiting. The kernel releases them when the process exits, for
// whatever reason. The error is a *LockedError if another process has one of them.
//
// The directory's lock holds also when the file is removed. Windows and some
// network file systems have no locks on directories: there the file's lock
// remains, and Windows does not remove an open file. Programs before this lock
// existed took only the file's. On a read-only medium a missing file is not
// needed.
func TakeLock(dir, name string) (*Lock, error) {
	path := filepath.Join(dir, name)
	l := &Lock{dir: flock.New(dir, flock.SetFlag(os.O_RDONLY)), file: flock.New(path)}
	got, err := l.dir.TryLock()
	if err != nil {
		got = true // not supported
	}
	if got {
		got, err = l.file.TryLock()
		if errors.Is(err, syscall.EROFS) {
			return l, nil
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), l.Release())
	}
	if !got {
		holder, readErr := os.ReadFile(path)
		if readErr != nil {
			holder = []byte("unknown")
		}
		return nil, errors.Join(&LockedError{Dir: dir, Holder: strings.TrimSpace(string(holder))}, l.Release())
	}
	// The text describes the holder to humans. A full disk or a read-only medium has
	// none, which does no harm.
	text := fmt.Sprintf("pid %d, %s, since %s\n", os.Getpid(), filepath.Base(os.Args[0]), time.Now().UTC().Format(time.RFC3339))
	_ = os.WriteFile(path, []byte(text), 0o600)
	return l, nil
}

// Release unlocks the directory.
func (l *Lock) Release() error { return errors.Join(l.file.Close(), l.dir.Close()) }
