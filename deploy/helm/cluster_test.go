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
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestReleaseRunsOnARealControlPlane: the install is rejected while the cluster lacks
// required APIs. Then the release is installed, upgraded to the production values, rejected
// with invalid ones, rolled back and uninstalled. Nothing is left behind.
func TestReleaseRunsOnARealControlPlane(t *testing.T) {
	t.Parallel()
	c := cluster{T: t, Cluster: kube.Start(t), home: t.TempDir()}
	first := []string{"--set", "state.address=redis:6379,simulators.payment.enabled=true,simulators.carrier.enabled=true"}
	production := []string{"-f", chart + "/values-production.yaml"}

	const noDapr = "the cluster lacks required APIs: Dapr 1.18 or later is not installed (no dapr.io/v1alpha1/Component, "
	c.rejects("Error: INSTALLATION FAILED", noDapr, append([]string{"install", "ordersaga", chart}, first...)...)
	c.ApplyCRDs(crds[0].folder(t))
	c.helm(append([]string{"install", "ordersaga", chart}, first...)...)
	if got := c.deployments(); !slices.Equal(got, []string{"api 2", "carrier 1", "payment 1", "reconciler 1", "worker 2"}) {
		t.Errorf("first install: deployments = %v, want api 2, carrier 1, payment 1, reconciler 1, worker 2", got)
	}

	upgrade := append([]string{"upgrade", "ordersaga", chart}, production...)
	const noKEDA = "lacks required APIs: KEDA 2.21 or later is not installed " +
		"(no keda.sh/v1alpha1/ScaledObject, keda.sh/v1alpha1/TriggerAuthentication)"
	c.rejects("Error: UPGRADE FAILED", noKEDA, upgrade...)
	c.ApplyCRDs(crds[1].folder(t))
	c.ApplyCRDs(crds[2].folder(t))
	const tooMany = "autoscaling.min: 99, must not be above autoscaling.max, 40"
	c.rejects("Error: UPGRADE FAILED", tooMany, append(upgrade, "--set", "autoscaling.min=99")...)
	c.helm(upgrade...)
	// The worker has the fallback's number of replicas until KEDA polls.
	if got := c.deployments(); !slices.Equal(got, []string{"api 3", "reconciler 1", "worker 8"}) {
		t.Errorf("with production values: deployments = %v, want api 3, reconciler 1, worker 8", got)
	}
	if got := c.names("keda.sh/v1alpha1/scaledobjects"); !slices.Equal(got, []string{"ordersaga-worker"}) {
		t.Errorf("with production values: ScaledObjects = %v, want ordersaga-worker", got)
	}
	if got := c.names("dapr.io/v1alpha1/components"); !slices.Equal(got, []string{"cursorstore", "orderpubsub", "secretstore", "statestore"}) {
		t.Errorf("with production values: components = %v, want cursorstore, orderpubsub, secretstore, statestore", got)
	}

	// One revision at the peak and one at a quiet hour: after a rollback to either there
	// are enough workers until KEDA polls.
	for _, workers := range []int{20, 0} {
		c.scale(workers)
		c.helm(upgrade...)
	}
	c.scale(30)
	for _, back := range []struct{ revision, worker string }{{"3", "worker 20"}, {"4", "worker 8"}, {"2", "worker 8"}} {
		c.helm("rollback", "ordersaga", back.revision)
		if got := c.deployments(); !slices.Contains(got, back.worker) {
			t.Errorf("after rollback to revision %s: deployments = %v, want %s", back.revision, got, back.worker)
		}
	}

	c.helm("rollback", "ordersaga", "1")
	if got := c.names("keda.sh/v1alpha1/scaledobjects"); len(got) > 0 || len(c.deployments()) != 5 {
		t.Errorf("after rollback to revision 1: ScaledObjects = %v, deployments = %v, want none and 5", got, c.deployments())
	}

	c.helm("uninstall", "ordersaga", "--cascade", "foreground", "--wait")
	for _, kind := range []string{
		"apps/v1/deployments", "apps/v1/replicasets", "v1/pods", "v1/services", "v1/serviceaccounts", "v1/configmaps",
		"policy/v1/poddisruptionbudgets",
		"networking.k8s.io/v1/networkpolicies", "dapr.io/v1alpha1/components", "dapr.io/v1alpha1/configurations", "dapr.io/v1alpha1/resiliencies",
		"dapr.io/v2alpha1/subscriptions", "keda.sh/v1alpha1/scaledobjects", "keda.sh/v1alpha1/triggerauthentications",
		"monitoring.coreos.com/v1/servicemonitors", "monitoring.coreos.com/v1/prometheusrules",
	} {
		if left := c.names(kind); len(left) > 0 {
			t.Errorf("after uninstall: %s = %v, want none", kind, left)
		}
	}
}

