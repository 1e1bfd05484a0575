package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/journal"
)

// Report describes the state of an engine, as Verify found it or as Repair found
// it before the repair.
type Report struct {
	Files     []journal.FileInfo
	Leftovers []journal.FileInfo // of a crash; nothing reads them, and the next start removes them
	Damage    []journal.Damage   // in the order of the files
	// Live counts running sagas, Waiting those of them that are idle, and Ended
	// the readable ended ones.
	Live, Waiting, Ended int
	Archive              ArchiveReport // has most of the ended sagas

	LostBytes   int64 // in damage other than a torn end, and in no record that could be saved
	LostRecords int   // missing from the logs, as far as their sequence numbers show
	// RolledBack lists sagas that continue from before the damage, because their
	// records behind it build on lost ones. They repeat steps that they have done,
	// and wait again for events that they have received.
	RolledBack []string
	// Lost lists sagas of which there are records behind or in the damage, but no
	// beginning.
	Lost []string
	// Uncertain lists sagas that appear complete, but of which a record was in the
	// damage.
	Uncertain []string

	Backup string // directory of Repair's copy of the original files; "" if nothing was changed
}

// Intact reports whether an engine starts with this state and nothing
// acknowledged is missing. A torn end is not damage.
func (r Report) Intact() bool {
	return r.Archive.Damage == "" && !slices.ContainsFunc(r.Damage, isHole)
}

// MaxRepairBytes returns how much more disk space Repair needs at most.
func (r Report) MaxRepairBytes() (bytes int64) {
	var files int64
	for _, f := range r.Files {
		files += f.Bytes
	}
	if len(r.Damage) > 0 {
		bytes += files // the new snapshot
	}
	if r.Archive.Damage != "" {
		bytes += r.Archive.Bytes
	}
	if len(r.Damage) > 0 || r.Archive.Damage != "" {
		bytes += files // the copy
	}
	return bytes
}

// isHole reports whether damage is more than a torn end.
func isHole(d journal.Damage) bool { return !d.Torn }

// Verify reads and checks the state of an engine in dir without changing it. The
// error wraps a *journal.LockedError if the engine is running.
func Verify(dir string) (Report, error) {
	held, err := journal.Hold(dir)
	if err != nil {
		return Report{}, fmt.Errorf("verify engine state: %w", err)
	}
	r, _, err := inspect(held, dir)
	return r, errors.Join(err, held.Release())
}

// Repair makes an engine's damaged state in dir openable again. It cuts off a
// torn end. Of other damage it saves all valid records, and restores each saga to
// its last state without a missing record. It first copies the original files to
// a directory next to dir. The report describes the state before the repair, and
// what is lost. The error wraps a *journal.LockedError if the engine is running.
func Repair(dir string) (Report, error) {
	held, err := journal.Hold(dir)
	if err != nil {
		return Report{}, fmt.Errorf("repair engine state: %w", err)
	}
	r, err := repair(held, dir)
	return r, errors.Join(err, held.Release())
}

func repair(held *journal.Held, dir string) (Report, error) {
	r, s, err := inspect(held, dir)
	if err != nil || len(r.Damage) == 0 && r.Archive.Damage == "" {
		return r, err
	}
	r.Backup, err = held.Backup()
	if err != nil {
		return r, err
	}
	switch {
	case len(r.Damage) == 0: // only the archive is damaged
	case !slices.ContainsFunc(r.Damage, isHole) && r.Damage[0].Offset > 0:
		err = held.Cut(r.Damage[0])
	default:
		err = held.Replace(s.snapshot)
	}
	if err == nil && r.Archive.Damage != "" {
		err = repairArchive(dir, r.Backup)
	}
	if err != nil {
		return r, fmt.Errorf("%w; the original files are in %s", err, r.Backup)
	}
	after, _, err := inspect(held, dir)
	if err == nil && after.Archive.Damage != "" {
		err = fmt.Errorf("the new archive is damaged: %s", after.Archive.Damage)
	}
	if err == nil && (len(after.Damage) > 0 || after.Live != r.Live || after.Ended != r.Ended) {
		err = fmt.Errorf("repaired state differs from what was saved: %d damages, %d live and %d ended sagas; the original files are in %s",
			len(after.Damage), after.Live, after.Ended, r.Backup)
	}
	return r, err
}

// rescue replays into s what can be saved of a damaged journal.
type rescue struct {
	s                           *store
	report                      *Report
	rolledBack, lost, uncertain map[string]bool
	last                        uint64 // sequence number of the log's last record; 0 if not known
	holed                       bool   // there was damage before the current record
}

