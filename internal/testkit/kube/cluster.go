// Package kube runs a Kubernetes control plane for tests: etcd, kube-apiserver and
// kube-controller-manager, and optionally KEDA, as processes on loopback. There are no nodes: a
// test that needs running pods must act as the kubelet.
package kube

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// Cluster is a control plane that runs until the end of the test.
type Cluster struct {
	Kubeconfig string // path of a file, for helm and other clients

	t    testing.TB
	dir  string
	url  string
	ca   authority
	http *http.Client
}

const (
	token   = "the-test"
	target  = "kube-tools"     // of the Makefile, which builds the programs
	slowest = 90 * time.Second // for a program to be ready, on a busy machine
)

// Helm returns the path of helm.
func Helm(t testing.TB) string {
	t.Helper()
	return testkit.Pinned(t, "helm", "helm")
}

// Scaler returns the path of the program that runs KEDA's scalers.
func Scaler(t testing.TB) string {
	t.Helper()
	return testkit.Pinned(t, "keda-scaler", target)
}

// ModuleDir returns the directory of a module that the go.mod in a folder of the repository
// requires.
func ModuleDir(t testing.TB, folder, module string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module) //nolint:gosec // the test's own arguments
	cmd.Dir = filepath.Join(testkit.Root(t), folder)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("find module %s of %s: %v %s", module, folder, err, out)
	}
	var found struct{ Dir string }
	require.NoError(t, json.Unmarshal(out, &found))
	return found.Dir
}

// Start starts a control plane and waits until it is ready.
func Start(t testing.TB) *Cluster {
	t.Helper()
	etcd := testkit.RequireTool(t, "etcd", "apt-get install etcd-server")
	server, manager := testkit.Pinned(t, "kube-apiserver", target), testkit.Pinned(t, "kube-controller-manager", target)
	dir := t.TempDir()
	ports, err := daprlocal.FreePorts(4)
	require.NoError(t, err)
	c := &Cluster{t: t, dir: dir, ca: newAuthority(t, dir), url: "https://127.0.0.1:" + ports[2]}

	client, peer := "http://127.0.0.1:"+ports[0], "http://127.0.0.1:"+ports[1]
	run(t, dir, "etcd", nil, etcd, "--data-dir", filepath.Join(dir, "etcd"), "--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer, "--log-level", "warn",
		"--unsafe-no-fsync")

	cert, key := c.ca.issue("kube-apiserver")
	proxyCert, proxyKey := c.ca.issue("front-proxy")
	_, accounts := c.ca.issue("service-accounts")
	tokens := filepath.Join(dir, "tokens.csv")
	require.NoError(t, os.WriteFile(tokens, []byte(token+`,test,1,"system:masters"`+"\n"), 0o600))
	run(t, dir, "kube-apiserver", nil, server, "--etcd-servers", client, "--bind-address", "127.0.0.1", "--secure-port", ports[2],
		"--tls-cert-file", cert, "--tls-private-key-file", key, "--client-ca-file", c.ca.file("ca.crt"), "--token-auth-file", tokens,
		"--authorization-mode", "AlwaysAllow", "--service-account-issuer", "https://kubernetes.default.svc",
		"--service-account-signing-key-file", accounts, "--service-account-key-file", accounts, "--service-cluster-ip-range", "10.0.0.0/24",
		"--disable-admission-plugins", "ServiceAccount", "--endpoint-reconciler-type", "none",
		"--requestheader-client-ca-file", c.ca.file("ca.crt"), "--requestheader-allowed-names", "front-proxy",
		"--requestheader-username-headers", "X-Remote-User", "--requestheader-group-headers", "X-Remote-Group",
		"--requestheader-extra-headers-prefix", "X-Remote-Extra-", "--proxy-client-cert-file", proxyCert, "--proxy-client-key-file", proxyKey)

	c.Kubeconfig = filepath.Join(dir, "kubeconfig")
	require.NoError(t, os.WriteFile(c.Kubeconfig, fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: test, user: {token: %s}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
current-context: test
`, c.url, c.ca.file("ca.crt"), token), 0o600))
	c.http = c.newHTTP()
	testkit.Within(t, slowest, "kube-apiserver is ready", func() error { return c.Get(t.Context(), "/readyz", nil) })

	controllers := "deployment-controller,replicaset-controller,horizontal-pod-autoscaler-controller," +
		"garbage-collector-controller,namespace-controller"
	run(t, dir, "kube-controller-manager", nil, manager, "--kubeconfig", c.Kubeconfig,
		"--bind-address", "127.0.0.1", "--secure-port", ports[3], "--leader-elect=false",
		"--authentication-kubeconfig", c.Kubeconfig, "--authorization-kubeconfig", c.Kubeconfig, "--controllers", controllers,
		"--horizontal-pod-autoscaler-sync-period", "5s")
	return c
}
