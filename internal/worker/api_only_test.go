package worker_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestNoSagasIsNoWorker: a process with NoSagas counts as a worker neither on the overview
// nor for the alerts. (In production its engine is Dapr, which makes no difference here.)
func TestNoSagasIsNoWorker(t *testing.T) {
	for _, noSagas := range []bool{true, false} {
		a := testkit.NewAWS(t, nil)
		w := good()
		w.AWS.Endpoint, w.ShutdownTimeout = a.Endpoint, 10*time.Second
		var err error
		w.Listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		parts, err := w.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.NoSagas = noSagas // set after Open, which rejects it with the embedded engine
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()

		res, err := http.Get("http://" + w.Listener.Addr().String() + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("NoSagas %t: readyz = %s (%v), want 200", noSagas, res.Status, err)
		}
		stop()
		if err := <-ended; err != nil {
			t.Errorf("NoSagas %t: Run returned %v", noSagas, err)
		}
		metrics, err := parts.Registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		names := ""
		var built strings.Builder
		for _, m := range metrics {
			built.WriteString(" " + m.GetName())
		}
		names += built.String()
		if strings.Contains(names, "ordersaga_intake_lag_seconds") == noSagas || !strings.Contains(names, "ordersaga_sagas_live") {
			t.Errorf("NoSagas %t: metrics = %s, want intake lag only of a worker, and live sagas of both", noSagas, names)
		}
		// A worker sends its first heartbeat at once, and one with Stopped at its end.
		workers, err := a.Fleet.Workers(t.Context())
		if err != nil || (len(workers) == 0) != noSagas || !noSagas && !workers[0].Stopped {
			t.Errorf("NoSagas %t: heartbeats = %+v (%v), want a stopped one of a worker, none without sagas", noSagas, workers, err)
		}
	}
}

func TestAlertRulesFireAsTested(t *testing.T) {
	promtool := testkit.RequireTool(t, "promtool", "apt-get install prometheus")
	// Go's test cache depends on the files that the test opens.
	for _, read := range []string{"testdata/alerts.test.yaml", "../../deploy/grafana/alerts.yaml"} {
		if _, err := os.ReadFile(read); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", "testdata/alerts.test.yaml").CombinedOutput()
	if err != nil {
		t.Errorf("promtool test rules: %v: %s", err, out)
	}
}
