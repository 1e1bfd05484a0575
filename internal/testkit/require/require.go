// Package require has the assertions that tests of several packages share. It
// imports nothing of this module, so any package's own tests can use it.
package require

import (
	"errors"
	"testing"
	"time"
)

// NoError fails the test at once if any of errs is not nil, and reports all of
// them. Call it from the test's goroutine.
func NoError(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

// poll is the time between two calls of an awaited condition.
const poll = 5 * time.Millisecond

// Eventually polls cond until it returns true. It fails the test at once if that takes
// longer than within; what names the condition in the failure message. Call it from the
// test's goroutine.
func Eventually(t testing.TB, what string, within time.Duration, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	timeout := time.After(within)
	for !cond() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("timed out after %s waiting for: %s", within, what)
		}
	}
}

// EventuallyNoError is Eventually for a condition that reports why it does not hold yet: it
// polls cond until it returns nil. The failure message has the last error.
func EventuallyNoError(t testing.TB, what string, within time.Duration, cond func() error) {
	t.Helper()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	timeout := time.After(within)
	for {
		err := cond()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("timed out after %s waiting for: %s: %v", within, what, err)
		}
	}
}

// AtMostLinear fails the test if f takes more than in proportion to its argument: much longer
// with 8n than eight times as long as with n. It compares the shortest of three runs of each,
// so that the speed and the load of the machine do not matter. An f whose work is quadratic
// takes 64 times as long.
func AtMostLinear(t testing.TB, n int, f func(n int)) {
	t.Helper()
	const factor, most = 8, 32
	shortest := func(n int) (least time.Duration) {
		for range 3 {
			began := time.Now()
			f(n)
			if took := time.Since(began); least == 0 || took < least {
				least = took
			}
		}
		return least
	}
	one, eight := shortest(n), shortest(factor*n)
	if eight > most*one {
		t.Errorf("%d took %s and %d took %s, want at most %d times as long", n, one, factor*n, eight, most)
	}
}
