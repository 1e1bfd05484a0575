package containers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/network"
	"github.com/testcontainers/testcontainers-go/wait"
	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/api/client"
	"github.com/ordersaga/ordersaga/components"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/devenv"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	testimages "github.com/ordersaga/ordersaga/internal/testkit/images"
	"github.com/ordersaga/ordersaga/internal/worker"
)

const (
	paymentKey = "containers-payment-key"
	region     = "us-east-1"      // the default
	label      = "ordersaga-test" // of Docker; its value is the process id of a run

	// startTimeout is how long a container or a worker may take to be ready. The
	// containers start concurrently, on as few as two cores.
	startTimeout = 2 * time.Minute
)

// owner identifies this run. Other runs may use the same Docker engine.
var owner = strconv.Itoa(os.Getpid())

// named returns Docker's name for a container of this run.
func named(name string) string { return "ordersaga-test-" + owner + "-" + name }

// stack is the whole system. Tests reach its containers through published ports
// only.
type stack struct {
	images  images
	dir     string // components and secrets, and logs after a failure
	network *testcontainers.DockerNetwork
	all     map[string]testcontainers.Container // by name

	moved     sync.RWMutex // guards the fields below
	api       client.Client
	clients   *cloud.Clients
	resources cloud.Resources
	store     *orderstore.Store
	sims      devenv.Simulators
}

// docker runs the docker command, for what testcontainers does not support. It returns the
// output without surrounding space.
func docker(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// sweep removes the containers and networks of this run and of runs that were killed.
func sweep(ctx context.Context) error {
	for _, kind := range [][2][]string{
		{{"ps", "-a"}, {"rm", "-fv"}},
		{{"network", "ls"}, {"network", "rm"}},
	} {
		list, err := docker(ctx, append(kind[0], "--filter", "label="+label, "--format", `{{.ID}} {{.Label "`+label+`"}}`)...)
		if err != nil {
			return err
		}
		for line := range strings.Lines(list) {
			id, of, _ := strings.Cut(strings.TrimSpace(line), " ")
			if of != owner && isRunning(of) {
				continue
			}
			if _, err := docker(ctx, append(kind[1], id)...); err != nil {
				return err
			}
		}
	}
	return nil
}

// isRunning reports whether a process with that id exists.
func isRunning(pid string) bool {
	n, err := strconv.Atoi(pid)
	return err == nil && syscall.Kill(n, 0) == nil
}

// spec describes a container.
type spec struct {
	name, image string
	entrypoint  []string
	cmd         []string
	env         map[string]string
	binds       []string
	ports       []string
	pod         string // the container whose network it shares; "" connects it to the stack's
	user        string // "" uses the image's
	tmp         bool   // mounts a tmpfs at /tmp
	ready       wait.Strategy
}

// run starts a container and waits until it is ready.
func (s *stack) run(ctx context.Context, c spec) error {
	req := testcontainers.ContainerRequest{
		Name: named(c.name), Image: c.image, Entrypoint: c.entrypoint, Cmd: c.cmd, Env: c.env, ExposedPorts: c.ports,
		Labels: map[string]string{label: owner}, WaitingFor: c.ready, User: c.user,
		HostConfigModifier: func(h *container.HostConfig) {
			h.Binds = c.binds
			// A kubelet restarts containers too. A worker shuts down a sidecar that runs no sagas.
			h.RestartPolicy = container.RestartPolicy{Name: container.RestartPolicyUnlessStopped}
			if c.tmp {
				h.Tmpfs = map[string]string{"/tmp": "exec"} // Java programs load libraries from it
			}
			if c.pod != "" {
				h.NetworkMode = container.NetworkMode("container:" + s.all[c.pod].GetContainerID())
			}
		},
	}
	if c.pod == "" {
		req.Networks = []string{s.network.Name}
		req.NetworkAliases = map[string][]string{s.network.Name: {c.name}}
	}
	got, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{
		ContainerRequest: req, Started: true, Logger: noLogger{},
	})
	if got != nil {
		s.all[c.name] = got
	}
	if err != nil {
		return fmt.Errorf("start container %s: %w", c.name, err)
	}
	return nil
}

// noLogger discards the messages of testcontainers.
type noLogger struct{}

