package tracing

import (
	"testing"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestOneOrderIsOneTrace from the API through topics, queues and the engine to
// payment and carrier, and back.
func TestOneOrderIsOneTrace(t *testing.T) {
	t.Parallel()
	s := testkit.NewSystem(t, nil, nil)
	s.SetStock(t, map[string]int64{"A": 10})
	place(t, s.API, "happy", "tok_flaky_2", nil)
	got := ended(t, s.API, "happy", order.StatusCompleted)
	spans := trace(t, "happy", `
POST /v1/orders
`)
	_ = got
	_ = spans
}
