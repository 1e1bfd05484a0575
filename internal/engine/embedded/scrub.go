package embedded

import (
	"errors"
	"os"

	bolt "go.etcd.io/bbolt"
)

// Scrub takes out of the files what was purged before it was called: the journal
// is written anew, and what the archive does not use any more is overwritten.
// Sagas go on meanwhile. It may be called again if it was cut off.
func (e *Engine) Scrub() error {
	return errors.Join(e.store.journal.Compact(e.store.snapshot), e.store.archive.scrub())
}

// scrub overwrites the pages that are free: bbolt leaves in them what they had.
// That takes a pass over all pages, and nobody reads meanwhile.
func (a *archive) scrub() error {
	if a == nil {
		return nil
	}
	a.readers.Lock()
	defer a.readers.Unlock()
	return guard(a.db.Path(), func() (err error) {
		f, err := os.OpenFile(a.db.Path(), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		// What a change gives up is only free after it; the page that says which are
		// free is of that kind, too.
		if err := a.db.Update(func(*bolt.Tx) error { return nil }); err != nil {
			return err
		}
		tx, err := a.db.Begin(true) // so that nobody writes to them
		if err != nil {
			return err
		}
		// It wrote nothing. A crash in between does no harm: what is overwritten
		// belongs to no tree that bbolt would open.
		defer func() { err = errors.Join(err, tx.Rollback()) }()
		zeros := make([]byte, a.db.Info().PageSize)
		for id := 0; ; id++ {
			page, err := tx.Page(id)
			if err != nil || page == nil {
				return errors.Join(err, f.Sync())
			}
			if page.Type == "free" {
				if _, err := f.WriteAt(zeros, int64(id)*int64(len(zeros))); err != nil {
					return err
				}
				continue
			}
			id += page.OverflowCount
		}
	})
}
