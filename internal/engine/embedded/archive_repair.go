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
)

// ArchiveReport is what Verify found in the archive of ended sagas.
type ArchiveReport struct {
	Bytes  int64 // 0: there is none
	Sagas  int   // that can be read
	Damage string
}

// readArchive reads all of an archive, without changing it.
func readArchive(path string, each func(ended) error) (r ArchiveReport, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("read archive of ended sagas: %w", err)
	}
	r.Bytes = info.Size()
	var faults []error
	fault := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	var a *archive
	fault(guard(path, func() error {
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
// few as can be, and reads each by itself.
func (a *archive) readAll(r *ArchiveReport, fault func(error), each func(ended) error) error {
	ids := map[string]int{}
	for n, list := range []func(sagas, byTime *bolt.Bucket) error{
		func(sagas, _ *bolt.Bucket) error {
			return sagas.ForEach(func(k, _ []byte) error { ids[string(k)] |= 1; return nil })
		},
		func(_, byTime *bolt.Bucket) error {
			return byTime.ForEach(func(k, _ []byte) error { ids[string(k[min(8, len(k)):])] |= 2; return nil })
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
			e, err := unseal([]byte(id), v)
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
		if err == nil && ids[id] != 3 {
			fault(fmt.Errorf("%w: saga %s is in one index only", errDamaged, id))
		}
	}
	return nil
}

// repairArchive moves a damaged archive away and makes a new one of what can be
// read.
func repairArchive(dir, backup string) (err error) {
	moved := filepath.Join(backup, archiveName)
	if err := os.Rename(filepath.Join(dir, archiveName), moved); err != nil {
		return fmt.Errorf("move the damaged archive away: %w", err)
	}
	a, err := openArchive(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	var batch []ended
	_, err = readArchive(moved, func(e ended) error {
		e.state = slices.Clone(e.state)
		if batch = append(batch, e); len(batch) < moveBatch {
			return nil
		}
		err := a.put(batch)
		batch = batch[:0]
		return err
	})
	return errors.Join(err, a.put(batch))
}
