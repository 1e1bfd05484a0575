package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// archiveName is the archive's file, beside the journal's.
const archiveName = "ended.db"

// Its buckets: the sagas by id, each with when it ended before its state as in
// a snapshot; and their ids by when they ended, for retention.
var (
	bucketSagas = []byte("sagas")
	bucketEnded = []byte("ended")
)

// archive keeps ended sagas on disk, indexed by id and by when they ended, so
// that neither memory nor snapshots grow with them. Its writes are on disk when
// they return. A nil archive is empty and takes nothing.
type archive struct {
	db *bolt.DB
	// readers is held by who reads or writes, and alone by who scrubs: pages that
	// somebody may still read must stay.
	readers sync.RWMutex
}

// ended is a saga to be archived.
type ended struct {
	id    string
	at    int64 // when it ended, in Unix seconds
	state []byte
}

func openArchive(dir string) (a *archive, err error) {
	path := filepath.Join(dir, archiveName)
	err = guard(path, func() error {
		db, err := bolt.Open(path, 0o600, &bolt.Options{
			Timeout:      time.Second,          // the journal's lock is what keeps others out
			FreelistType: bolt.FreelistMapType, // what retention frees is found again at once
		})
		if err != nil {
			return asDamage(err)
		}
		a = &archive{db: db}
		there := false
		err = db.View(func(tx *bolt.Tx) error {
			there = tx.Bucket(bucketSagas) != nil && tx.Bucket(bucketEnded) != nil
			return nil
		})
		if err != nil || there {
			return err // without a write: the disk may be full
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

// errDamaged says that the archive's file is not what was written.
var errDamaged = errors.New("it is damaged")

// asDamage takes what keeps bbolt from opening a file for damage, but for what
// the system says.
func asDamage(err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); ok || errors.Is(err, bolterrors.ErrTimeout) {
		return err
	}
	return fmt.Errorf("%w: %w", errDamaged, err)
}

// guard names the file in errors. bbolt panics at pages that are not what they
// should be, and the processor faults at those that are missing.
func guard(path string, f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", errDamaged, v)
		}
		if err == nil {
			return
		}
		err = fmt.Errorf("archive of ended sagas %s: %w", path, err)
		if errors.Is(err, errDamaged) {
			data := filepath.Dir(filepath.Dir(path))
			err = fmt.Errorf("%w; `ordersaga engine verify --data-dir %[2]s` tells more, `ordersaga engine repair --data-dir %[2]s` saves what can be read", err, data)
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

// view and update run f in a transaction.
func (a *archive) view(f func(sagas, ended *bolt.Bucket) error) error {
	a.readers.RLock()
	defer a.readers.RUnlock()
	return guard(a.db.Path(), func() error {
		return a.db.View(func(tx *bolt.Tx) error { return within(tx, f) })
	})
}

func (a *archive) update(f func(sagas, ended *bolt.Bucket) error) error {
	a.readers.RLock()
	defer a.readers.RUnlock()
	return guard(a.db.Path(), func() error {
		return a.db.Update(func(tx *bolt.Tx) error { return within(tx, f) })
	})
}

func within(tx *bolt.Tx, f func(sagas, ended *bolt.Bucket) error) error {
	sagas, ended := tx.Bucket(bucketSagas), tx.Bucket(bucketEnded)
	if sagas == nil || ended == nil {
		return nil // it was never opened for writing
	}
	return f(sagas, ended)
}

func endedKey(at int64, id string) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(id)), uint64(at)), id...)
}

// archiveHeader is before a saga's state: when it ended (8 bytes), and a
// checksum of that and of the state, for bbolt has none.
const archiveHeader = 8 + 4

func sealed(e ended) []byte {
	v := binary.BigEndian.AppendUint64(make([]byte, 0, archiveHeader+len(e.state)), uint64(e.at))
	v = binary.BigEndian.AppendUint32(v, sum(v, e.state))
	return append(v, e.state...)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(at, state []byte) uint32 {
	return crc32.Update(crc32.Checksum(at, castagnoli), castagnoli, state)
}

// unseal checks what sealed has made. The state is the file's.
func unseal(id, v []byte) (e ended, err error) {
	if len(v) < archiveHeader || binary.BigEndian.Uint32(v[8:]) != sum(v[:8], v[archiveHeader:]) {
		return e, fmt.Errorf("%w: saga %s is not what was written", errDamaged, id)
	}
	return ended{string(id), int64(binary.BigEndian.Uint64(v)), v[archiveHeader:]}, nil
}

// get returns a saga's state; false if it is not there.
func (a *archive) get(id string) (state []byte, ok bool, err error) {
	if a == nil {
		return nil, false, nil
	}
	err = a.view(func(sagas, _ *bolt.Bucket) error {
		v := sagas.Get([]byte(id))
		if v == nil {
			return nil
		}
		e, err := unseal([]byte(id), v)
		state, ok = bytes.Clone(e.state), true
		return err
	})
	return state, ok, err
}

// put keeps sagas, in the place of older ones of the same ids.
func (a *archive) put(all []ended) error {
	if len(all) == 0 {
		return nil // a transaction costs two fsyncs
	}
	all = slices.SortedFunc(slices.Values(all), func(x, y ended) int { return strings.Compare(x.id, y.id) }) // pages are written once
	return a.update(func(sagas, byTime *bolt.Bucket) error {
		for _, e := range all {
			if err := drop(sagas, byTime, e.id); err != nil {
				return err
			}
			if err := errors.Join(sagas.Put([]byte(e.id), sealed(e)), byTime.Put(endedKey(e.at, e.id), nil)); err != nil {
				return fmt.Errorf("saga %s: %w", e.id, err)
			}
		}
		return nil
	})
}

// drop forgets a saga, if it is there.
func drop(sagas, byTime *bolt.Bucket, id string) error {
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

// remove forgets a saga, and tells whether it was there.
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
	return true, a.update(func(sagas, byTime *bolt.Bucket) error { return drop(sagas, byTime, id) })
}

// expire forgets up to limit sagas that ended before, and tells how many. It
// reads no others.
func (a *archive) expire(before time.Time, limit int) (n int, err error) {
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
			if err := drop(sagas, byTime, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// after returns up to limit ids behind the given one, in order.
func (a *archive) after(id string, limit int) (ids []string, err error) {
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
