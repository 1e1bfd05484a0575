package api_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/order"
)

// TestDecisionRestartsALostSaga: a saga that the engine has lost is restarted with the
// decision, at once or later by the reconciler. A saga that another process has terminated and
// purged is not restarted.
func TestDecisionRestartsALostSaga(t *testing.T) {
	b := newBench(t)
	b.unknown = true
	waiting := b.put(order.StatusAwaitingApproval)
	for range 2 {
		if v := b.accepted(b.post("/v1/sagas/"+waiting+"/approve", "")); v.Decision != "approved" {
			t.Errorf("saga = %+v, want decision approved", v)
		}
		b.failBegin = errors.New("no sidecar")
	}
	if want := waiting + ` "approved" false`; !slices.Equal(b.begun, []string{want, want}) || !strings.Contains(b.log.String(), "no sidecar") {
		t.Errorf("begun = %q, log = %s, want %q begun twice and \"no sidecar\" logged", b.begun, b.log, want)
	}
	b.begun = nil
	pending, held := b.put(order.StatusPending), b.put(order.StatusReserved)
	for _, id := range []string{pending, held, waiting} {
		if err := b.Store.MarkTerminated(t.Context(), id, "enough"); err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
	}
	b.post("/v1/sagas/"+waiting+"/approve", "").wantProblem(t, "approve", http.StatusConflict, "", "has ended TERMINATED")
	b.accepted(b.post("/v1/sagas/"+pending+"/cancel", ""))
	b.accepted(b.post("/v1/sagas/"+held+"/cancel", ""))
	if v := b.view(held); v.RuntimeStatus != "TERMINATED" || b.begun != nil || b.started != nil || b.raised != nil {
		t.Errorf("runtime status = %s, begun = %v, started = %v, raised = %v, want TERMINATED and none of the others",
			v.RuntimeStatus, b.begun, b.started, b.raised)
	}
}
