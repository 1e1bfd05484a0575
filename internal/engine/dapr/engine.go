// Package dapr is the engine behind a Dapr sidecar: the same registry of
// workflows and activities, run by Dapr's workflow actors. It also gives what
// else of the sidecar is used: pub/sub and secrets.
package dapr

import (
	"context"
	"fmt"
	"io"
	"log"
	"strings"
	"time"

	taskhub "github.com/dapr/durabletask-go/client"
	"github.com/dapr/durabletask-go/task"
	daprclient "github.com/dapr/go-sdk/client"
	"github.com/rs/zerolog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// Options of an Engine.
type Options struct {
	Address string // of the sidecar's gRPC port, such as 127.0.0.1:50001
	Token   string // DAPR_API_TOKEN of the sidecar; "" if it has none
	Logger  zerolog.Logger
	// Patience is how long Open waits for a sidecar that does not answer: it may
	// start after us, or be started again just now. 0 is the SDK's few seconds.
	Patience time.Duration
	// DrainTimeout is how long Run waits for work in progress when its context
	// ends; 0 means 25 s.
	DrainTimeout time.Duration
	// CanaryEvery is how often a tiny workflow is run to see whether any makes
	// progress; 0 runs none.
	CanaryEvery   time.Duration
	CanaryTimeout time.Duration // how long one may take; 0 means 15 s
	// RestartSidecar: one that runs nothing is told to end, for whoever
	// started it to start it again.
	RestartSidecar bool
	// Needs are the components that the sidecar must have.
	Needs []string
	// Terminated is called before a termination takes effect; may be nil.
	Terminated engine.OnTerminated
	// Load counts live sagas, for Stats: Dapr itself has no such number.
	Load func(ctx context.Context) (engine.Stats, error)
}

// Engine is the engine.Engine on Dapr.
type Engine struct {
	engine.Client

	opt    Options
	client daprclient.Client
	canary canary
}

var _ engine.Engine = (*Engine)(nil)

func init() { daprclient.SetLogger(log.New(io.Discard, "", 0)) } // it announces every client on standard error

// Open connects to the sidecar.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if o.DrainTimeout == 0 {
		o.DrainTimeout = 25 * time.Second
	}
	if o.CanaryTimeout == 0 {
		o.CanaryTimeout = 15 * time.Second
	}
	client, err := connect(ctx, o.Address)
	for began := time.Now(); err != nil && time.Since(began) < o.Patience && ctx.Err() == nil; client, err = connect(ctx, o.Address) {
		o.Logger.Warn().Err(err).Str("address", o.Address).Msg("no Dapr sidecar answers yet")
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
	if err != nil {
		return nil, fmt.Errorf("no Dapr sidecar answers at %s: %w; in Kubernetes the pod's annotation dapr.io/enabled and Dapr's injector bring one, elsewhere start daprd (docs/dapr.md)", o.Address, err)
	}
	if o.Token != "" {
		client.WithAuthToken(o.Token)
	}
	if err := fit(ctx, client, o); err != nil {
		client.Close()
		return nil, fmt.Errorf("Dapr sidecar at %s: %w", o.Address, err)
	}
	hub := hub{taskhub.NewTaskHubGrpcClient(client.GrpcClientConn(), engine.Logger(o.Logger))}
	e := &Engine{Client: engine.Client{Hub: hub}, opt: o, client: client}
	e.canary = canary{engine: e, restart: o.RestartSidecar}
	if o.CanaryEvery > 0 {
		e.canary.why = errNoCanary
	}
	return e, nil
}

// MaxBodySize is the largest max-body-size, in bytes, that a sidecar of a worker
// may have: it passes a saga's history on in one message, of up to 95 % of that,
// and a worker takes no larger ones. A saga whose history is larger is stalled
// (engine.Stalled).
const MaxBodySize = 64 << 20

func connect(ctx context.Context, address string) (daprclient.Client, error) {
	return daprclient.NewClientWithAddressContext(ctx, address,
		// A sidecar that is gone without a word (its node died) is noticed.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxBodySize+MaxBodySize/16)), // a history, and what is around it
		grpc.WithChainUnaryInterceptor(bounded, traced),
	)
}

// callTime bounds a call to the sidecar: while its actors move, some of Dapr's
// calls get no answer at all.
const callTime = 20 * time.Second

// bounded gives calls without a deadline one, but for those that are to wait.
func bounded(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if _, has := ctx.Deadline(); !has && !strings.Contains(method, "/WaitForInstance") {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTime)
		defer cancel()
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

// traced makes what the sidecar does for a call, and sends on, part of the
// caller's trace.
func traced(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if parent := tracing.Parent(ctx); parent != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, tracing.Attribute, parent)
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

// Close closes the connection.
func (e *Engine) Close() error {
	e.client.Close()
	return nil
}

// Run implements engine.Engine.
func (e *Engine) Run(ctx context.Context, registry *task.TaskRegistry) error {
	if err := registerCanary(registry); err != nil {
		return fmt.Errorf("register canary: %w", err)
	}
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	work := &drain{ClientConnInterface: e.client.GrpcClientConn(), terminated: e.terminated}
	// At the end the SDK reports streams that break, and they are meant to.
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
		e.opt.Logger.Warn().Int("items", left).Msg("work in progress was cut off; Dapr runs it again")
	}
	return nil
}

// terminated calls Options.Terminated until it succeeds or ctx ends: Dapr does not
// ask a worker again whose answer was an error.
func (e *Engine) terminated(ctx context.Context, id, reason string) error {
	if e.opt.Terminated == nil {
		return nil
	}
	id = withoutLife(id)
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		err := e.opt.Terminated(ctx, id, reason)
		if err == nil {
			return nil
		}
		e.opt.Logger.Warn().Err(err).Str("saga", id).Msg("a terminated saga has not ended yet; it is tried again")
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// Ready returns why sagas make no progress, if they make none. It knows by the
// last canary.
func (e *Engine) Ready() error { return e.canary.ready() }

// Hosted is how many sagas this worker's sidecar has been given and has in
// memory.
func (e *Engine) Hosted(ctx context.Context) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
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

// Stats implements engine.Engine.
func (e *Engine) Stats(ctx context.Context) (engine.Stats, error) { return e.opt.Load(ctx) }

// Publish publishes JSON to a topic of a pub/sub component.
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
