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

// Options of a Service.
type Options struct {
	Region       string // default us-east-1
	AccountID    string // default 000000000000
	Logger       zerolog.Logger
	CompactAfter int64 // see journal.Options
}

// Service is the queues of one account in one region.
type Service struct {
	opt  Options
	log  *journal.Journal
	done chan struct{} // closed by Drain: long polls return

	mu     sync.RWMutex
	queues map[string]*queue // by name
	gone   map[string]int64  // when queues were deleted, by name; not kept over restarts
	tasks  []*moveTask       // newest first

	drain      sync.Once
	background sync.WaitGroup // move tasks
	appends    atomic.Uint64
}

// Open reads the queues kept in dir; "" keeps nothing.
func Open(dir string, o Options) (*Service, error) {
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.AccountID == "" {
		o.AccountID = "000000000000"
	}
	s := &Service{opt: o, done: make(chan struct{}), queues: make(map[string]*queue), gone: make(map[string]int64)}
	r := newReplay(s)
	j, err := journal.Open(dir, journal.Options{Sync: journal.SyncOff, Logger: o.Logger, CompactAfter: o.CompactAfter}, r.record)
	if err != nil {
		return nil, fmt.Errorf("open queues: %w", err)
	}
	s.log = j
	r.finish(time.Now().UnixNano())
	return s, nil
}

// Drain makes long polls, now and later, return at once with what there is, so
// that an HTTP server can shut down softly.
func (s *Service) Drain() { s.drain.Do(func() { close(s.done) }) }

// Close ends long polls, move tasks and compaction, and closes the journal.
func (s *Service) Close() error {
	s.Drain()
	s.background.Wait()
	err := s.log.Close()
	// Only now: a snapshot taken of no queues would be one of nothing.
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
	q.set.Store(set)
	return q
}

// byARN finds a queue of this account; nil if there is none.
func (s *Service) byARN(arn string) *queue {
	name, ok := strings.CutPrefix(arn, s.arn(""))
	if !ok {
		return nil
	}
	return s.byName(name)
}

func (s *Service) byName(name string) *queue {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.queues[name]
}

// byURL finds the queue that a QueueUrl parameter names. Host and port are not
// compared: the endpoint may be reached under several names.
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

// deadLetters gives the queue and count that a message moves at, or nil.
func (s *Service) deadLetters(q *queue) (*queue, int) {
	r := q.set.Load().redrive
	if r == nil {
		return nil, 0
	}
	return s.byARN(r.target), r.maxReceives
}

// Exists reports whether an ARN names a queue here.
func (s *Service) Exists(arn string) bool { return s.byARN(arn) != nil }

// Enqueue puts a message into a queue named by its ARN, as SNS does. It is
// durable when the commit's Wait has returned.
func (s *Service) Enqueue(_ context.Context, arn, body string, attrs map[string]wire.MessageAttribute) (journal.Commit, error) {
	q := s.byARN(arn)
	if q == nil {
		return journal.Commit{}, errNoQueue()
	}
	m := newMessage(body, attrs)
	if err := checkSize(q, messageSize(body, attrs)); err != nil {
		return journal.Commit{}, err
	}
	return s.send(q, q.set.Load().delay, m)
}

// send stores messages and wakes who waits for them.
func (s *Service) send(q *queue, delay time.Duration, m *message) (journal.Commit, error) {
	now := time.Now().UnixNano()
	m.sent = now
	if delay > 0 {
		m.due = now + int64(delay)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone {
		return journal.Commit{}, errNoQueue()
	}
	q.add(m, now)
	c := s.append(putRecord(q, m, nil))
	q.wakeUp(now)
	return c, nil
}
