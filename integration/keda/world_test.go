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
	"github.com/ordersaga/ordersaga/internal/worker"
)

const providerKey, appToken, sidecarToken = "provider's", "app's", "sidecar's"

// world is everything around the pods, and the cluster that has them.
type world struct {
	t                       *testing.T
	logs                    string
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

// newWorld brings up all but the chart.
func newWorld(t *testing.T) *world {
	testkit.RequireDapr(t)
	helm := kube.Helm(t)
	_ = helm
	began := time.Now()
	w := &world{t: t, logs: logFolder(t)}
	w.program = build(t)
	w.cluster = kube.Start(t)
	t.Logf("%s: Kubernetes is up", since(began))
	w.cluster.StartKEDA()
	w.cluster.CRDs(filepath.Join(kube.ModuleDir(t, "tools/dapr", "github.com/dapr/dapr"), "charts", "dapr", "crds"))
	t.Logf("%s: KEDA is up", since(began))
	w.around()
	w.startDapr()
	t.Logf("%s: Dapr is up", since(began))
	w.kubelet = &kubelet{
		t: t, cluster: w.cluster, dapr: w.dapr, program: w.program, logs: w.logs, token: sidecarToken,
		pods: map[string]*running{}, held: map[string]bool{}, ports: map[string]int{"api": freePort(t)},
	}
	w.apiURL = fmt.Sprintf("http://127.0.0.1:%d", w.kubelet.ports["api"])
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { w.kubelet.run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	return w
}

func since(t time.Time) time.Duration { return time.Since(t).Round(time.Second) }

// logFolder is kept if somebody asks for it.
func logFolder(t *testing.T) string {
	dir := os.Getenv("ORDERSAGA_KEDA_LOGS")
	if dir == "" {
		return t.TempDir()
	}
	must(t, os.MkdirAll(dir, 0o750))
	return dir
}

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

// around starts AWS, the payment provider and the carrier.
func (w *world) around() {
	t := w.t
	aws, pay, carr := fmt.Sprintf("127.0.0.1:%d", freePort(t)), fmt.Sprintf("127.0.0.1:%d", freePort(t)), fmt.Sprintf("127.0.0.1:%d", freePort(t))
	w.awsURL, w.payURL, w.carrURL = "http://"+aws, "http://"+pay, "http://"+carr
	dir := "--data-dir=" + t.TempDir() // the provider is killed, and has its book afterwards
	w.aws = w.process("local-aws", w.awsURL+awslocal.HealthPath, "--listen="+aws, "--ephemeral")
	w.payment = w.process("payment", w.payURL+"/healthz", "--listen="+pay, dir, "--key="+providerKey)
	var err error
	w.clients, err = cloud.New(t.Context(), cloud.Options{Region: "us-east-1", Endpoint: w.awsURL})
	must(t, err)
	w.resources, err = w.clients.Setup(t.Context())
	must(t, err)
	w.store = orderstore.New(w.clients.DynamoDB, orderstore.TablesWithPrefix(""), nil)
	must(t, w.store.CreateTables(t.Context()))
	w.carrier = w.process("carrier", w.carrURL+"/healthz", "--listen="+carr, dir, "--aws-endpoint="+w.awsURL, "--pushed", "--app-api-token="+appToken)
}

// startDapr starts Dapr's control plane, its state store, and the sidecars of
// those who are in no pod.
func (w *world) startDapr() {
	t := w.t
	redis := testkit.Redis(t)
	log, err := os.Create(filepath.Join(w.logs, "dapr.log"))
	must(t, err)
	t.Cleanup(func() { _ = log.Close() }) // it is for looking at
	w.dapr, err = daprlocal.Start(t.Context(), daprlocal.Options{
		Dir: t.TempDir(), AWSEndpoint: w.awsURL, Logger: zerolog.New(log).With().Timestamp().Logger(),
		State: daprlocal.State{Store: "redis", Address: redis.Address},
		Token: sidecarToken, AppToken: appToken, Secrets: map[string]string{worker.PaymentKeySecret: providerKey},
	})
	must(t, err)
	t.Cleanup(w.dapr.Stop)
	for _, a := range []daprlocal.App{{ID: w.dapr.Payment, Name: "payment", Port: portIn(w.payURL)}, {ID: "carrier", Name: "carrier", Port: portIn(w.carrURL)}} {
		_, err := w.dapr.Sidecar(t.Context(), a)
		must(t, err)
	}
}

// install installs the chart, as somebody would.
func (w *world) install(settings ...string) {
	w.t.Helper()
	must(w.t, w.cluster.Post(w.t.Context(), "/api/v1/namespaces/default/secrets", map[string]any{
		"metadata":   map[string]any{"name": "aws"},
		"stringData": map[string]any{"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"},
	}))
	w.helm(append([]string{
		"install", release, filepath.Join(testkit.Root(w.t), "deploy", "helm", "ordersaga"),
	}, settings...)...)
	testkit.Within(w.t, 2*time.Minute, "the API answers", func() error { return answers(w.t.Context(), w.apiURL+"/readyz") })
}

func (w *world) helm(args ...string) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), kube.Helm(w.t), append(args, "--kubeconfig", w.cluster.Kubeconfig)...)
	cmd.Env = append(os.Environ(), "HOME="+w.logs)
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("helm %s: %v\n%s", args[0], err, out)
	}
}

// payments is for the check.
func (w *world) payments() *payment.Client {
	c := payment.New(payment.Options{URL: w.payURL, Key: providerKey})
	w.t.Cleanup(c.Close)
	return c
}

// process is one of ours that can be killed and started again.
type process struct {
	t      *testing.T
	path   string
	args   []string
	health string
	log    string
	cmd    *exec.Cmd
}

func (w *world) process(name, health string, args ...string) *process {
	w.t.Helper()
	p := &process{t: w.t, path: w.program, args: append([]string{name}, args...), health: health, log: filepath.Join(w.logs, name+".log")}
	p.start()
	w.t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = p.cmd.Wait()                          // likewise
	})
	return p
}

func (p *process) start() {
	p.t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(p.t, err)
	defer func() { _ = log.Close() }() // the process has its own handle
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.SysProcAttr = log, log, dieWithParent()
	must(p.t, p.cmd.Start())
	testkit.Within(p.t, time.Minute, p.args[0]+" answers", func() error { return answers(p.t.Context(), p.health) })
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	_ = p.cmd.Wait()         // says that it was killed
}

func freePort(t *testing.T) int {
	t.Helper()
	p, err := daprlocal.FreePorts(1)
	must(t, err)
	n, err := strconv.Atoi(p[0])
	must(t, err)
	return n
}

func portIn(url string) int {
	n, _ := strconv.Atoi(url[strings.LastIndex(url, ":")+1:]) // 0 is refused by whoever gets it
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
