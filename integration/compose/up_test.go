package compose

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/api/client"
	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/images"
)

// leftOut are those that no image can be made of here.
const leftOut = `services:
  grafana: {profiles: [elsewhere]}
  dashboard: {profiles: [elsewhere]}
`

// system is the file, brought up on free ports.
type system struct {
	*testing.T

	command []string
	env     []string
	ports   map[string]string
}

// TestComposeStartsAllServices makes the first steps of a new user: up, an order, down.
func TestComposeStartsAllServices(t *testing.T) {
	needDocker(t)
	s := newSystem(t)
	if images.Local() {
		s.over(leftOut)
	}
	s.up()
	t.Run("an order completes", s.order)
	t.Run("Prometheus", s.prometheus)
	if !images.Local() {
		t.Run("Grafana", s.grafana)
	}
}

// TestComposeStartsAllServicesOnMiniStack uses the second file over the first, with a third-party
// AWS emulator.
func TestComposeStartsAllServicesOnMiniStack(t *testing.T) {
	needDocker(t)
	here := ""
	if images.Local() {
		here = ministackHere(t)
	}
	s := newSystem(t)
	s.command = append(s.command, "-f", filepath.Join(root, "deploy", "compose.ministack.yaml"))
	if here != "" {
		s.over(here)
	}
	s.up("api", "worker1", "payment", "carrier")
	t.Run("an order completes", s.order)
}

// ministackHere runs this machine's MiniStack in the container, with its Python.
func ministackHere(t *testing.T) string {
	t.Helper()
	bin, err := filepath.EvalSymlinks(filepath.Join(root, "bin"))
	if err != nil {
		testkit.SkipOrFail(t, "MiniStack is not there: make emulators")
	}
	bin, err = filepath.Abs(bin)
	if err != nil {
		t.Fatal(err)
	}
	testkit.Pinned(t, "ministack/bin/ministack", "emulators")
	python, err := exec.Command(filepath.Join(bin, "ministack/bin/python3"), "-c", "import sys; print(sys.base_prefix)").Output()
	if err != nil {
		t.Fatal(err)
	}
	over := "services:\n  aws:\n    image: ${PAUSE_IMAGE}\n" +
		"    entrypoint: [" + bin + "/ministack/bin/ministack]\n    tmpfs: [/tmp]\n    volumes:\n"
	dirs := []string{"/usr", "/lib", "/lib64", "/etc/ssl", bin}
	if prefix := strings.TrimSpace(string(python)); !strings.HasPrefix(prefix, "/usr") {
		dirs = append(dirs, prefix)
	}
	var built strings.Builder
	for _, dir := range dirs {
		built.WriteString("      - " + dir + ":" + dir + ":ro\n")
	}
	over += built.String()
	return over
}

func newSystem(t *testing.T) *system {
	t.Helper()
	s := &system{
		T: t, command: []string{program(t), "-p", "ordersaga-compose-test", "-f", file},
		env: clean(os.Environ()), ports: map[string]string{},
	}
	names := []string{"API", "AWS", "PAYMENT", "CARRIER", "PROMETHEUS", "GRAFANA", "DASHBOARD"}
	free, err := daprlocal.FreePorts(len(names))
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		s.ports[name] = free[i]
		s.env = append(s.env, name+"_PORT="+free[i])
	}
	if images.Local() {
		s.env = append(s.env, localImages(t)...)
	}
	return s
}

// over puts a file over those before it.
func (s *system) over(content string) {
	s.Helper()
	override := filepath.Join(s.TempDir(), "compose.yaml")
	if err := os.WriteFile(override, []byte(content), 0o600); err != nil {
		s.Fatal(err)
	}
	s.command = append(s.command, "-f", override)
}

// up brings services up, or all, until the test ends.
func (s *system) up(services ...string) {
	s.Helper()
	build := "--build"
	if images.Local() {
		build = "--no-build"
	}
	if out, err := s.compose(s.Context(), "down", "--volumes", "--remove-orphans"); err != nil { // of a run that was killed
		s.Fatalf("down: %v: %s", err, out)
	}
	s.Cleanup(s.down)
	began := time.Now()
	args := append([]string{"up", "--detach", "--wait", "--wait-timeout", "120", "--quiet-pull", build}, services...)
	if out, err := s.compose(s.Context(), args...); err != nil {
		s.Fatalf("up: %v: %s", err, out)
	}
	s.Logf("up and healthy after %s", time.Since(began).Round(time.Second))
}

