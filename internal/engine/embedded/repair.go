package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/journal"
)

// Report is what Verify found, or Repair left.
type Report struct {
	Files  []journal.FileInfo
	Damage []journal.Damage // in the order of the files
	// Live sagas, those of them that wait, and ended ones that can be read.
	Live, Waiting, Ended int
	Archive              ArchiveReport // in which most of the ended are

	LostBytes   int64 // in damage, but for a torn end, and in no record that could be saved
	LostRecords int   // missing from the logs, as far as the numbers of those around them tell
	// Behind are sagas that go on from before the damage, as their records
	// behind it build on lost ones; they repeat steps that they have done, and
	// wait anew for events that they have had.
	Behind []string
	// Gone are sagas of which there is something behind the damage or in it,
	// but no beginning.
	Gone []string
	// Named are sagas that are whole as far as can be seen, but of which a
	// change was in the damage.
	Named []string

	Backup string // where Repair has put the files as they were; "": nothing was done
}

// Intact reports whether an engine starts with this state and nothing
// acknowledged is missing: a torn end is no damage.
func (r Report) Intact() bool { return r.Archive.Damage == "" && !slices.ContainsFunc(r.Damage, hole) }

// Room is how much of the disk Repair takes at most, besides what is used now.
func (r Report) MaxRepairBytes() (bytes int64) {
	if len(r.Damage) > 0 {
		for _, f := range r.Files {
			bytes += 2 * f.Bytes // the copy and the new snapshot
		}
	}
	if r.Archive.Damage != "" {
		bytes += r.Archive.Bytes
	}
	return bytes
}

func hole(d journal.Damage) bool { return !d.Torn }

// Verify reads the state of an engine that is not running.
// *journal.LockedError if it runs.
func Verify(dir string) (Report, error) {
	held, err := journal.Hold(dir)
	if err != nil {
		return Report{}, fmt.Errorf("verify engine state: %w", err)
	}
	r, _, err := inspect(held, dir)
	return r, errors.Join(err, held.Release())
}

// Repair makes the state of an engine that is not running one that it starts
// with: a torn end is cut off; of damage elsewhere, all records that check are
// saved and each saga is taken to the last state from which nothing is
// missing. The files as they were are copied beside dir before.
// The report tells what was, with what is lost.
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
	if r.Backup, err = held.Backup(); err != nil {
		return r, err
	}
	switch {
	case len(r.Damage) == 0:
	case !slices.ContainsFunc(r.Damage, hole) && r.Damage[0].Offset > 0:
		err = held.Cut(r.Damage[0])
	default:
		err = held.Replace(s.snapshot)
	}
	if err == nil && r.Archive.Damage != "" {
		err = repairArchive(dir, r.Backup)
	}
	if err != nil {
		return r, fmt.Errorf("%w; the files as they were are in %s", err, r.Backup)
	}
	after, _, err := inspect(held, dir)
	if err == nil && after.Archive.Damage != "" {
		err = fmt.Errorf("the new archive is damaged: %s", after.Archive.Damage)
	}
	if err == nil && (len(after.Damage) > 0 || after.Live != r.Live || after.Ended != r.Ended) {
		err = fmt.Errorf("repaired state differs from what was saved: %d damages, %d live and %d ended sagas; the files as they were are in %s",
			len(after.Damage), after.Live, after.Ended, r.Backup)
	}
	return r, err
}

// rescue replays what can be saved.
type rescue struct {
	s                   *store
	report              *Report
	behind, gone, named map[string]bool
	last                uint64 // sequence number of the log's last record; 0: not known
	holed               bool   // damage was before
}

func inspect(held *journal.Held, dir string) (Report, *store, error) {
	var r Report
	v := &rescue{s: newStore(zerolog.Nop()), report: &r, behind: map[string]bool{}, gone: map[string]bool{}, named: map[string]bool{}}
	var err error
	if r.Files, err = held.Inspect(journal.Visitor{Record: v.record, Damage: v.damage}); err != nil {
		return r, nil, err
	}
	v.s.instances.Scan(func(id string, i *instance) bool {
		delete(v.gone, id)
		i.rebuilt()
		v.s.count(i)
		if i.ended() {
			r.Ended++
		}
		return true
	})
	for id := range v.named {
		if v.s.seqOf(id) == 0 {
			v.gone[id] = true
		}
		if v.gone[id] || v.behind[id] {
			delete(v.named, id)
		}
	}
	r.Live, r.Waiting = v.s.live, v.s.waiting
	r.Archive, err = readArchive(filepath.Join(dir, archiveName), func(e ended) error {
		if v.s.seqOf(e.id) == 0 { // else it goes over just now, or was begun anew
			r.Ended++
		}
		return nil
	})
	if err != nil {
		return r, nil, err
	}
	for ids, to := range map[*map[string]bool]*[]string{&v.behind: &r.Behind, &v.gone: &r.Gone, &v.named: &r.Named} {
		*to = slices.Sorted(maps.Keys(*ids))
	}
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
			v.named[id] = true
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
	whole := true // a record takes effect as one: else a parent would go on without what it sent
	for _, o := range ops {
		whole = whole && !v.builtOnSand(seq, o)
	}
	for _, o := range ops {
		switch {
		case whole && !o.builds():
			delete(v.behind, o.id)
			delete(v.gone, o.id)
			delete(v.named, o.id)
		case v.holed && v.s.seqOf(o.id) == 0:
			v.gone[o.id] = true
		case !whole && o.builds() && !v.s.stale(seq, o):
			v.behind[o.id] = true
		}
	}
	if whole {
		v.s.apply(seq, ops)
	}
	return nil
}

// builtOnSand reports whether what an operation builds on is not known to be
// there.
func (v *rescue) builtOnSand(seq uint64, o op) bool {
	at := v.s.seqOf(o.id)
	return v.holed && o.builds() && at > 0 && o.prev != at && !v.s.stale(seq, o)
}

// idsIn reads the ids at the beginning of a piece of a damaged file, if a
// record begins there.
func idsIn(piece []byte) []string {
	_, n := binary.Uvarint(piece)
	if n <= 0 || len(piece) < n+4 {
		return nil
	}
	return operationIDs(piece[n+4:])
}

func operationIDs(b []byte) (ids []string) {
	number := func() (uint64, bool) {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return 0, false
		}
		b = b[n:]
		return v, true
	}
	_, ok := number()
	for ok && len(b) > 1 {
		kind := b[0]
		b = b[1:]
		if kind&chained != 0 {
			_, ok = number()
		}
		size, sized := number()
		if k := opKind(kind &^ chained); !ok || !sized || k < opCreate || k > opState || size == 0 || size > min(256, uint64(len(b))) {
			break
		}
		id := string(b[:size])
		if slices.ContainsFunc([]rune(id), func(r rune) bool { return r < ' ' || r > '~' }) {
			break
		}
		ids, b = append(ids, id), b[size:]
		if size, ok = number(); !ok || size > uint64(len(b)) {
			break
		}
		b = b[size:]
	}
	return ids
}
