// Package dynamodb implements a local DynamoDB: tables in memory, with every write in a
// journal before any response shows it.
//
// A transaction locks all its tables, in the order of their names, so transactions never
// conflict by themselves; Options.Fault can inject conflicts. Local secondary indexes,
// streams and PartiQL are not supported: requests for them return an AWS error.
package dynamodb

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/tidwall/btree"

	"github.com/ordersaga/ordersaga/internal/journal"
)

// Options configures a Service. The zero value is usable.
type Options struct {
	Region, AccountID string           // parts of the ARNs that are returned
	Logger            zerolog.Logger   // the zero value writes nothing
	CompactAfter      int64            // journal bytes before a compaction; 0 means the journal's default
	FS                journal.FS       // as in journal.Options
	Now               func() time.Time // nil means time.Now
	// Fault is called before each operation with the names of its tables. If it returns an
	// error, that is the response; Conflict cancels a transaction. It must be safe for
	// concurrent use. nil disables it.
	Fault func(operation string, tables []string) error
	// SweepEvery is the interval at which expired items are removed; 0 means a minute.
	// AWS removes them within a few days.
	SweepEvery time.Duration
}

// Service implements the tables of one account in one region. Its methods are safe for
// concurrent use.
type Service struct {
	opt     Options
	journal *journal.Journal

	mu     sync.RWMutex // guards the set of tables
	tables btree.Map[string, *table]

	tokens     tokens
	parsed     cache
	background sync.WaitGroup // the sweep of expired items
	stop       context.CancelFunc
}

// Open returns a Service with the tables in dir; with "" it keeps them in memory only. The
// caller must Close it.
func Open(dir string, o Options) (*Service, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.SweepEvery == 0 {
		o.SweepEvery = time.Minute
	}
	s := &Service{opt: o}
	s.tokens.seen = map[string]*tokenUse{}
	j, err := journal.Open(dir, journal.Options{Sync: journal.SyncOff, Logger: o.Logger, CompactAfter: o.CompactAfter, FS: o.FS}, s.replay)
	if err != nil {
		return nil, fmt.Errorf("open DynamoDB tables: %w", err)
	}
	s.journal = j
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.background.Go(func() { s.sweep(ctx) })
	return s, nil
}

// Ready returns why no change can be made durable at the moment, or nil.
func (s *Service) Ready() error { return s.journal.Err() }

// Watch is as that of journal.Journal.
func (s *Service) Watch(ctx context.Context) error { return s.journal.Watch(ctx) }

// Close stops the background work and closes the journal.
func (s *Service) Close() error {
	s.stop()
	s.background.Wait()
	return s.journal.Close()
}

// table returns the table with that name or ARN.
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
