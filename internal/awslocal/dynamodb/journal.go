package dynamodb

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/ordersaga/ordersaga/internal/awslocal/dynamodb/attr"
	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// change is one change in a journal record: a table is defined or dropped, or an item is put
// or, if it is nil, deleted.
type change struct {
	t     *table // the table of key and item
	table string // name
	def   *definition
	drop  bool
	key   record
	item  attr.Item
}

// Kinds of changes. A journal record is a sequence of changes, each a kind, one byte, and its
// fields, each prefixed by its length in decimal and a space.
const (
	kindDefine = 'd' // the table's definition as JSON
	kindDrop   = 'x' // table name
	kindPut    = 'p' // table name, item as JSON
	kindDelete = 'r' // table name, primary key as JSON
)

// field appends a field with its length to b.
func field(b []byte, f []byte) []byte {
	b = strconv.AppendInt(b, int64(len(f)), 10)
	b = append(b, ' ')
	return append(b, f...)
}

// encode returns a journal record with the changes.
func (s *Service) encode(changes []change) ([]byte, error) {
	var b, scratch []byte
	for _, c := range changes {
		switch {
		case c.def != nil:
			def, err := json.Marshal(c.def)
			if err != nil {
				return nil, fmt.Errorf("encode table %s: %w", c.table, err)
			}
			b = field(append(b, kindDefine), def)
		case c.drop:
			b = field(append(b, kindDrop), []byte(c.table))
		case c.item != nil:
			b = field(append(b, kindPut), []byte(c.table))
			scratch = c.item.AppendJSON(scratch[:0], wire.AppendString)
			b = field(b, scratch)
		default:
			b = field(append(b, kindDelete), []byte(c.table))
			scratch = c.key.item.AppendJSON(scratch[:0], wire.AppendString)
			b = field(b, scratch)
		}
	}
	return b, nil
}

var errRecord = errors.New("dynamodb: journal record is malformed")

// replay applies a journal record.
func (s *Service) replay(b []byte) error {
	next := func() ([]byte, error) {
		i := slices.Index(b, ' ')
		if i < 0 {
			return nil, errRecord
		}
		n, err := strconv.Atoi(string(b[:i]))
		if err != nil || n < 0 || i+1+n > len(b) {
			return nil, errRecord
		}
		f := b[i+1 : i+1+n]
		b = b[i+1+n:]
		return f, nil
	}
	for len(b) > 0 {
		kind := b[0]
		b = b[1:]
		first, err := next()
		if err != nil {
			return err
		}
		switch kind {
		case kindDefine:
			var d definition
			if err := json.Unmarshal(first, &d); err != nil {
				return fmt.Errorf("decode table definition: %w", err)
			}
			if t, ok := s.tables.Get(d.TableName); ok && t.def.Created.Equal(d.Created) {
				t.ttl = d.TTL
				t.redefine(d)
				continue // the same table, with another definition: it keeps its items
			}
			s.tables.Set(d.TableName, newTable(d, d.Created))
		case kindDrop:
			s.tables.Delete(string(first))
		case kindPut, kindDelete:
			raw, err := next()
			if err != nil {
				return err
			}
			var item attr.Item
			if err := json.Unmarshal(raw, &item); err != nil {
				return fmt.Errorf("decode item: %w", err)
			}
			t, ok := s.tables.Get(string(first))
			if !ok {
				continue // the table was dropped later
			}
			key, err := t.primaryKey(item, kind == kindDelete)
			if err != nil {
				return err
			}
			if kind == kindDelete {
				item = nil
			}
			t.set(key, item)
		default:
			return errRecord
		}
	}
	return nil
}

// commit applies and journals changes. The caller holds the write locks of their tables.
// ServeHTTP waits until they are durable.
func (s *Service) commit(changes []change) error {
	rec, err := s.encode(changes)
	if err != nil {
		return err
	}
	for _, c := range changes {
		if c.t != nil {
			c.t.set(c.key, c.item)
		}
	}
	s.journal.Append(rec)
	return nil
}

// snapshot emits a record for every table, and for every item of it.
func (s *Service) snapshot(emit func([]byte) error) error {
	s.mu.RLock()
	tables := s.tables.Values()
	s.mu.RUnlock()
	for _, t := range tables {
		t.mu.RLock()
		def := t.def
		items := t.items.Copy() // copy on write, so the lock is held only briefly
		t.mu.RUnlock()
		rec, err := s.encode([]change{{table: t.name, def: &def}})
		if err == nil {
			err = emit(rec)
		}
		items.Scan(func(r record) bool {
			if err == nil {
				rec, err = s.encode([]change{{table: t.name, item: r.item}})
			}
			if err == nil {
				err = emit(rec)
			}
			return err == nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
