package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Sync says when a record counts as durable.
type Sync int

const (
	// SyncGroup acknowledges a record when an fsync that covers it has
	// returned; records that arrive during one fsync share the next. Survives
	// power loss.
	SyncGroup Sync = iota
	// SyncAlways gives each record an fsync of its own. Same guarantee as
	// SyncGroup, slower; there to compare with.
	SyncAlways
	// SyncOff acknowledges a record when write(2) has returned. Survives the
	// death of the process at any instant, not power loss.
	SyncOff
)

// ParseSync reads the values of the --fsync flag: group, always, off.
func ParseSync(s string) (Sync, error) {
	switch s {
	case "group":
		return SyncGroup, nil
	case "always":
		return SyncAlways, nil
	case "off":
		return SyncOff, nil
	}
	return 0, fmt.Errorf("fsync mode %q: must be group, always or off", s)
}

// ErrClosed answers appends after Close.
var ErrClosed = errors.New("journal is closed")

// Options of a journal. The zero value is usable.
type Options struct {
	Sync   Sync
	Logger zerolog.Logger
	// CompactAfter is how many bytes of log make Tend compact when the
	// last snapshot was smaller than that; 0 means 64 MiB. With a larger
	// snapshot the log may grow to its size, so that compaction costs a
	// constant factor however large the state is.
	CompactAfter int64
	// FS is written through; nil means Disk.
	FS FS
}

// Journal is an open log. Its methods may be called from many goroutines.
type Journal struct {
	dir   string
	opt   Options
	lock  *Lock
	space *sync.Cond // signals the writer; guards what follows with mu

	mu        sync.Mutex
	pending   *batch
	newest    *batch // the last one that a record was put into
	closing   bool
	failed    error
	stalled   error      // why the writer waits for the disk, while it does
	rotation  chan error // non-nil: the writer must start a new log file and answer here
	logBytes  int64      // written since the last snapshot
	snapBytes int64
	segment   uint64 // number of the log file being written

	file   File   // owned by the writer
	offset int64  // end of the last good batch in file
	seq    uint64 // of the next batch

	compacting sync.Mutex
	tending    bool           // guarded by mu
	tender     sync.WaitGroup // Tend's compaction
	done       chan struct{}  // closed when the writer has ended
	dead       chan struct{}  // closed when it has failed
	hurry      chan struct{}  // closed: a full disk is waited for no longer
	hurryOnce  sync.Once
}

// batch is what one write(2) puts on disk; its records become durable together.
type batch struct {
	buf     []byte // header space, then records, each with a uvarint length
	records int
	done    chan struct{}
	err     error
}

func newBatch() *batch {
	return &batch{buf: make([]byte, batchHeader, 4096), done: make(chan struct{})}
}

// Commit is the durability of one appended record.
type Commit struct{ b *batch }

// Wait blocks until the record is durable as Options.Sync defines it.
func (c Commit) Wait() error {
	if c.b == nil {
		return nil
	}
	<-c.b.done
	return c.b.err
}

