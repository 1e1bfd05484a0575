// Package assert holds the two smallest test helpers: fail on an error, and
// poll until a condition holds. It imports nothing of ordersaga, so that tests of
// any package can use it, also of those that package testkit depends on.
package assert

import (
	"testing"
	"time"
)

// poll is the time between two attempts of Eventually.
const poll = 5 * time.Millisecond

// Must stops the test if err is not nil. Call it from the test's goroutine.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

// Eventually polls cond until it returns nil. If that takes longer than within, it
// stops the test and reports what was awaited and cond's last error. Call it from
// the test's goroutine.
func Eventually(t testing.TB, what string, within time.Duration, cond func() error) {
	t.Helper()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	deadline := time.After(within)
	for {
		err := cond()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s: %v", within, what, err)
		}
	}
}
