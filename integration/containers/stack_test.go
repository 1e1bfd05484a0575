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
	region     = "us-east-1"      // where no other is said
	label      = "ordersaga-test" // its value is the process whose run it is
	soon       = 2 * time.Minute  // on two cores, with all the others starting
)

// owner is this run; others may go on beside it.
var owner = strconv.Itoa(os.Getpid())

// named is what Docker calls a container of this run.
func named(name string) string { return "ordersaga-test-" + owner + "-" + name }

// stack is the whole system. Its containers are reached by their published
// ports only.
type stack struct {
	images  images
	dir     string // components and secrets, and logs after a failure
	network *testcontainers.DockerNetwork
	all     map[string]testcontainers.Container // by name

	moved     sync.RWMutex // held while what is below changes
	api       client.Client
	clients   *cloud.Clients
	resources cloud.Resources
	store     *orderstore.Store
	sims      devenv.Simulators
}

// docker runs the docker command: what testcontainers does not offer.
func docker(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// sweep removes what this run has made, and what runs that were killed have
// left.
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
			if of != owner && runs(of) {
				continue
			}
			if _, err := docker(ctx, append(kind[1], id)...); err != nil {
				return err
			}
		}
	}
	return nil
}

// runs says whether there is a process of that number.
func runs(pid string) bool {
	n, err := strconv.Atoi(pid)
	return err == nil && syscall.Kill(n, 0) == nil
}

// spec is one container.
type spec struct {
	name, image string
	entrypoint  []string
	cmd         []string
	env         map[string]string
	binds       []string
	ports       []string
	pod         string // shares the network of this one
	user        string // other than the image's
	tmp         bool   // has no /tmp of its own
	ready       wait.Strategy
}

