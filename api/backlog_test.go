package api_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// wantLoad waits for an answer: one may be given twice within a second.
func (c client) wantLoad(want api.Backlog) {
	c.t.Helper()
	testkit.Eventually(c.t, "the load is known", func() error {
		var l api.Backlog
		a := c.get("/load")
		a.json(c.t, &l)
		if a.status != http.StatusOK || l != want {
			return errors.New(a.body)
		}
		return nil
	})
}

func TestLoadCountsLiveAndAsleepOrders(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.wantLoad(api.Backlog{})
	id := c.place(newOrder("o-dear", expensive), "AWAITING_APPROVAL")
	c.wantLoad(api.Backlog{Live: 1, Asleep: 1})
	if a := c.post("/v1/sagas/"+id+"/approve", ""); a.status != http.StatusAccepted {
		t.Fatalf("status = %d, body = %s, want 202", a.status, a.body)
	}
	c.until(id, "COMPLETED")
	c.wantLoad(api.Backlog{})
}

// TestLoadNeedsNoToken: an autoscaler has no token, and the response reveals nothing about any
// order.
func TestLoadNeedsNoToken(t *testing.T) {
	c, _, _ := startClosed(t)
	if a := c.get("/load"); a.status != http.StatusOK {
		t.Errorf("status = %d, body = %s, want 200 without a token", a.status, a.body)
	}
}

func TestLoadIsUnavailableWithoutDynamoDB(t *testing.T) {
	b := newBench(t)
	b.failNote = context.DeadlineExceeded
	b.get("/load").wantProblem(t, "load", http.StatusServiceUnavailable, "", "took too long")
}

// noWorker is an engine whose sagas no process runs: events get nowhere.
type noWorker struct{ engine.Engine }

func (noWorker) Get(context.Context, string) (engine.Instance, error) {
	return engine.Instance{Status: engine.Running}, nil
}

func (noWorker) Raise(ctx context.Context, _, _ string, _ any) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestDecisionWithoutAWorkerIsAcceptedAndCounted: the decision is persisted and counts as
// work. The saga is notified later.
func TestDecisionWithoutAWorkerIsAcceptedAndCounted(t *testing.T) {
	t.Parallel()
	aws := testkit.NewAWS(t, nil)
	aws.SetStock(t, map[string]int64{"A": 10})
	later := make(chan string, 1)
	server := httptest.NewServer(api.New(api.Options{
		Orders: aws.Store, Fleet: aws.Fleet, Sagas: noWorker{}, Registry: prometheus.NewRegistry(), Logger: zerolog.Nop(),
		Defer: func(what string, task func(context.Context) error) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if err := task(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("error of the task = %v, want context canceled", err)
			}
			later <- what
		},
	}))
	t.Cleanup(server.Close)
	c := newClient(t, testkit.System{AWS: aws, API: server.URL})
	o := order.Order{OrderID: "o", CustomerID: "c", Currency: "EUR", Lines: []order.Line{{SKU: "A", Quantity: 1, UnitPrice: 1}}}
	_, _, err := aws.Store.Accept(t.Context(), o)
	if err == nil {
		_, err = aws.Store.ReserveForApproval(t.Context(), o, time.Hour)
	}
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	c.wantLoad(api.Backlog{Live: 1, Asleep: 1})
	a := c.post("/v1/sagas/o/approve", `{"by":"ann"}`)
	var v sagaView
	a.json(t, &v)
	if a.status != http.StatusAccepted || v.Decision != string(orderstore.Approved) {
		t.Errorf("status = %d, body = %s, want 202 and the decision %s", a.status, a.body, orderstore.Approved)
	}
	if what := <-later; what != "approve order o" {
		t.Errorf("task retried later = %s, want approve order o", what)
	}
	c.wantLoad(api.Backlog{Live: 1, Work: 1})
}
