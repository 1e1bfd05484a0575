package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/rs/zerolog"
)

// Sync defines when a record counts as durable. The zero value is SyncGroup.
type Sync int

const (
	// SyncGroup acknowledges a record after an fsync that covers it. Records
	// that arrive during one fsync share the next. Survives power loss.
	SyncGroup Sync = iota
	// SyncAlways gives each record its own fsync. It has the same guarantee as
	// SyncGroup and is slower; it exists for comparison.
	SyncAlways
	// SyncOff acknowledges a record after write(2). Survives a crash of the
	// process at any instant, but not power loss.
	SyncOff
)

// ParseSync parses a value of the --fsync flag: group, always or off.
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

// ErrClosed is the error of appends and compactions after Close.
var ErrClosed = errors.New("journal is closed")

// Options configures a Journal. The zero value is valid.
type Options struct {
	Sync   Sync           // when a record counts as durable
	Logger zerolog.Logger // the zero value discards everything
	// CompactAfter is the size of the log, in bytes, from which
	// CompactIfNeeded compacts; 0 means 64 MiB. If the last snapshot is larger
	// than that, the log may grow to the snapshot's size, so that compaction
	// costs a constant factor however large the state is.
	CompactAfter int64
	// FS is the file system that the journal writes to; nil means Disk.
	FS FS
}

// Journal is an open log. All methods are safe for concurrent use.
type Journal struct {
	dir  string // "" keeps nothing
	opt  Options
	lock *Lock

	// mu guards the fields up to backgroundCompaction. wakeWriter is signaled
	// when the writer has work.
	mu                   sync.Mutex
	wakeWriter           *sync.Cond
	pending              *batch        // collects records for the next write
	newest               *batch        // the last batch that got a record, or the refusal of one
	room                 chan struct{} // closed when full may have become false; nil if none waits for that
	closing              bool
	failed               error      // permanent
	waitingForSpace      error      // why the writer waits for a full disk; nil if it does not
	rotation             chan error // non-nil: the writer must start a new log file and send the result here
	logBytes             int64      // of the log file in use; after a start, of all logs
	oldLogBytes          int64      // of the logs before it that no snapshot has replaced yet
	snapBytes            int64      // size of the last snapshot
	segment              uint64     // number of the log file in use
	backgroundCompaction bool       // CompactIfNeeded has one running

	// Owned by the writer's goroutine, once Open has started it.
	file    File
	offset  int64  // end of the last good batch in file
	zeroed  int64  // end of the zeros after it; less than offset if there are none
	noZeros bool   // the file gets none: there was no room
	seq     uint64 // of the next batch

	compacting      sync.Mutex     // held during Compact and Close
	compactions     sync.WaitGroup // background compactions
	writerDone      chan struct{}  // closed when the writer has returned
	failure         chan struct{}  // closed when the journal has failed
	stopWaiting     chan struct{}  // closed when a full disk is no longer waited for
	stopWaitingOnce sync.Once
}

// Open reads the journal in dir, calls replay for every record in order, and
// prepares it for appends. replay must not retain its argument. With dir ""
// nothing is kept and every append counts as durable at once.
//
// A torn end (the last write before a crash or power loss) is cut off with a
// warning; it was never acknowledged. Damage before the end is a
// *CorruptError. If another process has the journal open, the error is a
// *LockedError.
func Open(dir string, opt Options, replay func(record []byte) error) (*Journal, error) {
	if opt.CompactAfter == 0 {
		opt.CompactAfter = 64 << 20
	}
	if opt.FS == nil {
		opt.FS = Disk{}
	}
	j := &Journal{
		dir: dir, opt: opt, pending: newBatch(),
		writerDone: make(chan struct{}), failure: make(chan struct{}), stopWaiting: make(chan struct{}),
	}
	j.wakeWriter = sync.NewCond(&j.mu)
	if dir == "" {
		close(j.writerDone)
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
	go j.writeLoop()
	return j, nil
}

// Append adds a record to the pending batch and returns without waiting for
// the disk. The order of calls is the order in the log. Call Wait on the
// result before you acknowledge the change to anyone. Append blocks only while
// the pending batch is full, see LockWithRoom. Its errors are returned by
// Commit.Wait: ErrClosed, or the reason for which the journal has failed.
func (j *Journal) Append(record []byte) Commit {
	if j.dir == "" {
		return Commit{}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.full() {
		room := j.roomAgain()
		j.mu.Unlock()
		<-room
		j.mu.Lock()
	}
	if err := j.failed; err != nil || j.closing {
		if err == nil {
			err = ErrClosed
		}
		b := newBatch()
		b.err = err
		close(b.done)
		j.newest = b // what memory now has is not on disk: WaitAll must return that
		return Commit{b: b}
	}
	b := j.pending
	b.buf = appendRecord(b.buf, record)
	b.records++
	j.newest = b
	if b.records == 1 {
		j.wakeWriter.Signal()
	}
	return Commit{b: b}
}

// LockWithRoom locks l, the lock under which the caller appends, at a moment when
// the pending batch is not full, so that the next Append does not block. While
// the disk is full, the batch may stay full: LockWithRoom then waits without the
// lock, until ctx ends, and returns ctx.Err(). All appends must be made under l.
func (j *Journal) LockWithRoom(ctx context.Context, l sync.Locker) error {
	for {
		l.Lock()
		j.mu.Lock()
		if !j.full() {
			j.mu.Unlock()
			return nil
		}
		room := j.roomAgain()
		j.mu.Unlock()
		l.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Size returns the bytes on disk: the last snapshot and the logs since. Up to 1 MiB more
// is taken by zeros, which the next records replace.
func (j *Journal) Size() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.snapBytes + j.oldLogBytes + j.logBytes
}

// Err returns why nothing can be written at the moment, or nil. A full disk is
// temporary. The error that closes Failed is permanent.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed != nil {
		return j.failed
	}
	return j.waitingForSpace
}

// Failed returns a channel that is closed when the journal has stopped
// permanently; Err then returns the reason.
func (j *Journal) Failed() <-chan struct{} { return j.failure }

// StopWaiting ends the wait for space on a full disk. From then on a write
// that finds the disk full fails, and the journal with it. Call it when the
// process is about to exit; calling it again has no effect.
func (j *Journal) StopWaiting() { j.stopWaitingOnce.Do(func() { close(j.stopWaiting) }) }

// Close writes and syncs what was appended, and releases the directory. It
// does not wait for space on a full disk. Calling it again has no effect.
func (j *Journal) Close() error {
	defer j.compactions.Wait() // one that has not started will not
	j.StopWaiting()            // before the lock: a compaction may wait for the writer
	j.compacting.Lock()
	defer j.compacting.Unlock()
	j.mu.Lock()
	j.closing = true
	j.wakeWriter.Signal()
	j.madeRoom()
	j.mu.Unlock()
	<-j.writerDone
	if j.file == nil {
		return nil
	}
	errs := []error{j.failed}
	if j.failed == nil {
		errs = append(errs, j.cutOff(j.offset), j.file.Sync())
	}
	errs = append(errs, j.file.Close(), j.lock.Release())
	j.file = nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close journal %s: %w", j.dir, err)
	}
	return nil
}
