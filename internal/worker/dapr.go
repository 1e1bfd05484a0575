package worker

import (
	"context"

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

// components returns the names of the components that the sidecar must have.
func (d Dapr) components() (names []string) {
	for _, name := range []string{d.PubSub, d.Secrets} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}
