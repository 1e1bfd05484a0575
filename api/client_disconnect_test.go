package api_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/snspublisher"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// signals raises events as the worker's API does.
type signals struct{ engine.Engine }

func (s signals) Raise(ctx context.Context, id, event string, payload any) error {
	return saga.Send(ctx, s.Engine, id, event, payload)
}

// TestDisconnectDoesNotCancelARecordedRequest: the client disconnects at the moment DynamoDB
// records its request. The request is carried out anyway.
func TestDisconnectDoesNotCancelARecordedRequest(t *testing.T) {
	var goAway atomic.Pointer[context.CancelFunc]
	s := testkit.NewSystem(t, nil, func(o *awslocal.Options) {
		o.Fault = func(_, operation string) error {
			if operation == "PutItem" || operation == "UpdateItem" {
				if leave := goAway.Swap(nil); leave != nil {
					(*leave)()
				}
			}
			return nil
		}
	})
	s.SetStock(t, map[string]int64{"A": 1000})
	handler := api.New(api.Options{
		Orders: s.Store, Fleet: s.Parts.Fleet, Sagas: signals{s.Parts.Engine}, Starter: intake.Starter{
			Orders: s.Store,
			Sagas:  s.Parts.Engine, Terms: s.Worker.Terms,
		},
		Publisher: intake.Publisher{Topic: snspublisher.New(s.Clients.SNS, s.Resources.OrderTopic)},
		Terms:     s.Worker.Terms, Logger: zerolog.Nop(), Registry: prometheus.NewRegistry(),
	})
	do := func(path, body string) {
		t.Helper()
		ctx, leave := context.WithCancel(t.Context())
		goAway.Store(&leave)
		req := httptest.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		if ctx.Err() == nil || w.Code != http.StatusAccepted {
			t.Errorf("%s: status = %d, body = %s, error of the client's context = %v, want 202 although the client has disconnected",
				path, w.Code, w.Body, ctx.Err())
		}
	}
	do("/v1/orders", newOrder("placed", nil))
	do("/v1/sagas", newOrder("started", nil))
	do("/v1/orders", newOrder("dear", expensive))
	until := func(id string, want order.Status) {
		t.Helper()
		testkit.Eventually(t, id+" is "+string(want), func() error {
			rec, err := s.Store.Get(t.Context(), id)
			if err == nil && rec.Status != want {
				err = context.DeadlineExceeded
			}
			return err
		})
	}
	until("placed", order.StatusCompleted)
	until("started", order.StatusCompleted)
	until("dear", order.StatusAwaitingApproval)
	do("/v1/sagas/dear/approve", "")
	until("dear", order.StatusCompleted)
}
