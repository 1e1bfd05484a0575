package sqs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
	"github.com/ordersaga/ordersaga/internal/journal"
)

// Options configures a Service. The zero value is usable.
type Options struct {
	Region       string         // default us-east-1
	AccountID    string         // default 000000000000
	Logger       zerolog.Logger // the zero value writes nothing
	CompactAfter int64          // bytes; see journal.Options
	FS           journal.FS     // see journal.Options
}

// Service implements the queues of one account in one region. Its methods are safe for
// concurrent use.
type Service struct {
	opt      Options
	log      *journal.Journal
	draining chan struct{} // closed by Drain

	mu        sync.RWMutex      // guards the fields below
	queues    map[string]*queue // by name
	deletedAt map[string]int64  // Unix nanoseconds by the deleted queue's name; lost at a restart
	tasks     []*moveTask       // newest first

	drain      sync.Once
	background sync.WaitGroup // running move tasks
	appends    atomic.Uint64  // journal records written
}

// Open returns a Service with the queues in dir; with "" it keeps them in memory only.
// The caller must Close it.
func Open(dir string, o Options) (*Service, error) {
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.AccountID == "" {
		o.AccountID = "000000000000"
	}
	s := &Service{
		opt: o, draining: make(chan struct{}), queues: make(map[string]*queue), deletedAt: make(map[string]int64),
	}
	r := newReplay(s)
	j, err := journal.Open(dir, journal.Options{Sync: journal.SyncOff, Logger: o.Logger, CompactAfter: o.CompactAfter, FS: o.FS}, r.record)
	if err != nil {
		return nil, fmt.Errorf("open queues: %w", err)
	}
	s.log = j
	r.finish(time.Now().UnixNano())
	return s, nil
}

// Ready returns why no change can be made durable at the moment, or nil.
func (s *Service) Ready() error { return s.log.Err() }

// Watch is as that of journal.Journal.
func (s *Service) Watch(ctx context.Context) error { return s.log.Watch(ctx) }

// WaitForSpace is as that of journal.Journal.
func (s *Service) WaitForSpace(ctx context.Context) error { return s.log.WaitForSpace(ctx) }

// WaitAll is as that of journal.Journal.
func (s *Service) WaitAll(ctx context.Context) error { return s.log.WaitAll(ctx) }

// Drain makes all long polls, present and future, return at once with the messages
// that are there, so that an HTTP server can shut down gracefully. It can be called
// more than once.
func (s *Service) Drain() { s.drain.Do(func() { close(s.draining) }) }

// Close ends long polls, move tasks and compaction, and closes the journal.
func (s *Service) Close() error {
	s.Drain()
	s.log.StopWaiting() // a move task may wait for space
	s.background.Wait()
	err := s.log.Close()
	// Not before the journal is closed: a snapshot of no queues would be empty.
	s.mu.Lock()
	queues := s.queues
	s.queues = make(map[string]*queue)
	s.mu.Unlock()
	for _, q := range queues {
		q.close()
	}
	if err != nil {
		return fmt.Errorf("close queues: %w", err)
	}
	return nil
}

func (s *Service) arn(name string) string {
	return "arn:aws:sqs:" + s.opt.Region + ":" + s.opt.AccountID + ":" + name
}

func (s *Service) newQueue(name string, set *settings, tags map[string]string) *queue {
	q := &queue{id: rand.Uint64(), name: name, arn: s.arn(name), created: time.Now().UnixNano(), tags: tags} //nolint:gosec // not a secret
	q.init()
	q.settings.Store(set)
	return q
}

// byARN returns the queue with that ARN, or nil.
func (s *Service) byARN(arn string) *queue {
	name, ok := strings.CutPrefix(arn, s.arn(""))
	if !ok {
		return nil
	}
	return s.byName(name)
}

// byName returns the queue of that name, or nil.
func (s *Service) byName(name string) *queue {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.queues[name]
}

// byURL returns the queue that a QueueUrl parameter names. It ignores host and port,
// because the endpoint may be reached under several names.
func (s *Service) byURL(url string) (*queue, error) {
	if url == "" {
		return nil, errMissing("QueueUrl")
	}
	rest := url
	if i := strings.LastIndexByte(url, '/'); i >= 0 {
		rest = url[i+1:]
		account := url[:i]
		if a := account[strings.LastIndexByte(account, '/')+1:]; a != "" && a != s.opt.AccountID {
			return nil, errNoQueue()
		}
	}
	if q := s.byName(rest); q != nil {
		return q, nil
	}
	return nil, errNoQueue()
}

// redriveTarget returns q's dead-letter queue, and the number of receives after which a
// message moves there. The queue is nil without a redrive policy, or if it was deleted.
func (s *Service) redriveTarget(q *queue) (*queue, int) {
	r := q.settings.Load().redrive
	if r == nil {
		return nil, 0
	}
	return s.byARN(r.target), r.maxReceives
}

// Exists reports whether a queue with that ARN exists.
func (s *Service) Exists(arn string) bool { return s.byARN(arn) != nil }

// Enqueue sends a message to the queue with that ARN, as SNS does. The message is
// durable when WaitAll has returned nil. If the queue does not exist or the message is
// too large, Enqueue returns a *wire.Error.
func (s *Service) Enqueue(_ context.Context, arn, body string, attrs map[string]wire.MessageAttribute) error {
	q := s.byARN(arn)
	if q == nil {
		return errNoQueue()
	}
	m := newMessage(body, attrs)
	if err := checkSize(q, messageSize(body, attrs)); err != nil {
		return err
	}
	return s.send(q, q.settings.Load().delay, m)
}

// send stores a message and wakes a long poll for it.
func (s *Service) send(q *queue, delay time.Duration, m *message) error {
	now := time.Now().UnixNano()
	m.sent = now
	if delay > 0 {
		m.due = now + int64(delay)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.deleted {
		return errNoQueue()
	}
	q.add(m, now)
	s.append(messageRecord(q, m, nil))
	q.wakePolls(now)
	return nil
}
