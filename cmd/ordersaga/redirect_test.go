package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestThroughARedirect: behind a front that sends http to https, commands fail
// and say where to go, instead of showing what is there as if they had changed
// it.
func TestThroughARedirect(t *testing.T) {
	s := testkit.NewSystem(t, nil, nil)
	s.SetStock(t, map[string]int64{"A": 3})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, s.API+r.URL.Path, http.StatusMovedPermanently)
	}))
	defer front.Close()
	for _, command := range [][]string{
		{"stock", "set", "A", "5"}, {"stock", "get", "A"}, {"saga", "list"}, {"saga", "approve", "o"}, {"saga", "retry", "o"}, {"reconcile"},
		{"load", "--concurrency", "1", "--orders", "1"}, {"dlq", "list"},
	} {
		var out, errs bytes.Buffer
		status := run(t.Context(), append(command, "--api", front.URL), &out, &errs)
		if status == 0 || !strings.Contains(errs.String(), s.API) {
			t.Errorf("%v: %d\n%s%s", command, status, &out, &errs)
		}
	}
	if l, err := s.Store.GetLevel(t.Context(), "A"); err != nil || l.Available != 3 {
		t.Errorf("%+v %v", l, err)
	}
}
