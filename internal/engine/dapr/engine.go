// Package dapr is the engine behind a Dapr sidecar: Dapr's workflow actors run
// the same registry of workflows and activities. It also gives access to the
// sidecar's pub/sub and secrets.
package dapr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"sync"
	"time"

	taskhub "github.com/dapr/durabletask-go/client"
	"github.com/dapr/durabletask-go/task"
	daprclient "github.com/dapr/go-sdk/client"
	"github.com/rs/zerolog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/ordersaga/ordersaga/internal/backoff"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// Options configures an Engine.
type Options struct {
	Address string         // of the sidecar's gRPC port, such as 127.0.0.1:50001
	Token   string         // DAPR_API_TOKEN of the sidecar; "" if it has none
	Logger  zerolog.Logger // the zero value discards everything
	// ConnectTimeout is how long Open waits for a sidecar that does not respond:
	// it may start later than this program, or be restarting. 0 means the SDK's
	// few seconds.
	ConnectTimeout time.Duration
	// DrainTimeout is how long Run waits for work in progress when its context
	// ends; 0 means 25 s.
	DrainTimeout time.Duration
	// CanaryEvery is the interval at which a canary workflow is run to check that
	// sagas make progress; 0 disables it.
	CanaryEvery   time.Duration
	CanaryTimeout time.Duration // how long a canary may take; 0 means 15 s
	// RestartSidecar shuts a sidecar down that runs no workflows, so that its
	// supervisor (a kubelet, `ordersaga dev`) restarts it.
	RestartSidecar bool
	// Needs lists the names of the components that the sidecar must have.
	Needs []string
	// Terminated is called before a termination takes effect; nil disables it.
	Terminated engine.OnTerminated
	// Stalled is called when this program cannot run an instance; nil disables it.
	Stalled engine.OnStalled
	// Stats implements Engine.Stats, because Dapr does not count sagas itself. It
	// must be set if Engine.Stats is called.
	Stats func(ctx context.Context) (engine.Stats, error)
}

// Engine is the implementation of engine.Engine on Dapr. Create it with Open. It
// is safe for concurrent use.
type Engine struct {
	engine.Client

	opt    Options
	client daprclient.Client
	canary canary
}

var _ engine.Engine = (*Engine)(nil)

// silenceClient drops the log of the SDK, which writes every connection to standard error.
var silenceClient = sync.OnceFunc(func() { daprclient.SetLogger(log.New(io.Discard, "", 0)) })

// Open connects to the sidecar and checks it. The error wraps an
// *IncompatibleSidecarError if the sidecar lacks something.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if o.DrainTimeout == 0 {
		o.DrainTimeout = 25 * time.Second
	}
	if o.CanaryTimeout == 0 {
		o.CanaryTimeout = 15 * time.Second
	}
	client, err := connect(ctx, o.Address)
	for began := time.Now(); err != nil && time.Since(began) < o.ConnectTimeout && ctx.Err() == nil; client, err = connect(ctx, o.Address) {
		o.Logger.Warn().Err(err).Str("address", o.Address).Msg("no Dapr sidecar responds yet; retrying")
		_ = backoff.Sleep(ctx, 500*time.Millisecond) // the loop checks ctx
	}
	if err != nil {
		return nil, fmt.Errorf("no Dapr sidecar responds at %s: %w; in Kubernetes set the pod's annotation dapr.io/enabled "+
			"and install Dapr's injector, elsewhere start daprd (docs/dapr.md)", o.Address, err)
	}
	if o.Token != "" {
		client.WithAuthToken(o.Token)
	}
	if err := checkSidecar(ctx, client, o); err != nil {
		client.Close()
		return nil, fmt.Errorf("check the Dapr sidecar at %s: %w", o.Address, err)
	}
	hub := taskHub{TaskHubGrpcClient: taskhub.NewTaskHubGrpcClient(client.GrpcClientConn(), engine.Logger(o.Logger))}
	e := &Engine{Client: engine.Client{Hub: hub}, opt: o, client: client}
	e.canary = canary{engine: e, restart: o.RestartSidecar}
	if o.CanaryEvery > 0 {
		e.canary.failure = errNoCanary
	}
	return e, nil
}

// MaxBodySize is the largest max-body-size, in bytes, that a worker's sidecar may
// have. A sidecar sends a saga's history in one message, of up to 95 % of that,
// and a worker accepts no larger ones. Dapr stalls a saga whose history is larger
// (engine.Stalled).
const MaxBodySize = 64 << 20

