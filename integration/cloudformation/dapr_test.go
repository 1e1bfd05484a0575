package cloudformation

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestSidecarsStayWithinTheirRoles: real sidecars with components/aws stay within the roles, too,
// and use what those have for them.
func TestSidecarsStayWithinTheirRoles(t *testing.T) {
	testkit.RequireDapr(t)
	w := newWorld(t, testkit.MiniStack)
	for _, name := range []string{"ordersaga/payment-api-key", "ordersaga/redis-password"} {
		w.run(nil, "secretsmanager", "put-secret-value", "--secret-id", name, "--secret-string", "s")
	}

	worker := w.record()
	cluster := w.dapr(worker)
	side, err := cluster.Sidecar(t.Context(), daprlocal.App{ID: "ordersaga"})
	require.NoError(t, err)
	call := func(method, path, body string) {
		t.Helper()
		require.NoError(t, fetch(t, method, side.HTTP+path, body))
	}
	call(http.MethodGet, "/v1.0/secrets/secretstore/ordersaga%2Fpayment-api-key", "")
	call(http.MethodGet, "/v1.0/secrets/secretstore/ordersaga%2Fredis-password", "")
	call(http.MethodPost, "/v1.0/state/cursorstore", `[{"key":"k","value":"v"}]`)
	call(http.MethodGet, "/v1.0/state/cursorstore/k", "")
	call(http.MethodDelete, "/v1.0/state/cursorstore/k", "")
	for _, topic := range []string{events.TopicShipmentEvents, events.TopicCustomerNotifications} {
		call(http.MethodPost, "/v1.0/publish/orderpubsub/"+topic, `{}`)
	}
	cluster.Stop()
	w.check("WorkerRole", "dapr", worker)

	carrier := w.record()
	delivered := make(chan struct{}, 10)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/shipment-events" {
			delivered <- struct{}{}
		}
	}))
	t.Cleanup(app.Close)
	u, err := url.Parse(app.URL)
	require.NoError(t, err)
	port, err := strconv.Atoi(u.Port())
	require.NoError(t, err)
	cluster = w.dapr(carrier)
	_, err = cluster.Sidecar(t.Context(), daprlocal.App{ID: "carrier", Port: port})
	require.NoError(t, err)
	<-delivered
	testkit.Eventually(t, "the message is deleted", func() error {
		carrier.mu.Lock()
		defer carrier.mu.Unlock()
		if !carrier.used[right{"sqs:DeleteMessage", arn("sqs", events.QueueCarrierRequests)}] {
			return errors.New("not yet")
		}
		return nil
	})
	cluster.Stop()
	w.check("CarrierRole", "dapr", carrier)
}

// dapr starts a control plane whose sidecars call AWS through a recorder.
func (w world) dapr(r *recorder) *daprlocal.Cluster {
	w.Helper()
	components, err := filepath.Abs(filepath.Join(root, "components", "aws"))
	require.NoError(w, err)
	c, err := daprlocal.Start(w.Context(), daprlocal.Options{
		Dir: w.TempDir(), AWSEndpoint: r.URL, Logger: zerolog.Nop(), Resources: []string{components},
		Env: []string{
			"AWS_ENDPOINT_URL=" + r.URL, "AWS_REGION=" + region,
			"AWS_ACCESS_KEY_ID=role", "AWS_SECRET_ACCESS_KEY=role", "AWS_EC2_METADATA_DISABLED=true",
		},
	})
	require.NoError(w, err)
	w.Cleanup(c.Stop)
	return c
}

func fetch(t *testing.T, method, url, body string) error {
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s\n%s", method, url, res.Status, answer)
	}
	return err
}
