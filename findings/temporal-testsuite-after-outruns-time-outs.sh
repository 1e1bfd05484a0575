#!/usr/bin/env bash
# go.temporal.io/sdk v1.51.0, package testsuite: an activity that is mocked to take a
# minute of the workflow's time succeeds under a time-out of five seconds.
#
# The test environment has a clock of its own, a mock's After says how long the call
# takes on that clock, and since early 2026 the environment enforces an activity's
# StartToCloseTimeout. One would expect an activity whose mock says After(1 minute),
# with StartToClose 5s, ScheduleToClose 20s and one attempt, to fail as on a server:
# a TimeoutError after 5 seconds. Seen: no error, and the result after one minute of
# the workflow's time. The time-out is watched on the wall clock only: an activity that
# really sleeps for 0.6 s under a time-out of 0.2 s fails as it should. So the test of
# a slow payment shows the order paid where production cancels it.
#
# Needs Go and the Go module proxy. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
printf 'module example.com/order\n\ngo 1.26\n\nrequire go.temporal.io/sdk v1.51.0\nrequire github.com/stretchr/testify v1.11.1\n' >go.mod
cat >order_test.go <<'GO'
package order

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"
)

func Pay(context.Context) (string, error) { return "paid", nil }

func Order(ctx workflow.Context, timeout time.Duration) (string, error) {
	start := workflow.Now(ctx)
	var result string
	err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: timeout, ScheduleToCloseTimeout: 4 * timeout,
		RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1},
	}), Pay).Get(ctx, &result)
	if timedOut := (*temporal.TimeoutError)(nil); errors.As(err, &timedOut) {
		return "timed out", nil
	}
	return fmt.Sprint(result, " after ", workflow.Now(ctx).Sub(start)), err
}

func TestOrder(t *testing.T) {
	run := func(what string, timeout time.Duration, mocked func(*testsuite.MockCallWrapper)) {
		env := new(testsuite.WorkflowTestSuite).NewTestWorkflowEnvironment()
		env.RegisterActivity(Pay)
		mocked(env.OnActivity(Pay, mock.Anything))
		env.ExecuteWorkflow(Order, timeout)
		var result string
		err := errors.Join(env.GetWorkflowError(), env.GetWorkflowResult(&result))
		fmt.Printf("%s, time-out %v: %s, error %v\n", what, timeout, result, err)
	}
	run("sleeps 600ms", 200*time.Millisecond, func(m *testsuite.MockCallWrapper) {
		m.Return(func(context.Context) (string, error) { time.Sleep(600 * time.Millisecond); return "paid", nil })
	})
	run("After 1m", 5*time.Second, func(m *testsuite.MockCallWrapper) { m.Return("paid", nil).After(time.Minute) })
}
GO
go mod tidy 2>tidy.log || { cat tidy.log; exit 1; }
go test -v . | grep , | grep time-out | tee seen
diff seen - <<'WANT' || { echo "no longer so"; exit 1; }
sleeps 600ms, time-out 200ms: timed out, error <nil>
After 1m, time-out 5s: paid after 1m0s, error <nil>
WANT
