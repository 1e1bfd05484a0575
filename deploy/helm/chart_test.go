// Package helm tests the Helm chart in ordersaga/.
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

var update = flag.Bool("update", false, "write testdata/*.golden.yaml")

const chart = "ordersaga"

func TestMain(m *testing.M) {
	if err := errors.Join(readAll(chart), readAll("testdata")); err != nil {
		panic(err)
	}
	flag.Parse()
	os.Exit(m.Run())
}

// kinds are the API kinds that Dapr, KEDA and the Prometheus operator install.
var kinds = map[string][]string{
	"dapr": {
		"dapr.io/v1alpha1/Component", "dapr.io/v1alpha1/Configuration", "dapr.io/v1alpha1/Resiliency",
		"dapr.io/v2alpha1/Subscription",
	},
	"keda":       {"keda.sh/v1alpha1/ScaledObject", "keda.sh/v1alpha1/TriggerAuthentication"},
	"prometheus": {"monitoring.coreos.com/v1/ServiceMonitor", "monitoring.coreos.com/v1/PrometheusRule"},
}

// readAll reads the files that helm reads. Go's test cache tracks only files that the
// test itself opens.
func readAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			_, err = os.ReadFile(path)
		}
		return err
	})
}

// installed returns the flags that declare products as installed.
func installed(products ...string) (flags []string) {
	for _, p := range products {
		for _, k := range kinds[p] {
			flags = append(flags, "--api-versions", k)
		}
	}
	return flags
}

// cases are the values of the golden files.
var cases = map[string][]string{
	// The minimum for a first install.
	"first": append(installed("dapr"), "--set",
		"state.address=redis:6379,simulators.payment.enabled=true,simulators.carrier.enabled=true"),
	// values-production.yaml unchanged.
	"production": append(installed("dapr", "keda", "prometheus"), "-f", chart+"/values-production.yaml"),
	// Everything that the others do not use, as in a cluster without AWS.
	"elsewhere": append(installed("dapr", "keda"), "-f", "testdata/elsewhere.yaml", "--namespace", "shop"),
}

func helm(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	c := exec.CommandContext(t.Context(), testkit.Pinned(t, "helm", "helm"), args...)
	c.Stdout, c.Stderr = &out, &errs
	// Independent of the developer's cluster and settings.
	home := t.TempDir()
	c.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(home, "none"),
		"HELM_CONFIG_HOME="+home, "HELM_CACHE_HOME="+home, "HELM_DATA_HOME="+home)
	err = c.Run()
	return out.String(), errs.String(), err
}

func render(t *testing.T, flags ...string) string {
	t.Helper()
	out, errs, err := helm(t, append([]string{"template", "ordersaga", chart}, flags...)...)
	if err != nil {
		t.Fatalf("helm template %v: %v\n%s", flags, err, errs)
	}
	return out
}

func TestChartPassesHelmLint(t *testing.T) {
	t.Parallel()
	for name, flags := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var values []string // helm lint has no --api-versions
			for i := 0; i < len(flags); i += 2 {
				if flags[i] != "--api-versions" {
					values = append(values, flags[i], flags[i+1])
				}
			}
			out, errs, err := helm(t, append([]string{"lint", "--strict", chart, "--set", "requireCRDs=false"}, values...)...)
			if err != nil {
				t.Errorf("helm lint: %v\n%s%s", err, out, errs)
			}
		})
	}
}

// TestGolden compares the rendered chart with the golden files, so that a review shows
// every change.
func TestGolden(t *testing.T) {
	t.Parallel()
	for name, flags := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			same(t, filepath.Join("testdata", name+".golden.yaml"), []byte(render(t, flags...)))
		})
	}
}

// same compares a golden file with the rendered chart, or writes it with -update.
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
		t.Fatalf("read golden file: %v; `go test ./deploy/helm -update` writes it", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs from line %d on, want the rendered chart; run `go test ./deploy/helm -update` and review the diff",
			file, difference(string(got), string(want)))
	}
}

// difference returns the number of the first line that differs.
func difference(a, b string) int {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return i + 1
		}
	}
	return min(len(x), len(y)) + 1
}

// TestServiceAccountsMatchTheStacksRoles: the stack's roles trust the service accounts of a release called
// ordersaga.
func TestServiceAccountsMatchTheStacksRoles(t *testing.T) {
	t.Parallel()
	stack, err := os.ReadFile("../cloudformation/ordersaga.yaml")
	if err != nil {
		t.Fatal(err)
	}
	made := render(t, cases["first"]...)
	for _, account := range []string{"ordersaga-worker", "ordersaga-carrier"} {
		if !strings.Contains(string(stack), "ServiceAccount:\n    Type: String\n    Default: "+account+"\n") {
			t.Errorf("the stack's ServiceAccount parameters do not default to %s, want one that does", account)
		}
		if !strings.Contains(made, "kind: ServiceAccount\nmetadata:\n  name: "+account+"\n") {
			t.Errorf("the chart creates no service account %s, want the one that the stack's roles trust", account)
		}
	}
}
