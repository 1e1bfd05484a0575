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

// TestOnlyAcceptedIsAStart: a message is deleted when its function says it is
// done. Whatever the API, or what stands in front of it, answers other than 202
// keeps it in the queue.
func TestOnlyAcceptedIsAStart(t *testing.T) {
	const placed = `{"orderId":"o","customerId":"c","currency":"EUR","lines":[{"sku":"A","quantity":1,"unitPrice":5}],"payment":{"token":"tok_ok"}}`
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		elsewhere.Add(1)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer other.Close()
	for _, status := range []int{200, 201, 202, 204, 301, 302, 303, 304, 307, 308, 400, 401, 404, 409, 500, 503} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost || r.URL.Path != "/api/v1/sagas" {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			if status >= 300 && status < 400 {
				w.Header().Set("Location", other.URL+"/v1/sagas")
			}
			w.WriteHeader(status)
		}))
		i := Intake{API: server.URL + "/api/", HTTP: server.Client(), Logger: zerolog.Nop()}
		got, err := i.Handle(t.Context(), batch(placed))
		if err != nil || (len(got.BatchItemFailures) == 0) != (status == http.StatusAccepted) {
			t.Errorf("%d: %+v %v", status, got, err)
		}
		if err := i.Message(t.Context(), events.Message{Body: []byte(placed)}); status == 301 && (err == nil || !strings.Contains(err.Error(), "order o") || !strings.Contains(err.Error(), other.URL)) {
			t.Error(err)
		}
		server.Close()
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d orders went where the redirect points", n)
	}
}
