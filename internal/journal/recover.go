package journal

import (
	"errors"
	"fmt"
	"path/filepath"
)

// walk reads the files of a journal in the order of replay, and checks that they
// belong together. See scan for record and damage; found is called after each
// file with what scan returned.
func walk(
	dir string, files []journalFile,
	record func(f journalFile, record []byte) error, damage func(Damage) error, found func(journalFile, scanned),
) error {
	report := func(name string, at int64, reason string) error {
		return damage(Damage{File: filepath.Join(dir, name), Offset: at, Reason: reason})
	}
	mark, err := readMark(dir)
	if corrupt := new(CorruptError); errors.As(err, &corrupt) {
		err = report(markName, 0, corrupt.Reason)
	}
	if err != nil {
		return err
	}
	next := uint64(1) // number of the log that must come next
	var seq uint64    // sequence number that it must begin with, if known
	known := false
	for n, f := range files {
		if !f.snapshot && f.number != next {
			if err := report(f.name, 0, fmt.Sprintf("the previous file, %s, is missing", filepath.Base(logName("", next)))); err != nil {
				return err
			}
			known = false
		}
		last := n == len(files)-1
		res, err := scan(filepath.Join(dir, f.name), func(r []byte) error { return record(f, r) }, func(d Damage) error {
			d.Torn = d.Torn && last && !f.snapshot
			if d.Torn && (d.Offset == 0 || d.first) && f.number <= mark {
				d.Torn, d.Reason = false, "the file has been emptied"
			}
			if d.Torn && d.zeroed && !d.first {
				return nil // as a crash leaves them
			}
			return damage(d)
		})
		if err != nil {
			return err
		}
		if f.snapshot && res.version == version && (!res.sealed || res.batches < 2) {
			if err := report(f.name, res.end, "the end of the snapshot is missing"); err != nil {
				return err
			}
		}
		if known && res.version == version && res.batches > 0 && res.first != seq {
			reason := fmt.Sprintf("sequence number is %d, expected %d: the end of the previous log is missing", res.first, seq)
			if err := report(f.name, fileHeader, reason); err != nil {
				return err
			}
		}
		next = f.number + 1
		if f.snapshot {
			next = f.number
		} else if res.batches > 0 {
			seq, known = res.next, true
		}
		found(f, res)
	}
	newest := mark
	if len(files) > 0 {
		newest = max(mark, files[len(files)-1].number)
	}
	if next <= newest {
		return report(filepath.Base(logName("", next)), 0, "the file is missing")
	}
	return nil
}

// recover replays the newest snapshot and the logs after it, and opens the
// last log for appending.
func (j *Journal) recover(replay func([]byte) error) error {
	all, err := listFiles(j.dir)
	if err != nil {
		return err
	}
	files := current(all)
	var last scanned
	err = walk(j.dir, files, func(_ journalFile, r []byte) error { return replay(r) }, func(d Damage) error {
		if !d.Torn {
			return &CorruptError{File: d.File, Offset: d.Offset, Reason: d.Reason}
		}
		j.opt.Logger.Warn().Str("file", d.File).Int64("bytes", d.Length).
			Msg("cut off a torn end: the last write before a crash, which was never acknowledged")
		return nil
	}, func(f journalFile, res scanned) {
		if f.snapshot {
			j.snapBytes = res.end
			return
		}
		j.segment, j.seq, last = f.number, max(res.next, j.seq), res
		j.logBytes += res.end
	})
	if err != nil {
		return err
	}
	if err := j.resume(last); err != nil {
		return err
	}
	j.markNewest()
	if err := j.opt.FS.SyncDir(j.dir); err != nil { // the snapshot's name, before the files that it replaces go
		return err
	}
	return removeLeftovers(j.opt.FS, j.dir)
}

// resume opens the last log for appending after its last valid batch, or creates
// a new one.
func (j *Journal) resume(last scanned) error {
	name := logName(j.dir, max(j.segment, 1))
	if last.batches > 0 || last.version == 1 {
		f, err := j.opt.FS.Open(name)
		if err != nil {
			return fmt.Errorf("open journal for appending: %w", err)
		}
		if err := errors.Join(f.Truncate(last.end), f.Sync()); err != nil {
			return errors.Join(fmt.Errorf("cut off the torn end of %s: %w", name, err), f.Close())
		}
		if last.version == version {
			j.file, j.offset = f, last.end
			return nil
		}
		// The file has an older format: new records go into a new file.
		if err := f.Close(); err != nil {
			return fmt.Errorf("close %s: %w", name, err)
		}
		j.segment++
	}
	j.segment = max(j.segment, 1)
	f, err := createFile(j.opt.FS, logName(j.dir, j.segment), j.seq)
	if err != nil {
		return err
	}
	j.file, j.offset = f, emptyFileSize
	j.logBytes += emptyFileSize
	j.seq++
	return j.opt.FS.SyncDir(j.dir)
}

// markNewest records the log in use as the newest. A failure is only logged: the
// disk may be full, and the log does not depend on the mark.
func (j *Journal) markNewest() {
	n, err := readMark(j.dir)
	if err == nil && n < j.segment {
		err = writeMark(j.opt.FS, j.dir, j.segment)
	}
	if err != nil {
		j.opt.Logger.Warn().Err(err).Str("dir", j.dir).Msg("cannot mark the newest log; if it is lost, that is not detected")
	}
}
