package journal

import (
	"bytes"
	"errors"
	"slices"
)

// Report describes the state of a journal, as Verify found it or as Repair found
// it before the repair.
type Report struct {
	Files     []FileInfo
	Leftovers []FileInfo // of a crash; nothing reads them, and the next start removes them
	Damage    []Damage   // in the order of the files
	Records   int        // readable ones
	LostBytes int64      // in damage other than a torn end, and in no record that could be saved
	Backup    string     // directory of Repair's copy of the original files; "" if nothing was changed
}

// Intact reports whether the journal opens and nothing acknowledged is missing.
// A torn end is not damage.
func (r Report) Intact() bool {
	return !slices.ContainsFunc(r.Damage, func(d Damage) bool { return !d.Torn })
}

// MaxRepairBytes returns how much more disk space Repair needs at most: for the
// copy, and for the files' replacement.
func (r Report) MaxRepairBytes() (bytes int64) {
	if len(r.Damage) > 0 {
		for _, f := range r.Files {
			bytes += 2 * f.Bytes
		}
	}
	return bytes
}

// Verify reads and checks the journal in dir without changing it. The error is a
// *LockedError if a process has it open.
func Verify(dir string) (r Report, err error) {
	h, err := Hold(dir)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, h.Release()) }()
	return h.report(func([]byte) {})
}

// Repair makes a damaged journal openable again, with all valid records. It is
// for states whose records are independent of each other, as those of the local
// AWS endpoint and of the simulators are: a key whose record is lost has its
// previous value afterwards. The original files are copied to a directory next
// to dir first. The error is a *LockedError if a process has the journal open.
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
	r.Backup, err = h.Backup()
	if err != nil {
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
	r.Leftovers, err = h.Leftovers()
	if err != nil {
		return r, err
	}
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
