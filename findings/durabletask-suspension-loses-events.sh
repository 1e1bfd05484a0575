#!/usr/bin/env bash
# github.com/dapr/durabletask-go v0.12.1: an event that reached a suspended
# workflow in time is lost if the time-out of the wait for it passes before the
# workflow is resumed.
#
# A workflow waits for an event, for two seconds at most. It is suspended, the
# event is raised at once, and three seconds later it is resumed. One would
# expect what a workflow gets that is not suspended: the event, for it came
# first. Seen: the wait ends with "the task was canceled", and the event is
# nowhere; a second wait for the same event does not get it either. Without the
# suspension the same calls give the event.
#
# Needs Go and the Go module proxy. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >go.mod <<'MOD'
module example.com/suspended

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
	"time"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/backend"
	"github.com/dapr/durabletask-go/backend/sqlite"
	"github.com/dapr/durabletask-go/task"
)

func main() {
	log.SetOutput(io.Discard)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r := task.NewTaskRegistry()
	must(r.AddWorkflowN("parcel", func(w *task.WorkflowContext) (any, error) {
		said := "nothing"
		w.SetCustomStatus("waiting")
		first := w.WaitForSingleEvent("arrived", 2*time.Second).Await(&said)
		second := w.WaitForSingleEvent("arrived", time.Second).Await(&said)
		return fmt.Sprintf("first wait in vain: %t, second wait in vain: %t, event: %s", first != nil, second != nil, said), nil
	}))
	logger := backend.DefaultLogger()
	be := sqlite.NewSqliteBackend(sqlite.NewSqliteOptions(""), logger)
	worker := backend.NewTaskHubWorker(be, backend.NewWorkflowWorker(backend.WorkflowWorkerOptions{
		Backend: be, Executor: task.NewTaskExecutor(r), Logger: logger, AppID: "finding",
	}), backend.NewActivityTaskWorker(be, task.NewTaskExecutor(r), logger), logger)
	must(worker.Start(ctx))
	client := backend.NewTaskHubClient(be)
	for _, suspend := range []bool{false, true} {
		id := must2(client.ScheduleNewWorkflow(ctx, "parcel"))
		await(ctx, client, id, func(m *backend.WorkflowMetadata) bool { return m.GetCustomStatus().GetValue() == "waiting" })
		if suspend {
			must(client.SuspendWorkflow(ctx, id, ""))
			await(ctx, client, id, func(m *backend.WorkflowMetadata) bool { return m.GetRuntimeStatus() == api.RUNTIME_STATUS_SUSPENDED })
		}
		must(client.RaiseEvent(ctx, id, "arrived", api.WithEventPayload("parcel 1")))
		if suspend {
			time.Sleep(3 * time.Second)
			must(client.ResumeWorkflow(ctx, id, ""))
		}
		m := must2(client.WaitForWorkflowCompletion(ctx, id))
		fmt.Printf("suspended %t: %s\n", suspend, m.GetOutput().GetValue())
	}
	must(worker.Shutdown(ctx))
}

func await(ctx context.Context, c backend.TaskHubClient, id api.InstanceID, ok func(*backend.WorkflowMetadata) bool) {
	for !ok(must2(c.FetchWorkflowMetadata(ctx, id))) {
		time.Sleep(20 * time.Millisecond)
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func must2[T any](v T, err error) T {
	must(err)
	return v
}
GO
go mod tidy 2>tidy.log || { cat tidy.log; exit 1; }
got=$(go run . 2>run.log) || { tail -5 run.log; exit 1; }
echo "$got"
want='suspended false: "first wait in vain: false, second wait in vain: true, event: parcel 1"
suspended true: "first wait in vain: true, second wait in vain: true, event: nothing"'
[ "$got" = "$want" ] || { echo "changed; it was: $want"; exit 1; }
