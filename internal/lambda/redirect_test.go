package lambda

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/events"
)

// TestIntakeKeepsTheMessageUnlessAccepted verifies that every response other than
// 202, from the API or from a proxy in front of it, keeps the message in the queue.
func TestIntakeKeepsTheMessageUnlessAccepted(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		elsewhere.Add(1)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer other.Close()
	for _, status := range []int{200, 201, 202, 204, 301, 302, 303, 304, 307, 308, 400, 401, 404, 409, 500, 503} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost || r.URL.Path != "/api/v1/sagas" {
				t.Errorf("request = %s %s, want POST /api/v1/sagas", r.Method, r.URL)
			}
			if status >= 300 && status < 400 {
				w.Header().Set("Location", other.URL+"/v1/sagas")
			}
			w.WriteHeader(status)
		}))
		i := Intake{API: server.URL + "/api/", HTTP: server.Client(), Logger: zerolog.Nop()}
		got, err := i.Handle(t.Context(), batch(orderO))
		if err != nil || (len(got.BatchItemFailures) == 0) != (status == http.StatusAccepted) {
			t.Errorf("status %d: failures %+v, error %v, want a failure unless 202", status, got.BatchItemFailures, err)
		}
		err = i.Message(t.Context(), events.Message{Body: []byte(orderO)})
		if status == http.StatusMovedPermanently {
			wantError(t, err, "order o", other.URL)
		}
		server.Close()
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d redirects were followed, want none", n)
	}
}

// wantError fails unless err has every one of parts.
func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error = %v, want one with %q", err, part)
		}
	}
}
