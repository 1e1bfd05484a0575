package keda

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/kube"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// Tokens: the payment provider's key, the app's for calls from its sidecar, and the sidecars'.
const providerKey, appToken, sidecarToken = "provider's", "app's", "sidecar's"

// env has the cluster and everything outside its pods.
type env struct {
	t                       *testing.T
	logs                    string // directory
	program                 string // ordersaga
	aws, payment, carrier   *process
	awsURL, payURL, carrURL string
	apiURL                  string
	clients                 *cloud.Clients
	resources               cloud.Resources
	store                   *orderstore.Store
	dapr                    *daprlocal.Cluster
	cluster                 *kube.Cluster
	kubelet                 *kubelet
}

// newEnv starts everything except for the chart.
func newEnv(t *testing.T) *env {
	testkit.RequireDapr(t)
	kube.Helm(t)
	began := time.Now()
	e := &env{t: t, logs: logDir(t)}
	e.program = build(t)
	e.cluster = kube.Start(t)
	t.Logf("%s: Kubernetes is ready", since(began))
	e.cluster.StartKEDA()
	e.cluster.ApplyCRDs(filepath.Join(kube.ModuleDir(t, "tools/dapr", "github.com/dapr/dapr"), "charts", "dapr", "crds"))
	t.Logf("%s: KEDA is ready", since(began))
	e.startServices()
	e.startDapr()
	t.Logf("%s: Dapr is ready", since(began))
	e.kubelet = &kubelet{
		t: t, cluster: e.cluster, dapr: e.dapr, program: e.program, logs: e.logs, token: sidecarToken,
		pods: map[string]*running{}, held: map[string]bool{}, ports: map[string]int{"api": freePort(t)},
	}
	e.apiURL = fmt.Sprintf("http://127.0.0.1:%d", e.kubelet.ports["api"])
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { e.kubelet.run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	return e
}

// since returns the whole seconds since a time.
func since(t time.Time) time.Duration { return time.Since(t).Round(time.Second) }

// logDir returns the directory ORDERSAGA_KEDA_LOGS. If it is not set, it returns a temporary one.
func logDir(t *testing.T) string {
	dir := os.Getenv("ORDERSAGA_KEDA_LOGS")
	if dir == "" {
		return t.TempDir()
	}
	require.NoError(t, os.MkdirAll(dir, 0o750))
	return dir
}

// build builds ordersaga and returns the program's path.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "ordersaga")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/ordersaga")
	cmd.Dir = testkit.Root(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build ordersaga: %v\n%s", err, out)
	}
	return program
}

// startServices starts AWS, the payment provider and the carrier, and creates the resources.
func (e *env) startServices() {
	t := e.t
	aws := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	pay := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	carr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	e.awsURL, e.payURL, e.carrURL = "http://"+aws, "http://"+pay, "http://"+carr
	dir := "--data-dir=" + t.TempDir() // the provider keeps its ledger when it is killed
	e.aws = e.process("local-aws", e.awsURL+awslocal.HealthPath, "--listen="+aws, "--ephemeral")
	e.payment = e.process("payment", e.payURL+"/healthz", "--listen="+pay, dir, "--key="+providerKey)
	var err error
	e.clients, err = cloud.New(t.Context(), cloud.Options{Region: "us-east-1", Endpoint: e.awsURL})
	require.NoError(t, err)
	e.resources, err = e.clients.Setup(t.Context())
	require.NoError(t, err)
	e.store = orderstore.New(e.clients.DynamoDB, orderstore.TablesWithPrefix(""), nil)
	require.NoError(t, e.store.CreateTables(t.Context()))
	e.carrier = e.process("carrier", e.carrURL+"/healthz", "--listen="+carr, dir,
		"--aws-endpoint="+e.awsURL, "--pushed", "--app-api-token="+appToken)
}

