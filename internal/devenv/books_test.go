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

// TestCarrierBookThatRepeatsItself ends.
func TestCarrierBookThatRepeatsItself(t *testing.T) {
	next, asked := map[string]string{"": "a", "a": "b", "b": "a"}, 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked > 20 {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = fmt.Fprintf(w, `{"shipments":[{"shipmentId":"s%d"}],"next":%q}`, asked, next[r.URL.Query().Get("cursor")])
	}))
	defer s.Close()
	if _, err := (devenv.Simulators{CarrierURL: s.URL}).Shipments(t.Context()); !errors.Is(err, paging.ErrRepeats) {
		t.Error(err)
	}
}