func connect(ctx context.Context, address string) (daprclient.Client, error) {
	silenceClient()
	return daprclient.NewClientWithAddressContext(ctx, address,
		// Detects a sidecar that has disappeared silently because its node failed.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxBodySize+MaxBodySize/16)), // a history, and its envelope
		grpc.WithChainUnaryInterceptor(withTimeout, withTrace),
	)
}

// callTimeout bounds a call to the sidecar: while its actors move, some of Dapr's
// calls never return.
const callTimeout = 20 * time.Second

// withTimeout adds a deadline to calls without one, except for those that wait for
// an instance.
func withTimeout(
	ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	if _, has := ctx.Deadline(); !has && !strings.Contains(method, "/WaitForInstance") {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

// withTrace makes the sidecar's work for a call, and what it sends on, part of the
// caller's trace.
func withTrace(
	ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	if parent := tracing.Parent(ctx); parent != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, tracing.Attribute, parent)
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

// Close closes the connection. Call it after Run has returned.
func (e *Engine) Close() error {
	e.client.Close()
	return nil
}

// Run implements engine.Engine.
func (e *Engine) Run(ctx context.Context, registry *task.TaskRegistry) error {
	if err := errors.Join(registerCanary(registry), registerNotStarted(registry)); err != nil {
		return fmt.Errorf("register the engine's own workflows: %w", err)
	}
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	work := &drainConn{ClientConnInterface: e.client.GrpcClientConn(), terminated: e.terminated, stalled: e.stalled}
	// At shutdown streams break on purpose, and the SDK would log them as errors.
	log := e.opt.Logger.Hook(zerolog.HookFunc(func(line *zerolog.Event, _ zerolog.Level, _ string) {
		if ctx.Err() != nil {
			line.Discard()
		}
	}))
	listener := taskhub.NewTaskHubGrpcClient(work, engine.Logger(log))
	if err := listener.StartWorkItemListener(hard, registry); err != nil {
		return fmt.Errorf("connect worker to the Dapr sidecar: %w", err)
	}
	if e.opt.CanaryEvery > 0 {
		e.canary.run(ctx, e.opt.CanaryEvery)
	}
	<-ctx.Done()
	if left := work.stop(e.opt.DrainTimeout); left > 0 {
		e.opt.Logger.Warn().Int("items", left).Msg("work in progress was canceled; Dapr runs it again")
	}
	return nil
}

// terminated calls Options.Terminated until it succeeds or ctx ends: Dapr does not
// repeat a turn for which a worker returned an error.
func (e *Engine) terminated(ctx context.Context, id, reason string) error {
	if e.opt.Terminated == nil {
		return nil
	}
	id = withoutGeneration(id)
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		err := e.opt.Terminated(ctx, id, reason)
		if err == nil {
			return nil
		}
		e.opt.Logger.Warn().Err(err).Str("saga", id).Msg("cannot record the termination of a saga; it ends once that succeeds, which is retried")
		if backoff.Sleep(ctx, pause) != nil {
			return err
		}
	}
}

// stalled calls Options.Stalled.
func (e *Engine) stalled(id, why string) {
	if e.opt.Stalled != nil {
		e.opt.Stalled(withoutGeneration(id), why)
	}
}

// Ready returns why sagas make no progress, or nil, as the last canary showed.
func (e *Engine) Ready() error { return e.canary.ready() }

// Hosted returns how many sagas this worker's sidecar hosts and has in memory.
func (e *Engine) Hosted(ctx context.Context) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	m, err := e.client.GetMetadata(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the sidecar's metadata: %w", err)
	}
	for _, a := range m.ActiveActorsCount {
		if isWorkflowActor(a.Type) {
			n += int(a.Count)
		}
	}
	return n, nil
}

// Stats implements engine.Engine. It calls Options.Stats.
func (e *Engine) Stats(ctx context.Context) (engine.Stats, error) { return e.opt.Stats(ctx) }

// Publish publishes a JSON document to a topic of a pub/sub component.
func (e *Engine) Publish(ctx context.Context, pubsub, topic string, body []byte) error {
	err := e.client.PublishEvent(ctx, pubsub, topic, body, daprclient.PublishEventWithContentType("application/json"))
	if err != nil {
		return fmt.Errorf("publish to topic %s of Dapr component %s: %w", topic, pubsub, err)
	}
	return nil
}

// Secret reads one secret of a secret store component.
func (e *Engine) Secret(ctx context.Context, store, name string) (string, error) {
	values, err := e.client.GetSecret(ctx, store, name, nil)
	if err != nil {
		return "", fmt.Errorf("read secret %s of Dapr component %s: %w", name, store, err)
	}
	return values[name], nil
}