// Printf does nothing.
func (noLogger) Printf(string, ...any) {}

// httpReady waits until a path returns 200.
func httpReady(path, port string) wait.Strategy {
	return wait.ForHTTP(path).WithPort(port).WithStartupTimeout(startTimeout)
}

// portReady waits until a published port accepts connections.
func portReady(port string) *wait.HostPortStrategy {
	return wait.ForListeningPort(port).SkipInternalCheck()
}

// start starts everything. After an error the stack contains the parts that have started.
func start(ctx context.Context) (s *stack, err error) {
	s = &stack{all: map[string]testcontainers.Container{}}
	if err := sweep(ctx); err != nil {
		return s, err
	}
	s.images, err = build(ctx)
	if err != nil {
		return s, err
	}
	s.dir, err = os.MkdirTemp("", "ordersaga-containers-")
	if err != nil {
		return s, err
	}
	if err := s.configure(); err != nil {
		return s, err
	}
	s.network, err = network.New(ctx, network.WithLabels(map[string]string{label: owner}))
	if err != nil {
		return s, fmt.Errorf("create network: %w", err)
	}
	for _, c := range append(ours(s.images), infrastructure(s.images)...) {
		if err := s.run(ctx, c); err != nil {
			return s, err
		}
	}
	if err := s.setUp(ctx); err != nil {
		return s, err
	}
	for _, p := range []pod{
		{name: "payment", appID: "payment", port: "8090", cmd: []string{
			"payment", "--anywhere", "--ephemeral", "--listen", "0.0.0.0:8090", "--key", paymentKey,
		}},
		{name: "carrier", appID: "carrier", port: "8091", cmd: []string{
			"carrier", "--anywhere", "--ephemeral", "--pushed", "--listen", "0.0.0.0:8091",
		}},
	} {
		if err := s.pod(ctx, p); err != nil {
			return s, err
		}
	}
	for n := range 3 { // the first is the API, which does not read the queue
		p := pod{name: fmt.Sprint("worker", n), appID: "ordersaga", port: "8080", path: "/readyz", cmd: workerFlags}
		if n == 0 {
			p.name, p.cmd = "api", append([]string{}, append(workerFlags, "--no-intake")...)
		}
		if err := s.pod(ctx, p); err != nil {
			return s, err
		}
	}
	if err := s.waitReady(ctx, "api", "worker1", "worker2"); err != nil {
		return s, err
	}
	return s, s.connect(ctx)
}

// infrastructure returns the state store and Dapr's control plane.
func infrastructure(i images) []spec {
	return []spec{
		{
			name: "redis", image: i.redis, ports: []string{"6379/tcp"}, ready: portReady("6379/tcp"),
			cmd: []string{"--appendonly", "yes", "--save", "", "--protected-mode", "no"},
		},
		{
			name: "placement", image: i.placement, ports: []string{"8080/tcp"}, ready: httpReady("/healthz", "8080/tcp"),
			cmd: []string{
				"/placement", "--port", "50005", "--listen-address", "0.0.0.0",
				"--id", "p0", "--initial-cluster", "p0=127.0.0.1:8201",
			},
		},
		{
			name: "scheduler", image: i.scheduler, ports: []string{"8080/tcp"}, ready: httpReady("/healthz", "8080/tcp"),
			cmd: []string{
				"/scheduler", "--port", "50006", "--listen-address", "0.0.0.0",
				"--override-broadcast-host-port", "scheduler:50006",
				"--etcd-data-dir", "/data", "--id", "s0", "--etcd-initial-cluster", "s0=http://127.0.0.1:2380",
			},
		},
	}
}

