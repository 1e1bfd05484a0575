package shipment

import (
	"context"

	"github.com/ordersaga/ordersaga/internal/topic"
)

// snsBus publishes straight to SNS.
type snsBus map[string]*topic.Topic // by name

func (b snsBus) Publish(ctx context.Context, topic, kind, orderID string, body []byte) error {
	return b[topic].Publish(ctx, body, map[string]string{"type": kind, "orderId": orderID})
}
