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

// TestRedirectsAreErrors: a PUT that is redirected becomes a GET. It changes nothing, and
// its response looks as if it had.
func TestRedirectsAreErrors(t *testing.T) {
	t.Parallel()
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("the redirect to %s %s was followed, want an error", r.Method, r.URL)
		_, _ = w.Write([]byte(`{"sku":"A","available":1}`))
	}))
	defer target.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, target.URL+r.URL.Path, status)
		}))
		c := client.Client{Base: front.URL, HTTP: front.Client()}
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
			var out map[string]any
			err := c.Call(t.Context(), method, "/v1/stock/A", map[string]int{"available": 5}, &out)
			r, ok := errors.AsType[*httpcall.RedirectedError](err)
			if !ok || r.Status != status || !strings.Contains(err.Error(), target.URL) {
				t.Errorf("%s with redirect %d: error = %v, want a redirect to %s", method, status, err, target.URL)
			}
			if out != nil {
				t.Errorf("%s with redirect %d: response = %v, want none", method, status, out)
			}
			err = c.Call(t.Context(), method, "/v1/stock/A", nil, nil)
			if err == nil {
				t.Errorf("%s with redirect %d, response not used: no error, want one", method, status)
			}
		}
		front.Close()
	}
}

func TestAnotherServersPageIsAnError(t *testing.T) {
	t.Parallel()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<html>Sign in to this network</html>"))
	}))
	defer front.Close()
	c := client.Client{Base: front.URL, HTTP: front.Client()}
	err := c.Call(t.Context(), http.MethodPost, "/v1/sagas/o/approve", nil, nil)
	if err == nil || !strings.Contains(err.Error(), "decode the response") {
		t.Errorf("error = %v, want one about decoding the response", err)
	}
}
