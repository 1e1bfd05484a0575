package main

import (
	"os"
	"runtime/debug"
)

// relaxGC sets GOGC to 400 unless the environment sets it. With everything in
// one process, the default of 100 spends a quarter of the CPU on garbage
// collection (docs/benchmarks.md).
func relaxGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}
