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
)

// TestNoSagas: who is the API alone passes for a worker neither on the overview
// nor before the alerts. (Elsewhere its engine is Dapr; what it says of itself
// does not go by that.)
func TestNoSagas(t *testing.T) {
	for _, alone := range []bool{true, false} {
		a := testkit.NewAWS(t, nil)
		w := good()
		w.AWS.Endpoint, w.ShutdownTimeout = a.Endpoint, 10*time.Second
		var err error
		if w.Listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		parts, err := w.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.NoSagas = alone // which Open refuses the embedded engine
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()

		res, err := http.Get("http://" + w.Listener.Addr().String() + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("alone %t: %s %v", alone, res.Status, err)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		metrics, err := parts.Registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		names := ""
		for _, m := range metrics {
			names += " " + m.GetName()
		}
		if strings.Contains(names, "ordersaga_intake_lag_seconds") == alone || !strings.Contains(names, "ordersaga_sagas_live") {
			t.Errorf("alone %t: the alert goes by%s", alone, names)
		}
		// A worker says so at once, and takes it back at its end.
		said, err := a.Fleet.Workers(t.Context())
		if err != nil || (len(said) == 0) != alone || !alone && !said[0].Stopped {
			t.Errorf("alone %t, has been among the workers %+v: %v", alone, said, err)
		}
	}
}

func TestAlerts(t *testing.T) {
	promtool := testkit.RequireTool(t, "promtool", "apt-get install prometheus")
	for _, read := range []string{"testdata/alerts.test.yaml", "../../deploy/grafana/alerts.yaml"} { // go's cache of results goes by what the test opens
		if _, err := os.ReadFile(read); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", "testdata/alerts.test.yaml").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
