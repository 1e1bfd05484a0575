package main

import (
	"math"
	"os"
	"runtime/debug"
	"testing"
)

// TestCollectorIsRelaxedWithinTheAvailableMemory unless the environment has settings of
// its own.
func TestCollectorIsRelaxedWithinTheAvailableMemory(t *testing.T) {
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(math.MaxInt64)
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	})
	check := func(when string, percent int, limited bool) {
		t.Helper()
		got, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(math.MaxInt64)
		if got != percent || (limit < math.MaxInt64) != limited {
			t.Errorf("%s: GOGC = %d and the memory limit is %d, want %d and a limit: %t", when, got, limit, percent, limited)
		}
	}
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		t.Setenv(name, "100")
		relaxGC()
		check(name+" is set", 100, false)
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	relaxGC()
	check("nothing is set", 400, true)
}