func inspect(held *journal.Held, dir string) (Report, *store, error) {
	var r Report
	v := &rescue{
		s: newStore(zerolog.Nop()), report: &r,
		rolledBack: map[string]bool{}, lost: map[string]bool{}, uncertain: map[string]bool{},
	}
	var err error
	r.Leftovers, err = held.Leftovers()
	if err != nil {
		return r, nil, err
	}
	r.Files, err = held.Inspect(journal.Visitor{Record: v.record, Damage: v.damage})
	if err != nil {
		return r, nil, err
	}
	v.s.instances.Scan(func(id string, i *instance) bool {
		delete(v.lost, id)
		i.rebuildState()
		v.s.count(i)
		if i.ended() {
			r.Ended++
		}
		return true
	})
	for id := range v.uncertain {
		if v.s.seqOf(id) == 0 {
			v.lost[id] = true
		}
		if v.lost[id] || v.rolledBack[id] {
			delete(v.uncertain, id)
		}
	}
	r.Live, r.Waiting = v.s.live, v.s.waiting
	r.Archive, err = readArchive(filepath.Join(dir, archiveName), v.s.archiveMarked, func(e archivedSaga) error {
		if v.s.seqOf(e.id) == 0 { // otherwise it was being archived, or its id was started again
			r.Ended++
		}
		return nil
	})
	if err != nil {
		return r, nil, err
	}
	r.RolledBack = slices.Sorted(maps.Keys(v.rolledBack))
	r.Lost = slices.Sorted(maps.Keys(v.lost))
	r.Uncertain = slices.Sorted(maps.Keys(v.uncertain))
	return r, v.s, nil
}

func (v *rescue) damage(d journal.Damage, lost [][]byte) {
	v.report.Damage = append(v.report.Damage, d)
	if d.Torn {
		return
	}
	v.holed = true
	for _, piece := range lost {
		v.report.LostBytes += int64(len(piece))
		for _, id := range idsIn(piece) {
			v.uncertain[id] = true
		}
	}
}

func (v *rescue) record(b []byte, logged bool) error {
	seq, ops, err := decodeRecord(b)
	if err != nil {
		return err
	}
	if logged {
		if v.last > 0 && seq > v.last+1 && v.holed {
			v.report.LostRecords += int(seq - v.last - 1)
		}
		v.last = seq
	}
	v.s.seq = max(v.s.seq, seq)
	whole := true // a record takes effect as a unit: otherwise a parent would continue without what it sent
	for _, o := range ops {
		whole = whole && !v.lacksPredecessor(seq, o)
	}
	for _, o := range ops {
		switch {
		case o.kind == opArchive: // of no saga
		case whole && !o.builds():
			delete(v.rolledBack, o.id)
			delete(v.lost, o.id)
			delete(v.uncertain, o.id)
		case v.holed && v.s.seqOf(o.id) == 0:
			v.lost[o.id] = true
		case !whole && o.builds() && !v.s.stale(seq, o):
			v.rolledBack[o.id] = true
		}
	}
	if whole {
		v.s.apply(seq, ops)
	}
	return nil
}

// lacksPredecessor reports whether what an operation builds on is not known to be
// there.
func (v *rescue) lacksPredecessor(seq uint64, o op) bool {
	at := v.s.seqOf(o.id)
	return v.holed && o.builds() && at > 0 && o.prev != at && !v.s.stale(seq, o)
}

// idsIn returns the ids at the beginning of a fragment of a damaged file, if a
// record begins there.
func idsIn(piece []byte) []string {
	_, n := binary.Uvarint(piece)
	if n <= 0 || len(piece) < n+4 {
		return nil
	}
	return operationIDs(piece[n+4:])
}

// operationIDs returns the ids of a damaged record's operations, as far as they
// look like operations.
func operationIDs(b []byte) (ids []string) {
	r := &recordReader{left: b}
	format, seq, more := r.header()
	for r.err == nil && more(len(ids)) {
		o := r.op(format, seq)
		cutOff := o.raw == nil // the fragment may end in the payload
		if o.kind < opCreate || o.kind > opState || o.id == "" || len(o.id) > 256 ||
			strings.ContainsFunc(o.id, func(c rune) bool { return c < ' ' || c > '~' }) {
			break
		}
		ids = append(ids, o.id)
		if cutOff {
			break
		}
	}
	return ids
}
