package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/backend"
	"github.com/dapr/durabletask-go/backend/sqlite"
	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/components"
	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/dapr"
	"github.com/ordersaga/ordersaga/tools/bench/measure"
)

// runEngine runs an engine until the peer stops. The peer then calls closeEngine.
func runEngine(ctx context.Context, e engine.Engine, closeEngine func()) (p peer, err error) {
	p.atStop(closeEngine)
	r, err := measure.Registry()
	if err != nil {
		return p, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		_ = e.Run(ctx, r) // a failed saga is reported by p.saga
		close(ended)
	}()
	p.atStop(func() {
		cancel()
		<-ended
	})
	p.saga = measure.Chain(e)
	return p, nil
}

// daprOnRedis starts Dapr with the components of the order saga, except those that require AWS
// or other apps.
func daprOnRedis(bin string) func(ctx context.Context, dir string) (peer, error) {
	return func(ctx context.Context, dir string) (p peer, err error) {
		if os.Getenv("ORDERSAGA_DAPR_BIN") == "" {
			if err := os.Setenv("ORDERSAGA_DAPR_BIN", bin); err != nil {
				return p, err
			}
		}
		if _, err := daprlocal.Find(); err != nil {
			return p, missingError("`make dapr` (takes ten minutes the first time)")
		}
		address, stop, err := redis(ctx, dir)
		p.atStop(stop)
		if err != nil {
			return p, err
		}
		only := filepath.Join(dir, "components")
		err = components.WriteLocal(only, "redis", "", "payment")
		for _, f := range []string{"orderpubsub", "resiliency", "secretstore", "subscription"} {
			err = errors.Join(err, os.Remove(filepath.Join(only, f+".yaml")))
		}
		if err != nil {
			return p, err
		}
		c, err := daprlocal.Start(ctx, daprlocal.Options{
			Dir: dir, Components: only, State: daprlocal.State{Store: "redis", Address: address}, Logger: zerolog.Nop(),
		})
		if err != nil {
			return p, err
		}
		p.atStop(c.Stop)
		side, err := c.Sidecar(ctx, daprlocal.App{ID: "ordersaga"})
		if err != nil {
			return p, err
		}
		e, err := dapr.Open(ctx, dapr.Options{Address: side.GRPC, Logger: zerolog.Nop()})
		if err != nil {
			return p, err
		}
		running, err := runEngine(ctx, e, func() { _ = e.Close() }) // the sidecar is stopped next
		running.stops = append(p.stops, running.stops...)
		return running, err
	}
}

// sqliteBackend starts durabletask-go's SQLite backend, as its documentation describes.
// settings are appended to the file name.
func sqliteBackend(settings string) func(ctx context.Context, dir string) (peer, error) {
	return func(ctx context.Context, dir string) (p peer, err error) {
		r, err := measure.Registry()
		if err != nil {
			return p, err
		}
		log := engine.Logger(zerolog.Nop())
		be := sqlite.NewSqliteBackend(sqlite.NewSqliteOptions(filepath.Join(dir, "hub.db")+settings), log)
		exec := task.NewTaskExecutor(r)
		hub := backend.NewTaskHubWorker(be,
			backend.NewWorkflowWorker(backend.WorkflowWorkerOptions{Backend: be, Executor: exec, Logger: log}),
			backend.NewActivityTaskWorker(be, exec, log), log)
		if err := hub.Start(ctx); err != nil {
			return p, fmt.Errorf("start SQLite backend: %w", err)
		}
		p.atStop(func() { _ = hub.Shutdown(context.WithoutCancel(ctx)) }) // its file is removed next
		c := backend.NewTaskHubClient(be)
		p.saga = func(ctx context.Context, id string) error {
			if _, err := c.ScheduleNewWorkflow(ctx, "chain", api.WithInstanceID(api.InstanceID(id))); err != nil {
				return err
			}
			m, err := c.WaitForWorkflowCompletion(ctx, api.InstanceID(id))
			if err == nil && !api.WorkflowMetadataIsComplete(m) {
				err = fmt.Errorf("saga ended with status %s", m.GetRuntimeStatus())
			}
			return err
		}
		return p, nil
	}
}
