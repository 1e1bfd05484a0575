// Package dynamodb is DynamoDB on one machine: tables in memory, every write
// in a journal before it is acknowledged.
//
// Transactions are serialised by locking their tables in name order, so none
// ever conflicts with another by itself; Options.Fault makes them. There are
// no local secondary indexes, streams, or PartiQL: those answer with AWS's own
// errors.
package dynamodb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/tidwall/btree"

	"github.com/ordersaga/ordersaga/internal/awslocal/dynamodb/attr"
	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
	"github.com/ordersaga/ordersaga/internal/journal"
)

// Options of a Service. The zero value is usable.
type Options struct {
	Region, AccountID string
	Logger            zerolog.Logger
	CompactAfter      int64            // bytes of journal; 0 is the journal's default
	Now               func() time.Time // nil: time.Now
	// Fault is asked before each operation, with the tables it names; an error
	// is answered instead. Conflict cancels a transaction.
	Fault func(operation string, tables []string) error
	// SweepEvery is how often expired items are looked for; 0 means a minute.
	// AWS takes up to a few days.
	SweepEvery time.Duration
}

// Service is the emulator.
type Service struct {
	opt     Options
	journal *journal.Journal

	mu     sync.RWMutex // guards the set of tables
	tables btree.Map[string, *table]

	tokens  tokens
	parsed  cache
	working sync.WaitGroup
	stop    context.CancelFunc
}

// Open starts the service from what dir holds; "" keeps nothing.
func Open(dir string, o Options) (*Service, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.SweepEvery == 0 {
		o.SweepEvery = time.Minute
	}
	s := &Service{opt: o}
	s.tokens.seen = map[string]*tokenUse{}
	j, err := journal.Open(dir, journal.Options{Sync: journal.SyncOff, Logger: o.Logger, CompactAfter: o.CompactAfter}, s.replay)
	if err != nil {
		return nil, fmt.Errorf("open dynamodb state: %w", err)
	}
	s.journal = j
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.working.Go(func() { s.sweep(ctx) })
	return s, nil
}

// Close stops the background work and closes the journal.
func (s *Service) Close() error {
	s.stop()
	s.working.Wait()
	return s.journal.Close()
}

// change is one effect of a journal record: a table defined (or dropped, if
// the definition is empty), or an item set (or removed, if the item is nil).
type change struct {
	t     *table // of key and item
	table string
	def   *definition
	drop  bool
	key   record
	item  attr.Item
}

// Record layout: for each change a kind byte, then length-prefixed fields.
const (
	kindDefine = 'd'
	kindDrop   = 'x'
	kindPut    = 'p'
	kindDelete = 'r'
)

func field(b []byte, f []byte) []byte {
	b = strconv.AppendInt(b, int64(len(f)), 10)
	b = append(b, ' ')
	return append(b, f...)
}

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

var errRecord = errors.New("dynamodb journal record cannot be read")

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
				continue // a snapshot has its items already
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
				continue // dropped later
			}
			key, err := t.key(item, kind == kindDelete)
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

// commit journals and applies changes whose tables are locked for writing.
func (s *Service) commit(changes []change) (journal.Commit, error) {
	rec, err := s.encode(changes)
	if err != nil {
		return journal.Commit{}, err
	}
	for _, c := range changes {
		if c.t != nil {
			c.t.set(c.key, c.item)
		}
	}
	return s.journal.Append(rec), nil
}

// table finds a table by name or ARN.
func (s *Service) table(name string) (*table, error) {
	if err := checkTableName(name); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, ok := s.tables.Get(tableName(name))
	if !ok {
		return nil, notFound(name)
	}
	return t, nil
}

// sweep removes expired items.
func (s *Service) sweep(ctx context.Context) {
	tick := time.NewTicker(s.opt.SweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.expire()
		}
	}
}

// expire removes the items whose TTL attribute is a number of seconds in the
// past.
func (s *Service) expire() {
	now := attr.Value{Kind: attr.N, Str: strconv.FormatInt(s.opt.Now().Unix(), 10)}
	s.mu.RLock()
	defer s.mu.RUnlock()
	s.tables.Scan(func(_ string, t *table) bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.ttl == "" {
			return true
		}
		var gone []change
		t.items.Scan(func(r record) bool {
			if c, ok := r.item[t.ttl].Compare(now); ok && c <= 0 {
				key := r
				key.item = keyOf(t, r.item)
				gone = append(gone, change{t: t, table: t.name, key: key})
			}
			return true
		})
		if len(gone) > 0 {
			if _, err := s.commit(gone); err != nil { // not acknowledged to anyone, so not waited for
				s.opt.Logger.Error().Err(err).Str("table", t.name).Msg("expired items not removed")
			}
		}
		return true
	})
}

func keyOf(t *table, item attr.Item) attr.Item {
	k := attr.Item{t.schema.hash: item[t.schema.hash]}
	if t.schema.rng != "" {
		k[t.schema.rng] = item[t.schema.rng]
	}
	return k
}

func (s *Service) snapshot(emit func([]byte) error) error {
	s.mu.RLock()
	tables := s.tables.Values()
	s.mu.RUnlock()
	for _, t := range tables {
		t.mu.RLock()
		def := t.def
		items := t.items.Copy() // copy on write: cheap, and the lock is short
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