// configure writes the components and secrets of the sidecars: those of components/local, with
// the ones for AWS from components/aws.
func (s *stack) configure() error {
	at := filepath.Join(s.dir, "components")
	secrets := filepath.Join(s.dir, "secrets")
	secret := `{"` + worker.PaymentKeySecret + `":"` + paymentKey + `"}`
	err := errors.Join(components.WriteLocal(at, "redis", "", "payment"), os.Mkdir(secrets, 0o755),
		os.WriteFile(filepath.Join(secrets, "secrets.json"), []byte(secret), 0o644))
	for _, name := range []string{"orderpubsub", "subscription", "resiliency"} {
		source := filepath.Join(s.images.root, "components/aws", name+".yaml")
		err = errors.Join(err, testimages.CopyFile(filepath.Join(at, name+".yaml"), source))
	}
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(at, "configuration.yaml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	// Sidecars use the network's DNS instead of mDNS, which does not resume in a
	// container that was disconnected from the network.
	const nameResolution = "  nameResolution:\n    component: nameformat\n    version: v1\n" +
		"    configuration:\n      format: \"{appid}:50002\"\n"
	_, err = f.WriteString(nameResolution)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	// Dapr's image runs as another user, which must be able to read the files.
	return filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return errors.Join(err, os.Chmod(path, 0o644))
		}
		return os.Chmod(path, 0o755)
	})
}

// connect looks up the addresses of the containers. Docker publishes other ports for a container
// that was stopped or disconnected.
func (s *stack) connect(ctx context.Context) (err error) {
	s.moved.Lock()
	defer s.moved.Unlock()
	if err := s.connectAWS(ctx); err != nil {
		return err
	}
	s.resources, err = s.clients.Find(ctx)
	if err != nil {
		return err
	}
	base, err := s.endpoint(ctx, "api", "8080")
	if err != nil {
		return err
	}
	s.api = client.Client{Base: base, HTTP: &http.Client{Timeout: 10 * time.Second}}
	s.sims.PaymentURL, err = s.endpoint(ctx, "payment", "8090")
	if err != nil {
		return err
	}
	s.sims.CarrierURL, err = s.endpoint(ctx, "carrier", "8091")
	s.sims.PaymentKey = paymentKey
	return err
}

// workerFlags are the arguments of every worker.
var workerFlags = []string{
	"worker", "--engine", "dapr", "--listen", "0.0.0.0:8080", "--open", "--approval-above", "*=1000",
	"--approval-timeout", "60s", "--patience", "60s", "--pace", "0.2",
	"--reconcile-every", "5s", "--reconcile-grace", "35s", "--canary-every", "5s",
}

// awsEnv is the environment variable that selects AWS. "outside" runs the suite on AWS itself,
// with the credentials and region of the environment. AWS_ENDPOINT_URL may name another endpoint
// that both the containers and the test can reach.
const awsEnv = "ORDERSAGA_TEST_AWS"

// outside reports whether the suite uses an AWS that it does not start.
var outside = os.Getenv(awsEnv) == "outside"

// environment has the environment variables of every app and sidecar.
var environment = func() map[string]string {
	e := map[string]string{
		"ORDERSAGA_STATE_ADDRESS": "redis:6379", "ORDERSAGA_SECRETS_FILE": "/secrets/secrets.json",
		"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_REGION": region, "AWS_ENDPOINT_URL": "http://aws:4566",
	}
	if outside {
		for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL"} {
			delete(e, name)
			if v := os.Getenv(name); v != "" {
				e[name] = v
			}
		}
	}
	return e
}()

// pod is an app with a sidecar in one network namespace. The sidecar calls the app only if path is
// empty.
type pod struct {
	name, appID, port string
	path              string // of the app's readiness check
	cmd               []string
}

// pod starts a pod.
func (s *stack) pod(ctx context.Context, p pod) error {
	daprd := []string{
		"/daprd", "--app-id", p.appID, "--dapr-listen-addresses", "127.0.0.1",
		"--dapr-http-port", "3500", "--dapr-grpc-port", "50001", "--dapr-internal-grpc-port", "50002",
		"--placement-host-address", "placement:50005", "--scheduler-host-address", "scheduler:50006", "--dapr-graceful-shutdown-seconds", "5",
		"--resources-path", "/components", "--config", "/components/configuration.yaml",
	}
	if p.path == "" { // the app receives calls from its sidecar
		daprd = append(daprd, "--app-port", p.port, "--app-protocol", "http")
	}
	if err := s.run(ctx, spec{name: p.name, image: s.images.pause, ports: []string{p.port + "/tcp"}}); err != nil {
		return err
	}
	if err := s.run(ctx, spec{
		name: p.name + "-daprd", image: s.images.daprd, pod: p.name, env: environment, cmd: daprd,
		binds: []string{s.dir + "/components:/components:ro", s.dir + "/secrets:/secrets:ro"},
	}); err != nil {
		return err
	}
	return s.app(ctx, p, s.images.ordersaga)
}

