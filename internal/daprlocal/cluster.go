// Package daprlocal runs Dapr's processes on this machine, for development and
// tests: placement, scheduler, and a sidecar for each app.
package daprlocal

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/components"
	"github.com/ordersaga/ordersaga/internal/backoff"
)

// Options configures a Cluster.
type Options struct {
	Dir         string         // for etcd's data, the state database and the components; must exist
	AWSEndpoint string         // URL, for the components
	Logger      zerolog.Logger // gets the processes' output at debug level
	Out         io.Writer      // gets the output too, with each process's name; nil disables it
	// Components is a folder that replaces the built-in components/local. It must
	// have a configuration.yaml. The payment provider's app id is then "payment".
	Components string
	// Resources and Configs do the same with several folders, and with several
	// configuration files, of which a later one overrides an earlier one.
	Resources, Configs []string
	Env                []string // additional environment of the processes, as KEY=value
	MTLS               bool     // mutual TLS, with certificates from Dapr's sentry
	State              State    // where workflow state is kept
	// Token authenticates callers to a sidecar, and AppToken a sidecar to its app;
	// "" disables either.
	Token, AppToken string
	Secrets         map[string]string // content of the secret store
}

// State configures the store of workflow state. The zero value is SQLite in
// Options.Dir.
type State struct {
	Store   string // sqlite, redis or postgresql
	Address string // of Redis host:port, of PostgreSQL a connection string
}

// Cluster is a control plane and its sidecars. Create it with Start, and Stop it
// after use. It is safe for concurrent use.
type Cluster struct {
	// Payment is the app id of the payment provider. It is unique among clusters:
	// outside of Kubernetes Dapr finds apps by multicast on the whole network, and
	// would call the provider of another cluster.
	Payment string

	opt                          Options
	out                          *log.Logger // nil without Out
	bin                          Binaries
	placement, scheduler, sentry string // addresses; no sentry without MTLS

	mu    sync.Mutex
	procs []*process // in the order they were started
}

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 10 * time.Second
)

