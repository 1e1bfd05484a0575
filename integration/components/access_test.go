package components

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestOnlyOrdersagaMayCallPayment checks that Dapr's access rules, which are by certificate, admit
// only ordersaga, and only the methods that it needs.
func TestOnlyOrdersagaMayCallPayment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var calls atomic.Int64
	c := w.dapr(t)
	sidecar(t, c, daprlocal.App{ID: "payment", Port: serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))})
	worker := sidecar(t, c, daprlocal.App{ID: "ordersaga"})
	stranger := sidecar(t, c, daprlocal.App{ID: "stranger"})

	invoke := func(s *daprlocal.Sidecar, method, path string) int {
		_, err := fetch(method, s.HTTP+"/v1.0/invoke/payment/method"+path, `{}`)
		if status, ok := errors.AsType[*statusError](err); ok {
			return status.code
		}
		require.NoError(t, err)
		return http.StatusOK
	}
	testkit.Eventually(t, "the worker finds payment", func() error {
		if code := invoke(worker, http.MethodGet, "/v1/charges"); code != http.StatusOK {
			return fmt.Errorf("status %d", code)
		}
		return nil
	})
	for _, x := range []struct {
		who          string
		side         *daprlocal.Sidecar
		method, path string
		want         int
	}{
		{"ordersaga", worker, http.MethodPost, "/v1/charges", 200},
		{"ordersaga", worker, http.MethodGet, "/v1/charges?limit=10&cursor=x", 200},
		{"ordersaga", worker, http.MethodPost, "/v1/refunds", 200},
		{"ordersaga", worker, http.MethodPost, "/v1/heal", 403},
		{"ordersaga", worker, http.MethodDelete, "/v1/charges", 403},
		{"stranger", stranger, http.MethodPost, "/v1/charges", 403},
	} {
		before := calls.Load()
		if got := invoke(x.side, x.method, x.path); got != x.want {
			t.Errorf("%s: %s %s: %d, want %d", x.who, x.method, x.path, got, x.want)
		}
		if came := calls.Load() > before; came != (x.want == 200) {
			t.Errorf("%s: %s %s: reached payment: %v, want %v", x.who, x.method, x.path, came, x.want == 200)
		}
	}
}
