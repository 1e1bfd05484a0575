package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestRedirectIsAnError checks that commands do not follow a redirect, as from
// http to https, and that the error names its target. A followed POST would
// become a GET and look as if it had changed something.
func TestRedirectIsAnError(t *testing.T) {
	t.Parallel()
	s := testkit.NewSystem(t, nil, nil)
	s.SetStock(t, map[string]int64{"A": 3})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, s.API+r.URL.Path, http.StatusMovedPermanently)
	}))
	defer front.Close()
	for _, command := range [][]string{
		{"stock", "set", "A", "5"},
		{"stock", "get", "A"},
		{"saga", "list"},
		{"saga", "approve", "o"},
		{"saga", "resolve", "o"},
		{"reconcile"},
		{"load", "--concurrency", "1", "--orders", "1"},
		{"dlq", "list"},
	} {
		var out, errs bytes.Buffer
		status := run(t.Context(), append(command, "--api", front.URL), &out, &errs)
		if status == 0 || !strings.Contains(errs.String(), s.API) {
			t.Errorf("%v: status %d, want an error that names %s:\n%s%s", command, status, s.API, &out, &errs)
		}
	}
	if l, err := s.Store.GetLevel(t.Context(), "A"); err != nil || l.Available != 3 {
		t.Errorf("stock level of A = %+v, %v, want 3 available", l, err)
	}
}
