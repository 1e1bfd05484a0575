package worker

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ordersaga/ordersaga/internal/deadletter"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/fleet"
)

const (
	// maxCountAge is how old a count of live sagas may be: it is read before each
	// receive, by the autoscaler and by the metrics.
	maxCountAge = 2 * time.Second
	// indexLag is how long the orders index may take to have an order.
	indexLag = time.Second
)

// sagaCounter counts the live sagas of all workers together, and those that this
// worker has started since, which the count may not have yet. It is safe for
// concurrent use.
type sagaCounter struct {
	count func(context.Context) (sagaCount, error)

	mu      sync.Mutex
	last    sagaCount
	began   time.Time   // when the last count was begun
	ended   time.Time   // when the last count had ended
	started []time.Time // sagas that may not be in the last count, oldest first
}

// sagaCount is the result of one count.
type sagaCount struct {
	engine.Stats

	workers int // that are alive; 0 before the first heartbeat
}

// newSagaCounter counts by the orders index. An order that waits in the queue has no saga
// yet. It must not count, or a full queue would stop its own intake.
func newSagaCounter(registry *fleet.Registry, depth func(context.Context) (deadletter.Depth, error)) *sagaCounter {
	return &sagaCounter{count: func(ctx context.Context) (c sagaCount, err error) {
		backlog, err := registry.Backlog(ctx, time.Now())
		if err != nil {
			return c, err
		}
		if backlog.Queued > 0 {
			d, err := depth(ctx)
			if err != nil {
				return c, err
			}
			backlog.Live -= min(backlog.Queued, d.Visible+d.InFlight)
		}
		awaiting := backlog.Idle + backlog.Shipping
		c.Stats = engine.Stats{Live: backlog.Live, Waiting: awaiting, AwaitingExternal: awaiting, ByOrder: true}
		workers, err := registry.Workers(ctx)
		for _, w := range workers {
			if w.Alive(time.Now()) {
				c.workers++
			}
		}
		return c, err
	}}
}

// uncounted returns how many sagas that this worker has started may not be in the
// last count.
func (s *sagaCounter) uncounted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.started)
}

// Stats returns a count that is at most maxCountAge old.
func (s *sagaCounter) Stats(ctx context.Context) (engine.Stats, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.refresh(ctx, maxCountAge)
	return s.last.Stats, err
}

// refresh counts again if the last count is older than maxAge. The caller holds mu.
func (s *sagaCounter) refresh(ctx context.Context, maxAge time.Duration) error {
	if time.Since(s.ended) < maxAge {
		return nil
	}
	began := time.Now()
	c, err := s.count(ctx)
	if err != nil {
		return err
	}
	s.last, s.began, s.ended = c, began, time.Now()
	return nil
}

// recordStart records that this worker has started a saga.
func (s *sagaCounter) recordStart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = append(s.started, time.Now())
}

// capacity returns how many more sagas this worker may start; at or below 0, none. A saga
// that it has started takes capacity until a count surely has it. Until then it may count
// twice, or still count after it has ended. The other workers read the same capacity, so each
// uses a share. If N workers read it and start sagas at different times, they exceed maxLive
// by at most N-1 shares.
func (s *sagaCounter) capacity(ctx context.Context, maxLive int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	share := func(maxAge time.Duration) int {
		if err := s.refresh(ctx, maxAge); err != nil {
			return 0
		}
		counted, _ := slices.BinarySearchFunc(s.started, s.began.Add(-indexLag), time.Time.Compare)
		s.started = slices.Delete(s.started, 0, counted)
		all, workers := restartCapacity(s.last.Stats, maxLive, 0), max(s.last.workers, 1)
		return (all+workers-1)/workers - len(s.started)
	}
	n := share(maxCountAge)
	if n <= 0 && len(s.started) > 0 {
		n = share(indexLag) // sagas may have ended since
	}
	return n
}
