#!/usr/bin/env bash
# github.com/dapr/dapr v1.18.2 (daprd): after a forced purge of a workflow that
# waits, its id is free to those who read and taken to those who start, until the
# sidecar ends. A plain purge, which is refused, frees it.
#
# A workflow waits for an event. It is purged with force, and a read says that
# there is no such instance. One would expect that its id can be started again.
# Seen: the start answers AlreadyExists, also 3 seconds later. A purge without
# force fails ("has not yet completed"), though a read finds nothing. After that
# the same start succeeds, and the new instance completes.
#
# Needs Go, the Go module proxy, and 10 minutes to build Dapr the first time.
# Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
pids=()
cleanup() {
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	wait 2>/dev/null || true
	rm -rf "$dir"
}
trap cleanup EXIT
cd "$dir"
mkdir dapr client components

echo "building Dapr 1.18.2"
cd dapr
go mod init example.com/dapr >/dev/null 2>&1
# Some of Dapr's dependencies are not in the checksum database.
export GOFLAGS=-mod=mod GONOSUMDB='*'
at=github.com/dapr/dapr/cmd
go get $at/daprd@v1.18.2 $at/placement@v1.18.2 $at/scheduler@v1.18.2 2>/dev/null
CGO_ENABLED=0 go build -tags stablecomponents -o .. $at/daprd $at/placement $at/scheduler
cd ../client
cat >go.mod <<'MOD'
module example.com/client

go 1.26

require (
	github.com/dapr/durabletask-go v0.12.1
	google.golang.org/grpc v1.82.0
)
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
	"github.com/dapr/durabletask-go/client"
	"github.com/dapr/durabletask-go/task"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

func main() {
	log.SetOutput(io.Discard)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	conn, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(err)
	r := task.NewTaskRegistry()
	must(r.AddWorkflowN("parcel", func(w *task.WorkflowContext) (any, error) {
		return nil, w.WaitForSingleEvent("arrived", -1).Await(nil)
	}))
	c := client.NewTaskHubGrpcClient(conn, backend.DefaultLogger())
	must(c.StartWorkItemListener(ctx, r))
	start := func() string {
		_, err := c.ScheduleNewWorkflow(ctx, "parcel", api.WithInstanceID("p-1"))
		return status.Code(err).String()
	}
	read := func() string {
		m, err := c.FetchWorkflowMetadata(ctx, "p-1")
		if err != nil {
			return err.Error()
		}
		return m.GetRuntimeStatus().String()
	}
	for start() != "OK" { // the sidecar has just learned of its worker
		time.Sleep(time.Second)
	}
	_, err = c.WaitForWorkflowStart(ctx, "p-1")
	must(err)
	time.Sleep(time.Second)
	must(c.PurgeWorkflowState(ctx, "p-1", api.WithForcePurge(true)))
	fmt.Println("read after a forced purge:", read())
	fmt.Println("start:", start())
	time.Sleep(3 * time.Second)
	fmt.Println("start 3 seconds later:", start())
	fmt.Println("plain purge:", c.PurgeWorkflowState(ctx, "p-1"))
	time.Sleep(time.Second)
	fmt.Println("start after that:", start())
	must(c.RaiseEvent(ctx, "p-1", "arrived"))
	m, err := c.WaitForWorkflowCompletion(ctx, "p-1")
	must(err)
	fmt.Println("the new one is", m.GetRuntimeStatus())
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod tidy 2>/dev/null
go build -o ../parcel .
cd ..

cat >components/store.yaml <<'YAML'
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: store}
spec:
  type: state.in-memory
  version: v1
  metadata: [{name: actorStateStore, value: "true"}]
YAML
l=127.0.0.1
export DAPR_HOST_IP=$l
./placement --port 51005 --healthz-port 51080 --metrics-port 51090 --listen-address $l --healthz-listen-address $l --metrics-listen-address $l --id p0 --initial-cluster p0=$l:51201 >placement.log 2>&1 &
pids+=($!)
./scheduler --port 51006 --healthz-port 51081 --metrics-port 51091 --listen-address $l --healthz-listen-address $l --metrics-listen-address $l --etcd-data-dir "$dir/etcd" --etcd-client-port 51379 --id s0 --etcd-initial-cluster s0=http://$l:51380 >scheduler.log 2>&1 &
pids+=($!)
./daprd --app-id parcels --dapr-http-port 51500 --dapr-grpc-port 51501 --dapr-internal-grpc-port 51502 --metrics-port 51092 --dapr-listen-addresses $l --dapr-internal-grpc-listen-address $l --metrics-listen-address $l \
	--placement-host-address $l:51005 --scheduler-host-address $l:51006 --resources-path components >daprd.log 2>&1 &
pids+=($!)
for _ in $(seq 60); do
	(exec 3<>/dev/tcp/$l/51501) 2>/dev/null && break
	sleep 1
done
./parcel $l:51501 | tee seen
diff seen - <<'WANT' && echo "still so"
read after a forced purge: no such instance exists
start: AlreadyExists
start 3 seconds later: AlreadyExists
plain purge: failed to purge workflow state: rpc error: code = Unknown desc = failed to purge workflow state: orchestration has not yet completed
start after that: OK
the new one is ORCHESTRATION_STATUS_COMPLETED
WANT