// WaitFor is Wait that ends with ctx.
func (c Commit) WaitFor(ctx context.Context) error {
	if c.b == nil {
		return nil
	}
	select {
	case <-c.b.done:
		return c.b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Open reads the journal in dir, calls replay for every record in order, and
// makes it ready for appends. replay must not keep its argument. With an empty
// dir nothing is kept and every append is durable at once.
//
// A torn end (the last write of a process or machine that died) is cut off
// with a warning; it was never acknowledged. Damage before the end is a
// *CorruptError. Only one process can hold a journal: *LockedError.
func Open(dir string, opt Options, replay func(record []byte) error) (*Journal, error) {
	if opt.CompactAfter == 0 {
		opt.CompactAfter = 64 << 20
	}
	if opt.FS == nil {
		opt.FS = Disk{}
	}
	j := &Journal{
		dir: dir, opt: opt, pending: newBatch(),
		done: make(chan struct{}), dead: make(chan struct{}), hurry: make(chan struct{}),
	}
	j.space = sync.NewCond(&j.mu)
	if dir == "" {
		close(j.done)
		return j, nil
	}
	if err := makeDir(opt.FS, dir); err != nil {
		return nil, fmt.Errorf("journal: create directory: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	j.lock = lock
	if err := j.recover(replay); err != nil {
		return nil, errors.Join(err, lock.Release())
	}
	go j.write()
	return j, nil
}

// Append adds a record and returns at once; the order of calls is the order in
// the log. Wait on the result before acknowledging to anyone.
func (j *Journal) Append(record []byte) Commit {
	if j.dir == "" {
		return Commit{}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.full() && j.failed == nil && !j.closing {
		j.space.Wait()
	}
	if err := j.failed; err != nil || j.closing {
		if err == nil {
			err = ErrClosed
		}
		b := newBatch()
		b.err = err
		close(b.done)
		return Commit{b}
	}
	b := j.pending
	b.buf = appendRecord(b.buf, record)
	b.records++
	j.newest = b
	if b.records == 1 {
		j.space.Broadcast() // others than the writer may wait too
	}
	return Commit{b}
}

// full reports whether the pending batch must be written before more joins it.
func (j *Journal) full() bool {
	return len(j.pending.buf) > maxBatch/2 || (j.opt.Sync == SyncAlways && j.pending.records > 0)
}

// Size is the number of bytes on disk: the last snapshot and the log since.
func (j *Journal) Size() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.snapBytes + j.logBytes
}

// outgrown reports whether the log has outgrown the state it describes.
func (j *Journal) outgrown() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.logBytes > max(j.opt.CompactAfter, j.snapBytes)
}

// Err returns why nothing can be written just now, if so: a full disk, which
// may pass, or what Failed tells of, which will not.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed != nil {
		return j.failed
	}
	return j.stalled
}

// Failed is closed when the journal has stopped for good; Err says why.
func (j *Journal) Failed() <-chan struct{} { return j.dead }

// Hurry ends the patience with a full disk: what cannot be written from now on
// fails, and with it the journal. For a process that is about to end.
func (j *Journal) Hurry() { j.hurryOnce.Do(func() { close(j.hurry) }) }

// Close writes what was appended, syncs it, and releases the directory. It
// does not wait for a full disk.
func (j *Journal) Close() error {
	defer j.tender.Wait() // one that has not begun will not
	j.Hurry()             // before the lock: a compaction may wait for the writer
	j.compacting.Lock()
	defer j.compacting.Unlock()
	j.mu.Lock()
	j.closing = true
	j.space.Broadcast()
	j.mu.Unlock()
	<-j.done
	if j.file == nil {
		return nil
	}
	errs := []error{j.failed}
	if j.failed == nil {
		errs = append(errs, j.file.Sync())
	}
	errs = append(errs, j.file.Close(), j.lock.Release())
	j.file = nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close journal %s: %w", j.dir, err)
	}
	return nil
}

// write is the one goroutine that touches the log file. It ends when Close is
// called or a write fails for good.
func (j *Journal) write() {
	defer close(j.done)
	for {
		j.mu.Lock()
		for j.pending.records == 0 && j.rotation == nil && !j.closing {
			j.space.Wait()
		}
		var b *batch
		if j.pending.records > 0 {
			b, j.pending = j.pending, newBatch()
			j.space.Broadcast() // an Append may wait for the fresh batch
		}
		rotation := j.rotation
		j.rotation = nil
		j.mu.Unlock()

		if b == nil && rotation == nil { // closing, all written
			return
		}
		var err error
		if b != nil {
			err = j.put(b)
			b.err, b.buf = err, nil // commits are kept longer than what they are about
			close(b.done)
		}
		if rotation != nil {
			if err == nil {
				err = j.rotate()
			}
			rotation <- err
			if errors.Is(err, errNotRotated) {
				err = nil // the log goes on in the old file
			}
		}
		if err != nil {
			j.fail(err)
			return
		}
	}
}

// fail makes the journal refuse everything: what is on disk after a failed
// write is not known, so the only safe way on is a restart, which reads it.
func (j *Journal) fail(err error) {
	j.opt.Logger.Error().Err(err).Str("dir", j.dir).Msg("journal stopped; restart to recover what is on disk")
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failed = fmt.Errorf("journal %s stopped: %w", j.dir, err)
	close(j.dead)
	j.pending.err = j.failed
	close(j.pending.done)
	if j.rotation != nil {
		j.rotation <- j.failed
		j.rotation = nil
	}
	j.space.Broadcast()
}

