package embedded

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/ordersaga/ordersaga/internal/journal"
)

// ArchiveReport describes the archive of ended sagas, as Verify found it. The
// zero value means that there is no archive, and need not be one.
type ArchiveReport struct {
	Bytes  int64  // size of the file; 0 if there is none
	Sagas  int    // readable ones
	Damage string // description of the damage, or ""
}

// readArchive reads a whole archive without changing it, and calls each for
// every saga that it can read. If it must exist, because the journal names it, its
// absence is damage.
func readArchive(path string, mustExist bool, each func(archivedSaga) error) (r ArchiveReport, err error) {
	r.Bytes, err = archiveSize(path)
	if err != nil {
		return r, fmt.Errorf("read archive of ended sagas: %w", err)
	}
	if r.Bytes == 0 {
		if mustExist {
			r.Damage = withDamageAsError(path, func() error { return errMissing }).Error()
		}
		return r, nil
	}
	var faults []error
	fault := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	var a *archive
	fault(withDamageAsError(path, func() error {
		db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
		if err != nil {
			return asDamage(err)
		}
		a = &archive{db: db}
		return nil
	}))
	if len(faults) == 0 {
		defer func() { err = errors.Join(err, a.close()) }()
		if err := a.readAll(&r, fault, each); err != nil {
			return r, err
		}
	}
	if len(faults) > 0 {
		r.Damage = faults[0].Error()
		if n := len(faults) - 1; n > 0 {
			r.Damage += fmt.Sprintf(" (and %d more)", n)
		}
	}
	return r, nil
}

// readAll finds sagas by both indexes, so that a damaged page of one hides as
// few as possible, and reads each in a transaction of its own.
func (a *archive) readAll(r *ArchiveReport, fault func(error), each func(archivedSaga) error) error {
	ids := map[string]int{}
	const byID, byEnd = 1, 2 // in which indexes an id was found
	for n, list := range []func(sagas, byTime *bolt.Bucket) error{
		func(sagas, _ *bolt.Bucket) error {
			return sagas.ForEach(func(k, _ []byte) error { ids[string(k)] |= byID; return nil })
		},
		func(_, byTime *bolt.Bucket) error {
			return byTime.ForEach(func(k, _ []byte) error { ids[string(k[min(8, len(k)):])] |= byEnd; return nil })
		},
	} {
		if err := a.view(list); err != nil {
			fault(fmt.Errorf("index %d: %w", n+1, err))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		var stop error
		err := a.view(func(sagas, _ *bolt.Bucket) error {
			v := sagas.Get([]byte(id))
			if v == nil {
				return fmt.Errorf("%w: saga %s is missing", errDamaged, id)
			}
			e, err := decodeArchived([]byte(id), v)
			if err == nil {
				r.Sagas++
				stop = each(e)
			}
			return err
		})
		if stop != nil {
			return stop
		}
		fault(err)
		if err == nil && ids[id] != byID|byEnd {
			fault(fmt.Errorf("%w: saga %s is in one index only", errDamaged, id))
		}
	}
	return nil
}

// repairArchive moves a damaged archive to the backup directory and creates a
// new one with everything that can be read. The old one may be missing.
func repairArchive(dir, backup string) (err error) {
	moved := filepath.Join(backup, archiveName)
	err = os.Rename(filepath.Join(dir, archiveName), moved)
	if err == nil {
		err = journal.Disk{}.SyncDir(backup)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("move the damaged archive away: %w", err)
	}
	a, err := openArchive(dir, false, journal.Disk{}) // syncs dir
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	var batch []archivedSaga
	_, err = readArchive(moved, false, func(e archivedSaga) error {
		e.state = slices.Clone(e.state)
		batch = append(batch, e)
		if len(batch) < archiveBatchSize {
			return nil
		}
		err := a.put(batch)
		batch = batch[:0]
		return err
	})
	return errors.Join(err, a.put(batch))
}
