package worker

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ordersaga/ordersaga/internal/deadletter"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/dapr"
	"github.com/ordersaga/ordersaga/internal/fleet"
)

// daprBus publishes through the sidecar.
type daprBus struct {
	engine *dapr.Engine
	pubsub string
}

// Publish implements shipment.Bus. Dapr wraps the body in a CloudEvent.
func (b daprBus) Publish(ctx context.Context, topic, _, _ string, body []byte) error {
	return b.engine.Publish(ctx, b.pubsub, topic, body)
}

// components are those that the sidecar must have.
func (d Dapr) components() (names []string) {
	for _, name := range []string{d.PubSub, d.Secrets} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

const (
	// loadAge is how old a count of live sagas may be: it is asked for before
	// each receive, by the autoscaler and by the metrics.
	loadAge = 2 * time.Second
	// indexLag is how long an order may take until the index has it.
	indexLag = time.Second
)

// load counts live sagas for all workers together, and knows what this one has
// begun that the count may not have yet.
type load struct {
	count func(context.Context) (census, error)

	mu          sync.Mutex
	last        census
	asked, told time.Time   // when the last count was begun, and when it had ended
	begun       []time.Time // sagas that may not be in it, oldest first
}

// census is one count.
type census struct {
	engine.Stats

	workers int // that live; 0 before the first has said so
}

// loadOf counts by the orders index. An order that waits in the queue has no saga
// yet: it must not count, or a full queue would keep itself from being taken in.
func loadOf(registry *fleet.Registry, depth func(context.Context) (deadletter.Depth, error)) *load {
	return &load{count: func(ctx context.Context) (c census, err error) {
		l, err := registry.Backlog(ctx, time.Now())
		if err != nil {
			return c, err
		}
		if l.Queued > 0 {
			d, err := depth(ctx)
			if err != nil {
				return c, err
			}
			l.Live -= min(l.Queued, d.Visible+d.InFlight)
		}
		rest := l.Idle + l.Shipping
		c.Stats = engine.Stats{Live: l.Live, Waiting: rest, AwaitingExternal: rest, ByOrder: true}
		workers, err := registry.Workers(ctx)
		for _, w := range workers {
			if w.Alive(time.Now()) {
				c.workers++
			}
		}
		return c, err
	}}
}

// unseen is how many sagas that this worker has begun the last count may not have.
func (l *load) unseen() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.begun)
}

// Stats is a count that is at most loadAge old.
func (l *load) Stats(ctx context.Context) (engine.Stats, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.read(ctx, loadAge)
	return l.last.Stats, err
}

func (l *load) read(ctx context.Context, age time.Duration) error {
	if time.Since(l.told) < age {
		return nil
	}
	asked := time.Now()
	c, err := l.count(ctx)
	if err != nil {
		return err
	}
	l.last, l.asked, l.told = c, asked, time.Now()
	return nil
}

// began says that this worker has begun a saga.
func (l *load) began() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun = append(l.begun, time.Now())
}

// room is how many sagas more this worker may begin; at or below 0, none. What
// it has begun takes room until a count surely has it, and for that moment twice,
// or still though it has ended. The others see the same room, so it has a share.
// What N workers begin may exceed maxLive by N-1 shares at worst: when each uses
// what it was given at a moment of its own.
func (l *load) room(ctx context.Context, maxLive int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	share := func(age time.Duration) int {
		if err := l.read(ctx, age); err != nil {
			return 0
		}
		seen, _ := slices.BinarySearchFunc(l.begun, l.asked.Add(-indexLag), time.Time.Compare)
		l.begun = slices.Delete(l.begun, 0, seen)
		all, workers := roomForLost(l.last.Stats, maxLive, 0), max(l.last.workers, 1)
		return (all+workers-1)/workers - len(l.begun)
	}
	n := share(loadAge)
	if n <= 0 && len(l.begun) > 0 {
		n = share(indexLag) // it may have room again
	}
	return n
}
