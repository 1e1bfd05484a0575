#!/usr/bin/env bash
# github.com/dapr/durabletask-go v0.12.1 replays a changed workflow without a
# check of names: an activity's recorded result answers whichever activity the
# new code calls under the same number.
#
# A workflow calls "weigh" and then waits for an event. While it waits, the
# program is replaced by one that calls "price" where it called "weigh". One
# would expect a report of non-determinism, as other engines give. Seen: no
# error and no log line; "price" never runs, its Await returns what "weigh"
# returned, and the workflow completes.
#
# Needs Go and the Go module proxy. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >go.mod <<'MOD'
module example.com/replay

go 1.26

require github.com/dapr/durabletask-go v0.12.1
MOD
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/backend"
	"github.com/dapr/durabletask-go/backend/sqlite"
	"github.com/dapr/durabletask-go/task"
)

const id = "parcel-1"

func main() {
	log.SetOutput(io.Discard)
	file, ran := os.Args[1], map[string]int{}
	run(file, "weigh", ran, func(ctx context.Context, c backend.TaskHubClient) {
		must2(c.ScheduleNewWorkflow(ctx, "parcel", api.WithInstanceID(id)))
		for {
			if m := must2(c.FetchWorkflowMetadata(ctx, id)); m.GetCustomStatus().GetValue() == "waiting" {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	run(file, "price", ran, func(ctx context.Context, c backend.TaskHubClient) {
		must(c.RaiseEvent(ctx, id, "go"))
		m := must2(c.WaitForWorkflowCompletion(ctx, id))
		fmt.Printf("status %s, output %s, weigh ran %d times, price ran %d times\n",
			m.GetRuntimeStatus(), m.GetOutput().GetValue(), ran["weigh"], ran["price"])
	})
}

// run is one life of the program, whose workflow calls the activity.
func run(file, activity string, ran map[string]int, f func(context.Context, backend.TaskHubClient)) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r := task.NewTaskRegistry()
	must(r.AddWorkflowN("parcel", func(w *task.WorkflowContext) (any, error) {
		var out string
		if err := w.CallActivity(activity).Await(&out); err != nil {
			return nil, err
		}
		w.SetCustomStatus("waiting")
		return activity + " answered: " + out, w.WaitForSingleEvent("go", -1).Await(nil)
	}))
	for _, name := range []string{"weigh", "price"} {
		must(r.AddActivityN(name, func(task.ActivityContext) (any, error) { ran[name]++; return "the result of " + name, nil }))
	}
	logger := backend.DefaultLogger()
	be := sqlite.NewSqliteBackend(sqlite.NewSqliteOptions(file), logger)
	executor := task.NewTaskExecutor(r)
	w := backend.NewTaskHubWorker(be,
		backend.NewWorkflowWorker(backend.WorkflowWorkerOptions{Backend: be, Executor: executor, Logger: logger}),
		backend.NewActivityTaskWorker(be, executor, logger), logger)
	must(w.Start(ctx))
	f(ctx, backend.NewTaskHubClient(be))
	must(w.Shutdown(ctx))
}

func must2[T any](v T, err error) T { must(err); return v }

func must(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod tidy 2>tidy.log || { cat tidy.log; exit 1; }
got=$(go run . "$dir/state.sqlite3" 2>run.log) || { tail -5 run.log; exit 1; }
echo "$got"
want='status ORCHESTRATION_STATUS_COMPLETED, output "price answered: the result of weigh", weigh ran 1 times, price ran 0 times'
[ "$got" = "$want" ] || { echo "changed; it was: $want"; exit 1; }
if grep -iE 'determin|mismatch' run.log; then echo "changed: it says so in its log now"; exit 1; fi
