package dapr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dapr/durabletask-go/task"
	daprclient "github.com/dapr/go-sdk/client"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ordersaga/ordersaga/internal/engine"
)

// The canary is a workflow of one empty step. A sidecar can pass all health checks
// and yet run nothing, if it lost scheduler or placement at a bad moment
// (https://github.com/dapr/dapr/issues/10337). The only way to find out whether
// sagas make progress is to run one.
const (
	canaryWorkflow = "OrdersagaCanary"
	canaryStep     = "OrdersagaCanaryStep"
	// stuckAfter is after how many canary time-outs without a success the sidecar
	// counts as stuck. Each canary goes to an actor on any of the workers'
	// sidecars, so another sidecar can also be the cause.
	stuckAfter = 4
	// stuckAfterWithoutScheduler applies while the scheduler does not respond. That
	// is rarely the sidecar's fault, and all workers would restart theirs at once.
	// But the cause may be the sidecar's own connection.
	stuckAfterWithoutScheduler = 5 * stuckAfter
	// readyTimeout is long enough for a busy sidecar.
	readyTimeout = 5 * time.Second
)

// canary runs canaries and derives readiness from them.
type canary struct {
	engine  *Engine
	restart bool // see Options.RestartSidecar

	mu       sync.Mutex
	failure  error     // of the last canary; errNoCanary before the first
	lastGood time.Time // when a canary last succeeded, or could not through no fault of the sidecar
	current  string    // id of the canary in progress; "" if there is none
	started  time.Time // of the current one; purging it is part of its run, because that needs the store too
	unpurged []string  // ids of former canaries
}

var errNoCanary = errors.New("no canary saga has completed yet")

func registerCanary(r *task.TaskRegistry) error {
	return errors.Join(
		r.AddWorkflowN(canaryWorkflow, func(ctx *task.WorkflowContext) (any, error) {
			return nil, ctx.CallActivity(canaryStep).Await(nil)
		}),
		r.AddActivityN(canaryStep, func(task.ActivityContext) (any, error) { return struct{}{}, nil }),
	)
}

// run runs canaries, and checks that the sidecar hosts workflows, until ctx ends.
func (c *canary) run(ctx context.Context, every time.Duration) {
	var both sync.WaitGroup
	both.Go(func() { repeat(ctx, every, c.send) })
	both.Go(func() {
		since := time.Now()
		repeat(ctx, every, func(ctx context.Context) {
			hosts, err := c.hosts(ctx)
			if err != nil || hosts {
				since = time.Now()
				return
			}
			if time.Since(since) <= c.engine.opt.CanaryTimeout { // a worker needs a moment to connect
				return
			}
			if c.storeUnavailable(ctx) == nil {
				c.restartSidecar(ctx, "hosts no workflows, though a worker is connected "+
					"(one of its state stores must have actorStateStore: \"true\")")
			}
			since = time.Now()
		})
	})
	both.Wait()
}

func repeat(ctx context.Context, every time.Duration, f func(context.Context)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		f(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// hosts reports whether the sidecar hosts workflow actors. Dapr 1.18.2 can lose
// them when a worker exits and another connects at once: it remains the owner of
// its share of all sagas, and rejects their every step.
func (c *canary) hosts(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	m, err := c.engine.client.GetMetadata(ctx)
	if err != nil {
		return false, fmt.Errorf("read the sidecar's metadata: %w", err)
	}
	return slices.ContainsFunc(m.ActiveActorsCount, func(a *daprclient.MetadataActiveActorsCount) bool {
		return isWorkflowActor(a.Type)
	}), nil
}

func isWorkflowActor(kind string) bool {
	return strings.HasPrefix(kind, "dapr.internal.") && strings.HasSuffix(kind, ".workflow")
}

func (c *canary) send(ctx context.Context) {
	id := "canary-" + uuid.NewString()
	c.mu.Lock()
	c.current, c.started = id, time.Now()
	c.mu.Unlock()
	// If the cause can be found, readiness reports it before the canary times out.
	early := time.AfterFunc(c.engine.opt.CanaryTimeout/5, func() {
		if err := errors.Join(c.storeUnavailable(ctx), c.schedulerUnavailable(ctx)); err != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.current == id {
				c.failure = err
			}
		}
	})
	defer func() {
		early.Stop()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.current = ""
	}()
	err := c.runOne(ctx, id)
	blameless := err == nil || status.Code(err) == codes.Unavailable // no sidecar responds
	stuckTime := stuckAfter * c.engine.opt.CanaryTimeout
	if !blameless {
		if cause := c.storeUnavailable(ctx); cause != nil {
			err, blameless = cause, true
		} else if cause := c.schedulerUnavailable(ctx); cause != nil {
			err, stuckTime = cause, stuckAfterWithoutScheduler*c.engine.opt.CanaryTimeout
		}
	}
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	c.failure = err
	c.unpurged = append(c.unpurged, id)
	if blameless || c.lastGood.IsZero() {
		c.lastGood = time.Now()
	}
	since, stale := c.lastGood, c.unpurged
	c.mu.Unlock()
	if err == nil {
		c.purge(ctx, stale)
		return
	}
	c.engine.opt.Logger.Warn().Err(err).Time("since", since).Msg("a canary saga made no progress")
	if time.Since(since) > stuckTime {
		c.restartSidecar(ctx, "runs no sagas")
	}
}

// runOne runs a canary and waits for its end.
func (c *canary) runOne(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, c.engine.opt.CanaryTimeout)
	defer cancel()
	if err := c.engine.Start(ctx, canaryWorkflow, id, nil); err != nil {
		return err
	}
	i, err := c.engine.Wait(ctx, id)
	if err == nil && i.Status != engine.Completed {
		err = fmt.Errorf("canary %s ended %s: %s", id, i.Status, i.Failure)
	}
	return err
}

