package journal

import (
	"errors"
	"fmt"
)

// outgrown reports whether the log has outgrown the state that it describes.
func (j *Journal) outgrown() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.logBytes > max(j.opt.CompactAfter, j.snapBytes)
}

// CompactIfNeeded starts a Compact in the background if the log has outgrown
// the state and no such compaction is running. It returns at once. A failure is
// logged and retried after a later call. Close waits for the compaction.
func (j *Journal) CompactIfNeeded(snapshot func(emit func(record []byte) error) error) {
	if !j.outgrown() {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.backgroundCompaction || j.closing || j.failed != nil {
		return
	}
	j.backgroundCompaction = true
	j.compactions.Go(func() {
		if err := j.Compact(snapshot); err != nil && !errors.Is(err, ErrClosed) {
			j.opt.Logger.Warn().Err(err).Str("dir", j.dir).Msg("journal not compacted; this is retried as it grows")
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		j.backgroundCompaction = false
	})
}

// Compact replaces the log by a snapshot of the state. It calls snapshot with an emit
// function, which copies its argument. snapshot must emit records that rebuild the whole
// state as of any moment after Compact was called. Appends continue meanwhile, in a new
// log file that is replayed after the snapshot. If the process crashes on the way, the old
// snapshot and all log files are still there. After Close the error is ErrClosed.
func (j *Journal) Compact(snapshot func(emit func(record []byte) error) error) error {
	if j.dir == "" {
		return nil
	}
	j.compacting.Lock()
	defer j.compacting.Unlock()

	rotated := make(chan error, 1)
	j.mu.Lock()
	if err := j.failed; err != nil || j.closing {
		j.mu.Unlock()
		return errors.Join(ErrClosed, err)
	}
	j.rotation = rotated
	j.wakeWriter.Signal()
	j.mu.Unlock()
	if err := <-rotated; err != nil {
		return fmt.Errorf("compact journal %s: %w", j.dir, err)
	}
	j.mu.Lock()
	upTo := j.segment
	j.mu.Unlock()

	size, err := writeSnapshot(j.opt.FS, j.dir, upTo, func(emit func([]byte) error) error {
		if err := snapshot(emit); err != nil {
			return err
		}
		return j.barrier()
	})
	if err != nil {
		return fmt.Errorf("compact journal %s: %w", j.dir, err)
	}
	j.mu.Lock()
	j.snapBytes, j.oldLogBytes = size, 0
	j.mu.Unlock()
	return removeLeftovers(j.opt.FS, j.dir)
}

// errNotRotated means that no next log file was created, and that the journal
// can continue in the current one.
var errNotRotated = errors.New("no new log file")

// rotate starts the next log file. The old one is synced first, so that only
// the newest file can have a torn end.
func (j *Journal) rotate() error {
	if err := errors.Join(j.cutOff(j.offset), j.file.Sync()); err != nil {
		return fmt.Errorf("sync log before rotation: %w", err)
	}
	name := logName(j.dir, j.segment+1)
	next, err := createFile(j.opt.FS, name, j.seq)
	if err != nil {
		// A leftover file would make a torn end of the old one look like damage.
		if removeErr := errors.Join(removeIfThere(j.opt.FS, name), j.opt.FS.SyncDir(j.dir)); removeErr != nil {
			return errors.Join(err, removeErr)
		}
		return fmt.Errorf("%w: %w", errNotRotated, err)
	}
	if err := errors.Join(j.opt.FS.SyncDir(j.dir), j.file.Close()); err != nil {
		return errors.Join(fmt.Errorf("rotate log: %w", err), next.Close())
	}
	j.file, j.offset, j.noZeros = next, emptyFileSize, false
	j.seq++
	j.mu.Lock()
	j.segment++
	j.oldLogBytes += j.logBytes // until a snapshot replaces them
	j.logBytes = emptyFileSize
	j.mu.Unlock()
	j.markNewest()
	return nil
}

// barrier waits until everything appended so far is on disk. A snapshot must
// not be on disk without what happened before it, or together with it.
func (j *Journal) barrier() error {
	j.mu.Lock()
	b := j.newest
	j.mu.Unlock()
	if err := (Commit{b: b}).Wait(); err != nil {
		return err
	}
	if j.opt.Sync != SyncOff {
		return nil
	}
	return j.file.Sync() // only a compaction changes files, and Close waits for it
}
