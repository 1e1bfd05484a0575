#!/usr/bin/env bash
# github.com/dapr/dapr v1.18.2 (resiliency, with dapr/kit v0.18.2): an exponential
# retry policy with maxRetries -1 gives up after 15 minutes.
#
# The policy is an example in Dapr's docs, where it is called retryForever and has
# the remark "Retry indefinitely"; -1 is "an unlimited number of retries" there, and
# no other limit is named. A target is down for an hour and then up. One would
# expect that the call succeeds in the end, as it does with a constant policy and
# the same -1. Seen: it fails before 15 minutes are over, nor are 200 retries reached.
# dapr/kit sets a maxElapsedTime, for which the Resiliency resource has no field.
#
# The clock jumps (testing/synctest). Needs Go and the Go module proxy; compiles for
# two minutes the first time. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
# Some of Dapr's dependencies are not in the checksum database.
export GOFLAGS=-mod=mod GONOSUMDB='*'
cat >go.mod <<'MOD'
module example.com/forever

go 1.26

require (
	github.com/dapr/dapr v1.18.2
	github.com/dapr/kit v0.18.2
	sigs.k8s.io/yaml v1.6.0
)
MOD
cat >forever_test.go <<'GO'
package forever

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dapr/dapr/pkg/apis/resiliency/v1alpha1"
	"github.com/dapr/dapr/pkg/resiliency"
	"github.com/dapr/kit/logger"
	"sigs.k8s.io/yaml"
)

func TestForever(t *testing.T) {
	for policy, fails := range map[string]bool{
		"{policy: constant, duration: 15s, maxRetries: -1}":        false,
		"{policy: exponential, maxInterval: 15s, maxRetries: -1}":  true,
		"{policy: exponential, maxInterval: 15s, maxRetries: 200}": true,
	} {
		synctest.Test(t, func(t *testing.T) {
			var c v1alpha1.Resiliency
			err := yaml.UnmarshalStrict([]byte(`spec: {policies: {retries: {again: `+policy+`}},
				targets: {components: {payment: {outbound: {retry: again}}}}}`), &c)
			log := logger.NewLogger("quiet")
			log.SetOutputLevel(logger.FatalLevel)
			p := resiliency.FromConfigurations(log, &c).ComponentOutboundPolicy("payment", resiliency.Binding)
			start, n := time.Now(), 0
			_, down := resiliency.NewRunner[any](t.Context(), p)(func(context.Context) (any, error) {
				if n++; time.Since(start) < time.Hour {
					return nil, errors.New("payment is down")
				}
				return nil, nil
			})
			took := time.Since(start)
			fmt.Printf("%s: %d tries in %v, error: %v\n", policy, n, took.Round(time.Second), down)
			if err != nil || fails != (down != nil) || fails && (n > 200 || took < 14*time.Minute || took > 15*time.Minute) {
				t.Error("no longer so")
			}
		})
	}
}
GO
go mod tidy >/dev/null 2>&1
go test -count=1 -v . >out 2>&1 || { cat out; exit 1; }
grep policy out