// startDapr starts Dapr's control plane, its state store, and the sidecars of the payment provider
// and the carrier, which are outside of pods.
func (e *env) startDapr() {
	t := e.t
	redis := testkit.Redis(t)
	log, err := os.Create(filepath.Join(e.logs, "dapr.log"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = log.Close() }) // only for a person to read
	e.dapr, err = daprlocal.Start(t.Context(), daprlocal.Options{
		Dir: t.TempDir(), AWSEndpoint: e.awsURL, Logger: zerolog.New(log).With().Timestamp().Logger(),
		State: daprlocal.State{Store: "redis", Address: redis.Address},
		Token: sidecarToken, AppToken: appToken, Secrets: map[string]string{worker.PaymentKeySecret: providerKey},
	})
	require.NoError(t, err)
	t.Cleanup(e.dapr.Stop)
	for _, a := range []daprlocal.App{
		{ID: e.dapr.Payment, Name: "payment", Port: portOf(e.payURL)},
		{ID: "carrier", Name: "carrier", Port: portOf(e.carrURL)},
	} {
		_, err := e.dapr.Sidecar(t.Context(), a)
		require.NoError(t, err)
	}
}

// install installs the chart by helm, and waits until the API is ready.
func (e *env) install(settings ...string) {
	e.t.Helper()
	require.NoError(e.t, e.cluster.Post(e.t.Context(), "/api/v1/namespaces/default/secrets", map[string]any{
		"metadata":   map[string]any{"name": "aws"},
		"stringData": map[string]any{"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"},
	}))
	e.helm(append([]string{
		"install", release, filepath.Join(testkit.Root(e.t), "deploy", "helm", "ordersaga"),
	}, settings...)...)
	testkit.Within(e.t, 2*time.Minute, "the API is ready", func() error { return checkHTTP(e.t.Context(), e.apiURL+"/readyz") })
}

// helm runs helm on the cluster.
func (e *env) helm(args ...string) {
	e.t.Helper()
	cmd := exec.CommandContext(e.t.Context(), kube.Helm(e.t), append(args, "--kubeconfig", e.cluster.Kubeconfig)...)
	cmd.Env = append(os.Environ(), "HOME="+e.logs)
	if out, err := cmd.CombinedOutput(); err != nil {
		e.t.Fatalf("helm %s: %v\n%s", args[0], err, out)
	}
}

// payments returns a client of the payment provider.
func (e *env) payments() *payment.Client {
	c := payment.New(payment.Options{URL: e.payURL, Key: providerKey})
	e.t.Cleanup(c.Close)
	return c
}

// process is an ordersaga process outside of the pods. It can be killed and restarted.
type process struct {
	t      *testing.T
	path   string
	args   []string
	health string
	log    string
	cmd    *exec.Cmd
}

// process starts an ordersaga command, and stops it at the end of the test. It waits until the
// health URL responds.
func (e *env) process(name, health string, args ...string) *process {
	e.t.Helper()
	p := &process{
		t: e.t, path: e.program, args: append([]string{name}, args...), health: health,
		log: filepath.Join(e.logs, name+".log"),
	}
	p.start()
	e.t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails only if it has exited
		_ = p.cmd.Wait()                          // the exit status does not matter
	})
	return p
}

// start starts the process, and waits until its health URL responds.
func (p *process) start() {
	p.t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(p.t, err)
	defer func() { _ = log.Close() }() // the process has its own file descriptor
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.SysProcAttr = log, log, killWithParent()
	require.NoError(p.t, p.cmd.Start())
	testkit.Within(p.t, time.Minute, p.args[0]+" responds", func() error { return checkHTTP(p.t.Context(), p.health) })
}

// kill kills the process with SIGKILL.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails only if it has exited
	_ = p.cmd.Wait()         // reports the kill
}

// freePort returns a free port of 127.0.0.1.
func freePort(t *testing.T) int {
	t.Helper()
	p, err := daprlocal.FreePorts(1)
	require.NoError(t, err)
	n, err := strconv.Atoi(p[0])
	require.NoError(t, err)
	return n
}

// portOf returns the port of a URL that ends with it.
func portOf(url string) int {
	n, _ := strconv.Atoi(url[strings.LastIndex(url, ":")+1:]) // Dapr rejects port 0
	return n
}
