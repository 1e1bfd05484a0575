package api

import (
	"testing"
	"time"
)

// WaitForReconciler is for how long, until the test's end.
func WaitForReconciler(t testing.TB, d time.Duration) {
	before := reconcileWait
	reconcileWait = d
	t.Cleanup(func() { reconcileWait = before })
}