func (s *system) compose(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.command[0], slices.Concat(s.command[1:], args)...)
	cmd.Env = s.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// down runs after the test's context has ended.
func (s *system) down() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if s.Failed() {
		out, _ := s.compose(ctx, "ps", "-a") // what there is
		s.Log(out)
		out, _ = s.compose(ctx, "logs", "--no-color", "--tail", "20")
		s.Log(out)
	}
	if out, err := s.compose(ctx, "down", "--volumes", "--remove-orphans"); err != nil {
		s.Errorf("down: %v: %s", err, out)
	}
	left, err := exec.CommandContext(ctx, "docker", "ps", "-aq",
		"--filter", "label=com.docker.compose.project=ordersaga-compose-test").Output()
	if err != nil || len(left) > 0 {
		s.Errorf("containers left behind = %s (error %v), want none", left, err)
	}
}

func (s *system) at(name string) client.Client {
	return client.Client{Base: "http://127.0.0.1:" + s.ports[name], HTTP: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}}
}

func (s *system) order(t *testing.T) {
	c := s.at("API")
	o := order.Order{
		OrderID: "o-1", CustomerID: "c-7", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"},
		Lines: []order.Line{{SKU: "SKU-1", Quantity: 2, UnitPrice: 1999}}, ShipTo: &order.Address{Name: "Ann", Country: "DE"},
	}
	if err := c.On("").Call(t.Context(), http.MethodPut, "/v1/stock/SKU-1", map[string]int{"onHand": 100}, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Call(t.Context(), http.MethodPost, "/v1/orders", o, nil); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the order is COMPLETED", func() error {
		var got api.Saga
		if err := c.Call(t.Context(), http.MethodGet, "/v1/sagas/o-1", nil, &got); err != nil {
			return err
		}
		if got.Status != order.StatusCompleted {
			return fmt.Errorf("it is %s %s", got.Status, got.Reason)
		}
		return nil
	})
	for book, path := range map[string]string{"PAYMENT": "/v1/charges?orderId=o-1", "CARRIER": "/v1/shipments?orderId=o-1"} {
		var got json.RawMessage
		p := s.at(book)
		p.Header = http.Header{"Authorization": {"Bearer dev-payment-key"}}
		if err := p.Call(t.Context(), http.MethodGet, path, nil, &got); err != nil || !strings.Contains(string(got), `"o-1"`) {
			t.Errorf("%s: GET %s = %s (error %v), want o-1 in it", book, path, got, err)
		}
	}
}

// prometheus scrapes everything and has read the alerts.
func (s *system) prometheus(t *testing.T) {
	c := s.at("PROMETHEUS")
	testkit.Eventually(t, "all targets are up", func() error {
		var got struct {
			Data struct {
				ActiveTargets []struct{ ScrapeURL, Health, LastError string }
			}
		}
		if err := c.Call(t.Context(), http.MethodGet, "/api/v1/targets", nil, &got); err != nil {
			return err
		}
		if n := len(got.Data.ActiveTargets); n != 10 {
			t.Fatalf("targets = %d, want 10", n)
		}
		for _, target := range got.Data.ActiveTargets {
			if target.Health != "up" {
				return fmt.Errorf("%+v", target)
			}
		}
		return nil
	})
	testkit.Eventually(t, "all rules have been evaluated", func() error {
		var got struct {
			Data struct {
				Groups []struct {
					Rules []struct{ Name, Health, LastError string }
				}
			}
		}
		if err := c.Call(t.Context(), http.MethodGet, "/api/v1/rules", nil, &got); err != nil {
			return err
		}
		if len(got.Data.Groups) != 1 || len(got.Data.Groups[0].Rules) < 6 {
			t.Fatalf("Prometheus' rules = %+v, want one group with at least 6", got)
		}
		for _, r := range got.Data.Groups[0].Rules {
			if r.Health != "ok" {
				return fmt.Errorf("%+v", r)
			}
		}
		return nil
	})
	out, err := s.compose(t.Context(), "exec", "-T", "prometheus",
		"/bin/promtool", "check", "config", "/etc/prometheus/prometheus.yaml")
	if err != nil {
		t.Errorf("promtool rejects the configuration: %v: %s", err, out)
	}
}

// grafana has our dashboard.
func (s *system) grafana(t *testing.T) {
	testkit.Within(t, time.Minute, "Grafana has the dashboard", func() error {
		return s.at("GRAFANA").Call(t.Context(), http.MethodGet, "/api/dashboards/uid/ordersaga", nil, nil)
	})
}
