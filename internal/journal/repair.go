package journal

import (
	"bytes"
	"errors"
	"slices"
)

// Report is what Verify found in a journal, or Repair left.
type Report struct {
	Files     []FileInfo
	Damage    []Damage // in the order of the files
	Records   int      // that can be read
	LostBytes int64    // in damage, but for a torn end, and in no record that could be saved
	Backup    string   // where Repair has put the files as they were; "": nothing was done
}

// Intact reports whether a start takes the journal and nothing acknowledged is
// missing: a torn end is no damage.
func (r Report) Intact() bool {
	return !slices.ContainsFunc(r.Damage, func(d Damage) bool { return !d.Torn })
}

// Room is how much of the disk Repair takes at most, besides what is used now:
// for a copy, and for what is put in the place of the files.
func (r Report) Room() (bytes int64) {
	if len(r.Damage) > 0 {
		for _, f := range r.Files {
			bytes += 2 * f.Bytes
		}
	}
	return bytes
}

// Verify reads a journal that no process has. *LockedError if one does.
func Verify(dir string) (r Report, err error) {
	h, err := Hold(dir)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, h.Release()) }()
	return h.report(func([]byte) {})
}

// Repair makes of a damaged journal one that opens, with all records that
// check: for states whose records stand for themselves, as those of the local
// AWS endpoint and of the simulators do. What a lost record had changed is then
// as it was before. The files as they were are copied beside dir.
func Repair(dir string) (r Report, err error) {
	h, err := Hold(dir)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, h.Release()) }()
	var records [][]byte
	r, err = h.report(func(b []byte) { records = append(records, bytes.Clone(b)) })
	if err != nil || len(r.Damage) == 0 {
		return r, err
	}
	if r.Backup, err = h.Backup(); err != nil {
		return r, err
	}
	if r.Intact() && r.Damage[0].Offset > 0 {
		return r, h.Cut(r.Damage[0])
	}
	return r, h.Replace(func(emit func([]byte) error) error {
		for _, b := range records {
			if err := emit(b); err != nil {
				return err
			}
		}
		return nil
	})
}

func (h *Held) report(record func([]byte)) (r Report, err error) {
	r.Files, err = h.Inspect(Visitor{
		Record: func(b []byte, _ bool) error {
			r.Records++
			record(b)
			return nil
		},
		Damage: func(d Damage, lost [][]byte) {
			r.Damage = append(r.Damage, d)
			for _, piece := range lost {
				if !d.Torn {
					r.LostBytes += int64(len(piece))
				}
			}
		},
	})
	return r, err
}