// Start starts placement and scheduler, and sentry with MTLS, and waits until they
// are healthy. The error is a *MissingError if a program is not installed.
func Start(ctx context.Context, o Options) (_ *Cluster, err error) {
	c := &Cluster{opt: o, Payment: "payment"}
	c.bin, err = Find()
	if err != nil {
		return nil, err
	}
	if o.Out != nil {
		c.out = log.New(o.Out, "", 0)
	}
	if o.State.Address == "" {
		c.opt.State.Address, err = filepath.Abs(filepath.Join(o.Dir, "state.db"))
		if err != nil {
			return nil, fmt.Errorf("locate the state database: %w", err)
		}
	}
	if o.Components == "" && len(o.Resources) == 0 {
		c.Payment += "-" + uuid.NewString()[:8]
		o.Components = filepath.Join(o.Dir, "components")
		if err := components.WriteLocal(o.Components, cmp.Or(o.State.Store, "sqlite"), c.opt.State.Address, c.Payment); err != nil {
			return nil, fmt.Errorf("write Dapr components: %w", err)
		}
	}
	if o.Components != "" {
		c.opt.Resources, c.opt.Configs = []string{o.Components}, []string{filepath.Join(o.Components, "configuration.yaml")}
	}
	hidden, err := checkResources(c.opt.Resources, o.Components != "")
	if err != nil {
		return nil, err
	}
	if hidden != "" && o.Components != "" {
		o.Logger.Warn().Str("file", hidden).Msg("the state store has an envRef, which other programs that read it, such as a dashboard, " +
			"do not support: use value or secretKeyRef for them")
	}
	secrets := filepath.Join(o.Dir, "secrets.json")
	b, err := json.Marshal(o.Secrets)
	if err == nil {
		err = os.WriteFile(secrets, b, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("write secrets file: %w", err)
	}
	defer func() {
		if err != nil {
			c.Stop()
		}
	}()
	p, err := FreePorts(9)
	if err != nil {
		return nil, err
	}
	c.placement, c.scheduler = loopback(p[0]), loopback(p[3])
	var tls []string
	if o.MTLS {
		tls, err = c.startSentry(ctx)
		if err != nil {
			return nil, err
		}
	}
	err = c.run(ctx, Placement, p[1], "/healthz", c.bin.Placement,
		append(tls, "--port", p[0], "--healthz-port", p[1], "--metrics-port", p[2], "--listen-address", "127.0.0.1",
			"--healthz-listen-address", "127.0.0.1", "--metrics-listen-address", "127.0.0.1",
			"--id", "p0", "--initial-cluster", "p0="+loopback(p[7]))...)
	if err != nil {
		return nil, err
	}
	id := "s0"
	if o.MTLS { // a name that sentry certifies, and a folder that is not shared by all schedulers of the machine
		id, tls = "dapr-scheduler-server-0", append(tls, "--identity-directory-write", filepath.Join(o.Dir, "identity"))
	}
	return c, c.run(ctx, Scheduler, p[4], "/healthz", c.bin.Scheduler,
		append(tls, "--port", p[3], "--healthz-port", p[4], "--metrics-port", p[5], "--listen-address", "127.0.0.1",
			"--healthz-listen-address", "127.0.0.1", "--metrics-listen-address", "127.0.0.1",
			"--etcd-data-dir", filepath.Join(o.Dir, "scheduler"), "--etcd-client-port", p[6], "--id", id, "--etcd-initial-cluster", id+"=http://"+loopback(p[8]))...)
}

// ControlPlane returns the addresses (host:port) of placement and scheduler.
func (c *Cluster) ControlPlane() (placement, scheduler string) { return c.placement, c.scheduler }

// Sidecar has the addresses of a running daprd.
type Sidecar struct {
	GRPC string // host:port
	HTTP string // base URL
}

// App describes the app of a sidecar.
type App struct {
	ID   string
	Port int    // on which the app serves HTTP; 0 if it serves nothing to Dapr
	Name string // distinguishes several apps with the same ID in logs; "" means ID
	// MaxBodySize is the sidecar's max-body-size in bytes, rounded down to KiB; 0
	// means daprd's default of 4 MiB.
	MaxBodySize int
}

// Sidecar starts a sidecar and waits until it is ready. Its process is named
// "daprd " and the app's name.
func (c *Cluster) Sidecar(ctx context.Context, app App) (*Sidecar, error) {
	if app.Name == "" {
		app.Name = app.ID
	}
	p, err := FreePorts(4)
	if err != nil {
		return nil, err
	}
	args := []string{
		"--app-id", app.ID, "--dapr-http-port", p[0], "--dapr-grpc-port", p[1], "--dapr-internal-grpc-port", p[2], "--metrics-port", p[3],
		// By default all but the second are open to the network, and the first requires no token.
		"--dapr-internal-grpc-listen-address", "127.0.0.1", "--dapr-listen-addresses", "127.0.0.1", "--metrics-listen-address", "127.0.0.1",
		"--placement-host-address", c.placement, "--scheduler-host-address", c.scheduler,
		"--dapr-graceful-shutdown-seconds", "5", "--log-level", "info",
	}
	for _, folder := range c.opt.Resources {
		args = append(args, "--resources-path", folder)
	}
	for _, file := range c.opt.Configs {
		args = append(args, "--config", file)
	}
	if c.sentry != "" {
		args = append(args, "--enable-mtls", "--sentry-address", c.sentry)
	}
	if app.MaxBodySize != 0 {
		args = append(args, "--max-body-size", strconv.Itoa(app.MaxBodySize>>10)+"Ki")
	}
	if app.Port != 0 {
		args = append(args, "--app-port", strconv.Itoa(app.Port), "--app-protocol", "http")
	}
	// Outbound health does not wait for the app, which itself waits for the sidecar.
	if err := c.run(ctx, "daprd "+app.Name, p[0], "/v1.0/healthz/outbound", c.bin.Daprd, args...); err != nil {
		return nil, err
	}
	return &Sidecar{GRPC: loopback(p[1]), HTTP: "http://" + loopback(p[0])}, nil
}

// Names of the control plane's processes. Those of sidecars begin with "daprd ".
const (
	Placement = "placement"
	Scheduler = "scheduler"
	Sentry    = "sentry"
)

// Kill kills a process as a crash does. It panics for an unknown name.
func (c *Cluster) Kill(name string) { c.named(name).kill() }

// Shutdown stops a process gracefully, as a scale-in does. It panics for an unknown
// name.
func (c *Cluster) Shutdown(name string) { c.named(name).stop(stopTimeout) }

// Restart starts a process that has exited with the same ports and data, and waits
// until it is healthy. It panics for an unknown name.
func (c *Cluster) Restart(ctx context.Context, name string) error {
	p := c.named(name)
	if err := p.start(c.opt.Logger); err != nil {
		return err
	}
	return p.healthyWithin(ctx, startTimeout)
}

// Daprd returns the path of the program that sidecars run.
func (c *Cluster) Daprd() string { return c.bin.Daprd }

// UnexpectedExit returns why a process has exited by itself, or does so within the
// given time. It returns nil if none does.
func (c *Cluster) UnexpectedExit(within time.Duration) error {
	c.mu.Lock()
	procs := slices.Clip(c.procs)
	c.mu.Unlock()
	for late := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		for _, p := range procs {
			l := p.current()
			select {
			case <-l.ended:
				if p.shouldRestart(l) {
					return fmt.Errorf("%s ended: %s (%w)", p.name, p.tail.reason(startMarks), exitError(l.err))
				}
			default:
			}
		}
		if time.Now().After(late) {
			return nil
		}
	}
}

