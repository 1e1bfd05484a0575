#!/usr/bin/env bash
# github.com/cschleiden/go-workflows v1.2.0, package tester: a callback that is
# planned while a timer runs comes after that timer, and the clock goes back for it.
#
# The tester has a clock of its own, in which ScheduleCallback plans a function. A
# workflow waits for a payment, for one hour at most. After one minute a callback plans
# another for one minute later (the payer opens the page, then pays). One would expect
# the payment at two minutes, and a paid order, as from Temporal's test suite. Seen: the
# order times out, for the second callback stands behind the timer. Two callbacks that
# are planned for 10 and for 5 seconds run in that order, at 10 and then at 5: for the
# workflow, time goes back by 5 seconds between their signals. And AssertExpectations,
# documented for activities and sub-workflows, does not look at sub-workflows: it is
# content with a refund that was expected once and never ran.
#
# Needs Go and the Go module proxy. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
printf 'module example.com/order\n\ngo 1.26\n\nrequire github.com/cschleiden/go-workflows v1.2.0\nrequire github.com/stretchr/testify v1.11.1\n' >go.mod
cat >order_test.go <<'GO'
package order

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cschleiden/go-workflows/tester"
	wf "github.com/cschleiden/go-workflows/workflow"
	"github.com/stretchr/testify/mock"
)

func Order(ctx wf.Context) (result string, err error) {
	timer, cancel := wf.WithCancel(ctx)
	wf.Select(ctx,
		wf.Receive(wf.NewSignalChannel[string](ctx, "paid"), func(wf.Context, string, bool) { result = "paid"; cancel() }),
		wf.Await(wf.ScheduleTimer(timer, time.Hour), func(wf.Context, wf.Future[any]) { result = "timed out" }))
	return result, nil
}

func Gap(ctx wf.Context) (string, error) {
	signals := wf.NewSignalChannel[string](ctx, "signal")
	signals.Receive(ctx)
	first := wf.Now(ctx)
	signals.Receive(ctx)
	return wf.Now(ctx).Sub(first).String(), nil
}

func Refund(wf.Context, string) error   { return nil }
func Cancel(wf.Context) (string, error) { return "cancelled", nil } // forgets the refund

func TestTester(t *testing.T) {
	run := func(w tester.WorkflowTester[string]) string {
		w.Execute(context.Background())
		result, err := w.WorkflowResult()
		return fmt.Sprint(result, ", error ", err)
	}
	order := tester.NewWorkflowTester[string](Order)
	order.ScheduleCallback(time.Minute, func() {
		order.ScheduleCallback(time.Minute, func() { order.SignalWorkflow("paid", "") })
	})
	fmt.Println("order paid after 2 minutes of 60:", run(order))
	gap := tester.NewWorkflowTester[string](Gap)
	for _, delay := range []time.Duration{10 * time.Second, 5 * time.Second} {
		gap.ScheduleCallback(delay, func() { gap.SignalWorkflow("signal", "") })
	}
	fmt.Println("time between the two signals:", run(gap))
	cancel := tester.NewWorkflowTester[string](Cancel)
	cancel.OnSubWorkflow(Refund, mock.Anything, "o-1").Return(nil).Once()
	fmt.Println("order without its refund:", run(cancel))
	cancel.AssertExpectations(t)
	fmt.Println("expectations met:", !t.Failed())
}
GO
go mod tidy 2>tidy.log || { cat tidy.log; exit 1; }
go test -v . 2>&1 | grep -E '^(order|time|expectations) .*: ' | tee seen
diff seen - <<'WANT' || { echo "no longer so"; exit 1; }
order paid after 2 minutes of 60: timed out, error <nil>
time between the two signals: -5s, error <nil>
order without its refund: cancelled, error <nil>
expectations met: true
WANT
