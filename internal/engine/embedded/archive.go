package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/ordersaga/ordersaga/internal/journal"
)

// archiveName is the file name of the archive, in the journal's directory.
const archiveName = "ended.db"

// The archive's buckets: bucketSagas has the sagas by id, each as
// encodeArchived writes it. bucketEnded has their ids by the time at which they
// ended, for retention.
var (
	bucketSagas = []byte("sagas")
	bucketEnded = []byte("ended")
)

// archive keeps ended sagas on disk, indexed by id and by the time at which they
// ended, so that neither memory nor snapshots grow with them. Its writes are
// durable when they return. A nil archive is empty, and accepts only empty
// writes. It is safe for concurrent use.
type archive struct {
	db *bolt.DB
	// readers is held shared by reads and writes, and exclusively by scrub, which
	// overwrites pages that must not be in use.
	readers sync.RWMutex
}

// archivedSaga is a saga in the archive.
type archivedSaga struct {
	id    string
	at    int64  // when it ended, in Unix seconds
	state []byte // as in a snapshot
}

// openArchive opens the archive in dir, or creates it. If it must exist, because
// the journal names it, its absence is an error. files makes its name durable.
func openArchive(dir string, mustExist bool, files journal.FS) (a *archive, err error) {
	path := filepath.Join(dir, archiveName)
	err = withDamageAsError(path, func() error {
		bytes, err := archiveSize(path)
		if err != nil {
			return err
		}
		isNew := bytes == 0
		if isNew && mustExist {
			return errMissing
		}
		db, err := bolt.Open(path, 0o600, &bolt.Options{
			Timeout:      time.Second,          // the journal's lock excludes other processes
			FreelistType: bolt.FreelistMapType, // pages that retention frees are found again quickly
		})
		if err != nil {
			return asDamage(err)
		}
		a = &archive{db: db}
		if !mustExist { // the journal is about to name it
			// A synced file is lost with its name.
			if err := files.SyncDir(dir); err != nil {
				return err
			}
		}
		there := false
		err = db.View(func(tx *bolt.Tx) error {
			there = tx.Bucket(bucketSagas) != nil && tx.Bucket(bucketEnded) != nil
			return nil
		})
		if err != nil || there {
			return err // do not write: the disk may be full
		}
		return db.Update(func(tx *bolt.Tx) error {
			_, err1 := tx.CreateBucketIfNotExists(bucketSagas)
			_, err2 := tx.CreateBucketIfNotExists(bucketEnded)
			return errors.Join(err1, err2)
		})
	})
	if err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

// errDamaged means that the archive's file is not what was written.
var errDamaged = errors.New("the file is damaged")

// errMissing means that the archive's file is not there, although the journal
// names it.
var errMissing = errors.New("the file is missing or empty, and with it the histories of ended sagas")

// archiveSize returns the size of the file at path in bytes, or 0 if there is none:
// to bbolt an empty file is a new one.
func archiveSize(path string) (int64, error) {
	info, err := fs.Stat(os.DirFS(filepath.Dir(path)), filepath.Base(path))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// asDamage marks an error of opening the file as damage, unless the operating
// system returned it.
func asDamage(err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); ok || errors.Is(err, bolterrors.ErrTimeout) {
		return err
	}
	return fmt.Errorf("%w: %w", errDamaged, err)
}

// withDamageAsError calls f and turns its panics into errDamaged: bbolt panics at
// invalid pages, and the processor faults at missing ones. It adds the file's
// path, and for damage the commands that help, to every error.
func withDamageAsError(path string, f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", errDamaged, v)
		}
		if err == nil {
			return
		}
		err = fmt.Errorf("archive of ended sagas %s: %w", path, err)
		data := filepath.Dir(filepath.Dir(path))
		if errors.Is(err, errMissing) {
			err = fmt.Errorf("%w; restore it from a backup, or continue without them after `ordersaga engine repair --data-dir %s`", err, data)
		}
		if errors.Is(err, errDamaged) {
			err = fmt.Errorf("%w; `ordersaga engine verify --data-dir %[2]s` lists the damage, "+
				"`ordersaga engine repair --data-dir %[2]s` saves what can be read", err, data)
		}
	}()
	return f()
}

func (a *archive) close() error {
	if a == nil {
		return nil
	}
	return a.db.Close()
}

// view runs f in a read-only transaction.
func (a *archive) view(f func(sagas, ended *bolt.Bucket) error) error {
	a.readers.RLock()
	defer a.readers.RUnlock()
	return withDamageAsError(a.db.Path(), func() error {
		return a.db.View(func(tx *bolt.Tx) error { return withBuckets(tx, f) })
	})
}

// update runs f in a read-write transaction, which is durable when it returns.
func (a *archive) update(f func(sagas, ended *bolt.Bucket) error) error {
	a.readers.RLock()
	defer a.readers.RUnlock()
	return withDamageAsError(a.db.Path(), func() error {
		return a.db.Update(func(tx *bolt.Tx) error { return withBuckets(tx, f) })
	})
}