// folder returns the folder of the module's schema files.
func (s source) folder(t *testing.T) string { return filepath.Dir(s.glob(t)[0]) }

// cluster is a real control plane with helm.
type cluster struct {
	*testing.T
	*kube.Cluster

	home string
}

// run runs helm against the cluster and returns stdout and stderr together.
func (c cluster) run(args ...string) (string, error) {
	cmd := exec.CommandContext(c.Context(), testkit.Pinned(c, "helm", "helm"), append(args, "--kubeconfig", c.Kubeconfig)...)
	cmd.Env = append(os.Environ(), "HOME="+c.home, "HELM_DRIVER=secret")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// helm runs helm and fails the test if it fails.
func (c cluster) helm(args ...string) {
	c.Helper()
	out, err := c.run(args...)
	if err != nil {
		c.Fatalf("helm %s: %v\n%s", args[0], err, out)
	}
	c.Logf("helm %s\n%s", args[0], out)
}

// rejects checks that helm fails with one line of error, which starts with prefix and
// contains want, and that the deployments are unchanged.
func (c cluster) rejects(prefix, want string, args ...string) {
	c.Helper()
	before := c.deployments()
	out, err := c.run(args...)
	if err == nil {
		c.Fatalf("helm %v succeeded, want error %q; output:\n%s", args, want, out)
	}
	line := strings.TrimSpace(out)
	if strings.Contains(line, "\n") || !strings.HasPrefix(line, prefix) || !strings.Contains(line, want) {
		c.Errorf("helm %v: want one line of output that starts with %q and contains %q, got:\n%s", args, prefix, want, out)
	}
	if after := c.deployments(); !slices.Equal(before, after) {
		c.Errorf("deployments after a rejected helm %s = %v, want %v", args[0], after, before)
	}
}

// names returns the names of the release's objects of a kind.
func (c cluster) names(kind string) (all []string) {
	c.Helper()
	c.list(kind, func(name string, _ int) { all = append(all, name) })
	return all
}

// deployments returns the release's Deployments as "component replicas".
func (c cluster) deployments() (all []string) {
	c.Helper()
	c.list("apps/v1/deployments", func(name string, replicas int) {
		all = append(all, strings.TrimPrefix(name, "ordersaga-")+fmt.Sprint(" ", replicas))
	})
	return all
}

// list calls each for the release's objects of a kind, "group/version/resource".
func (c cluster) list(kind string, each func(name string, replicas int)) {
	c.Helper()
	parts := strings.Split(kind, "/")
	path := "/apis/" + strings.Join(parts[:len(parts)-1], "/")
	if len(parts) == 2 {
		path = "/api/v1"
	}
	var found struct {
		Items []struct {
			Metadata struct{ Name string }
			Spec     struct{ Replicas int }
		}
	}
	path += "/namespaces/default/" + parts[len(parts)-1] + "?labelSelector=app.kubernetes.io/instance=ordersaga"
	require.NoError(c.T, c.Get(c.Context(), path, &found))
	for _, i := range found.Items {
		each(i.Metadata.Name, i.Spec.Replicas)
	}
}

// scale sets the number of workers, as KEDA does.
func (c cluster) scale(workers int) {
	c.Helper()
	spec := map[string]any{"spec": map[string]any{"replicas": workers}}
	require.NoError(c.T, c.Patch(c.Context(), "/apis/apps/v1/namespaces/default/deployments/ordersaga-worker", spec))
}
