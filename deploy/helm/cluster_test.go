package helm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/kube"
)

// TestCluster is the chart's life in a real control plane: refused while the
// cluster lacks what it needs, installed, upgraded to production's values,
// refused with bad ones, rolled back, uninstalled with nothing left.
func TestCluster(t *testing.T) {
	c := cluster{t, kube.Start(t), t.TempDir()}
	first := []string{"--set", "state.address=redis:6379,simulators.payment.enabled=true,simulators.carrier.enabled=true"}
	production := []string{"-f", chart + "/values-production.yaml"}

	c.refuses("Error: INSTALLATION FAILED", "the cluster lacks required APIs: Dapr 1.18 or later is not installed (no dapr.io/v1alpha1/Component, ", append([]string{"install", "ordersaga", chart}, first...)...)
	c.CRDs(crds[0].folder(t))
	c.helm(append([]string{"install", "ordersaga", chart}, first...)...)
	if got := c.deployments(); !slices.Equal(got, []string{"api 2", "carrier 1", "payment 1", "reconciler 1", "worker 2"}) {
		t.Errorf("first: %v", got)
	}

	upgrade := append([]string{"upgrade", "ordersaga", chart}, production...)
	c.refuses("Error: UPGRADE FAILED", "lacks required APIs: KEDA 2.21 or later is not installed (no keda.sh/v1alpha1/ScaledObject, keda.sh/v1alpha1/TriggerAuthentication)", upgrade...)
	c.CRDs(crds[1].folder(t))
	c.CRDs(crds[2].folder(t))
	c.refuses("Error: UPGRADE FAILED", "autoscaling.min: 99, must not be above autoscaling.max, 40", append(upgrade, "--set", "autoscaling.min=99")...)
	c.helm(upgrade...)
	if got := c.deployments(); !slices.Equal(got, []string{"api 3", "reconciler 1", "worker 8"}) { // the worker's are KEDA's now, and until then the fallback's
		t.Errorf("production: %v", got)
	}
	if got := c.names("keda.sh/v1alpha1/scaledobjects"); !slices.Equal(got, []string{"ordersaga-worker"}) {
		t.Errorf("production: %v", got)
	}
	if got := c.names("dapr.io/v1alpha1/components"); !slices.Equal(got, []string{"cursorstore", "orderpubsub", "secretstore", "statestore"}) {
		t.Errorf("production: %v", got)
	}

	// A revision of the peak, and one of a quiet hour: back to either there are
	// enough workers until KEDA looks.
	for _, workers := range []int{20, 0} {
		c.scale(workers)
		c.helm(upgrade...)
	}
	c.scale(30)
	for _, back := range []struct{ revision, worker string }{{"3", "worker 20"}, {"4", "worker 8"}, {"2", "worker 8"}} {
		c.helm("rollback", "ordersaga", back.revision)
		if got := c.deployments(); !slices.Contains(got, back.worker) {
			t.Errorf("rolled back to revision %s: %v, want %s", back.revision, got, back.worker)
		}
	}

	c.helm("rollback", "ordersaga", "1")
	if got := c.names("keda.sh/v1alpha1/scaledobjects"); len(got) > 0 || len(c.deployments()) != 5 {
		t.Errorf("rolled back: %v %v", got, c.deployments())
	}

	c.helm("uninstall", "ordersaga", "--cascade", "foreground", "--wait")
	for _, kind := range []string{
		"apps/v1/deployments", "apps/v1/replicasets", "v1/pods", "v1/services", "v1/serviceaccounts", "v1/configmaps", "policy/v1/poddisruptionbudgets",
		"networking.k8s.io/v1/networkpolicies", "dapr.io/v1alpha1/components", "dapr.io/v1alpha1/configurations", "dapr.io/v1alpha1/resiliencies",
		"dapr.io/v2alpha1/subscriptions", "keda.sh/v1alpha1/scaledobjects", "keda.sh/v1alpha1/triggerauthentications",
		"monitoring.coreos.com/v1/servicemonitors", "monitoring.coreos.com/v1/prometheusrules",
	} {
		if left := c.names(kind); len(left) > 0 {
			t.Errorf("uninstalled, and yet there are %s %v", kind, left)
		}
	}
}

func (s source) folder(t *testing.T) string { return filepath.Dir(s.glob(t)[0]) }

type cluster struct {
	*testing.T
	*kube.Cluster

	home string
}

func (c cluster) run(args ...string) (string, error) {
	cmd := exec.CommandContext(c.Context(), testkit.Pinned(c, "helm", "helm"), append(args, "--kubeconfig", c.Kubeconfig)...)
	cmd.Env = append(os.Environ(), "HOME="+c.home, "HELM_DRIVER=secret")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c cluster) helm(args ...string) {
	c.Helper()
	out, err := c.run(args...)
	if err != nil {
		c.Fatalf("helm %s: %v\n%s", args[0], err, out)
	}
	c.Logf("helm %s\n%s", args[0], out)
}

// refuses wants an error that is one line, and an untouched cluster: its caller
// looks at what is there afterwards.
func (c cluster) refuses(as, say string, args ...string) {
	c.Helper()
	before := c.deployments()
	out, err := c.run(args...)
	if err == nil {
		c.Fatalf("helm %v is taken:\n%s", args, out)
	}
	line := strings.TrimSpace(out)
	if strings.Contains(line, "\n") || !strings.HasPrefix(line, as) || !strings.Contains(line, say) {
		c.Errorf("helm %v must say %q in one line, says\n%s", args, say, out)
	}
	if after := c.deployments(); !slices.Equal(before, after) {
		c.Errorf("refused, and yet: %v, were %v", after, before)
	}
}

// names are those of all objects of a kind that are the release's.
func (c cluster) names(kind string) (all []string) {
	c.Helper()
	c.list(kind, func(name string, _ int) { all = append(all, name) })
	return all
}

func (c cluster) deployments() (all []string) {
	c.Helper()
	c.list("apps/v1/deployments", func(name string, replicas int) {
		all = append(all, strings.TrimPrefix(name, "ordersaga-")+fmt.Sprint(" ", replicas))
	})
	return all
}

func (c cluster) list(kind string, each func(name string, replicas int)) {
	c.Helper()
	parts := strings.Split(kind, "/")
	at := "/apis/" + strings.Join(parts[:len(parts)-1], "/")
	if len(parts) == 2 {
		at = "/api/v1"
	}
	var found struct {
		Items []struct {
			Metadata struct{ Name string }
			Spec     struct{ Replicas int }
		}
	}
	must(c.T, c.Get(c.Context(), at+"/namespaces/default/"+parts[len(parts)-1]+"?labelSelector=app.kubernetes.io/instance=ordersaga", &found))
	for _, i := range found.Items {
		each(i.Metadata.Name, i.Spec.Replicas)
	}
}

// scale is KEDA's part.
func (c cluster) scale(workers int) {
	c.Helper()
	must(c.T, c.Patch(c.Context(), "/apis/apps/v1/namespaces/default/deployments/ordersaga-worker", map[string]any{"spec": map[string]any{"replicas": workers}}))
}
