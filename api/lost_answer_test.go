package api_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// TestDecisionSurvivesALostResponseOfDynamoDB: DynamoDB records a decision and its response is
// lost. The AWS SDK retries, and the condition no longer holds because the decision is
// recorded. The API accepts the decision and notifies the saga.
func TestDecisionSurvivesALostResponseOfDynamoDB(t *testing.T) {
	t.Parallel()
	for action, ends := range map[string]string{"cancel": "CANCELLED", "approve": "COMPLETED", "reject": "CANCELLED"} {
		t.Run(action, func(t *testing.T) {
			var lose atomic.Bool
			s := testkit.NewSystem(t, func(w *worker.Worker) {
				target, err := url.Parse(w.AWS.Endpoint)
				if err != nil {
					t.Fatalf("unexpected error: %v", err)
				}
				proxy := httputil.NewSingleHostReverseProxy(target)
				proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) {} // long polls of those who have gone
				front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					body, err := io.ReadAll(r.Body)
					if err != nil {
						return
					}
					r.Body = io.NopCloser(bytes.NewReader(body))
					written := bytes.Contains(body, []byte(`"cancelRequested"`)) || bytes.Contains(body, []byte(`"decision"`))
					if written && bytes.Contains(body, []byte("UpdateExpression")) && lose.CompareAndSwap(true, false) {
						proxy.ServeHTTP(httptest.NewRecorder(), r)
						panic(http.ErrAbortHandler)
					}
					proxy.ServeHTTP(w, r)
				}))
				t.Cleanup(front.Close)
				w.AWS.Endpoint = front.URL
			}, nil)
			s.SetStock(t, map[string]int64{"A": 10})
			c := newClient(t, s)
			c.place(newOrder("o", expensive), "AWAITING_APPROVAL")
			lose.Store(true)
			c.accepted(c.post("/v1/sagas/o/"+action, ""))
			if lose.Load() {
				t.Error("every response of DynamoDB arrived, want that to the decision lost")
			}
			c.until("o", ends)
		})
	}
}
