package main

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ordersaga/ordersaga/api/client"
	"github.com/ordersaga/ordersaga/internal/reconcile"
)

type reconcileCmd struct {
	API     string `default:"http://127.0.0.1:8080" help:"Base URL of a running worker's API, which does it."`
	Token   string `name:"api-token" help:"Bearer token for it."`
	Offline bool   `help:"Do it here, on the state of a worker that is not running. The flags below count only then."`

	workerFlags
}

func (c reconcileCmd) Run(e env) error {
	if !c.Offline {
		return c.remote(e)
	}
	w, err := c.worker(e)
	if err != nil {
		return err
	}
	c.announce(e)
	if _, err := w.Open(e.ctx); err != nil {
		return err
	}
	report, err := w.Reconciler().Once(e.ctx)
	return errors.Join(err, printJSON(e.out, report), w.Close())
}

func (c reconcileCmd) remote(e env) error {
	api := remote{API: c.API, Token: c.Token, Wait: time.Minute}
	var run reconcile.Reconciliation
	err := api.call(e, http.MethodPost, "/v1/reconcile", nil, &run)
	refused, ok := errors.AsType[*client.Problem](err)
	if ok && refused.Status == http.StatusInternalServerError { // it did not finish
		if api.call(e, http.MethodGet, "/v1/reconcile", nil, &run) == nil && run.Error != "" {
			err = nil // the run says why
		}
	} else if err != nil && !ok {
		return fmt.Errorf("no worker answers (with the worker stopped, use --offline): %w", err)
	}
	if err != nil {
		return fmt.Errorf("the worker does not reconcile: %w", err)
	}
	if run, err = c.follow(e, api, run); err != nil {
		return err
	}
	err = printJSON(e.out, run.Report)
	if run.Error != "" {
		err = errors.Join(err, fmt.Errorf("the reconciler did not finish: %s", run.Error))
	}
	return err
}

// reconcileLook is how often a run is looked at; tests look more often.
var reconcileLook = 2 * time.Second

// follow shows how far a run has got until it ends.
func (c reconcileCmd) follow(e env, api remote, run reconcile.Reconciliation) (reconcile.Reconciliation, error) {
	const patience = 5
	began, failed := run.StartedAt, 0
	tick := time.NewTicker(reconcileLook)
	defer tick.Stop()
	for run.Running {
		_, _ = fmt.Fprintf(e.err, "%s  %d orders, %d reservations, %d charges looked at, %d findings\n",
			time.Since(began).Round(time.Second), run.Orders, run.Reservations, run.Charges, len(run.Findings)) // it is for looking at
		select {
		case <-e.ctx.Done():
			return run, fmt.Errorf("it goes on without us: %w", e.ctx.Err())
		case <-tick.C:
		}
		var now reconcile.Reconciliation
		err := api.call(e, http.MethodGet, "/v1/reconcile", nil, &now)
		if err == nil && !now.StartedAt.Equal(began) {
			err = errors.New("another process answers than the one that reconciles; that one's log will have the findings, and a port-forward to one pod would lead to it alone")
		}
		if err != nil {
			if failed++; failed == patience {
				return run, fmt.Errorf("see at %s how the reconciler gets on: %w", c.API, err)
			}
			continue
		}
		run, failed = now, 0
	}
	return run, nil
}
