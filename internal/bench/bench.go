// Package bench measures an engine: its ceiling, with sagas that do nothing,
// and the order saga, in one run.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/dapr/durabletask-go/task"
	"github.com/google/uuid"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/internal/devenv"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// Job measures an engine twice in one run: with three activities that do
// nothing, which is its ceiling, and with the order saga, which has three
// durable steps too.
type Job struct {
	Sagas    int   // that count, of each kind and at each InFlight
	InFlight []int // how many are under way at once
	Label    string
	Out      io.Writer
	Progress io.Writer // nil shows none
}

const (
	idleWorkflow = "LoadCeiling"
	idleActivity = "LoadNothing"
)

// Configure makes a worker ready for Job: it registers the ceiling's workflow,
// and gives the order saga as many durable steps as that has.
func Configure(w *worker.Worker) {
	w.Register, w.Terms.AwaitCarrier = register, false
}

func register(r *task.TaskRegistry) error {
	return errors.Join(
		r.AddWorkflowN(idleWorkflow, func(ctx *task.WorkflowContext) (any, error) {
			for range 3 {
				if err := ctx.CallActivity(idleActivity).Await(nil); err != nil {
					return nil, err
				}
			}
			return nil, nil
		}),
		r.AddActivityN(idleActivity, func(task.ActivityContext) (any, error) { return struct{}{}, nil }),
	)
}

// Header is the head of the table that Run's rows belong to.
const Header = `| engine | in flight | ceiling, sagas/s | p50 | p99 | order saga, sagas/s | p50 | p99 | of the ceiling | allocs a saga | AWS calls a saga |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
`

// Run implements Job: it writes a row of Markdown for each InFlight.
func (j Job) Run(ctx context.Context, w *worker.Worker, _ devenv.Simulators) error {
	starter := intake.Starter{Orders: w.Parts().Store, Sagas: w.Parts().Engine, Terms: w.Terms}
	prefix := "load-" + uuid.NewString()[:8]
	for _, n := range j.InFlight {
		idle, err := j.measure(ctx, "ceiling", n, w, func(ctx context.Context, i int) (string, error) {
			id := fmt.Sprintf("%s-idle-%d-%d", prefix, n, i)
			return id, w.Parts().Engine.Start(ctx, idleWorkflow, id, nil)
		})
		if err != nil {
			return err
		}
		orders, err := j.measure(ctx, "order sagas", n, w, func(ctx context.Context, i int) (string, error) {
			o := order.Order{
				OrderID: fmt.Sprintf("%s-%d-%d", prefix, n, i), CustomerID: "c-load", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"},
				Lines: []order.Line{{SKU: fmt.Sprintf("SKU-%d", i%10+1), Quantity: 1, UnitPrice: 100}},
			}
			_, _, err := starter.Start(ctx, o)
			return o.OrderID, err
		})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(j.Out, "| %s | %d | %.0f | %s | %s | %.0f | %s | %s | %.2f | %.0f | %.1f |\n", j.Label, n,
			idle.rate, devenv.Short(idle.p50), devenv.Short(idle.p99), orders.rate, devenv.Short(orders.p50), devenv.Short(orders.p99), orders.rate/idle.rate, orders.allocs, orders.calls)
		if err != nil {
			return fmt.Errorf("write result: %w", err)
		}
	}
	return nil
}

type measured struct {
	rate, allocs, calls float64 // per second; per saga
	p50, p99            time.Duration
}

// measure runs sagas, so many at once. Before those that count it runs some
// that do not: else what is measured first pays for connections, caches and
// Dapr's actors, and what comes after it looks better.
func (j Job) measure(ctx context.Context, what string, inFlight int, w *worker.Worker, start starter) (m measured, err error) {
	warm := max(j.Sagas/10, inFlight)
	bar := j.bar(warm+j.Sagas, fmt.Sprintf("%s, %s, %d in flight", j.Label, what, inFlight))
	if _, err := many(ctx, j.Sagas, warm, inFlight, w, start, bar); err != nil {
		return m, err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	calls, began := w.Parts().Cloud.Calls(), time.Now()
	took, err := many(ctx, 0, j.Sagas, inFlight, w, start, bar)
	if err != nil {
		return m, err
	}
	all := time.Since(began)
	runtime.ReadMemStats(&after)
	_ = bar.Finish() // it is for looking at
	n := float64(j.Sagas)
	return measured{
		rate: n / all.Seconds(), allocs: float64(after.Mallocs-before.Mallocs) / n, calls: float64(w.Parts().Cloud.Calls()-calls) / n,
		p50: took.Percentile(.5), p99: took.Percentile(.99),
	}, nil
}

// starter starts saga number i.
type starter func(ctx context.Context, i int) (id string, err error)

// many starts n sagas, numbered from first on, and waits for each.
func many(ctx context.Context, first, n, inFlight int, w *worker.Worker, start starter, bar *progressbar.ProgressBar) (devenv.Durations, error) {
	took := make(devenv.Durations, n)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(inFlight)
	for i := range n {
		g.Go(func() error {
			at := time.Now()
			id, err := start(gctx, first+i)
			if err != nil {
				return fmt.Errorf("load: %w", err)
			}
			inst, err := w.Parts().Engine.Wait(gctx, id)
			if err == nil && (inst.Status != engine.Completed || strings.Contains(string(inst.Output), string(order.StatusFailed))) {
				err = fmt.Errorf("ended %s with %s", inst.Status, inst.Output)
			}
			if err != nil {
				return fmt.Errorf("load: saga %s: %w", id, err)
			}
			took[i] = time.Since(at)
			_ = bar.Add(1) // it is for looking at
			return nil
		})
	}
	return took, g.Wait()
}

func (j Job) bar(sagas int, what string) *progressbar.ProgressBar {
	out := j.Progress
	if out == nil {
		out = io.Discard
	}
	return progressbar.NewOptions(sagas, progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
}
