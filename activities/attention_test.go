package activities_test

import (
	"testing"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
)

func TestParkSagaMarksTheOrder(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.paid("o")
	const in = `{"state":{"order":{"orderId":"o"}},"stop":{},"Step":"charge","Error":"refunds are down"}`
	for range 2 {
		if _, failure := h.execute(workflows.ParkSaga, in); failure != "" {
			t.Errorf("ParkSaga failed with %q, want success", failure)
		}
		if rec := h.wantStatus("o", order.StatusNeedsAttention); rec.Reason != "charge: refunds are down" {
			t.Errorf("Reason = %q, want %q", rec.Reason, "charge: refunds are down")
		}
	}
	h.wantNotified("delayed", "delayed")
	require.NoError(h, h.Store.Release(t.Context(), "o", order.StatusFailed, "resolved"))
	if _, failure := h.execute(workflows.ParkSaga, in); failure != "" { // a late repetition
		t.Errorf("a late ParkSaga failed with %q, want success", failure)
	}
	h.wantStatus("o", order.StatusFailed)
}

// TestParkSagaSucceedsWhenTheNotificationFails: an operator must see the saga even if the
// customer gets no notification.
func TestParkSagaSucceedsWhenTheNotificationFails(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.paid("o")
	broken := h.withoutTopics()
	require.NoError(h, broken.ParkSaga(t.Context(), s, "ship", "no topic"))
	if rec := h.wantStatus("o", order.StatusNeedsAttention); len(rec.Notes) != 1 || rec.Reason != "ship: no topic" {
		t.Errorf("notes = %+v, reason = %q, want 1 note and \"ship: no topic\"", rec.Notes, rec.Reason)
	}
}
