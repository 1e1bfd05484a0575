#!/usr/bin/env bash
# github.com/cschleiden/go-workflows v1.2.0: the signals that reach a workflow
# before it opens their channel are handed to it last one first.
#
# Three scans of a parcel are signalled, in order, while the workflow waits for an
# activity; then it reads them. One workflow opens the channel before the activity,
# one after it. One would expect the order of sending from both: the history has it, and
# Temporal's and Dapr's SDKs hand out what came early first in, first out. Seen: 1 2 3
# from the first, 3 2 1 from the second. Where the worker was slow, a parcel that was
# packed and then shipped was shipped and then packed.
#
# Needs Go and the Go module proxy. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
printf 'module example.com/scans\n\ngo 1.26\n\nrequire github.com/cschleiden/go-workflows v1.2.0\n' >go.mod
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/cschleiden/go-workflows/backend/sqlite"
	"github.com/cschleiden/go-workflows/client"
	"github.com/cschleiden/go-workflows/worker"
	wf "github.com/cschleiden/go-workflows/workflow"
)

var pay = make(chan struct{})

func Pay(context.Context) (bool, error) { <-pay; return true, nil }

func Parcel(ctx wf.Context, openFirst bool) (scans []int, err error) {
	if openFirst {
		wf.NewSignalChannel[int](ctx, "scan")
	}
	if _, err = wf.ExecuteActivity[bool](ctx, wf.DefaultActivityOptions, Pay).Get(ctx); err != nil {
		return nil, err
	}
	for range 3 {
		scan, _ := wf.NewSignalChannel[int](ctx, "scan").Receive(ctx)
		scans = append(scans, scan)
	}
	return scans, nil
}

func main() {
	ctx := context.Background()
	be := sqlite.NewInMemoryBackend()
	w := worker.New(be, nil)
	must(w.RegisterWorkflow(Parcel))
	must(w.RegisterActivity(Pay))
	must(w.Start(ctx))
	c := client.New(be)
	for _, openFirst := range []bool{true, false} {
		i, err := c.CreateWorkflowInstance(ctx, client.WorkflowInstanceOptions{InstanceID: fmt.Sprint(openFirst)}, Parcel, openFirst)
		must(err)
		time.Sleep(time.Second) // it waits for the activity now
		for scan := 1; scan <= 3; scan++ {
			must(c.SignalWorkflow(ctx, i.InstanceID, "scan", scan))
			time.Sleep(200 * time.Millisecond)
		}
		pay <- struct{}{}
		scans, err := client.GetWorkflowResult[[]int](ctx, c, i, 20*time.Second)
		must(err)
		fmt.Printf("channel opened first %t: scans %v\n", openFirst, scans)
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod tidy 2>tidy.log || { cat tidy.log; exit 1; }
go run . 2>run.log | tee seen || { tail -5 run.log; exit 1; }
diff seen - <<'WANT' || { echo "no longer so"; exit 1; }
channel opened first true: scans [1 2 3]
channel opened first false: scans [3 2 1]
WANT
