// Package bench measures the throughput and latency of a saga engine: with
// workflows that do nothing, and with the order saga.
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

// Job is the devenv.Job that measures the engine of a worker twice: with a
// workflow of three activities that do nothing, which is the engine's ceiling,
// and with the order saga, which has three durable steps too. Out is required.
// The worker must have been changed by Configure before it started.
type Job struct {
	Sagas    int       // sagas to measure, of each kind and for each element of InFlight
	InFlight []int     // numbers of concurrent sagas; each is one row of the result
	Label    string    // name of the engine in the result
	Out      io.Writer // receives the rows of the table
	Progress io.Writer // receives the progress bar; nil shows none
}

const (
	idleWorkflow = "LoadCeiling"
	idleActivity = "LoadNothing"
)

// Configure prepares a worker for Job. It registers the workflow that does
// nothing, and removes the wait for the carrier, so that the order saga has as
// many durable steps. Call it before the worker starts.
func Configure(w *worker.Worker) {
	w.Register, w.Terms.AwaitCarrier = register, false
}

// register registers the workflow and the activity that do nothing.
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

// Header has the first two lines of the Markdown table whose rows Run writes.
const Header = "| engine | in flight | ceiling, sagas/s | p50 | p99 | order saga, sagas/s | p50 | p99 " +
	"| of the ceiling | allocs a saga | AWS calls a saga |\n" +
	"|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"

// Run implements devenv.Job. It writes a row of a Markdown table for each element
// of InFlight. It returns the first error of a saga, or of writing.
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
			idle.rate, devenv.RoundDuration(idle.p50), devenv.RoundDuration(idle.p99),
			orders.rate, devenv.RoundDuration(orders.p50), devenv.RoundDuration(orders.p99),
			orders.rate/idle.rate, orders.allocs, orders.calls)
		if err != nil {
			return fmt.Errorf("write the benchmark's result: %w", err)
		}
	}
	return nil
}

// measurement is the result of one run.
type measurement struct {
	rate     float64 // sagas per second
	allocs   float64 // heap allocations per saga, of the whole process
	calls    float64 // AWS calls per saga, by the worker
	p50, p99 time.Duration
}

// measure runs j.Sagas sagas, inFlight of them concurrently. It runs some before
// that, which it does not measure: else the first measurement includes the setup
// of connections, caches and Dapr's actors, and later ones look better.
func (j Job) measure(
	ctx context.Context, what string, inFlight int, w *worker.Worker, start starter,
) (m measurement, err error) {
	warm := max(j.Sagas/10, inFlight)
	bar := j.bar(warm+j.Sagas, fmt.Sprintf("%s, %s, %d in flight", j.Label, what, inFlight))
	if _, err := runSagas(ctx, w, span{first: j.Sagas, n: warm}, inFlight, start, bar); err != nil {
		return m, err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	calls, began := w.Parts().Cloud.Calls(), time.Now()
	took, err := runSagas(ctx, w, span{n: j.Sagas}, inFlight, start, bar)
	if err != nil {
		return m, err
	}
	all := time.Since(began)
	runtime.ReadMemStats(&after)
	_ = bar.Finish() // a progress bar that cannot be drawn does not fail the run
	n := float64(j.Sagas)
	return measurement{
		rate: n / all.Seconds(), allocs: float64(after.Mallocs-before.Mallocs) / n,
		calls: float64(w.Parts().Cloud.Calls()-calls) / n,
		p50:   took.Percentile(.5), p99: took.Percentile(.99),
	}, nil
}

// starter starts saga number i and returns its id.
type starter func(ctx context.Context, i int) (id string, err error)

// span is a range of saga numbers: n of them, from first on.
type span struct{ first, n int }

// runSagas starts sagas, inFlight of them concurrently, and waits for each. It
// returns how long each took. A saga that does not complete is an error.
func runSagas(
	ctx context.Context, w *worker.Worker, sagas span, inFlight int, start starter, bar *progressbar.ProgressBar,
) (devenv.Durations, error) {
	took := make(devenv.Durations, sagas.n)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(inFlight)
	for i := range sagas.n {
		g.Go(func() error {
			at := time.Now()
			id, err := start(gctx, sagas.first+i)
			if err != nil {
				return fmt.Errorf("benchmark: start saga: %w", err)
			}
			inst, err := w.Parts().Engine.Wait(gctx, id)
			if err == nil && (inst.Status != engine.Completed || strings.Contains(string(inst.Output), string(order.StatusFailed))) {
				err = fmt.Errorf("ended %s with %s", inst.Status, inst.Output)
			}
			if err != nil {
				return fmt.Errorf("benchmark: saga %s: %w", id, err)
			}
			took[i] = time.Since(at)
			_ = bar.Add(1) // see Finish in measure
			return nil
		})
	}
	return took, g.Wait()
}

// bar returns the progress bar of one measurement.
func (j Job) bar(sagas int, what string) *progressbar.ProgressBar {
	out := j.Progress
	if out == nil {
		out = io.Discard
	}
	return progressbar.NewOptions(sagas, progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
}
