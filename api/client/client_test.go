package client_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/api/client"
	"github.com/ordersaga/ordersaga/internal/httpcall"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRedirectsAreErrors: a PUT that becomes a GET changes nothing, and its
// answer looks as if it had.
func TestRedirectsAreErrors(t *testing.T) {
	real := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s was followed", r.Method, r.URL)
		_, _ = w.Write([]byte(`{"sku":"A","available":1}`))
	}))
	defer real.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, real.URL+r.URL.Path, status)
		}))
		c := client.Client{Base: front.URL, HTTP: front.Client()}
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
			var out map[string]any
			err := c.Call(t.Context(), method, "/v1/stock/A", map[string]int{"available": 5}, &out)
			if r, ok := errors.AsType[*httpcall.Redirected](err); !ok || r.Status != status || !strings.Contains(err.Error(), real.URL) || out != nil {
				t.Errorf("%s %d: %v %v", method, status, out, err)
			}
			if err := c.Call(t.Context(), method, "/v1/stock/A", nil, nil); err == nil {
				t.Errorf("%s %d, of which the answer does not matter: no error", method, status)
			}
		}
		front.Close()
	}
}

// TestOtherPages: a page of somebody else is no answer.
func TestOtherPages(t *testing.T) {
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<html>Sign in to this network</html>"))
	}))
	defer front.Close()
	c := client.Client{Base: front.URL, HTTP: front.Client()}
	if err := c.Call(t.Context(), http.MethodPost, "/v1/sagas/o/approve", nil, nil); err == nil || !strings.Contains(err.Error(), "decode the API's answer") {
		t.Error(err)
	}
}
