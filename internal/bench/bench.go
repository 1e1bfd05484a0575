// Package bench measures an engine with sagas that do nothing, which is its
// ceiling, and with the order saga, in one run.
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
// durable steps too. Pass it to a devenv.Dev whose worker was set up by Configure.
type Job struct {
	Sagas    int       // sagas that are measured, of each kind and at each InFlight
	InFlight []int     // numbers of concurrent sagas
	Label    string    // name of the engine in the table
	Out      io.Writer // receives the rows
	Progress io.Writer // receives progress bars; nil disables them
}

const (
	idleWorkflow = "LoadCeiling"
	idleActivity = "LoadNothing"
)

// Configure prepares a worker for Job: it registers the ceiling's workflow, and
// reduces the order saga to as many durable steps. Call it before the worker starts.
func Configure(w *worker.Worker) {
	w.Register, w.Terms.AwaitCarrier = register, false
}

// register adds the ceiling's workflow and activity to a registry.
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

// Header is the header, in Markdown, of the table whose rows Run writes.
const Header = `| engine | in flight | ceiling, sagas/s | p50 | p99 | order saga, sagas/s | p50 | p99 ` +
	`| of the ceiling | allocs a saga | AWS calls a saga |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
`

// Run implements devenv.Job. It writes a row of Markdown for each InFlight. It stops at the first
// saga that fails.
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
				OrderID: fmt.Sprintf("%s-%d-%d", prefix, n, i), CustomerID: "c-load", Currency: "EUR",
				Payment: order.Payment{Token: "tok_ok"},
				Lines:   []order.Line{{SKU: fmt.Sprintf("SKU-%d", i%10+1), Quantity: 1, UnitPrice: 100}},
			}
			_, _, err := starter.Start(ctx, o)
			return o.OrderID, err
		})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(j.Out, "| %s | %d | %.0f | %s | %s | %.0f | %s | %s | %.2f | %.0f | %.1f |\n", j.Label, n,
			idle.rate, devenv.Short(idle.p50), devenv.Short(idle.p99),
			orders.rate, devenv.Short(orders.p50), devenv.Short(orders.p99),
			orders.rate/idle.rate, orders.allocs, orders.calls)
		if err != nil {
			return fmt.Errorf("write the result for %d in flight: %w", n, err)
		}
	}
	return nil
}

// measured is the result of a measurement.
type measured struct {
	rate          float64       // sagas per second
	allocs, calls float64       // allocations, and requests to AWS, per saga
	p50, p99      time.Duration // latency of a saga
}

// measure runs sagas, inFlight of them concurrently. It first runs some that are
// not measured. Without them, the first measurement would include the cost of
// connections, caches and Dapr's actors.
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
	_ = bar.Finish() // a failure to draw does not matter
	n := float64(j.Sagas)
	return measured{
		rate: n / all.Seconds(), allocs: float64(after.Mallocs-before.Mallocs) / n,
		calls: float64(w.Parts().Cloud.Calls()-calls) / n,
		p50:   took.Percentile(.5), p99: took.Percentile(.99),
	}, nil
}

// starter starts the i-th saga and returns its id.
type starter func(ctx context.Context, i int) (id string, err error)

// many runs n sagas, numbered from first on, and returns the latency of each. It reports the first
// saga that fails.
func many(
	ctx context.Context, first, n, inFlight int, w *worker.Worker, start starter, bar *progressbar.ProgressBar,
) (devenv.Durations, error) {
	took := make(devenv.Durations, n)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(inFlight)
	for i := range n {
		g.Go(func() error {
			at := time.Now()
			id, err := start(gctx, first+i)
			if err != nil {
				return fmt.Errorf("start saga %d: %w", first+i, err)
			}
			inst, err := w.Parts().Engine.Wait(gctx, id)
			if err == nil && (inst.Status != engine.Completed || strings.Contains(string(inst.Output), string(order.StatusFailed))) {
				err = fmt.Errorf("it ended with status %s and output %s", inst.Status, inst.Output)
			}
			if err != nil {
				return fmt.Errorf("run saga %s: %w", id, err)
			}
			took[i] = time.Since(at)
			_ = bar.Add(1) // a failure to draw does not matter
			return nil
		})
	}
	return took, g.Wait()
}

// bar returns a progress bar for that many sagas.
func (j Job) bar(sagas int, what string) *progressbar.ProgressBar {
	out := j.Progress
	if out == nil {
		out = io.Discard
	}
	return progressbar.NewOptions(sagas, progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
}