func (s *stack) run(ctx context.Context, c spec) error {
	req := testcontainers.ContainerRequest{
		Name: named(c.name), Image: c.image, Entrypoint: c.entrypoint, Cmd: c.cmd, Env: c.env, ExposedPorts: c.ports,
		Labels: map[string]string{label: owner}, WaitingFor: c.ready, User: c.user,
		HostConfigModifier: func(h *container.HostConfig) {
			h.Binds = c.binds
			h.RestartPolicy = container.RestartPolicy{Name: container.RestartPolicyUnlessStopped} // as a kubelet does; a worker may ask for a new sidecar
			if c.tmp {
				h.Tmpfs = map[string]string{"/tmp": "exec"} // where Java programs put libraries
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
	got, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{ContainerRequest: req, Started: true, Logger: quiet{}})
	if got != nil {
		s.all[c.name] = got
	}
	if err != nil {
		return fmt.Errorf("start container %s: %w", c.name, err)
	}
	return nil
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}

func at(path, port string) wait.Strategy {
	return wait.ForHTTP(path).WithPort(port).WithStartupTimeout(soon)
}

// start brings everything up. What has come up is in the stack also after an
// error.
func start(ctx context.Context) (s *stack, err error) {
	s = &stack{all: map[string]testcontainers.Container{}}
	if err := sweep(ctx); err != nil {
		return s, err
	}
	if s.images, err = build(ctx); err != nil {
		return s, err
	}
	if s.dir, err = os.MkdirTemp("", "ordersaga-containers-"); err != nil {
		return s, err
	}
	if err := s.configure(); err != nil {
		return s, err
	}
	if s.network, err = network.New(ctx, network.WithLabels(map[string]string{label: owner})); err != nil {
		return s, fmt.Errorf("make a network: %w", err)
	}
	for _, c := range append(ours(s.images), []spec{
		{name: "redis", image: s.images.redis, cmd: []string{"--appendonly", "yes", "--save", "", "--protected-mode", "no"}, ports: []string{"6379/tcp"}, ready: wait.ForListeningPort("6379/tcp").SkipInternalCheck()},
		{name: "placement", image: s.images.placement, cmd: []string{"/placement", "--port", "50005", "--listen-address", "0.0.0.0", "--id", "p0", "--initial-cluster", "p0=127.0.0.1:8201"}, ports: []string{"8080/tcp"}, ready: at("/healthz", "8080/tcp")},
		{name: "scheduler", image: s.images.scheduler, cmd: []string{"/scheduler", "--port", "50006", "--listen-address", "0.0.0.0", "--override-broadcast-host-port", "scheduler:50006",
			"--etcd-data-dir", "/data", "--id", "s0", "--etcd-initial-cluster", "s0=http://127.0.0.1:2380"}, ports: []string{"8080/tcp"}, ready: at("/healthz", "8080/tcp")},
	}...) {
		if err := s.run(ctx, c); err != nil {
			return s, err
		}
	}
	if err := s.setUp(ctx); err != nil {
		return s, err
	}
	for _, p := range []pod{
		{name: "payment", appID: "payment", port: "8090", cmd: []string{"payment", "--anywhere", "--ephemeral", "--listen", "0.0.0.0:8090", "--key", paymentKey}},
		{name: "carrier", appID: "carrier", port: "8091", cmd: []string{"carrier", "--anywhere", "--ephemeral", "--pushed", "--listen", "0.0.0.0:8091"}},
	} {
		if err := s.pod(ctx, p); err != nil {
			return s, err
		}
	}
	for n := range 3 { // the first is the API: it takes nothing from the queue
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

// configure writes what the sidecars read: of components/aws what concerns AWS.
func (s *stack) configure() error {
	at := filepath.Join(s.dir, "components")
	secrets := filepath.Join(s.dir, "secrets")
	err := errors.Join(components.WriteLocal(at, "redis", "", "payment"), os.Mkdir(secrets, 0o755),
		os.WriteFile(filepath.Join(secrets, "secrets.json"), []byte(`{"`+worker.PaymentKeySecret+`":"`+paymentKey+`"}`), 0o644))
	for _, name := range []string{"orderpubsub", "subscription", "resiliency"} {
		err = errors.Join(err, testimages.CopyFile(filepath.Join(at, name+".yaml"), filepath.Join(s.images.root, "components/aws", name+".yaml")))
	}
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(at, "configuration.yaml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	// By the network's DNS and not by mDNS, which does not come back to a
	// container whose network was cut.
	_, err = f.WriteString("  nameResolution:\n    component: nameformat\n    version: v1\n    configuration:\n      format: \"{appid}:50002\"\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error { // Dapr's own image is of another user
		if err != nil || !d.IsDir() {
			return errors.Join(err, os.Chmod(path, 0o644))
		}
		return os.Chmod(path, 0o755)
	})
}

// connect finds where things are now: a container that was stopped, or whose
// network was cut, is published elsewhere.
func (s *stack) connect(ctx context.Context) (err error) {
	s.moved.Lock()
	defer s.moved.Unlock()
	if err := s.connectAWS(ctx); err != nil {
		return err
	}
	if s.resources, err = s.clients.Find(ctx); err != nil {
		return err
	}
	base, err := s.endpoint(ctx, "api", "8080")
	if err != nil {
		return err
	}
	s.api = client.Client{Base: base, HTTP: &http.Client{Timeout: 10 * time.Second}}
	if s.sims.PaymentURL, err = s.endpoint(ctx, "payment", "8090"); err != nil {
		return err
	}
	s.sims.CarrierURL, err = s.endpoint(ctx, "carrier", "8091")
	s.sims.PaymentKey = paymentKey
	return err
}

var workerFlags = []string{
	"worker", "--engine", "dapr", "--listen", "0.0.0.0:8080", "--open", "--approval-above", "*=1000",
	"--approval-timeout", "60s", "--patience", "60s", "--pace", "0.2", "--reconcile-every", "5s", "--reconcile-grace", "35s", "--canary-every", "5s",
}

// awsEnv set to "outside" lets the suite run on AWS itself, with the
// credentials and the region of the environment, or wherever AWS_ENDPOINT_URL
// there points that containers and test reach both.
const awsEnv = "ORDERSAGA_TEST_AWS"

var outside = os.Getenv(awsEnv) == "outside"

// environment is that of every app and sidecar.
var environment = func() map[string]string {
	e := map[string]string{
		"ORDERSAGA_STATE_ADDRESS": "redis:6379", "ORDERSAGA_SECRETS_FILE": "/secrets/secrets.json",
		"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_REGION": region, "AWS_ENDPOINT_URL": "http://aws:4566",
	}
	if outside {
		for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL"} {
			if e[name] = os.Getenv(name); e[name] == "" {
				delete(e, name)
			}
		}
	}
	return e
}()

// pod is an app with a sidecar in one network namespace.
type pod struct {
	name, appID, port, path string
	cmd                     []string
}

func (s *stack) pod(ctx context.Context, p pod) error {
	daprd := []string{
		"/daprd", "--app-id", p.appID, "--dapr-http-port", "3500", "--dapr-grpc-port", "50001", "--dapr-internal-grpc-port", "50002", "--dapr-listen-addresses", "127.0.0.1",
		"--placement-host-address", "placement:50005", "--scheduler-host-address", "scheduler:50006", "--dapr-graceful-shutdown-seconds", "5",
		"--resources-path", "/components", "--config", "/components/configuration.yaml",
	}
	if p.path == "" { // it serves Dapr
		daprd = append(daprd, "--app-port", p.port, "--app-protocol", "http")
	}
	if err := s.run(ctx, spec{name: p.name, image: s.images.pause, ports: []string{p.port + "/tcp"}}); err != nil {
		return err
	}
	if err := s.run(ctx, spec{name: p.name + "-daprd", image: s.images.daprd, pod: p.name, env: environment, cmd: daprd,
		binds: []string{s.dir + "/components:/components:ro", s.dir + "/secrets:/secrets:ro"}}); err != nil {
		return err
	}
	return s.app(ctx, p, s.images.ordersaga)
}

// app starts a pod's program.
func (s *stack) app(ctx context.Context, p pod, image string) error {
	return s.run(ctx, spec{name: p.name + "-app", image: image, pod: p.name, env: environment, cmd: p.cmd})
}

func (s *stack) endpoint(ctx context.Context, name, port string) (string, error) {
	at, err := s.all[name].PortEndpoint(ctx, port+"/tcp", "http")
	if err != nil {
		return "", fmt.Errorf("where %s listens: %w", name, err)
	}
	return at, nil
}

func (s *stack) connectAWS(ctx context.Context) (err error) {
	where := cloud.Options{Region: environment["AWS_REGION"], Endpoint: environment["AWS_ENDPOINT_URL"]}
	if !outside {
		if where.Endpoint, err = s.endpoint(ctx, "aws", "4566"); err != nil {
			return err
		}
	}
	if s.clients, err = cloud.New(ctx, where); err != nil {
		return err
	}
	s.store = orderstore.New(s.clients.DynamoDB, orderstore.TablesWithPrefix(""), nil)
	return nil
}

// setUp makes queues, topics and tables, as `ordersaga setup` does.
func (s *stack) setUp(ctx context.Context) (err error) {
	if err := s.connectAWS(ctx); err != nil {
		return err
	}
	if s.resources, err = s.clients.Setup(ctx); err != nil {
		return err
	}
	return errors.Join(s.store.CreateTables(ctx), s.clients.CreateCursorTable(ctx, ""))
}

// waitReady waits until workers say that they can do their work: a tiny saga
// has gone through.
func (s *stack) waitReady(ctx context.Context, names ...string) error {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	var g errgroup.Group
	for _, name := range names {
		g.Go(func() error {
			for {
				at, err := s.endpoint(ctx, name, "8080")
				if err == nil {
					c := client.Client{Base: at, HTTP: &http.Client{Timeout: 5 * time.Second}}
					if err = c.Call(ctx, http.MethodGet, "/readyz", nil, nil); err == nil {
						return nil
					}
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

// keepHistories writes what the sagas did that have not ended, if the API still
// answers.
func (s *stack) keepHistories(ctx context.Context, dir string) {
	var list struct{ Sagas []api.Saga }
	if s.api.HTTP == nil || s.api.Call(ctx, http.MethodGet, "/v1/sagas?limit=1000&status=PENDING,RESERVED,AWAITING_APPROVAL,PAID,NEEDS_ATTENTION,FAILED", nil, &list) != nil {
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

// stop takes everything down; after a failure it keeps the containers' logs
// and tells where.
func (s *stack) stop(failed bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if failed && s.dir != "" {
		logs := filepath.Join(s.dir, "logs")
		if err := os.MkdirAll(logs, 0o750); err != nil {
			return err
		}
		for name := range s.all {
			out, _ := exec.CommandContext(ctx, "docker", "logs", named(name)).CombinedOutput() // what there is
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
