package activities_test

import (
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
)

// steps are the activities of the saga's steps.
var steps = []string{workflows.ReserveStock, workflows.ChargePayment, workflows.RequestShipment, workflows.ConfirmShipment}

func TestRegisterAddsEveryActivityOnce(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	err := h.activities.Register(h.registry)
	if err == nil {
		t.Fatal("a second registration returned no error, want one")
	}
	for _, name := range append([]string{
		workflows.Version, workflows.VersionV2, workflows.VersionV1, workflows.SettleApproval, workflows.VerifyRefusal,
		workflows.ReleaseStock, workflows.RefundPayment, workflows.ParkSaga, workflows.CompleteByHand,
	}, steps...) {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("the errors of a second registration lack %s: %v", name, err)
		}
	}
}

// TestTechnicalErrorsAreRetried: if AWS is down, or has no record of the order, an
// activity returns an error, so that it is retried, and never a business outcome.
func TestTechnicalErrorsAreRetried(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.accept("o", "tok_ok")
	h.doFails(workflows.ReserveStock, newState("unknown"), "not found")
	h.doFails(workflows.ChargePayment, newState("unknown"), "not found")
	require.NoError(h, h.Store.MarkNeedsAttention(t.Context(), "o", "by hand"))
	h.doFails(workflows.ReserveStock, s, "NEEDS_ATTENTION and holds nothing")

	h.awsDown.Store(true)
	for _, name := range steps {
		h.doFails(name, s, "AccessDenied")
	}
	for _, name := range []string{workflows.ReleaseStock, workflows.ParkSaga} {
		h.undoFails(name, s, order.StatusFailed, "", "AccessDenied")
	}
	h.awsDown.Store(false)
	for _, name := range append([]string{workflows.ReleaseStock, workflows.RefundPayment, workflows.ParkSaga}, steps...) {
		if result, failure := h.execute(name, `[1]`); result != "" || !strings.Contains(failure, "decode") {
			t.Errorf("%s without a state: result = %q, failure = %q, want no result and a failure to decode", name, result, failure)
		}
	}
}

// TestInputsWithOnlyAnOrderID: the inputs of compensations, of ParkSaga and of
// retries have only the order's id. The activities read the order from its table.
func TestInputsWithOnlyAnOrderID(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	whole := h.accept("o", "tok_ok")
	named := workflows.State{OrderID: "o", Attempt: 2}
	for _, s := range []workflows.State{whole, named} { // as workers of the two releases schedule them
		h.do(workflows.ReserveStock, s)
		h.do(workflows.ChargePayment, s)
	}
	h.wantStock(8, 2, 0)
	named.Terms.AwaitCarrier = true
	h.do(workflows.RequestShipment, named)
	for _, c := range []string{workflows.RefundPayment, workflows.ReleaseStock} {
		h.mustUndo(c, workflows.State{OrderID: "o"}, order.StatusFailed, "why")
	}
	if rec := h.wantStatus("o", order.StatusFailed); rec.RefundID == "" {
		t.Error("the order's record has no refund, want its ID")
	}
	h.wantStock(10, 0, 0)
	h.wantNotified("refunded", "failed")

	// The total of an order without a record is unknown, so the refund goes to the provider.
	unknown := workflows.State{OrderID: "unknown"}
	h.mustUndo(workflows.RefundPayment, unknown, order.StatusFailed, "why")
	if failure := h.undo(workflows.ReleaseStock, unknown, order.StatusFailed, "why"); !strings.Contains(failure, "unknown") && failure != "" {
		t.Errorf("ReleaseStock of an unknown order: failure = %q, want none or one with the order's id", failure)
	}
}
