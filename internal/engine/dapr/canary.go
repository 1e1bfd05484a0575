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

// The canary is a workflow of one empty step. A sidecar can answer all health
// checks and yet run nothing, after it lost scheduler or placement at a bad
// moment (https://github.com/dapr/dapr/issues/10337); whether a saga makes
// progress is seen only by running one.
const (
	canaryWorkflow = "OrdersagaCanary"
	canaryStep     = "OrdersagaCanaryStep"
	// patience is for how many canary time-outs nothing comes back before the
	// sidecar counts as stuck. Each canary goes to an actor on any of the
	// workers' sidecars, so one is also lost through another's fault.
	patience = 4
	// longPatience is the same while the scheduler does not answer. That is
	// seldom the sidecar's fault, and all workers would end theirs at once; but
	// its own connection may be what is lost.
	longPatience = 5 * patience
	// readyTime is enough for a sidecar that is merely busy.
	readyTime = 5 * time.Second
)

type canary struct {
	engine  *Engine
	restart bool

	mu    sync.Mutex
	why   error     // the last one was lost; errNoCanary before the first
	good  time.Time // when one last came back, or none could through no fault of the sidecar
	under string    // id of the one under way; "" if none is
	since time.Time // it is; forgetting it is part of its way, for that needs the store too
	stale []string  // ids
}

var errNoCanary = errors.New("no saga has been seen to make progress yet")

func registerCanary(r *task.TaskRegistry) error {
	return errors.Join(
		r.AddWorkflowN(canaryWorkflow, func(ctx *task.WorkflowContext) (any, error) {
			return nil, ctx.CallActivity(canaryStep).Await(nil)
		}),
		r.AddActivityN(canaryStep, func(task.ActivityContext) (any, error) { return struct{}{}, nil }),
	)
}

// run sends canaries, and looks after what the sidecar hosts, until ctx ends.
func (c *canary) run(ctx context.Context, every time.Duration) {
	var both sync.WaitGroup
	both.Go(func() { repeat(ctx, every, c.send) })
	both.Go(func() {
		since := time.Now()
		repeat(ctx, every, func(ctx context.Context) {
			if hosts, err := c.hosts(ctx); err != nil || hosts {
				since = time.Now()
			} else if time.Since(since) > c.engine.opt.CanaryTimeout { // a worker needs a moment to connect
				if c.storeAway(ctx) == nil {
					c.end(ctx, "hosts no workflows, though a worker is connected (one of its state stores must have actorStateStore: \"true\")")
				}
				since = time.Now()
			}
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

// hosts reports whether the sidecar runs workflow actors. Dapr 1.18.2 can lose
// them when a worker dies and another connects at once: it stays the owner of
// its share of all sagas, and refuses their every step.
func (c *canary) hosts(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
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
	c.under, c.since = id, time.Now()
	c.mu.Unlock()
	// Readiness does not wait for it when the cause can be seen.
	early := time.AfterFunc(c.engine.opt.CanaryTimeout/5, func() {
		if err := errors.Join(c.storeAway(ctx), c.schedulerAway(ctx)); err != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.under == id {
				c.why = err
			}
		}
	})
	defer func() {
		early.Stop()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.under = ""
	}()
	err := c.fly(ctx, id)
	blameless := err == nil || status.Code(err) == codes.Unavailable // there is no sidecar to blame
	long := patience * c.engine.opt.CanaryTimeout
	if !blameless {
		if away := c.storeAway(ctx); away != nil {
			err, blameless = away, true
		} else if away := c.schedulerAway(ctx); away != nil {
			err, long = away, longPatience*c.engine.opt.CanaryTimeout
		}
	}
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	c.why = err
	c.stale = append(c.stale, id)
	if blameless || c.good.IsZero() {
		c.good = time.Now()
	}
	since, stale := c.good, c.stale
	c.mu.Unlock()
	if err == nil {
		c.tidy(ctx, stale)
		return
	}
	c.engine.opt.Logger.Warn().Err(err).Time("since", since).Msg("a canary saga made no progress")
	if time.Since(since) > long {
		c.end(ctx, "runs no sagas")
	}
}

func (c *canary) fly(ctx context.Context, id string) error {
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

// storeAway returns why the state store does not answer, if it does not and the
// sidecar does. Through the sidecar's actors the two look the same.
func (c *canary) storeAway(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.engine.opt.CanaryTimeout/3)
	defer cancel()
	m, err := c.engine.client.GetMetadata(ctx)
	if err != nil {
		return nil // that is the sidecar's fault
	}
	for _, s := range m.RegisteredComponents {
		if !keepsWorkflows(s) {
			continue
		}
		_, err := c.engine.client.GetState(ctx, s.Name, canaryStep, nil) // there is none
		if code := status.Code(err); code == codes.DeadlineExceeded || code == codes.Internal {
			return fmt.Errorf("state store %s does not answer: %w", s.Name, err)
		}
	}
	return nil
}

// schedulerAway returns why the scheduler does not answer through the sidecar,
// if it does not and the sidecar does: no reminder fires then.
func (c *canary) schedulerAway(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.engine.opt.CanaryTimeout/3)
	defer cancel()
	_, err := c.engine.client.GetJob(ctx, canaryStep) // there is none
	if code := status.Code(err); code == codes.DeadlineExceeded || code == codes.Internal && strings.Contains(err.Error(), codes.DeadlineExceeded.String()) {
		return fmt.Errorf("the scheduler does not answer: %w", err)
	}
	return nil
}

// tidy forgets canaries that have ended. Those that were lost end later.
func (c *canary) tidy(ctx context.Context, ids []string) {
	ctx, cancel := context.WithTimeout(ctx, c.engine.opt.CanaryTimeout)
	defer cancel()
	left := slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		err := c.engine.Purge(ctx, id)
		return err == nil || errors.Is(err, engine.ErrNotFound)
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stale = left
}

// end ends the sidecar: whoever started it (a kubelet, `ordersaga dev`) starts
// it again, and what it had is taken over.
func (c *canary) end(ctx context.Context, why string) {
	if !c.restart {
		c.engine.opt.Logger.Error().Msg("the sidecar " + why)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	err := c.engine.client.Shutdown(ctx)
	c.engine.opt.Logger.Error().Err(err).Msg("the sidecar " + why + ": it was told to end, so that it is started again")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.good = time.Now()
}

func (c *canary) ready() error {
	c.mu.Lock()
	why := c.why
	if late := time.Since(c.since); why == nil && c.under != "" && late > c.engine.opt.CanaryTimeout*2/3 {
		why = fmt.Errorf("a canary saga has been under way for %s", late.Round(time.Second))
	}
	c.mu.Unlock()
	if why != nil {
		return fmt.Errorf("sagas make no progress on Dapr: %w", why)
	}
	// A sidecar that has died since the last canary is seen at once.
	ctx, cancel := context.WithTimeout(context.Background(), readyTime)
	defer cancel()
	if _, err := c.engine.client.GetMetadata(ctx); err != nil {
		return fmt.Errorf("the Dapr sidecar does not answer: %w", err)
	}
	return nil
}
