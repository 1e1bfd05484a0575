// Package daprlocal runs Dapr's own processes on this machine, for development
// and tests: placement, scheduler, and a sidecar for each app.
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
)

// Options of a Cluster.
type Options struct {
	Dir         string // for etcd's data, the state database and the components
	AWSEndpoint string
	Logger      zerolog.Logger // gets the processes' lines, at debug level
	Out         io.Writer      // gets them too, each with the process's name; may be nil
	// Components overrides the built-in ones of components/local: a folder, with
	// a configuration.yaml. In it the payment provider's app id is "payment".
	// Resources and Configs do so with several: folders,
	// and configuration files of which a later one wins.
	Components         string
	Resources, Configs []string
	Env                []string // more of it, KEY=value, for the processes
	MTLS               bool     // certificates for all of them, from Dapr's sentry
	State              State
	// Token is what callers must show a sidecar, AppToken what a sidecar shows
	// its app; "" is none.
	Token, AppToken string
	Secrets         map[string]string // for the secret store
}

// State says where workflow state is: the zero value is SQLite in Dir.
type State struct {
	Store   string // sqlite, redis, postgresql
	Address string // of Redis: host:port; of PostgreSQL: a connection string
}

// Cluster is a control plane and its sidecars.
type Cluster struct {
	// Payment is the app id of the payment provider, unlike that of any other
	// cluster: outside of Kubernetes Dapr finds apps by multicast on the whole
	// network, and would take a stranger's for ours.
	Payment string

	opt                          Options
	out                          *log.Logger // nil without Out
	bin                          Binaries
	placement, scheduler, sentry string // addresses; no sentry without MTLS

	mu    sync.Mutex
	procs []*process // in the order they were started
}

const (
	startTime = 60 * time.Second
	stopTime  = 10 * time.Second
)

