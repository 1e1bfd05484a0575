package journal

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// Group commit: Append only adds to the pending batch. One goroutine, the
// writer, takes the whole batch, writes it with one write(2) and one fsync,
// and then wakes everyone who waits for one of its records. Records that
// arrive meanwhile collect in the next batch. So the number of fsyncs depends
// on the disk, not on the number of callers.

// batch has the records of one write(2); they become durable together.
type batch struct {
	buf     []byte // room for the header, then records, each with a uvarint length
	records int
	done    chan struct{} // closed when the batch is durable, or has failed
	err     error         // valid once done is closed
}

func newBatch() *batch {
	return &batch{buf: make([]byte, batchHeader, 4096), done: make(chan struct{})}
}

// Commit represents the durability of one appended record. The zero value is
// durable. Commits are comparable: equal ones become durable together.
type Commit struct{ b *batch }

// Wait blocks until the record is durable as Options.Sync defines it, and
// returns the error if it never will be.
func (c Commit) Wait() error {
	if c.b == nil {
		return nil
	}
	<-c.b.done
	return c.b.err
}

// WaitFor is Wait bounded by ctx: it returns ctx.Err() when ctx ends first.
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

// WaitAll waits until everything that was appended so far is durable. State in
// memory changes before its record is durable, so call it between reading that
// state and any response that shows it, also of a read or a failed condition. It costs nothing
// when nothing is pending. The error is that of a write, or ctx's.
func (j *Journal) WaitAll(ctx context.Context) error {
	j.mu.Lock()
	c := Commit{b: j.newest}
	j.mu.Unlock()
	err := c.WaitFor(ctx)
	if err != nil && ctx.Err() != nil {
		return errors.Join(err, j.Err())
	}
	return err
}

// WaitForSpace waits while the disk is full. Call it before changing the state in
// memory: a request that ends meanwhile has then changed nothing, and those that are
// repeated do not fill the pending batch. The errors are those of WaitAll.
func (j *Journal) WaitForSpace(ctx context.Context) error {
	if j.Err() == nil {
		return nil
	}
	return j.WaitAll(ctx)
}

// errStopped is Watch's error. Close returns the cause.
var errStopped = errors.New("stopped: its journal cannot be written")

// Watch waits until ctx ends, or returns an error once the journal has failed: memory
// is then ahead of the disk, and only a restart makes them equal again. After ctx has
// ended, writes no longer wait for space on a full disk.
func (j *Journal) Watch(ctx context.Context) error {
	select {
	case <-ctx.Done():
		j.StopWaiting()
		return nil
	case <-j.failure:
		return errStopped
	}
}

// full reports whether the pending batch must be written before more joins it. It
// never is once the journal rejects appends.
func (j *Journal) full() bool {
	if j.dir == "" || j.failed != nil || j.closing {
		return false
	}
	return len(j.pending.buf) > maxBatch/2 || (j.opt.Sync == SyncAlways && j.pending.records > 0)
}

// roomAgain returns a channel that is closed when full may have become false. The
// caller holds mu.
func (j *Journal) roomAgain() <-chan struct{} {
	if j.room == nil {
		j.room = make(chan struct{})
	}
	return j.room
}

// madeRoom wakes those that wait for roomAgain. The caller holds mu.
func (j *Journal) madeRoom() {
	if j.room != nil {
		close(j.room)
		j.room = nil
	}
}

// Durable reports, without waiting, whether the record is durable.
func (c Commit) Durable() bool {
	if c.b == nil {
		return true
	}
	select {
	case <-c.b.done:
		return c.b.err == nil
	default:
		return false
	}
}

// writeLoop is the writer, the one goroutine that touches the log file. It
// returns after Close, or when a write fails permanently.
func (j *Journal) writeLoop() {
	defer close(j.writerDone)
	for {
		b, rotation := j.nextWork()
		if b == nil && rotation == nil { // closing, and everything is written
			return
		}
		var err error
		if b != nil {
			err = j.writeBatch(b)
			b.err, b.buf = err, nil // callers keep Commits: do not let them keep the bytes
			close(b.done)
		}
		if rotation != nil {
			if err == nil {
				err = j.rotate()
			}
			rotation <- err
			if errors.Is(err, errNotRotated) {
				err = nil // the log continues in the old file
			}
		}
		if err != nil {
			j.fail(err)
			return
		}
	}
}

