package app

import (
	"context"
	"sync"
	"time"

	"github.com/ordersaga/ordersaga/activities/stock"
	"github.com/ordersaga/ordersaga/internal/deadletter"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/dapr"
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

// loadAge is how old a count of live sagas may be: it is asked for before each
// receive, by the autoscaler and by the metrics.
const loadAge = 2 * time.Second

// loadOf counts live sagas by the orders index, for all workers together. An
// order that waits in the queue has none yet: it must not count, or a full
// queue would keep itself from being taken in.
func loadOf(store *stock.Store, depth func(context.Context) (deadletter.Depth, error)) func(context.Context) (engine.Stats, error) {
	var mu sync.Mutex
	var last engine.Stats
	var at time.Time
	return func(ctx context.Context) (engine.Stats, error) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(at) < loadAge {
			return last, nil
		}
		l, err := store.Load(ctx, time.Now())
		if err != nil {
			return last, err
		}
		if l.Queued > 0 {
			d, err := depth(ctx)
			if err != nil {
				return last, err
			}
			l.Live -= min(l.Queued, d.Visible+d.InFlight)
		}
		rest := l.Asleep + l.Shipping
		last, at = engine.Stats{Live: l.Live, Waiting: rest, Resting: rest, ByOrder: true}, time.Now()
		return last, nil
	}
}
