package main

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/alecthomas/kong"

	"github.com/ordersaga/ordersaga/api/client"
	"github.com/ordersaga/ordersaga/internal/reconcile"
)

// reconcileCmd runs the reconciler once, in a running worker or in this process.
type reconcileCmd struct {
	API     string `default:"http://127.0.0.1:8080" help:"Base URL of the API of the worker that runs the reconciler."`
	Token   string `name:"api-token" placeholder:"TOKEN" help:"Bearer token for the API."`
	Offline bool   `help:"${reconcile_offline_help}"`

	dataDirFlag
	sagaFlags
}

func (c reconcileCmd) Run(e env, command *kong.Context) error {
	if !c.Offline {
		if err := checkOnline(command); err != nil {
			return err
		}
		return c.runInWorker(e)
	}
	w, err := c.worker(e, c.DataDir)
	if err != nil {
		return err
	}
	c.logConnecting(e)
	if _, err := w.Open(e.ctx); err != nil {
		return err
	}
	report, err := w.Reconciler().Once(e.ctx)
	return errors.Join(err, printJSON(e.out, report), w.Close())
}

// checkOnline rejects flags that the running worker would not learn of: it reconciles
// with its own settings.
func checkOnline(command *kong.Context) error {
	for _, f := range given(command) {
		if f.Group != nil && f.Group.Key == groupLogging || slices.Contains([]string{"api", "api-token", "offline"}, f.Name) {
			continue
		}
		return fmt.Errorf("%s: without --offline only --api, --api-token and the logging flags are allowed, "+
			"because the running worker reconciles with its own settings", typed(f))
	}
	return nil
}

// runInWorker starts a run through the API and follows it to its end.
func (c reconcileCmd) runInWorker(e env) error {
	api := apiFlags{API: c.API, Token: c.Token, Timeout: time.Minute}
	var run reconcile.Reconciliation
	err := api.call(e, http.MethodPost, "/v1/reconcile", nil, &run)
	problem, isProblem := errors.AsType[*client.Problem](err)
	switch {
	case err == nil:
	case !isProblem:
		return fmt.Errorf("start the reconciler: no worker answers at %s (if the worker is stopped, use --offline): %w", c.API, err)
	case problem.Status == http.StatusInternalServerError: // the run failed: it has its own error
		readErr := api.call(e, http.MethodGet, "/v1/reconcile", nil, &run)
		if readErr != nil || run.Error == "" {
			return fmt.Errorf("start the reconciler: %w", err)
		}
	default:
		return fmt.Errorf("start the reconciler: %w", err)
	}
	run, err = c.follow(e, api, run)
	if err != nil {
		return err
	}
	err = printJSON(e.out, run.Report)
	if run.Error != "" {
		err = errors.Join(err, fmt.Errorf("the reconciler did not finish: %s", run.Error))
	}
	return err
}

// reconcilePoll is the time between two reads of a run's progress. Tests
// shorten it.
var reconcilePoll = 2 * time.Second

// errOtherWorker reports that the API is another process than before.
var errOtherWorker = errors.New("another worker answers now; the findings are in the log of the one that reconciles " +
	"(in Kubernetes, port-forward to one pod)")

// follow prints a run's progress until it ends.
func (c reconcileCmd) follow(e env, api apiFlags, run reconcile.Reconciliation) (reconcile.Reconciliation, error) {
	const maxFailures = 5
	startedAt, failures := run.StartedAt, 0
	tick := time.NewTicker(reconcilePoll)
	defer tick.Stop()
	for run.Running {
		_, _ = fmt.Fprintf(e.err, "%s  checked %d orders, %d reservations, %d charges; %d findings\n",
			time.Since(startedAt).Round(time.Second), run.Orders, run.Reservations, run.Charges, len(run.Findings)) // progress only
		select {
		case <-e.ctx.Done():
			return run, fmt.Errorf("stopped waiting; the reconciler continues in the worker: %w", e.ctx.Err())
		case <-tick.C:
		}
		var next reconcile.Reconciliation
		err := api.call(e, http.MethodGet, "/v1/reconcile", nil, &next)
		if err == nil && !next.StartedAt.Equal(startedAt) {
			err = errOtherWorker
		}
		if err == nil {
			run, failures = next, 0
			continue
		}
		failures++
		if failures == maxFailures {
			return run, fmt.Errorf("read the reconciler's progress from %s: %w", c.API, err)
		}
	}
	return run, nil
}
