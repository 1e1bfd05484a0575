package kube

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// kedaFolder has the go.mod that pins KEDA.
const kedaFolder, kedaModule = "tools/kube/keda", "github.com/kedacore/keda/v2"

// StartKEDA starts KEDA's operator and metrics adapter, and waits until the API server serves
// their external metrics.
func (c *Cluster) StartKEDA() {
	t := c.t
	t.Helper()
	operator, adapter := testkit.Pinned(t, "keda-operator", target), testkit.Pinned(t, "keda-adapter", target)
	c.ApplyCRDs(filepath.Join(ModuleDir(t, kedaFolder, kedaModule), "config", "crd", "bases"))
	ctx := t.Context()
	require.NoError(t, c.Post(ctx, "/api/v1/namespaces", object{"metadata": object{"name": "keda"}}))

	p, err := daprlocal.FreePorts(5)
	require.NoError(t, err)
	at := func(i int) string { return "127.0.0.1:" + p[i] }
	certs := filepath.Join(c.dir, "keda")
	require.NoError(t, os.MkdirAll(certs, 0o750))
	cert, key := c.ca.issue("keda")
	for from, to := range map[string]string{c.ca.file("ca.crt"): "ca.crt", cert: "tls.crt", key: "tls.key"} {
		require.NoError(t, os.Symlink(from, filepath.Join(certs, to)))
	}
	env := []string{"KUBECONFIG=" + c.Kubeconfig, "WATCH_NAMESPACE=", "POD_NAMESPACE=keda", "KEDA_CLUSTER_OBJECT_NAMESPACE=keda"}
	run(t, c.dir, "keda-operator", env, operator, "--cert-dir", certs, "--enable-cert-rotation=false", "--leader-elect=false",
		"--metrics-service-bind-address", at(0), "--metrics-bind-address", at(1), "--health-probe-bind-address", at(2))
	run(t, c.dir, "keda-adapter", env, adapter, "--secure-port", p[3], "--bind-address", "127.0.0.1", "--cert-dir", certs, "--port", p[4],
		"--metrics-service-address", at(0), "--metrics-service-grpc-authority", "localhost",
		"--kubeconfig", c.Kubeconfig, "--lister-kubeconfig", c.Kubeconfig,
		"--authentication-kubeconfig", c.Kubeconfig, "--authorization-kubeconfig", c.Kubeconfig)

	port, err := strconv.Atoi(p[3])
	require.NoError(t, err)
	require.NoError(t, c.Post(ctx, "/api/v1/namespaces/keda/services", object{
		"metadata": object{"name": "keda-metrics-apiserver"},
		"spec":     object{"type": "ExternalName", "externalName": "localhost", "ports": []object{{"port": port}}},
	}))
	const name = "v1beta1.external.metrics.k8s.io"
	require.NoError(t, c.Post(ctx, "/apis/apiregistration.k8s.io/v1/apiservices", object{
		"metadata": object{"name": name},
		"spec": object{
			"group": "external.metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
			"insecureSkipTLSVerify": true,
			"service":               object{"namespace": "keda", "name": "keda-metrics-apiserver", "port": port},
		},
	}))
	testkit.Within(t, 2*slowest, "the API server serves external metrics", func() error {
		var is struct {
			Status struct {
				Conditions []struct{ Type, Status, Message string }
			}
		}
		if err := c.Get(ctx, "/apis/apiregistration.k8s.io/v1/apiservices/"+name, &is); err != nil {
			return err
		}
		for _, s := range is.Status.Conditions {
			if s.Type == "Available" && s.Status == "True" {
				return nil
			}
			err = errors.New(s.Message)
		}
		return errors.Join(errors.New("its condition Available is not true"), err)
	})
}

// object is a JSON object.
type object = map[string]any