// Start starts placement and scheduler and waits until they are healthy.
func Start(ctx context.Context, o Options) (_ *Cluster, err error) {
	c := &Cluster{opt: o, Payment: "payment"}
	if c.bin, err = Find(); err != nil {
		return nil, err
	}
	if o.Out != nil {
		c.out = log.New(o.Out, "", 0)
	}
	if o.State.Address == "" {
		if c.opt.State.Address, err = filepath.Abs(filepath.Join(o.Dir, "state.db")); err != nil {
			return nil, fmt.Errorf("find the state database: %w", err)
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
	hidden, err := check(c.opt.Resources, o.Components != "")
	if err != nil {
		return nil, err
	}
	if hidden != "" && o.Components != "" {
		o.Logger.Warn().Str("file", hidden).Msg("the state store has an envRef, which other programs that read it, such as a dashboard, do not know: they know value and secretKeyRef")
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
		if tls, err = c.startSentry(ctx); err != nil {
			return nil, err
		}
	}
	if err := c.run(ctx, Placement, p[1], "/healthz", c.bin.Placement,
		append(tls, "--port", p[0], "--healthz-port", p[1], "--metrics-port", p[2], "--listen-address", "127.0.0.1",
			"--healthz-listen-address", "127.0.0.1", "--metrics-listen-address", "127.0.0.1", "--id", "p0", "--initial-cluster", "p0="+loopback(p[7]))...); err != nil {
		return nil, err
	}
	id := "s0"
	if o.MTLS { // a name that sentry certifies, and not a folder that all schedulers of the machine share
		id, tls = "dapr-scheduler-server-0", append(tls, "--identity-directory-write", filepath.Join(o.Dir, "identity"))
	}
	return c, c.run(ctx, Scheduler, p[4], "/healthz", c.bin.Scheduler,
		append(tls, "--port", p[3], "--healthz-port", p[4], "--metrics-port", p[5], "--listen-address", "127.0.0.1",
			"--healthz-listen-address", "127.0.0.1", "--metrics-listen-address", "127.0.0.1",
			"--etcd-data-dir", filepath.Join(o.Dir, "scheduler"), "--etcd-client-port", p[6], "--id", id, "--etcd-initial-cluster", id+"=http://"+loopback(p[8]))...)
}

// ControlPlane is where placement and scheduler listen.
func (c *Cluster) ControlPlane() (placement, scheduler string) { return c.placement, c.scheduler }

// Sidecar is a running daprd.
type Sidecar struct {
	GRPC string // host:port
	HTTP string // base URL
}

// App describes what a sidecar stands beside.
type App struct {
	ID   string
	Port int    // that the app serves HTTP on; 0: it serves nothing to Dapr
	Name string // tells several of one ID apart in logs; ID if empty
	// MaxBodySize is the sidecar's max-body-size in bytes, rounded down to KiB; 0
	// is daprd's own, 4 MiB.
	MaxBodySize int
}

// Sidecar starts a sidecar and waits until it is ready to be used.
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
		// By default all but the second are open to the network, and the first asks for no token.
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
	// Outbound health does not wait for the app, which itself waits for us.
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

// Kill kills a process as a crash would.
func (c *Cluster) Kill(name string) { c.named(name).kill() }

// Quit ends a process in good order, as a scale-in does.
func (c *Cluster) Quit(name string) { c.named(name).stop(stopTime) }

// Again starts a process that has ended where it was, and waits until it is
// healthy.
func (c *Cluster) Again(ctx context.Context, name string) error {
	p := c.named(name)
	if err := p.start(c.opt.Logger); err != nil {
		return err
	}
	return p.healthyWithin(ctx, startTime)
}

// Daprd is the program that sidecars run.
func (c *Cluster) Daprd() string { return c.bin.Daprd }

// Ended returns why a process has ended by itself, or does within a time; nil
// if none does.
func (c *Cluster) Ended(within time.Duration) error {
	c.mu.Lock()
	procs := c.procs[:len(c.procs):len(c.procs)]
	c.mu.Unlock()
	for late := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		for _, p := range procs {
			l := p.now()
			select {
			case <-l.ended:
				if p.wants(l) {
					return fmt.Errorf("%s ended: %s (%w)", p.name, p.tail.reason(atStart), ended(l.err))
				}
			default:
			}
		}
		if time.Now().After(late) {
			return nil
		}
	}
}

// PID is the id of a process.
func (c *Cluster) PID(name string) int { return c.named(name).now().cmd.Process.Pid }

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

func (c *Cluster) run(ctx context.Context, name, healthPort, healthPath, binary string, args ...string) error {
	env := append(os.Environ(),
		"ORDERSAGA_AWS_ENDPOINT="+c.opt.AWSEndpoint, "DAPR_API_TOKEN="+c.opt.Token, "APP_API_TOKEN="+c.opt.AppToken,
		"ORDERSAGA_STATE_ADDRESS="+c.opt.State.Address,
		"ORDERSAGA_SECRETS_FILE="+filepath.Join(c.opt.Dir, "secrets.json"),
		"DAPR_HOST_IP=127.0.0.1", // what sidecars call each other by, and they listen nowhere else
		// For daprd it is grpc if not said, and for us and the specification this.
		"OTEL_EXPORTER_OTLP_PROTOCOL="+cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf"))
	env = append(env, c.opt.Env...)
	p := &process{name: name, health: "http://" + loopback(healthPort) + healthPath, binary: binary, args: args, env: env, out: c.out}
	if err := p.start(c.opt.Logger); err != nil {
		return err
	}
	c.mu.Lock()
	c.procs = append(c.procs, p)
	c.mu.Unlock()
	return p.healthyWithin(ctx, startTime)
}

// Watch starts processes that end by themselves again, as a kubelet does,
// until ctx ends. It never gives up: daprd ends at once while its state store
// is away, and that may be for long.
func (c *Cluster) Watch(ctx context.Context) {
	c.mu.Lock()
	procs := c.procs[:len(c.procs):len(c.procs)]
	c.mu.Unlock()
	var all sync.WaitGroup
	for _, p := range procs {
		all.Go(func() { c.watch(ctx, p, pauses{time.Second, 30 * time.Second, time.Minute, startTime}) })
	}
	all.Wait()
}

// pauses are before a process that ended is started again: the least at first,
// and twice as long each time, until it has been up for calm. It counts as
// ended when it is not up within start.
type pauses struct{ least, most, calm, start time.Duration }

func (c *Cluster) watch(ctx context.Context, p *process, w pauses) {
	var err error // why it is not up
	pause, since := w.least, time.Now()
	for {
		l := p.now()
		select {
		case <-ctx.Done():
			return
		case <-l.ended:
		}
		if !p.wants(l) { // that was somebody's doing, who may start it again
			if !sleep(ctx, 100*time.Millisecond) {
				return
			}
			err = nil
			continue
		}
		if err == nil {
			err = fmt.Errorf("%s ended: %s (%w)", p.name, p.tail.reason(later), ended(l.err))
		}
		if time.Since(since) > w.calm {
			pause = w.least
		}
		c.opt.Logger.Warn().Err(err).Stringer("again_in", pause).Msg("one of Dapr's processes is not up")
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, w.most)
		if l, err = p.restart(c.opt.Logger, l); l != nil {
			err = p.healthyWithin(ctx, w.start)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				_ = l.cmd.Process.Kill() // one that hangs; the others have ended
			} else {
				c.opt.Logger.Info().Str("process", p.name).Msg("started again")
			}
		}
		since = time.Now()
	}
}

// sleep reports whether ctx has not ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// Stop ends all processes, the last started first.
func (c *Cluster) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.procs) - 1; i >= 0; i-- {
		c.procs[i].stop(stopTime)
	}
	c.procs = nil
}

func loopback(port string) string { return net.JoinHostPort("127.0.0.1", port) }