// storeUnavailable returns why the state store does not respond, if the sidecar
// does respond. Calls of the sidecar's actors fail in the same way for both.
func (c *canary) storeUnavailable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.engine.opt.CanaryTimeout/3)
	defer cancel()
	m, err := c.engine.client.GetMetadata(ctx)
	if err != nil {
		return nil // the sidecar itself does not respond
	}
	for _, s := range m.RegisteredComponents {
		if !canKeepWorkflows(s) {
			continue
		}
		_, err := c.engine.client.GetState(ctx, s.Name, canaryStep, nil) // no such key exists
		if code := status.Code(err); code == codes.DeadlineExceeded || code == codes.Internal {
			return fmt.Errorf("state store %s does not respond: %w", s.Name, err)
		}
	}
	return nil
}

// schedulerUnavailable returns why the scheduler does not respond through the
// sidecar, if the sidecar does respond. No reminder fires then.
func (c *canary) schedulerUnavailable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.engine.opt.CanaryTimeout/3)
	defer cancel()
	_, err := c.engine.client.GetJob(ctx, canaryStep) // no such job exists
	code := status.Code(err)
	if code == codes.DeadlineExceeded || code == codes.Internal && strings.Contains(err.Error(), codes.DeadlineExceeded.String()) {
		return fmt.Errorf("the scheduler does not respond: %w", err)
	}
	return nil
}

// purge purges canaries that have ended. Those that were lost end later.
func (c *canary) purge(ctx context.Context, ids []string) {
	ctx, cancel := context.WithTimeout(ctx, c.engine.opt.CanaryTimeout)
	defer cancel()
	left := slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		err := c.engine.Purge(ctx, id)
		return err == nil || errors.Is(err, engine.ErrNotFound)
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unpurged = left
}

// restartSidecar shuts the sidecar down: its supervisor (a kubelet, `ordersaga
// dev`) restarts it, and other sidecars take over its actors meanwhile.
func (c *canary) restartSidecar(ctx context.Context, why string) {
	if !c.restart {
		c.engine.opt.Logger.Error().Msg("the sidecar " + why)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := c.engine.client.Shutdown(ctx)
	c.engine.opt.Logger.Error().Err(err).Msg("the sidecar " + why + ": it is shut down, so that its supervisor restarts it")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastGood = time.Now()
}

// ready returns why sagas make no progress, or nil.
func (c *canary) ready() error {
	c.mu.Lock()
	why := c.failure
	if late := time.Since(c.started); why == nil && c.current != "" && late > c.engine.opt.CanaryTimeout*2/3 {
		why = fmt.Errorf("a canary saga has been in progress for %s", late.Round(time.Second))
	}
	c.mu.Unlock()
	if why != nil {
		return fmt.Errorf("sagas make no progress on Dapr: %w", why)
	}
	// A sidecar that has exited since the last canary is detected at once.
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	if _, err := c.engine.client.GetMetadata(ctx); err != nil {
		return fmt.Errorf("the Dapr sidecar does not respond: %w", err)
	}
	return nil
}
