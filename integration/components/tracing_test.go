package components

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestTracesReachTheCollector: some calls' traces go to the collector that the environment names.
func TestTracesReachTheCollector(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	came := make(chan struct{}, 1000)
	collector := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/traces" {
			came <- struct{}{}
		}
	}))
	c := w.dapr(t, func(o *daprlocal.Options) {
		o.Env = append(o.Env, fmt.Sprintf("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:%d", collector), "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf")
	})
	url := sidecar(t, c, daprlocal.App{ID: "ordersaga"}).HTTP + "/v1.0/state/cursorstore/x"
	testkit.Eventually(t, "a trace comes", func() error {
		if _, err := fetch(http.MethodGet, url, ""); err != nil {
			return err
		}
		select {
		case <-came:
			return nil
		default:
			return errors.New("none yet")
		}
	})
}