// PID returns the operating system's id of a process. It panics for an unknown
// name.
func (c *Cluster) PID(name string) int { return c.named(name).current().cmd.Process.Pid }

// named panics if there is no such process: names are written in code.
func (c *Cluster) named(name string) *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.procs, func(p *process) bool { return p.name == name })
	if i < 0 {
		panic("daprlocal: no process is called " + name)
	}
	return c.procs[i]
}

// run starts a process and waits until it is healthy.
func (c *Cluster) run(ctx context.Context, name, healthPort, healthPath, binary string, args ...string) error {
	env := append(os.Environ(),
		"ORDERSAGA_AWS_ENDPOINT="+c.opt.AWSEndpoint, "DAPR_API_TOKEN="+c.opt.Token, "APP_API_TOKEN="+c.opt.AppToken,
		"ORDERSAGA_STATE_ADDRESS="+c.opt.State.Address,
		"ORDERSAGA_SECRETS_FILE="+filepath.Join(c.opt.Dir, "secrets.json"),
		"DAPR_HOST_IP=127.0.0.1", // sidecars call each other on it, and listen on no other address
		// daprd's default is grpc; ours, and that of the specification, is http/protobuf.
		"OTEL_EXPORTER_OTLP_PROTOCOL="+cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf"))
	env = append(env, c.opt.Env...)
	health := "http://" + loopback(healthPort) + healthPath
	p := &process{name: name, health: health, binary: binary, args: args, env: env, out: c.out}
	if err := p.start(c.opt.Logger); err != nil {
		return err
	}
	c.mu.Lock()
	c.procs = append(c.procs, p)
	c.mu.Unlock()
	return p.healthyWithin(ctx, startTimeout)
}

// Watch restarts processes that exit by themselves, as a kubelet does, until ctx
// ends. It does not give up: daprd exits at once while its state store is
// unavailable, which may take long.
func (c *Cluster) Watch(ctx context.Context) {
	c.mu.Lock()
	procs := slices.Clip(c.procs)
	c.mu.Unlock()
	var all sync.WaitGroup
	for _, p := range procs {
		all.Go(func() {
			c.watch(ctx, p, restartPolicy{
				minPause: time.Second, maxPause: 30 * time.Second, resetAfter: time.Minute, startTimeout: startTimeout,
			})
		})
	}
	all.Wait()
}

// restartPolicy configures the back-off before restarts.
type restartPolicy struct {
	minPause, maxPause time.Duration // the pause doubles each time
	resetAfter         time.Duration // an uptime after which the pause is minPause again
	startTimeout       time.Duration // a process that is not up by then is killed
}

// watch restarts one process until ctx ends.
func (c *Cluster) watch(ctx context.Context, p *process, w restartPolicy) {
	var err error // why it is not up
	pause, since := w.minPause, time.Now()
	for {
		l := p.current()
		select {
		case <-ctx.Done():
			return
		case <-l.ended:
		}
		if !p.shouldRestart(l) { // the exit was requested; the caller may restart it
			if backoff.Sleep(ctx, 100*time.Millisecond) != nil {
				return
			}
			err = nil
			continue
		}
		if err == nil {
			err = fmt.Errorf("%s ended: %s (%w)", p.name, p.tail.reason(exitMarks), exitError(l.err))
		}
		if time.Since(since) > w.resetAfter {
			pause = w.minPause
		}
		c.opt.Logger.Warn().Err(err).Stringer("again_in", pause).Msg("one of Dapr's processes is not up")
		if backoff.Sleep(ctx, pause) != nil {
			return
		}
		pause = min(2*pause, w.maxPause)
		l, err = p.restart(c.opt.Logger, l)
		if l != nil {
			err = p.healthyWithin(ctx, w.startTimeout)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				_ = l.cmd.Process.Kill() // it may hang, or have exited
			} else {
				c.opt.Logger.Info().Str("process", p.name).Msg("restarted")
			}
		}
		since = time.Now()
	}
}

// Stop stops all processes, in the reverse order of their start.
func (c *Cluster) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range slices.Backward(c.procs) {
		v.stop(stopTimeout)
	}
	c.procs = nil
}

func loopback(port string) string { return net.JoinHostPort("127.0.0.1", port) }
