package devenv_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/ordersaga/ordersaga/internal/devenv"
	"github.com/ordersaga/ordersaga/internal/paging"
)

// TestShipmentsEndsWhenCursorsRepeat reads from a carrier whose cursors form a
// circle.
func TestShipmentsEndsWhenCursorsRepeat(t *testing.T) {
	next, requests := map[string]string{"": "a", "a": "b", "b": "a"}, 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		if requests > 20 {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = fmt.Fprintf(w, `{"shipments":[{"shipmentId":"s%d"}],"next":%q}`, requests, next[r.URL.Query().Get("cursor")])
	}))
	defer s.Close()
	_, err := devenv.Simulators{CarrierURL: s.URL}.Shipments(t.Context())
	if !errors.Is(err, paging.ErrRepeats) {
		t.Errorf("error = %v, want %v", err, paging.ErrRepeats)
	}
}
