package loadgen

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/api/client"
	"github.com/ordersaga/ordersaga/internal/order"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestFollowFindsOrdersThatAreListedLate lists an order after a later one has
// ended.
func TestFollowFindsOrdersThatAreListedLate(t *testing.T) {
	t.Parallel()
	began := time.Now()
	ended := func(id string, after time.Duration) listedSaga {
		at := began.Add(after)
		return listedSaga{OrderID: id, Status: order.StatusCompleted, CreatedAt: at, UpdatedAt: at.Add(time.Millisecond)}
	}
	all := []listedSaga{ended("late", 10*time.Millisecond), ended("early", 20*time.Millisecond)}
	polls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		since, err := time.Parse(time.RFC3339Nano, r.URL.Query().Get("since"))
		if err != nil {
			t.Error(err)
		}
		polls++
		sagas := []listedSaga{}
		for _, s := range all {
			if !s.CreatedAt.Before(since) && (s.OrderID == "early" || polls > 2) {
				sagas = append(sagas, s)
			}
		}
		if err := json.NewEncoder(w).Encode(map[string]any{"sagas": sagas}); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()

	r := &run{
		Generator: Generator{Client: client.Client{Base: server.URL, HTTP: &http.Client{Transport: transport}}}, start: began,
		open: map[string]*placement{}, ends: newHistogram(),
		report: Report{Ended: map[order.Status]int{}, Unexpected: map[string]int{}},
	}
	for _, s := range all {
		r.open[s.OrderID] = &placement{
			id: s.OrderID, kind: &kind{want: order.StatusCompleted}, wait: time.Millisecond, ended: make(chan struct{}),
		}
	}
	late := r.open["late"].ended
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		r.follow(ctx, 0)
	}()
	select {
	case <-late:
	case <-ctx.Done():
		t.Error("the late order was not found, want it found within 30s")
	}
	stop()
	<-followed
	if r.report.Ended[order.StatusCompleted] != 2 || len(r.open) != 0 {
		t.Errorf("report %+v with %d open, want 2 COMPLETED and none open", r.report, len(r.open))
	}
}
