package embedded

import (
	"errors"
	"os"

	bolt "go.etcd.io/bbolt"
)

// Scrub erases from the files what was purged before the call: it rewrites the
// journal, and overwrites the archive's unused pages. Sagas continue meanwhile.
// After an interruption it can be called again.
func (e *Engine) Scrub() error {
	return errors.Join(e.store.journal.Compact(e.store.snapshot), e.store.archive.scrub())
}

// scrub overwrites the free pages, because bbolt does not clear their content. It
// passes over all pages; reads wait meanwhile.
func (a *archive) scrub() error {
	if a == nil {
		return nil
	}
	a.readers.Lock()
	defer a.readers.Unlock()
	return withDamageAsError(a.db.Path(), func() (err error) {
		f, err := os.OpenFile(a.db.Path(), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		// Pages that a change releases, the list of free pages among them, become
		// free only with the next change.
		if err := a.db.Update(func(*bolt.Tx) error { return nil }); err != nil {
			return err
		}
		tx, err := a.db.Begin(true) // excludes writers
		if err != nil {
			return err
		}
		// The transaction writes nothing. A crash is harmless: the overwritten pages
		// belong to no tree that bbolt would open.
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
