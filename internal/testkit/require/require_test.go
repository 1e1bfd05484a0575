package require_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// recorder is a test that only records whether it has failed.
type recorder struct {
	testing.TB

	failed bool
}

func (*recorder) Helper()                 {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }

func TestAtMostLinear(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		takes  func(n int) time.Duration
		failed bool
	}{
		"constant":  {takes: func(int) time.Duration { return time.Second }},
		"linear":    {takes: func(n int) time.Duration { return time.Duration(n) }},
		"quadratic": {takes: func(n int) time.Duration { return time.Duration(n * n) }, failed: true},
	} {
		synctest.Test(t, func(t *testing.T) { // the sleep moves a clock and waits for nothing
			r := &recorder{TB: t}
			require.AtMostLinear(r, 1000, func(n int) { time.Sleep(c.takes(n)) })
			if r.failed != c.failed {
				t.Errorf("%s: failed = %t, want %t", name, r.failed, c.failed)
			}
		})
	}
}
