package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Held is the locked journal of a process that is not running, for inspection
// and repair. Release it after use. It is not safe for concurrent use.
type Held struct {
	dir  string
	lock *Lock
}

// Hold locks the journal in dir. The error is a *LockedError if a process has
// the journal open.
func Hold(dir string) (*Held, error) {
	files, err := listFiles(dir)
	if err != nil {
		return nil, err
	}
	if mark, err := readMark(dir); len(files) == 0 && mark == 0 && err == nil {
		return nil, fmt.Errorf("no journal in %s", dir)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	return &Held{dir: dir, lock: lock}, nil
}

// Release unlocks the journal.
func (h *Held) Release() error { return h.lock.Release() }

// Visitor receives the content of a journal, in the order of replay. Both
// functions must be set.
type Visitor struct {
	// Record gets every valid record, including those saved from damage, which
	// follow the damage. logged is true for a record of a log and false for one
	// of a snapshot. The record is valid only during the call.
	Record func(record []byte, logged bool) error
	// Damage gets the damage and the fragments of it from which no record could be
	// saved. Each fragment begins where a record does or did, except for the header
	// of a batch, which is a fragment of its own.
	Damage func(d Damage, lost [][]byte)
}

// FileInfo describes a file of a journal.
type FileInfo struct {
	Name             string // without the directory
	Version          int    // of the format
	Bytes            int64  // size of the file
	Batches, Records int64  // valid ones
}

// Inspect reads everything that a start would read, and continues behind damage,
// where a start would stop. It fails if a file cannot be read or was written by
// a newer version.
func (h *Held) Inspect(v Visitor) ([]FileInfo, error) {
	files, err := listFiles(h.dir)
	if err != nil {
		return nil, err
	}
	var infos []FileInfo
	err = walk(h.dir, current(files), func(f journalFile, r []byte) error { return v.Record(r, !f.snapshot) }, func(d Damage) error {
		b, err := readStretch(d)
		if err != nil {
			return err
		}
		records, lost := salvage(b)
		if len(lost) > 0 && len(lost[0]) > batchHeader && &lost[0][0] == &b[0] {
			lost = append([][]byte{b[:batchHeader], lost[0][batchHeader:]}, lost[1:]...)
		}
		v.Damage(d, lost)
		if d.Torn {
			return nil // never acknowledged, so dropped, as a start does
		}
		for _, r := range records {
			if err := v.Record(r, !isSnapshot(d.File)); err != nil {
				return err
			}
		}
		return nil
	}, func(f journalFile, res scanned) {
		info := FileInfo{Name: f.name, Version: int(res.version), Batches: res.batches, Records: res.records}
		if s, err := os.Stat(filepath.Join(h.dir, f.name)); err == nil {
			info.Bytes = s.Size()
		}
		infos = append(infos, info)
	})
	if err != nil {
		return nil, fmt.Errorf("inspect journal: %w", err)
	}
	return infos, nil
}

// Leftovers returns the files that a crash has left behind and that nothing reads.
// The next start removes them.
func (h *Held) Leftovers() ([]FileInfo, error) {
	names, err := leftovers(h.dir)
	if err != nil {
		return nil, err
	}
	var infos []FileInfo
	for _, name := range names {
		s, err := os.Stat(filepath.Join(h.dir, name))
		if err != nil {
			return nil, fmt.Errorf("inspect journal: %w", err)
		}
		infos = append(infos, FileInfo{Name: name, Bytes: s.Size()})
	}
	return infos, nil
}

// isSnapshot reports whether a path is that of a snapshot rather than a log.
func isSnapshot(path string) bool { return strings.HasPrefix(filepath.Base(path), "snapshot-") }

func readStretch(d Damage) ([]byte, error) {
	if d.Length == 0 {
		return nil, nil // the file may not exist
	}
	f, err := os.Open(d.File)
	if err != nil {
		return nil, fmt.Errorf("read damage: %w", err)
	}
	b := make([]byte, d.Length)
	_, err = f.ReadAt(b, d.Offset)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read damage of %s: %w", d.File, err)
	}
	return b, nil
}

// Backup copies all files durably into a new directory next to the journal's,
// and returns the path. If it fails it removes the incomplete copy.
func (h *Held) Backup() (_ string, err error) {
	to := fmt.Sprintf("%s.damaged-%s", filepath.Clean(h.dir), time.Now().UTC().Format("20060102T150405.000Z"))
	size := int64(0)
	defer func() {
		if err != nil {
			err = fmt.Errorf("back up journal, %d bytes, to %s: %w", size, to, errors.Join(err, os.RemoveAll(to)))
		}
	}()
	files, err := listFiles(h.dir)
	if err != nil {
		return "", err
	}
	var names []string
	for _, f := range append(files, journalFile{name: markName}) {
		info, err := os.Stat(filepath.Join(h.dir, f.name))
		if f.name == markName && errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		size += info.Size()
		names = append(names, f.name)
	}
	if err := makeDir(Disk{}, to); err != nil {
		return "", err
	}
	for _, name := range names {
		if err := copyFile(filepath.Join(to, name), filepath.Join(h.dir, name)); err != nil {
			return "", err
		}
	}
	return to, Disk{}.SyncDir(to)
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // read only
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// Cut truncates a file at the beginning of its torn end d.
func (h *Held) Cut(d Damage) error {
	f, err := Disk{}.Open(d.File)
	if err != nil {
		return fmt.Errorf("cut off a torn end: %w", err)
	}
	if err := errors.Join(f.Truncate(d.Offset), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("cut off the torn end of %s: %w", d.File, err)
	}
	return nil
}

// Replace replaces all files by one snapshot. After a crash on the way the files
// are unchanged, apart from an empty log that the next Replace replaces too.
func (h *Held) Replace(snapshot func(emit func([]byte) error) error) error {
	files, err := listFiles(h.dir)
	if err != nil {
		return err
	}
	mark, err := readMark(h.dir)
	if corrupt := new(CorruptError); err != nil && !errors.As(err, &corrupt) {
		return err
	}
	n := mark + 1
	if len(files) > 0 {
		n = max(n, files[len(files)-1].number+1)
	}
	f, err := createFile(Disk{}, logName(h.dir, n), 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Close(), Disk{}.SyncDir(h.dir)); err != nil {
		return fmt.Errorf("start a new log in %s: %w", h.dir, err)
	}
	if _, err := writeSnapshot(Disk{}, h.dir, n, snapshot); err != nil {
		return err
	}
	if err := writeMark(Disk{}, h.dir, n); err != nil {
		return err
	}
	return removeLeftovers(Disk{}, h.dir)
}