// nextWork blocks until there is a batch to write, a rotation to do, or
// neither because the journal closes.
func (j *Journal) nextWork() (*batch, chan error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.pending.records == 0 && j.rotation == nil && !j.closing {
		j.wakeWriter.Wait()
	}
	// What can run now may append: more records per fsync.
	j.mu.Unlock()
	runtime.Gosched()
	j.mu.Lock()
	var b *batch
	if j.pending.records > 0 {
		b, j.pending = j.pending, newBatch()
		j.madeRoom()
	}
	rotation := j.rotation
	j.rotation = nil
	return b, rotation
}

// fail makes the journal reject everything. What a failed write left on disk
// is unknown, so the only safe continuation is a restart, which reads it.
func (j *Journal) fail(err error) {
	j.opt.Logger.Error().Err(err).Str("dir", j.dir).Msg("journal stopped; restart the process to recover what is on disk")
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failed = fmt.Errorf("journal %s stopped: %w", j.dir, err)
	close(j.failure)
	j.pending.err = j.failed
	close(j.pending.done)
	if j.rotation != nil {
		j.rotation <- j.failed
		j.rotation = nil
	}
	j.madeRoom()
}

// writeBatch writes one batch and makes it durable. While the disk is full it
// waits and retries: nothing is acknowledged meanwhile, and nothing is lost.
func (j *Journal) writeBatch(b *batch) error {
	sealBatch(b.buf, j.seq)
	for delay := 50 * time.Millisecond; ; delay = min(2*delay, 5*time.Second) {
		_, err := j.file.WriteAt(b.buf, j.offset)
		if err == nil {
			err = j.zeroAhead(j.offset + int64(len(b.buf)))
		}
		if err == nil && j.opt.Sync != SyncOff {
			if err = j.file.Sync(); err != nil && !isDiskFull(err) {
				return fmt.Errorf("fsync: %w", err) // never retried: the kernel may have dropped the pages
			}
		}
		if err == nil {
			break
		}
		if !isDiskFull(err) || j.noZeros && j.mustNotWait() { // otherwise once more without zeros
			return fmt.Errorf("append %d bytes: %w", len(b.buf), err)
		}
		j.noZeros = true
		j.setWaitingForSpace(err)
		j.opt.Logger.Error().Err(err).Str("dir", j.dir).
			Msg("disk full: the journal waits for space and acknowledges nothing; free space on this disk")
		if err := j.cutOff(j.offset); err != nil {
			return fmt.Errorf("cut off a partial write: %w", err)
		}
		select {
		case <-time.After(delay):
		case <-j.stopWaiting: // one last attempt
		}
	}
	j.seq++
	j.offset += int64(len(b.buf))
	j.mu.Lock()
	j.waitingForSpace = nil
	j.logBytes += int64(len(b.buf))
	j.mu.Unlock()
	return nil
}

// zeros are what zeroAhead writes.
var zeros [1 << 20]byte

// zeroAhead writes zeros from end, that of the batch to be synced, if it is beyond those
// written before: as many as the log has bytes, within limits. Later batches replace them.
// To sync those takes half as long, because the file neither grows nor gets new blocks
// (docs/benchmarks.md). If they cannot be written, as on a full disk, this log gets none.
func (j *Journal) zeroAhead(end int64) error {
	const atLeast = 64 << 10
	if j.opt.Sync == SyncOff || j.noZeros || end <= j.zeroed {
		return nil
	}
	n := min(max(end, atLeast), int64(len(zeros)))
	j.zeroed = end + n
	_, err := j.file.WriteAt(zeros[:n], end)
	if err != nil {
		j.noZeros = true
		return j.cutOff(end)
	}
	return nil
}

// cutOff ends the file at end, without zeros.
func (j *Journal) cutOff(end int64) error {
	j.zeroed = 0
	return j.file.Truncate(end)
}

func (j *Journal) setWaitingForSpace(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.waitingForSpace = fmt.Errorf("journal %s waits for space: %w", j.dir, err)
}

func (j *Journal) mustNotWait() bool {
	select {
	case <-j.stopWaiting:
		return true
	default:
		return false
	}
}