// put writes one batch and makes it durable. A full disk is waited out: nobody
// is acknowledged meanwhile and nothing is lost.
func (j *Journal) put(b *batch) error {
	sealBatch(b.buf, j.seq)
	for delay := 50 * time.Millisecond; ; delay = min(2*delay, 5*time.Second) {
		_, err := j.file.WriteAt(b.buf, j.offset)
		if err == nil && j.opt.Sync != SyncOff {
			if err = j.file.Sync(); err != nil && !isDiskFull(err) {
				return fmt.Errorf("fsync: %w", err) // never retried: the kernel may have dropped the pages
			}
		}
		if err == nil {
			break
		}
		if !isDiskFull(err) || j.hurried() {
			return fmt.Errorf("append %d bytes: %w", len(b.buf), err)
		}
		j.stall(err)
		j.opt.Logger.Error().Err(err).Str("dir", j.dir).Msg("disk full: waiting for space, nothing is acknowledged meanwhile")
		if err := j.file.Truncate(j.offset); err != nil {
			return fmt.Errorf("cut off a partial write: %w", err)
		}
		select {
		case <-time.After(delay):
		case <-j.hurry: // tries once more
		}
	}
	j.seq++
	j.offset += int64(len(b.buf))
	j.mu.Lock()
	j.stalled = nil
	j.logBytes += int64(len(b.buf))
	j.mu.Unlock()
	return nil
}

func (j *Journal) stall(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stalled = fmt.Errorf("journal %s waits for space: %w", j.dir, err)
}

func (j *Journal) hurried() bool {
	select {
	case <-j.hurry:
		return true
	default:
		return false
	}
}

// errNotRotated: there is no next log file, and no harm done.
var errNotRotated = errors.New("no new log file")

// rotate starts the next log file. The old one is synced first, so that only
// the newest file can have a torn end.
func (j *Journal) rotate() error {
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("sync log before rotation: %w", err)
	}
	name := logName(j.dir, j.segment+1)
	next, err := createFile(j.opt.FS, name, j.seq)
	if err != nil {
		if left := removeIfThere(j.opt.FS, name); left != nil { // it would make a torn end of the old one look like damage
			return errors.Join(err, left)
		}
		return fmt.Errorf("%w: %w", errNotRotated, err)
	}
	if err := errors.Join(j.opt.FS.SyncDir(j.dir), j.file.Close()); err != nil {
		return errors.Join(fmt.Errorf("rotate log: %w", err), next.Close())
	}
	j.file, j.offset = next, opening
	j.seq++
	j.mu.Lock()
	j.segment++
	j.logBytes = 0
	j.mu.Unlock()
	j.mark()
	return nil
}

// barrier waits until all that was appended is on disk: what a snapshot has
// seen must not be there without what happened before or together with it.
func (j *Journal) barrier() error {
	j.mu.Lock()
	b := j.newest
	j.mu.Unlock()
	if err := (Commit{b}).Wait(); err != nil {
		return err
	}
	if j.opt.Sync != SyncOff {
		return nil
	}
	return j.file.Sync() // only a compaction changes files, and Close waits for it
}

// Compact replaces the log by a snapshot of the state. It calls snapshot with
// an emit function; snapshot must emit records that rebuild the whole state as
// of any moment after Compact was called. Appends go on meanwhile, to a new
// log file that is replayed after the snapshot. If the process dies on the
// way, the old snapshot and all log files are still there.
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
	j.space.Broadcast()
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
	j.snapBytes = size
	j.mu.Unlock()
	return removeOlder(j.opt.FS, j.dir, upTo)
}

// Tend starts a Compact in the background if the log has outgrown the state
// and none is running. Close waits for it.
func (j *Journal) Tend(snapshot func(emit func(record []byte) error) error) {
	if !j.outgrown() {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.tending || j.closing || j.failed != nil {
		return
	}
	j.tending = true
	j.tender.Go(func() {
		if err := j.Compact(snapshot); err != nil && !errors.Is(err, ErrClosed) {
			j.opt.Logger.Warn().Err(err).Str("dir", j.dir).Msg("journal not compacted; it is tried again as it grows")
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		j.tending = false
	})
}
