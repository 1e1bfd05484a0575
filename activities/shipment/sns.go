package shipment

import (
	"context"
	"fmt"

	"github.com/ordersaga/ordersaga/internal/snspublisher"
)

// snsBus publishes directly to SNS. Its keys are topic names.
type snsBus map[string]*snspublisher.Topic

// Publish implements Bus.
func (b snsBus) Publish(ctx context.Context, name, kind, orderID string, body []byte) error {
	to, ok := b[name]
	if !ok {
		return fmt.Errorf("no topic %q", name)
	}
	return to.Publish(ctx, body, map[string]string{"type": kind, "orderId": orderID})
}
