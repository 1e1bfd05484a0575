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

// Held is the journal of no running process: locked, to be looked at and
// mended.
type Held struct {
	dir  string
	lock *Lock
}

// Hold locks the journal in dir. *LockedError if a process has it.
func Hold(dir string) (*Held, error) {
	files, err := listFiles(dir)
	if err != nil {
		return nil, err
	}
	if mark, err := readMark(dir); len(files) == 0 && mark == 0 && err == nil {
		return nil, fmt.Errorf("no journal is in %s", dir)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	return &Held{dir, lock}, nil
}

// Release unlocks the journal.
func (h *Held) Release() error { return h.lock.Release() }

// Visitor is shown what is in a journal, in the order of replay.
type Visitor struct {
	// Record gets every record of a file, also those saved from damage, after
	// it. logged: of a log, not a snapshot.
	Record func(record []byte, logged bool) error
	// Damage gets, beside the damage, the pieces of it from which no record
	// could be saved; each begins where a record does or did, but for the
	// header of a batch, which is a piece too.
	Damage func(d Damage, lost [][]byte)
}

// FileInfo describes a file of a journal.
type FileInfo struct {
	Name             string
	Version          int
	Bytes            int64 // all that is in it
	Batches, Records int64 // that check
}

// Inspect reads all that a start would read, and on where that would stop. It
// fails where the files cannot be read or a newer version has written them.
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
			return nil // never acknowledged: as a start does
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

// isSnapshot tells the file of a snapshot from that of a log.
func isSnapshot(path string) bool { return strings.HasPrefix(filepath.Base(path), "snapshot-") }

func readStretch(d Damage) ([]byte, error) {
	if d.Length == 0 {
		return nil, nil // there may be no such file
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

// Backup copies all files into a new directory beside the journal, durably,
// and returns its name. Where it fails it leaves nothing there.
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

// Cut removes a torn end.
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

// Replace puts a snapshot in the place of all files. A death on the way leaves
// them as they were, and an empty log that Replace will replace.
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
	return removeOlder(Disk{}, h.dir, n)
}
