package api_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/api/console"
	"github.com/ordersaga/ordersaga/internal/deadletter"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

type noQueues struct{ api.DeadLetters }

func (noQueues) Queues(context.Context) ([]api.Queue, error) { return nil, errors.New("SQS is away") }

type someQueues struct{ api.DeadLetters }

func (someQueues) Queues(context.Context) ([]api.Queue, error) {
	return []api.Queue{{Name: "OrderProcessingQueue", Dead: 3}}, nil
}

func (someQueues) List(context.Context, string, int) ([]deadletter.Message, error) { return nil, nil }

// noStats is an engine that does not answer.
type noStats struct{ engine.Engine }

func (noStats) Stats(context.Context) (engine.Stats, error) {
	return engine.Stats{}, errors.New("the engine is away")
}

func behindConsole(t *testing.T, letters api.DeadLetters) client {
	t.Helper()
	aws := testkit.NewAWS(t, nil)
	aws.SetStock(t, map[string]int64{"FEW": 3})
	handler := api.New(api.Options{
		Orders: aws.Store, Fleet: aws.Fleet, Sagas: noStats{}, DeadLetters: letters, Registry: prometheus.NewRegistry(), Logger: zerolog.Nop(),
	})
	mux := http.NewServeMux()
	mux.Handle("/", console.New(handler, nil))
	mux.Handle("/v1/", handler)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return newClient(t, testkit.System{AWS: aws, API: server.URL})
}

// TestOverviewReportsPartsThatCannotBeRead: the response names the part that failed and has
// the rest.
func TestOverviewReportsPartsThatCannotBeRead(t *testing.T) {
	c := behindConsole(t, noQueues{})
	a := c.get("/v1/overview")
	var o api.Overview
	a.json(t, &o)
	if a.status != http.StatusOK || !slices.Equal(o.Unknown, []string{"queues", "engine"}) || len(o.Low) != 1 || o.Queues == nil {
		t.Errorf("status = %d, body = %s, want status %d, queues and engine unknown, 1 low SKU and a list of queues",
			a.status, a.body, http.StatusOK)
	}
	a = c.get("/")
	unavailable := strings.Contains(a.body, "Temporarily unavailable, showing last known values: queues, engine.")
	if a.status != http.StatusOK || !unavailable || strings.Contains(a.body, "Nothing needs attention") {
		t.Errorf("overview page without two parts = %d %s, want it to name queues and engine", a.status, a.body)
	}
}

// TestDeadLettersNeedNoOtherService: dead letters are listed even while the engine is
// unreachable.
func TestDeadLettersNeedNoOtherService(t *testing.T) {
	c := behindConsole(t, someQueues{})
	if a := c.get("/console/dead-letters"); a.status != http.StatusOK || !strings.Contains(a.body, "OrderProcessingQueue</a> 3") {
		t.Errorf("status = %d, body = %s, want status %d and 3 for OrderProcessingQueue", a.status, a.body, http.StatusOK)
	}
}