func withBuckets(tx *bolt.Tx, f func(sagas, ended *bolt.Bucket) error) error {
	sagas, ended := tx.Bucket(bucketSagas), tx.Bucket(bucketEnded)
	if sagas == nil || ended == nil {
		return nil // the file was never opened for writing, so it is empty
	}
	return f(sagas, ended)
}

func endedKey(at int64, id string) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(id)), uint64(at)), id...)
}

// archiveHeader is the size of the header before a saga's state: the time at
// which it ended (8 bytes) and a checksum of time and state (4 bytes). bbolt
// itself has no checksums of values.
const archiveHeader = 8 + 4

func encodeArchived(e archivedSaga) []byte {
	v := binary.BigEndian.AppendUint64(make([]byte, 0, archiveHeader+len(e.state)), uint64(e.at))
	v = binary.BigEndian.AppendUint32(v, archiveChecksum(v, e.state))
	return append(v, e.state...)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func archiveChecksum(at, state []byte) uint32 {
	return crc32.Update(crc32.Checksum(at, castagnoli), castagnoli, state)
}

// decodeArchived checks and decodes a value written by encodeArchived. The state
// is valid only during the transaction.
func decodeArchived(id, v []byte) (e archivedSaga, err error) {
	if len(v) < archiveHeader || binary.BigEndian.Uint32(v[8:]) != archiveChecksum(v[:8], v[archiveHeader:]) {
		return e, fmt.Errorf("%w: the checksum of saga %s does not match", errDamaged, id)
	}
	return archivedSaga{id: string(id), at: int64(binary.BigEndian.Uint64(v)), state: v[archiveHeader:]}, nil
}

// get returns a saga's state; ok is false if the archive does not have it.
func (a *archive) get(id string) (state []byte, ok bool, err error) {
	if a == nil {
		return nil, false, nil
	}
	err = a.view(func(sagas, _ *bolt.Bucket) error {
		v := sagas.Get([]byte(id))
		if v == nil {
			return nil
		}
		e, err := decodeArchived([]byte(id), v)
		state, ok = bytes.Clone(e.state), true
		return err
	})
	return state, ok, err
}

// put adds sagas, and replaces older ones with the same ids.
func (a *archive) put(all []archivedSaga) error {
	if len(all) == 0 {
		return nil // a transaction costs two fsyncs
	}
	// Sorted, so that each page is written once.
	all = slices.SortedFunc(slices.Values(all), func(x, y archivedSaga) int { return strings.Compare(x.id, y.id) })
	return a.update(func(sagas, byTime *bolt.Bucket) error {
		for _, e := range all {
			if err := deleteSaga(sagas, byTime, e.id); err != nil {
				return err
			}
			if err := errors.Join(sagas.Put([]byte(e.id), encodeArchived(e)), byTime.Put(endedKey(e.at, e.id), nil)); err != nil {
				return fmt.Errorf("saga %s: %w", e.id, err)
			}
		}
		return nil
	})
}

// deleteSaga deletes a saga from both buckets, if it is there.
func deleteSaga(sagas, byTime *bolt.Bucket, id string) error {
	v := sagas.Get([]byte(id))
	if v == nil {
		return nil
	}
	if len(v) >= archiveHeader {
		if err := byTime.Delete(endedKey(int64(binary.BigEndian.Uint64(v)), id)); err != nil {
			return err
		}
	}
	return sagas.Delete([]byte(id))
}

// remove deletes a saga, and reports whether it was there.
func (a *archive) remove(id string) (was bool, err error) {
	if a == nil {
		return false, nil
	}
	err = a.view(func(sagas, _ *bolt.Bucket) error {
		was = sagas.Get([]byte(id)) != nil
		return nil
	})
	if err != nil || !was {
		return was, err
	}
	return true, a.update(func(sagas, byTime *bolt.Bucket) error { return deleteSaga(sagas, byTime, id) })
}

// purgeExpired deletes up to limit sagas that ended before the given time, and
// returns how many. It reads no others.
func (a *archive) purgeExpired(before time.Time, limit int) (n int, err error) {
	if a == nil {
		return 0, nil
	}
	end := endedKey(before.Unix(), "")
	var ids []string
	err = a.view(func(_, byTime *bolt.Bucket) error {
		c := byTime.Cursor()
		for k, _ := c.First(); k != nil && len(ids) < limit && bytes.Compare(k, end) < 0; k, _ = c.Next() {
			ids = append(ids, string(k[8:]))
		}
		return nil
	})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	slices.Sort(ids)
	return len(ids), a.update(func(sagas, byTime *bolt.Bucket) error {
		for _, id := range ids {
			if err := deleteSaga(sagas, byTime, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// idsAfter returns up to limit ids that follow the given one, in order.
func (a *archive) idsAfter(id string, limit int) (ids []string, err error) {
	if a == nil {
		return nil, nil
	}
	err = a.view(func(sagas, _ *bolt.Bucket) error {
		c := sagas.Cursor()
		k, _ := c.Seek([]byte(id))
		if string(k) == id {
			k, _ = c.Next()
		}
		for ; k != nil && len(ids) < limit; k, _ = c.Next() {
			ids = append(ids, string(k))
		}
		return nil
	})
	return ids, err
}
