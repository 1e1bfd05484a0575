// Package helm has the chart's tests; the chart is in ordersaga/.
package helm

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/testkit"
)

// With -update the chart's copies of other files, and the golden files, are
// written anew.
var update = flag.Bool("update", false, "write the chart's copies and testdata/*.golden.yaml")

const chart = "ordersaga"

func TestMain(m *testing.M) {
	if err := errors.Join(readAll(chart), readAll("testdata")); err != nil {
		panic(err)
	}
	flag.Parse()
	os.Exit(m.Run())
}

// kinds are what a cluster has where Dapr, KEDA and the Prometheus operator are
// installed.
var kinds = map[string][]string{
	"dapr":       {"dapr.io/v1alpha1/Component", "dapr.io/v1alpha1/Configuration", "dapr.io/v1alpha1/Resiliency", "dapr.io/v2alpha1/Subscription"},
	"keda":       {"keda.sh/v1alpha1/ScaledObject", "keda.sh/v1alpha1/TriggerAuthentication"},
	"prometheus": {"monitoring.coreos.com/v1/ServiceMonitor", "monitoring.coreos.com/v1/PrometheusRule"},
}

// readAll reads what helm reads: go's cache of results goes by the files that the
// test itself has opened.
func readAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			_, err = os.ReadFile(path)
		}
		return err
	})
}

// installed are the flags that tell helm so.
func installed(what ...string) (flags []string) {
	for _, w := range what {
		for _, k := range kinds[w] {
			flags = append(flags, "--api-versions", k)
		}
	}
	return flags
}

// cases are the ways to use the chart that golden files show.
var cases = map[string][]string{
	// The least that a first install has to say.
	"first": append(installed("dapr"), "--set", "state.address=redis:6379,simulators.payment.enabled=true,simulators.carrier.enabled=true"),
	// The second one, as the file says.
	"production": append(installed("dapr", "keda", "prometheus"), "-f", chart+"/values-production.yaml"),
	// All that they do not use, as in a cluster without AWS.
	"elsewhere": append(installed("dapr", "keda"), "-f", "testdata/elsewhere.yaml", "--namespace", "shop"),
}

func helm(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	c := exec.CommandContext(t.Context(), testkit.Pinned(t, "helm", "helm"), args...)
	c.Stdout, c.Stderr = &out, &errs
	// Whatever cluster and settings the developer has.
	home := t.TempDir()
	c.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(home, "none"), "HELM_CONFIG_HOME="+home, "HELM_CACHE_HOME="+home, "HELM_DATA_HOME="+home)
	err = c.Run()
	return out.String(), errs.String(), err
}

func render(t *testing.T, flags ...string) string {
	t.Helper()
	out, errs, err := helm(t, append([]string{"template", "ordersaga", chart}, flags...)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	return out
}

func TestLint(t *testing.T) {
	for name, flags := range cases {
		t.Run(name, func(t *testing.T) {
			var values []string // lint knows no --api-versions
			for i := 0; i < len(flags); i += 2 {
				if flags[i] != "--api-versions" {
					values = append(values, flags[i], flags[i+1])
				}
			}
			out, errs, err := helm(t, append([]string{"lint", "--strict", chart, "--set", "requireCRDs=false"}, values...)...)
			if err != nil {
				t.Errorf("%v\n%s%s", err, out, errs)
			}
		})
	}
}

// TestGolden: what the chart makes, so that a change is seen in review.
func TestGolden(t *testing.T) {
	for name, flags := range cases {
		t.Run(name, func(t *testing.T) {
			same(t, filepath.Join("testdata", name+".golden.yaml"), []byte(render(t, flags...)))
		})
	}
}

func same(t *testing.T, file string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, want, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: `go test ./deploy/helm -update` writes it", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is out of date, from its line %d on: `go test ./deploy/helm -update`, and look at the difference", file, difference(string(got), string(want)))
	}
}

func difference(a, b string) int {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return i + 1
		}
	}
	return min(len(x), len(y)) + 1
}

// TestServiceAccounts: the stack's roles trust the service accounts that a
// release called ordersaga has.
func TestServiceAccounts(t *testing.T) {
	stack, err := os.ReadFile("../cloudformation/ordersaga.yaml")
	if err != nil {
		t.Fatal(err)
	}
	made := render(t, cases["first"]...)
	for _, account := range []string{"ordersaga-worker", "ordersaga-carrier"} {
		if !strings.Contains(string(stack), "ServiceAccount:\n    Type: String\n    Default: "+account+"\n") {
			t.Errorf("the stack does not trust %s", account)
		}
		if !strings.Contains(made, "kind: ServiceAccount\nmetadata:\n  name: "+account+"\n") {
			t.Errorf("the chart does not make %s", account)
		}
	}
}
