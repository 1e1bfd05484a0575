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

// TestLateOrdersAreSeen: one is accepted before another, and can be seen after
// that has ended.
func TestLateOrdersAreSeen(t *testing.T) {
	began := time.Now()
	ended := func(id string, after time.Duration) seen {
		at := began.Add(after)
		return seen{OrderID: id, Status: order.StatusCompleted, CreatedAt: at, UpdatedAt: at.Add(time.Millisecond)}
	}
	all := []seen{ended("late", 10*time.Millisecond), ended("early", 20*time.Millisecond)}
	looks := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		since, err := time.Parse(time.RFC3339Nano, r.URL.Query().Get("since"))
		if err != nil {
			t.Error(err)
		}
		looks++
		sagas := []seen{}
		for _, s := range all {
			if !s.CreatedAt.Before(since) && (s.OrderID == "early" || looks > 2) {
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
		Load: Load{Client: client.Client{Base: server.URL, HTTP: &http.Client{Transport: transport}}}, began: began,
		open: map[string]*flight{}, ends: newHistogram(),
		report: Report{Ended: map[order.Status]int{}, Unexpected: map[string]int{}},
	}
	for _, s := range all {
		r.open[s.OrderID] = &flight{id: s.OrderID, kind: &kind{want: order.StatusCompleted}, wait: time.Millisecond, ended: make(chan struct{})}
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
		t.Error("it was not looked for again")
	}
	stop()
	<-followed
	if r.report.Ended[order.StatusCompleted] != 2 || len(r.open) != 0 {
		t.Errorf("%+v, %d open", r.report, len(r.open))
	}
}