// app starts a pod's program.
func (s *stack) app(ctx context.Context, p pod, image string) error {
	return s.run(ctx, spec{name: p.name + "-app", image: image, pod: p.name, env: environment, cmd: p.cmd})
}

// endpoint returns the published URL of a container's port.
func (s *stack) endpoint(ctx context.Context, name, port string) (string, error) {
	at, err := s.all[name].PortEndpoint(ctx, port+"/tcp", "http")
	if err != nil {
		return "", fmt.Errorf("look up the published port of %s: %w", name, err)
	}
	return at, nil
}

// connectAWS creates the clients of AWS and the store.
func (s *stack) connectAWS(ctx context.Context) (err error) {
	options := cloud.Options{Region: environment["AWS_REGION"], Endpoint: environment["AWS_ENDPOINT_URL"]}
	if !outside {
		options.Endpoint, err = s.endpoint(ctx, "aws", "4566")
		if err != nil {
			return err
		}
	}
	s.clients, err = cloud.New(ctx, options)
	if err != nil {
		return err
	}
	s.store = orderstore.New(s.clients.DynamoDB, orderstore.TablesWithPrefix(""), nil)
	return nil
}

// setUp creates the queues, topics and tables, as `ordersaga setup` does.
func (s *stack) setUp(ctx context.Context) (err error) {
	if err := s.connectAWS(ctx); err != nil {
		return err
	}
	s.resources, err = s.clients.Setup(ctx)
	if err != nil {
		return err
	}
	return errors.Join(s.store.CreateTables(ctx), s.clients.CreateCursorTable(ctx, ""))
}

// waitReady waits until workers report that they are ready. Readiness includes a canary saga.
func (s *stack) waitReady(ctx context.Context, names ...string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var g errgroup.Group
	for _, name := range names {
		g.Go(func() error {
			for {
				at, err := s.endpoint(ctx, name, "8080")
				if err == nil {
					c := client.Client{Base: at, HTTP: &http.Client{Timeout: 5 * time.Second}}
					err = c.Call(ctx, http.MethodGet, "/readyz", nil, nil)
				}
				if err == nil {
					return nil
				}
				select {
				case <-ctx.Done():
					return fmt.Errorf("%s is not ready: %w", name, err)
				case <-time.After(200 * time.Millisecond):
				}
			}
		})
	}
	return g.Wait()
}

// keepHistories writes the histories of unfinished and failed sagas into dir, if the API responds.
func (s *stack) keepHistories(ctx context.Context, dir string) {
	const path = "/v1/sagas?limit=1000&status=PENDING,RESERVED,AWAITING_APPROVAL,PAID,NEEDS_ATTENTION,FAILED"
	var list struct{ Sagas []api.Saga }
	if s.api.HTTP == nil || s.api.Call(ctx, http.MethodGet, path, nil, &list) != nil {
		return
	}
	for _, saga := range list.Sagas {
		var history any
		if s.api.Call(ctx, http.MethodGet, "/v1/sagas/"+saga.OrderID+"/history", nil, &history) != nil {
			continue
		}
		if b, err := json.MarshalIndent(map[string]any{"saga": saga, "history": history}, "", "  "); err == nil {
			_ = os.WriteFile(filepath.Join(dir, "saga-"+saga.OrderID+".json"), b, 0o600)
		}
	}
}

// stop removes everything. After a failure it keeps the containers' logs and prints their
// directory.
func (s *stack) stop(failed bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if failed && s.dir != "" {
		logs := filepath.Join(s.dir, "logs")
		if err := os.MkdirAll(logs, 0o750); err != nil {
			return err
		}
		for name := range s.all {
			out, _ := exec.CommandContext(ctx, "docker", "logs", named(name)).CombinedOutput() // a removed container has none
			_ = os.WriteFile(filepath.Join(logs, name+".log"), out, 0o600)
		}
		s.keepHistories(ctx, logs)
		fmt.Println("logs of the containers and histories of the sagas are in", logs)
	}
	err := sweep(ctx)
	if !failed && s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}
